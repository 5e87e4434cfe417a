//! The ordinary life of a log, on the simulated disk and on a real folder.

#![allow(clippy::unwrap_used, missing_docs)]

use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{
    AppendError, Disk, Journal, Keep, LOCK_FILE, OpenError, Options, OsDisk, Position, Reader,
    Recovered, SnapshotError,
};

fn small() -> Options {
    Options {
        segment_bytes: 8192,
        milestones: 6,
    }
}

fn open<D: Disk>(disk: &D) -> (Journal<D>, Recovered) {
    Journal::open(disk.clone(), small()).unwrap()
}

fn payload(sequence: u64) -> Vec<u8> {
    let length = usize::try_from(sequence * 37 % 900).unwrap();
    sequence.to_le_bytes().repeat(length / 8 + 1)
}

#[track_caller]
fn check_content<D: Disk>(disk: &D, from: u64, last: u64) {
    let records: Vec<_> = Reader::open(disk.clone())
        .unwrap()
        .read_from(from)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len() as u64, (last + 1).saturating_sub(from));
    for (record, sequence) in records.iter().zip(from..) {
        assert_eq!(record.sequence, sequence);
        assert_eq!(record.payload, payload(sequence));
    }
}

fn life<D: Disk>(disk: &D) {
    let (mut journal, recovered) = open(disk);
    assert_eq!(recovered.last_sequence, 0);
    assert_eq!(recovered.snapshot, None);
    assert_eq!(journal.position(), Position::START);
    let mut at_30 = None;
    for sequence in 1..=60 {
        if journal.wants_spare() && sequence % 3 == 0 {
            journal.spare_preparer().prepare().unwrap();
            assert!(!journal.wants_spare());
        }
        assert_eq!(journal.append(&payload(sequence)).unwrap(), sequence);
        if sequence == 30 {
            at_30 = Some(journal.position());
        }
        // Another process reads along.
        check_content(disk, sequence.saturating_sub(3).max(1), sequence);
    }
    let at_30 = at_30.unwrap();
    journal
        .snapshot_writer()
        .write(at_30, b"state at 30")
        .unwrap();
    drop(journal);

    let (mut journal, recovered) = open(disk);
    assert_eq!(recovered.last_sequence, 60);
    assert_eq!(recovered.base_sequence, 0);
    assert_eq!(recovered.torn_tail, None);
    assert_eq!(recovered.snapshot.unwrap().payload, b"state at 30");
    check_content(disk, 1, 60);

    assert_eq!(journal.retain(Keep::All).unwrap().segments_removed, 0);
    assert_eq!(journal.retain(Keep::From(30)).unwrap().base_sequence, 0);
    let retained = journal.retain(Keep::From(31)).unwrap();
    assert_eq!(retained.base_sequence, 30);
    assert!(retained.segments_removed > 0);
    check_content(disk, 31, 60);
    assert!(journal.read_from(1).is_err());
    journal.append(&payload(61)).unwrap();
    drop(journal);

    let (journal, recovered) = open(disk);
    assert_eq!(recovered.base_sequence, 30);
    let recovery = journal.reader().recover_from_base().unwrap();
    assert_eq!(recovery.snapshot.unwrap().position, at_30);
    assert_eq!(recovery.records.count(), 31);
}

#[test]
fn life_on_the_simulated_disk() {
    life(&SimDisk::new());
}

#[test]
fn life_on_a_real_folder() {
    let folder = tempfile::tempdir().unwrap();
    life(&OsDisk::create(folder.path().join("new")).unwrap());
}

#[test]
fn one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(folder.path()).unwrap();
    let (journal, _) = open(&disk);
    let refused = Journal::open(OsDisk::create(folder.path()).unwrap(), small());
    let Err(OpenError::Locked(error)) = refused else {
        panic!("opened twice");
    };
    let pid = std::process::id();
    assert!(
        error
            .to_string()
            .ends_with(&format!("the process with pid {pid}"))
    );
    assert!(folder.path().join(LOCK_FILE).exists());
    Reader::open(disk.clone()).unwrap();
    drop(journal);
    open(&disk);
}

#[test]
fn too_large_a_record_changes_nothing() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let limit = journal.max_payload_bytes();
    assert_eq!(limit, 4096 - 32);
    let operations = disk.operations();
    let refused = journal.append(&vec![7; limit + 1]);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(disk.operations(), operations);
    journal.append(&vec![7; limit]).unwrap();
    journal.append(&[]).unwrap();
    journal.append(&vec![7; limit]).unwrap();
    drop(journal);
    assert_eq!(open(&disk).1.last_sequence, 3);
}

