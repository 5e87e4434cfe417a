//! How fast a log is opened, replayed and checked: what a restart without a snapshot costs.
//!
//! `cargo run --release -p a4co-journal --example restart -- [FOLDER] [MEBIBYTES]`

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::time::Instant;

use a4co_journal::{Journal, Options, OsDisk, verify};

const RECORD_BYTES: usize = 25_600;
const MEBIBYTE: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments
        .next()
        .map_or_else(env::temp_dir, PathBuf::from)
        .join(format!("a4co-restart-{}", process::id()));
    let mebibytes: usize = match arguments.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 256,
    };
    let disk = OsDisk::create(&folder)?;
    let (mut journal, _) = Journal::open(disk.clone(), Options::default())?;
    let payload: Vec<u8> = (0..=250).cycle().take(RECORD_BYTES).collect();
    for _ in 0..mebibytes * MEBIBYTE / RECORD_BYTES {
        journal.append(&payload)?;
    }
    let end = journal.position();
    drop(journal);

    let start = Instant::now();
    let (journal, _) = Journal::open(disk.clone(), Options::default())?;
    println!("open, {mebibytes} MiB, no snapshot   {:?}", start.elapsed());
    let start = Instant::now();
    let count = journal.read_from(1)?.filter(Result::is_ok).count();
    println!("replay of {count} records     {:?}", start.elapsed());
    let start = Instant::now();
    let report = verify(&disk)?;
    println!(
        "verify, intact: {}        {:?}",
        report.is_intact(),
        start.elapsed()
    );
    journal.snapshot_writer().write(end, &payload)?;
    drop(journal);
    let start = Instant::now();
    drop(Journal::open(disk, Options::default())?);
    println!("open with a snapshot          {:?}", start.elapsed());
    fs::remove_dir_all(&folder)?;
    Ok(())
}
