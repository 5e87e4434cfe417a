//! A full disk, at every operation and for good.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Driver;

use a4co_journal::sim_disk::SimFault;
use a4co_journal::{AppendError, Disk, OpenError};

/// As in the crash tests, but nothing here gives up: whatever says "full" is tried on.
fn script(driver: &mut Driver<a4co_journal::sim_disk::SimDisk>) {
    if driver.open().is_err() {
        driver.open().unwrap();
    }
    for step in 1_u64..=36 {
        if !driver.append() {
            // Only where "nothing changed" cannot be promised.
            driver.disk.kill();
            driver.open().unwrap();
        }
        if step.is_multiple_of(13) {
            let _ = driver.prepare();
        }
        if step.is_multiple_of(7) {
            let _ = driver.snapshot();
        }
        if step == 17 || step == 33 {
            let _ = driver.retain(step - 2);
        }
    }
}

#[test]
fn full_at_any_operation_changes_nothing_and_passes() {
    let mut calm = Driver::sim();
    script(&mut calm);
    let mut rejected = 0;
    for at in 0..calm.disk.operations() {
        for seed in 0..4 {
            let mut driver = Driver::sim();
            driver.disk.fail_at(at, SimFault::Full);
            script(&mut driver);
            rejected += driver.rejected_full;
            driver.journal = None;
            let mut seed = seed;
            driver.disk.crash(&mut seed);
            // What was rejected must not come back: the model does not know it.
            driver.open().unwrap();
            assert!(driver.append());
        }
    }
    assert!(rejected > 100, "{rejected}");
}

#[test]
fn a_disk_that_stays_full_rejects_and_serves_reads_and_goes_on_when_there_is_room() {
    let mut driver = Driver::sim();
    let disk = driver.disk.clone();
    driver.open().unwrap();
    for _ in 0..5 {
        driver.append();
    }
    driver.prepare().unwrap();
    disk.set_capacity(disk.used_bytes());
    assert_eq!(disk.free_bytes().unwrap(), 0);
    // The rest of this segment and the spare are ours already.
    while driver.journal.as_ref().unwrap().has_room(1500) {
        let before = driver.rejected_full;
        assert!(driver.append());
        assert_eq!(driver.rejected_full, before, "has_room was wrong");
    }
    for _ in 0..20 {
        assert!(driver.append());
        let _ = driver.prepare();
        assert!(driver.snapshot().is_err() || driver.snapshot_at > 0);
    }
    assert!(driver.rejected_full > 0);
    driver.check_content();
    // A restart on the full disk works, and still has no room.
    driver.open().unwrap();
    let rejected = driver.rejected_full;
    for _ in 0..4 {
        assert!(driver.append());
    }
    assert!(driver.rejected_full > rejected);
    assert!(
        disk.list()
            .unwrap()
            .iter()
            .all(|name| !name.ends_with(".tmp"))
    );

    disk.set_capacity(u64::MAX);
    let rejected = driver.rejected_full;
    for _ in 0..20 {
        assert!(driver.append());
    }
    assert_eq!(driver.rejected_full, rejected);
    driver.open().unwrap();
}

#[test]
fn a_new_folder_on_a_full_disk_is_refused_by_name_and_left_as_it_was() {
    let mut driver = Driver::sim();
    driver.disk.set_capacity(4096);
    assert!(matches!(driver.open(), Err(OpenError::Full(_))));
    assert_eq!(driver.disk.list().unwrap(), Vec::<String>::new());
    driver.disk.set_capacity(u64::MAX);
    driver.open().unwrap();
}

#[test]
fn a_record_that_was_rejected_in_the_middle_is_never_read() {
    // Half of these bytes, and zeros, are all of the record: a write that failed in the
    // middle has done everything.
    let mut payload = vec![0; 2000];
    payload[..16].fill(7);
    for power_cut in [false, true] {
        for seed in 0..8 {
            let mut driver = Driver::sim();
            let disk = driver.disk.clone();
            driver.open().unwrap();
            assert!(driver.append());
            disk.fail_at(disk.operations(), SimFault::Full);
            let refused = driver.journal.as_mut().unwrap().append(&payload);
            assert!(matches!(refused, Err(AppendError::Full(_))));
            driver.journal = None;
            if power_cut {
                disk.crash(&mut { seed });
            } else {
                disk.kill();
            }
            // The model knows nothing of it.
            driver.open().unwrap();
            assert!(driver.append());
        }
    }
}
