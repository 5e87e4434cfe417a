//! How many commits a second the journal does, beside a bare write and fdatasync of the
//! same bytes into a pre-sized file, measured in turns in the same run.
//!
//! `cargo run --release -p a4co-journal --example append -- [FOLDER]`

use std::env;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use a4co_journal::{Journal, Options, OsDisk};

const EVENT_BYTES: usize = 100;
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_millis(700);
/// What a record adds to its payload, so that both sides write the same bytes.
const OVERHEAD_BYTES: usize = 32;
const RAW_BYTES: u64 = 16 * 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os()
        .nth(1)
        .map_or_else(env::temp_dir, PathBuf::from)
        .join(format!("a4co-append-{}", process::id()));
    fs::create_dir_all(&folder)?;
    println!("events of {EVENT_BYTES} bytes, in {}", folder.display());
    println!("events/commit   raw commits/s   journal commits/s   ratio   p99 us: raw  journal");
    for events in [1, 16, 256] {
        let (mut raw, mut journal) = (Samples::default(), Samples::default());
        for round in 0..ROUNDS {
            // Alternating, so that the machine's moods hit both.
            let own = folder.join(format!("{events}-{round}"));
            fs::create_dir_all(&own)?;
            bare(&own, events, &mut raw)?;
            appended(&own, events, &mut journal)?;
            fs::remove_dir_all(&own)?;
        }
        println!(
            "{events:>13} {:>15.0} {:>19.0} {:>7.2} {:>13} {:>8}",
            raw.rate(),
            journal.rate(),
            journal.rate() / raw.rate(),
            raw.p99_us(),
            journal.p99_us()
        );
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// How long each commit took.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn rate(&self) -> f64 {
        let total: Duration = self.0.iter().sum();
        self.0.iter().map(|_| 1.0).sum::<f64>() / total.as_secs_f64()
    }

    fn p99_us(&mut self) -> u128 {
        self.0.sort_unstable();
        let at = self.0.len() * 99 / 100;
        self.0.get(at).map_or(0, Duration::as_micros)
    }
}

fn bare(folder: &Path, events: usize, samples: &mut Samples) -> Result<(), Box<dyn Error>> {
    let path = folder.join("raw");
    let bytes = vec![7; (events * EVENT_BYTES + OVERHEAD_BYTES).next_multiple_of(8)];
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    file.write_all_at(&vec![0; usize::try_from(RAW_BYTES)?], 0)?;
    file.sync_all()?;
    let mut offset = 0;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        if offset + bytes.len() as u64 > RAW_BYTES {
            offset = 0;
        }
        let begun = Instant::now();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        samples.0.push(begun.elapsed());
        offset += bytes.len() as u64;
    }
    Ok(())
}

fn appended(folder: &Path, events: usize, samples: &mut Samples) -> Result<(), Box<dyn Error>> {
    let disk = OsDisk::create(folder.join("journal"))?;
    let (mut journal, _) = Journal::open(disk, Options::default())?;
    let preparer = journal.spare_preparer();
    preparer.prepare()?;
    let payload = vec![7; events * EVENT_BYTES];
    let (wake, woken) = std::sync::mpsc::sync_channel::<()>(1);
    let spares = thread::spawn(move || {
        for () in woken {
            if let Err(error) = preparer.prepare() {
                eprintln!("no spare: {error}");
            }
        }
    });
    let start = Instant::now();
    while start.elapsed() < ROUND {
        let begun = Instant::now();
        journal.append(&payload)?;
        samples.0.push(begun.elapsed());
        if journal.wants_spare() {
            let _ = wake.try_send(());
        }
    }
    drop(wake);
    spares.join().map_err(|_| "the preparer panicked")?;
    Ok(())
}