#[test]
fn one_write_and_one_sync_a_record() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    for _ in 0..10 {
        let (writes, syncs) = (disk.writes(), disk.syncs());
        journal.append(b"payload").unwrap();
        assert_eq!((disk.writes(), disk.syncs()), (writes + 1, syncs + 1));
    }
}

#[test]
fn impossible_options_are_refused() {
    for segment_bytes in [0, 4096, 8193, 512 * 1024 * 1024] {
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let refused = Journal::open(SimDisk::new(), options);
        assert!(matches!(refused, Err(OpenError::Options(_))));
    }
}

#[test]
fn other_segment_sizes_may_follow() {
    let disk = SimDisk::new();
    let (journal, _) = open(&disk);
    drop(journal);
    // The first segment is empty and too small for this record: it is replaced.
    let large = Options {
        segment_bytes: 64 * 1024,
        ..small()
    };
    let (mut journal, _) = Journal::open(disk.clone(), large).unwrap();
    journal.append(&[1; 20_000]).unwrap();
    journal.append(&[2; 20_000]).unwrap();
    journal.append(&[3; 20_000]).unwrap();
    journal.append(&[4; 20_000]).unwrap();
    drop(journal);
    let (mut journal, recovered) = open(&disk);
    assert_eq!(recovered.last_sequence, 4);
    for sequence in 5..40 {
        assert_eq!(journal.append(&payload(sequence)).unwrap(), sequence);
    }
    drop(journal);
    assert_eq!(open(&disk).1.last_sequence, 39);
}

#[test]
fn retention_keeps_what_was_asked_for_and_not_much_more() {
    const KEPT: u64 = 300;
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let mut most = 0;
    for sequence in 1..=3000_u64 {
        journal.append(b"x").unwrap();
        if sequence % 10 == 0 {
            let writer = journal.snapshot_writer();
            writer.write(journal.position(), b"state").unwrap();
            let from = sequence.saturating_sub(KEPT);
            let base = journal.retain(Keep::From(from)).unwrap().base_sequence;
            assert!(base == 0 || base < from);
            if sequence > 2 * KEPT {
                most = most.max(sequence - base);
            }
            let snapshots = disk.list().unwrap();
            let snapshots = snapshots.iter().filter(|name| name.ends_with(".snap"));
            assert!(snapshots.count() <= 2 + 6 + 1);
        }
    }
    assert!(
        most <= KEPT * 2,
        "{most} records kept where {KEPT} were asked for"
    );
}

#[test]
fn a_snapshot_cannot_be_ahead_of_the_log_or_behind_another() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.append(b"1").unwrap();
    let at_1 = journal.position();
    let writer = journal.snapshot_writer();
    let ahead = Position {
        sequence: 2,
        ..at_1
    };
    assert!(matches!(
        writer.write(ahead, b""),
        Err(SnapshotError::Ahead { .. })
    ));
    journal.append(b"2").unwrap();
    writer.write(journal.position(), b"state").unwrap();
    assert!(matches!(
        writer.write(at_1, b""),
        Err(SnapshotError::Older { .. })
    ));
    // The same place again replaces it, and what is the base stays the base.
    journal.append(b"3").unwrap();
    assert_eq!(journal.retain(Keep::From(3)).unwrap().base_sequence, 2);
    drop(journal);
    let (journal, recovered) = open(&disk);
    assert_eq!(recovered.base_sequence, 2);
    journal
        .snapshot_writer()
        .write(recovered.snapshot.unwrap().position, b"again")
        .unwrap();
    drop(journal);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.base_sequence, 2);
    assert_eq!(recovered.snapshot.unwrap().payload, b"again");
}

#[test]
fn the_handles_may_go_to_other_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Send + Sync + Clone>() {}
    sendable::<Journal<OsDisk>>();
    shareable::<a4co_journal::SparePreparer<OsDisk>>();
    shareable::<a4co_journal::SnapshotWriter<OsDisk>>();
    shareable::<a4co_journal::Retainer<OsDisk>>();
    shareable::<Reader<OsDisk>>();
}

#[test]
fn a_spare_is_kept_over_a_restart_only_if_it_is_whole() {
    let disk = SimDisk::new();
    let (journal, _) = open(&disk);
    journal.spare_preparer().prepare().unwrap();
    drop(journal);
    assert!(!open(&disk).0.wants_spare());
    for damage in [
        |disk: &SimDisk| disk.corrupt("spare.log", 5000, 1),
        |disk: &SimDisk| disk.truncate("spare.log", 4096),
    ] {
        let disk = disk.duplicate();
        assert!(damage(&disk));
        assert!(open(&disk).0.wants_spare());
        assert!(!disk.list().unwrap().contains(&"spare.log".to_owned()));
    }
}
