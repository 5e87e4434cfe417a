//! Random lives of a journal against the model: any order of appends, spares, snapshots,
//! retention, restarts, kills, power cuts, failed syncs and full disks.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Driver;
use proptest::prelude::*;

use a4co_journal::sim_disk::SimFault;

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Prepare,
    Snapshot,
    /// Keep the history of so many of the last records.
    Retain(u8),
    Restart,
    Kill,
    Crash(u64),
    CutPowerIn(u8),
    FailIn(u8, bool),
    FailNextSync,
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..9_u8).prop_map(Step::Append),
        2 => Just(Step::Prepare),
        2 => Just(Step::Snapshot),
        2 => (0..20_u8).prop_map(Step::Retain),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
        2 => (0..25_u8).prop_map(Step::CutPowerIn),
        1 => (0..25_u8, any::<bool>()).prop_map(|(at, full)| Step::FailIn(at, full)),
        1 => Just(Step::FailNextSync),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

/// Starts again until it is up, as whatever watches over the process would.
fn revive(driver: &mut Driver<a4co_journal::sim_disk::SimDisk>, seed: &mut u64) {
    for attempt in 0..50 {
        driver.journal = None;
        if driver.disk.power_is_off() {
            driver.disk.crash(seed);
        } else if attempt > 0 {
            driver.disk.kill();
        }
        if attempt == 40 {
            driver.disk.set_capacity(u64::MAX);
        }
        if driver.open().is_ok() {
            return;
        }
    }
    panic!("never came up: {:?}", driver.open());
}

fn run(steps: &[Step], seed: u64) {
    let mut seed = seed;
    let mut driver = Driver::sim();
    let disk = driver.disk.clone();
    for step in steps {
        if driver.journal.is_none() {
            revive(&mut driver, &mut seed);
        }
        match *step {
            Step::Append(count) => {
                for _ in 0..count {
                    if !driver.append() {
                        break;
                    }
                }
            }
            Step::Prepare => {
                let _ = driver.prepare();
            }
            Step::Snapshot => {
                let _ = driver.snapshot();
            }
            Step::Retain(last) => {
                let from = (driver.acknowledged.len() as u64).saturating_sub(u64::from(last));
                let _ = driver.retain(from);
            }
            Step::Restart => revive(&mut driver, &mut seed),
            Step::Kill => {
                driver.journal = None;
                if !disk.power_is_off() {
                    disk.kill();
                }
            }
            Step::Crash(own) => {
                driver.journal = None;
                disk.crash(&mut seed);
                seed ^= own;
            }
            Step::CutPowerIn(operations) => {
                disk.cut_power_at(disk.operations() + u64::from(operations));
            }
            Step::FailIn(operations, full) => {
                let fault = if full { SimFault::Full } else { SimFault::Io };
                disk.fail_at(disk.operations() + u64::from(operations), fault);
            }
            Step::FailNextSync => disk.fail_next_sync(),
            Step::Full(true) => disk.set_capacity(disk.used_bytes() + 4096),
            Step::Full(false) => disk.set_capacity(u64::MAX),
        }
        if disk.power_is_off() {
            driver.journal = None;
        }
    }
    driver.journal = None;
    disk.crash(&mut seed);
    disk.set_capacity(u64::MAX);
    driver.open().unwrap();
    assert!(driver.append());
    driver.check_content();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there(
        steps in prop::collection::vec(step(), 1..60),
        seed: u64,
    ) {
        run(&steps, seed);
    }
}

#[test]
fn nothing_goes_before_a_base_whose_sync_has_failed_is_durable() {
    let failing = [
        Step::Append(3),
        Step::Snapshot,
        Step::Append(4),
        Step::FailNextSync,
        Step::CutPowerIn(2),
        Step::Retain(0),
        Step::Retain(0),
    ];
    let after = |before: &[Step]| [before, &failing].concat();
    for seed in 0..64 {
        run(&after(&[Step::Append(13)]), seed);
    }
    let found = [
        Step::Append(2),
        Step::CutPowerIn(14),
        Step::Append(5),
        Step::Crash(9_091_325_115_944_211_510),
        Step::Append(6),
    ];
    run(&after(&found), 1_263_018_058_720_109_012);
}
