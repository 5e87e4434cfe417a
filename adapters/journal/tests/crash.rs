//! A power cut at every single operation of the disk: of appends, of going on to the next
//! segment with and without a spare, of snapshots, of retention, of cutting a torn tail,
//! and of the opening that follows.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Driver;

use a4co_journal::Disk;
use a4co_journal::sim_disk::SimDisk;

const SEEDS: u64 = 12;

/// Everything that a journal does to its disk, with about 170 operations.
fn script<D: Disk>(driver: &mut Driver<D>) -> Option<()> {
    driver.open().ok()?;
    for step in 1_u64..=36 {
        driver.append().then_some(())?;
        if step.is_multiple_of(13) {
            driver.prepare().ok()?;
        }
        if step.is_multiple_of(7) {
            driver.snapshot().ok()?;
        }
        if step == 17 || step == 33 {
            driver.retain(step - 2).ok()?;
        }
    }
    Some(())
}

/// Opens until it works: the power may go again and again while opening.
fn reopen_with_cuts(driver: &mut Driver<SimDisk>, seed: &mut u64) {
    for cut_after in [1, 0, 3, 5] {
        let disk = driver.disk.clone();
        disk.cut_power_at(disk.operations() + cut_after);
        if driver.open().is_ok() && !disk.power_is_off() {
            disk.kill();
            driver.journal = None;
        } else {
            driver.journal = None;
            disk.crash(seed);
        }
    }
    driver.open().unwrap();
}

#[test]
fn every_acknowledged_record_survives_a_power_cut_anywhere() {
    let mut full = Driver::sim();
    script(&mut full).unwrap();
    let operations = full.disk.operations();
    assert!(operations > 120, "{operations}");
    for cut in 0..operations {
        for seed in 0..SEEDS {
            let mut driver = Driver::sim();
            let disk = driver.disk.clone();
            disk.cut_power_at(cut);
            let done = script(&mut driver);
            assert!(done.is_none(), "cut {cut} of {operations}");
            driver.journal = None;
            let mut seed = seed.wrapping_mul(0x1234_5678_9abc_def1) + cut;
            disk.crash(&mut seed);
            reopen_with_cuts(&mut driver, &mut seed);
            for _ in 0..8 {
                assert!(driver.append());
            }
            driver.snapshot().unwrap();
            driver.open().unwrap();
            assert_eq!(
                disk.list()
                    .unwrap()
                    .iter()
                    .find(|name| name.ends_with(".tmp")),
                None
            );
        }
    }
}

#[test]
fn a_killed_process_leaves_what_only_the_cache_has_and_it_is_made_durable() {
    let mut full = Driver::sim();
    script(&mut full).unwrap();
    for cut in 0..full.disk.operations() {
        let mut driver = Driver::sim();
        let disk = driver.disk.clone();
        disk.cut_power_at(cut);
        let _ = script(&mut driver);
        driver.journal = None;
        // All of it is in the cache, nothing of it synced.
        disk.kill();
        driver.open().unwrap();
        driver.journal = None;
        let mut seed = 4 * cut;
        disk.crash(&mut seed);
        driver.open().unwrap();
        assert!(driver.append());
    }
}

#[test]
fn a_failed_sync_ends_it_and_the_next_process_trusts_nothing_it_sees() {
    let mut full = Driver::sim();
    script(&mut full).unwrap();
    for at in 0..full.disk.operations() {
        let mut driver = Driver::sim();
        let disk = driver.disk.clone();
        disk.fail_at(at, a4co_journal::sim_disk::SimFault::Io);
        let _ = script(&mut driver);
        driver.journal = None;
        // The record of the failed sync is in the cache, and clean: a sync alone would
        // say yes and write nothing. Once it was read it must not go away any more.
        disk.kill();
        driver.open().unwrap();
        for seed in 0..4 {
            driver.journal = None;
            let mut seed = seed;
            disk.crash(&mut seed);
            driver.open().unwrap();
        }
        assert!(driver.append());
    }
}

#[test]
fn a_torn_record_is_zeroed_before_anything_goes_there() {
    let mut cuts = 0;
    for seed in 0..200 {
        let mut driver = Driver::sim();
        let disk = driver.disk.clone();
        driver.open().unwrap();
        for _ in 0..3 {
            driver.append();
        }
        // The write of the fourth arrives in part.
        disk.cut_power_at(disk.operations() + 1);
        while driver.append() {}
        let mut seed = seed;
        disk.crash(&mut seed);
        let torn = a4co_journal::verify(&disk).unwrap().torn_tail;
        driver.open().unwrap();
        if let Some(torn) = torn {
            cuts += 1;
            let content = disk.content(&torn.file).unwrap();
            let from = usize::try_from(torn.offset).unwrap();
            assert!(content[from..].iter().all(|byte| *byte == 0));
        }
        assert_eq!(a4co_journal::verify(&disk).unwrap().torn_tail, None);
    }
    assert!(cuts > 30, "{cuts}");
}

/// The same disk with syncs that do nothing: the harness must notice.
#[derive(Clone)]
struct LyingDisk(SimDisk);
struct LyingFile(a4co_journal::sim_disk::SimFile);

impl Disk for LyingDisk {
    type File = LyingFile;
    type Lock = a4co_journal::sim_disk::SimLock;
    fn lock(&self) -> Result<Self::Lock, a4co_journal::DiskError> {
        self.0.lock()
    }
    fn create(&self, name: &str) -> Result<LyingFile, a4co_journal::DiskError> {
        self.0.create(name).map(LyingFile)
    }
    fn open(&self, name: &str, write: bool) -> Result<LyingFile, a4co_journal::DiskError> {
        self.0.open(name, write).map(LyingFile)
    }
    fn list(&self) -> Result<Vec<String>, a4co_journal::DiskError> {
        self.0.list()
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), a4co_journal::DiskError> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), a4co_journal::DiskError> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> Result<(), a4co_journal::DiskError> {
        self.0.sync_dir()
    }
    fn free_bytes(&self) -> Result<u64, a4co_journal::DiskError> {
        self.0.free_bytes()
    }
}

impl a4co_journal::DiskFile for LyingFile {
    fn len(&self) -> Result<u64, a4co_journal::DiskError> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, a4co_journal::DiskError> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), a4co_journal::DiskError> {
        self.0.write_at(offset, bytes)
    }
    fn sync_data(&self) -> Result<(), a4co_journal::DiskError> {
        Ok(())
    }
    fn set_len(&self, length: u64) -> Result<(), a4co_journal::DiskError> {
        self.0.set_len(length)
    }
}

#[test]
fn the_harness_notices_a_disk_that_lies_about_its_syncs() {
    let mut lost = 0;
    for seed in 0..20 {
        let sim = SimDisk::new();
        let mut driver = Driver::over(LyingDisk(sim.clone()));
        script(&mut driver).unwrap();
        driver.journal = None;
        let mut seed = seed;
        sim.crash(&mut seed);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.open()));
        lost += u32::from(!matches!(found, Ok(Ok(()))));
    }
    assert!(lost >= 10, "{lost}");
}
