//! Many seeds: on several threads, with progress, and the first failure of all.
//!
//! A run never leaves its thread, and what is reported does not depend on which thread ran
//! it. Only the progress display looks at a clock.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cli::{Options, Side, report, run_seed};
use crate::coverage::Cells;
use crate::verdict::{Failure, Kind};
use crate::{Stats, shrink};

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    stats: Stats,
    cells: Cells,
    failures: BTreeMap<u64, Failure>,
    digests: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: crate::Outcome) {
        let digest = outcome.trace.digest();
        let digest = u64::from_str_radix(&digest[..16], 16).unwrap_or(0);
        self.seeds += 1;
        // In any order of threads the same.
        self.digests ^= digest.rotate_left(u32::try_from(seed % 64).unwrap_or(0));
        self.cells.extend(&outcome.cells);
        let (sum, stats) = (&mut self.stats, &outcome.stats);
        sum.events += stats.events;
        sum.journal_events += stats.journal_events;
        sum.records += stats.records;
        sum.crashes += stats.crashes;
        sum.snapshots += stats.snapshots;
        sum.claims += stats.claims;
        sum.fenced += stats.fenced;
        sum.simulated_us += stats.simulated_us;
        for (sum, ended) in sum.ended.iter_mut().zip(stats.ended) {
            *sum += ended;
        }
        if let Some(failure) = outcome.failure {
            self.failures.insert(seed, failure);
        }
    }
}

/// Runs the seeds from `from` to `to` (not included), or until that time.
fn run_sum(
    from: u64,
    to: Option<u64>,
    until: Option<Instant>,
    jobs: usize,
    (keep_going, side): (bool, Side),
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Sum {
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = to.is_some_and(|to| seed >= to)
                        || until.is_some_and(|until| Instant::now() >= until);
                    if is_over {
                        break;
                    }
                    let outcome = run_seed(seed, false, side);
                    if outcome.failure.is_some() && !keep_going {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let Ok(mut sum) = sum.lock() else {
                        break;
                    };
                    sum.add(seed, outcome);
                    progress(sum.seeds, sum.stats.events);
                }
            });
        }
    });
    sum.into_inner().unwrap_or_default()
}

/// The first of so many seeds that fails.
#[cfg(feature = "planted")]
pub(crate) fn first_failure(
    from: u64,
    seeds: u64,
    jobs: usize,
    side: Side,
) -> Option<(u64, Failure)> {
    let sum = run_sum(
        from,
        Some(from + seeds),
        None,
        jobs,
        (false, side),
        &|_, _| {},
    );
    sum.failures.into_iter().next()
}

/// Runs many seeds and reports.
pub(crate) fn run(from: u64, to: Option<u64>, minutes: Option<u64>, options: &Options) -> ExitCode {
    let started = Instant::now();
    let until = minutes.map(|minutes| started + Duration::from_secs(60 * minutes));
    let shown = Mutex::new(started);
    let is_terminal = std::io::stderr().is_terminal();
    let progress = |seeds: u64, events: u64| {
        let Ok(mut shown) = shown.lock() else {
            return;
        };
        if !is_terminal || shown.elapsed() < SHOW_EVERY {
            return;
        }
        *shown = Instant::now();
        let ms = u64::try_from(started.elapsed().as_millis())
            .unwrap_or(1)
            .max(1);
        let of = to.map_or_else(String::new, |to| format!(" of {}", to - from));
        eprint!(
            "\r{seeds}{of} seeds, {} seeds/s, {} events/s   ",
            seeds * 1000 / ms,
            events * 1000 / ms
        );
        let _ = std::io::stderr().flush();
    };
    let sum = run_sum(
        from,
        to,
        until,
        options.jobs,
        (options.keep_going, options.side),
        &progress,
    );
    if is_terminal {
        eprintln!();
    }
    show(&sum, started.elapsed());
    if options.coverage {
        crate::say!("{}", sum.cells.table().trim_end());
    }
    let code = match sum.failures.first_key_value() {
        None => ExitCode::SUCCESS,
        Some((seed, failure)) => {
            by_check(&sum.failures);
            let how = options.how(&format!("--seed {seed}"));
            report(failure, &how);
            if options.shrink {
                shrink::to_file(&options.side.plan(*seed), failure, &how, options);
            }
            ExitCode::from(failure.kind.exit_code())
        }
    };
    crate::say!("digest {:016x} of {} seeds", sum.digests, sum.seeds);
    code
}

fn show(sum: &Sum, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(1).max(1);
    let stats = &sum.stats;
    let [confirmed, failed, cancelled] = stats.ended;
    crate::say!(
        "{} seeds in {}.{:03} s: {} seeds/s, {} events/s; {} h simulated, {} times real time",
        sum.seeds,
        ms / 1000,
        ms % 1000,
        sum.seeds * 1000 / ms,
        stats.events * 1000 / ms,
        stats.simulated_us / 3_600_000_000,
        stats.simulated_us / 1000 / ms,
    );
    crate::say!(
        "{} events, {} journal events in {} records, {} crashes, {} snapshots; orders: \
         {confirmed} confirmed, {failed} failed, {cancelled} cancelled; {}",
        stats.events,
        stats.journal_events,
        stats.records,
        stats.crashes,
        stats.snapshots,
        sum.cells.summary()
    );
    if stats.claims > 0 {
        crate::say!(
            "{} times a journal was claimed, {} times a leader was fenced",
            stats.claims,
            stats.fenced
        );
    }
}

fn by_check(failures: &BTreeMap<u64, Failure>) {
    let mut checks: BTreeMap<&str, (u64, Vec<u64>)> = BTreeMap::new();
    for (seed, failure) in failures {
        let entry = checks.entry(failure.check).or_default();
        entry.0 += 1;
        if entry.1.len() < 8 {
            entry.1.push(*seed);
        }
    }
    for (check, (count, seeds)) in checks {
        crate::say!("{count:>6} times {check}: seeds {seeds:?}");
    }
    let crashes = failures
        .values()
        .filter(|it| it.kind == Kind::Crash)
        .count();
    if crashes > 0 {
        crate::say!("{crashes:>6} of them panics");
    }
}
