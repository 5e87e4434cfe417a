//! Copies and checks of a journal, while it lives and while it is being cut.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Driver, small};
use std::sync::atomic::{AtomicBool, Ordering};

use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{CopyError, Disk, Journal, Keep, OpenError, OsDisk, ReadError, Reader, verify};

fn lived() -> Driver<SimDisk> {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for step in 1..=40 {
        driver.append();
        if step % 9 == 0 {
            driver.snapshot().unwrap();
        }
    }
    driver.retain(20).unwrap();
    driver
}

#[test]
fn a_copy_is_the_same_log() {
    let source = lived();
    let to = SimDisk::new();
    let reader = Reader::open(source.disk.clone()).unwrap();
    let copied = reader.copy_to(&to).unwrap();
    assert_eq!(copied.base_sequence, 18);
    assert_eq!(copied.last_sequence, 40);
    let (ours, theirs) = (verify(&source.disk).unwrap(), verify(&to).unwrap());
    assert_eq!(ours, theirs);
    assert_eq!(copied.records, theirs.records);
    assert_eq!(copied.snapshots, theirs.snapshots.len() as u64);

    // Durable, and ready to be used.
    to.crash(&mut 0);
    let mut restored = Driver::over(to.clone());
    restored.acknowledged.clone_from(&source.acknowledged);
    restored.kept_from = source.kept_from;
    restored.open().unwrap();
    for _ in 0..20 {
        assert!(restored.append());
    }
    restored.open().unwrap();

    assert!(matches!(
        reader.copy_to(&to),
        Err(CopyError::Destination(_))
    ));
    restored.journal = None;
    assert!(matches!(reader.copy_to(&to), Err(CopyError::NotEmpty)));
}

#[test]
fn an_interrupted_copy_is_refused_by_everybody() {
    let source = lived();
    let reader = Reader::open(source.disk.clone()).unwrap();
    let calm = SimDisk::new();
    reader.copy_to(&calm).unwrap();
    for cut in 0..calm.operations() {
        for seed in 0..32 {
            let to = SimDisk::new();
            to.cut_power_at(cut);
            assert!(reader.copy_to(&to).is_err());
            to.crash(&mut { seed });
            if to
                .list()
                .unwrap()
                .iter()
                .all(|name| name.ends_with(".lock"))
            {
                continue;
            }
            match Journal::open(to.clone(), small()) {
                Err(OpenError::UnfinishedCopy) => {
                    assert!(matches!(verify(&to), Err(ReadError::UnfinishedCopy)));
                    assert!(matches!(Reader::open(to), Err(ReadError::UnfinishedCopy)));
                }
                // The cut came after the last step that counts.
                Ok((_, recovered)) => assert_eq!(recovered.last_sequence, 40),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_full_destination_is_named() {
    let source = lived();
    let to = SimDisk::new();
    to.set_capacity(20_000);
    let refused = Reader::open(source.disk).unwrap().copy_to(&to);
    let Err(CopyError::Destination(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.is_full());
}

#[test]
fn a_damaged_source_is_not_copied_as_if_it_were_whole() {
    let source = lived();
    let names = source.disk.list().unwrap();
    let segment = names
        .iter()
        .rfind(|name| name.starts_with("segment-"))
        .unwrap();
    // In front of other records.
    source.disk.corrupt(segment, 4096 + 50, 1);
    let refused = Reader::open(source.disk.clone())
        .unwrap()
        .copy_to(&SimDisk::new());
    assert!(
        matches!(refused, Err(CopyError::Source(ReadError::Damaged(_)))),
        "{refused:?}"
    );

    let source = lived();
    source
        .disk
        .corrupt("snapshot-00000000000000000036.snap", 85, 1);
    let to = SimDisk::new();
    let copied = Reader::open(source.disk).unwrap().copy_to(&to).unwrap();
    assert_eq!(copied.snapshots_damaged, 1);
    assert!(verify(&to).unwrap().is_intact());
}

/// Stops the writer also when an assertion fails, or the test would wait for ever.
struct StopOnDrop<'s>(&'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn copies_and_checks_while_another_thread_appends_snapshots_and_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(folder.path().join("live")).unwrap();
    let (mut journal, _) = Journal::open(disk.clone(), small()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let snapshots = journal.snapshot_writer();
            let spares = journal.spare_preparer();
            let mut payload = vec![0; 700];
            while !stop.load(Ordering::Relaxed) {
                let sequence = journal.last_sequence() + 1;
                payload[..8].copy_from_slice(&sequence.to_le_bytes());
                let length = 8 + usize::try_from(sequence * 97 % 690).unwrap();
                journal.append(&payload[..length]).unwrap();
                if sequence % 10 == 0 {
                    spares.prepare().unwrap();
                }
                if sequence % 50 == 0 {
                    snapshots.write(journal.position(), &payload).unwrap();
                    journal
                        .retain(Keep::From(sequence.saturating_sub(100)))
                        .unwrap();
                }
            }
            journal.last_sequence()
        });
        let stopper = StopOnDrop(&stop);
        let reader = Reader::open(disk.clone()).unwrap();
        let mut last = 0;
        let mut copies = 0;
        for round in 0..30 {
            let report = verify(&disk).unwrap();
            assert!(report.is_intact(), "{report:?}");
            assert!(report.last_sequence >= last);
            last = report.last_sequence;
            let to = OsDisk::create(folder.path().join(format!("copy-{round}"))).unwrap();
            match reader.copy_to(&to) {
                Ok(copied) => {
                    copies += 1;
                    assert!(copied.last_sequence >= last);
                    let report = verify(&to).unwrap();
                    assert!(report.is_intact(), "{report:?}");
                    assert_eq!(report.torn_tail, None);
                    assert_eq!(report.chain_hash, copied.chain_hash);
                    Journal::open(to, small()).unwrap();
                }
                // The writer here lets go far more often than anybody would.
                Err(CopyError::Moving { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        drop(stopper);
        assert!(copies > 0);
        assert!(writer.join().unwrap() >= last);
    });
}
