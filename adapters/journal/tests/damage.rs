//! Damage of every kind at every byte: what is read is what was appended, or the very last
//! record is cut and that is said, or the place is named. Never anything else.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Driver, small, state};

use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{
    Damage, DamageKind, Journal, Keep, OpenError, Position, ReadError, Reader, verify,
};

const FIRST: &str = "segment-00000000000000000001.log";
const HEADER_BYTES: u64 = 4096;

/// A log of two segments, closed in good order.
struct Log {
    disk: SimDisk,
    payloads: Vec<Vec<u8>>,
    second: String,
    /// File, start and end of each record.
    places: Vec<(String, u64, u64)>,
}

fn log() -> Log {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..8 {
        assert!(driver.append());
    }
    driver.journal = None;
    let mut places = Vec::new();
    let mut file = FIRST.to_owned();
    let mut offset = HEADER_BYTES;
    let names = a4co_journal::Disk::list(&driver.disk).unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    for (payload, sequence) in driver.acknowledged.iter().zip(1_u64..) {
        let own = format!("segment-{sequence:020}.log");
        if names.contains(&own) && sequence > 1 {
            file = own;
            offset = HEADER_BYTES;
        }
        let end = offset + (32 + payload.len() as u64).next_multiple_of(8);
        places.push((file.clone(), offset, end));
        offset = end;
    }
    Log {
        second: file,
        disk: driver.disk,
        payloads: driver.acknowledged,
        places,
    }
}

/// Reads all there is; the error that ended it, if one did.
fn read_all(disk: &SimDisk) -> (Vec<Vec<u8>>, Option<ReadError>) {
    let mut read = Vec::new();
    let records = match Reader::open(disk.clone()).unwrap().read_from(1) {
        Ok(records) => records,
        Err(error) => return (read, Some(error)),
    };
    for record in records {
        match record {
            Ok(record) => {
                read.push(record.payload);
                assert_eq!(record.sequence, read.len() as u64);
            }
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

#[track_caller]
fn damage(answer: Result<(Journal<SimDisk>, a4co_journal::Recovered), OpenError>) -> Damage {
    match answer {
        Err(OpenError::Damaged(damage)) => *damage,
        Err(other) => panic!("{other}"),
        Ok((_, recovered)) => panic!("opened: {recovered:?}"),
    }
}

#[test]
fn one_flipped_bit_at_every_byte() {
    let log = log();
    let mut refused = 0;
    let mut cut = 0;
    for file in [FIRST, &log.second] {
        for offset in 0..8192 {
            let disk = log.disk.duplicate();
            let mask = 1 << (offset % 8);
            assert!(disk.corrupt(file, offset, mask));
            let hit = log
                .places
                .iter()
                .position(|(name, from, to)| name == file && (*from..*to).contains(&offset));
            let seen = verify(&disk).unwrap();
            match Journal::open(disk.clone(), small()) {
                Ok((_, recovered)) => {
                    let expected = match hit {
                        // Only the last may go, since it looks like an interrupted write.
                        Some(hit) => {
                            assert_eq!(hit + 1, log.payloads.len(), "{file} {offset}");
                            let torn = recovered.torn_tail.clone().unwrap();
                            assert_eq!(torn.offset, log.places[hit].1);
                            cut += 1;
                            hit
                        }
                        None => log.payloads.len(),
                    };
                    assert_eq!(recovered.last_sequence, expected as u64);
                    assert!(seen.is_intact());
                    assert_eq!(seen.torn_tail, recovered.torn_tail);
                    let (read, error) = read_all(&disk);
                    assert_eq!(read, log.payloads[..expected]);
                    assert!(error.is_none());
                }
                Err(OpenError::Damaged(damage)) => {
                    refused += 1;
                    assert_eq!(damage.file, file);
                    assert_eq!(seen.damage.as_ref(), Some(&*damage));
                    match hit {
                        Some(hit) => {
                            assert_eq!(damage.offset, log.places[hit].1);
                            assert_eq!(damage.sequence, hit as u64 + 1);
                            assert!(hit + 1 < log.payloads.len());
                        }
                        None => {
                            assert!(offset < 64, "{file} {offset}: {damage}");
                            assert_eq!(damage.offset, 0);
                        }
                    }
                    // Refusing changes nothing, and what is before can still be read.
                    assert_eq!(disk.operations(), log.disk.operations());
                    let (read, error) = read_all(&disk);
                    assert!(log.payloads.starts_with(&read));
                    assert!(matches!(error, Some(ReadError::Damaged(_))));
                }
                Err(other) => panic!("{file} {offset}: {other}"),
            }
        }
    }
    assert!(refused > 3000, "{refused}");
    assert!(cut > 50, "{cut}");
}

#[test]
fn a_segment_cut_to_every_length() {
    let log = log();
    for file in [FIRST, &log.second] {
        for length in 0..8192 {
            let disk = log.disk.duplicate();
            assert!(disk.truncate(file, length));
            let damage = damage(Journal::open(disk.clone(), small()));
            assert_eq!(damage.file, file);
            match damage.kind {
                DamageKind::Header => assert!(length < 64),
                DamageKind::Length { found, expected } => {
                    assert_eq!((found, expected), (length as u64, 8192));
                }
                other => panic!("{other}"),
            }
            assert_eq!(verify(&disk).unwrap().damage, Some(damage));
        }
    }
}

#[test]
fn zeroed_sectors_in_the_middle_are_no_end() {
    let log = log();
    for (index, (file, from, to)) in log.places.iter().enumerate() {
        let disk = log.disk.duplicate();
        let content = disk.content(file).unwrap();
        for offset in *from..*to {
            disk.corrupt(file, offset, content[usize::try_from(offset).unwrap()]);
        }
        let answer = Journal::open(disk, small());
        if index + 1 == log.payloads.len() {
            // Nothing of it is left: the log ends before it, in any judgement.
            assert_eq!(answer.unwrap().1.last_sequence, index as u64);
        } else {
            let damage = damage(answer);
            assert_eq!((&damage.file, damage.offset), (file, *from));
            assert!(matches!(
                damage.kind,
                DamageKind::Record { .. } | DamageKind::Missing { .. }
            ));
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..20 {
        driver.append();
    }
    driver.journal = None;
    let names = a4co_journal::Disk::list(&driver.disk).unwrap();
    assert!(names.len() > 3);
    for (index, name) in names.iter().enumerate() {
        let disk = driver.disk.duplicate();
        assert!(disk.vanish(name));
        let answer = Journal::open(disk.clone(), small());
        let Some(next) = names.get(index + 1) else {
            // The last one: nothing in the other files says that there was one. Only
            // snapshots, and whoever reads the log, remember.
            assert!(answer.unwrap().1.last_sequence < 20);
            continue;
        };
        let damage = damage(answer);
        assert_eq!(&damage.file, next);
        let DamageKind::MissingSegment { missing_first } = damage.kind else {
            panic!("{damage}");
        };
        assert_eq!(name, &format!("segment-{missing_first:020}.log"));
        assert_eq!(verify(&disk).unwrap().damage, Some(damage));
    }
}

#[test]
fn a_log_shorter_than_its_newest_snapshot_is_refused() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..4 {
        driver.append();
    }
    let earlier = driver.disk.content(FIRST).unwrap();
    driver.append();
    driver.snapshot().unwrap();
    driver.journal = None;
    driver.disk.plant(FIRST, &earlier);
    let found = damage(Journal::open(driver.disk.clone(), small()));
    assert_eq!(found.kind, DamageKind::LogTooShort { last: 4 });
    assert_eq!(found.sequence, 5);
    assert!(found.to_string().contains("a4co restore"));
    // Also when that snapshot itself is damaged: its name says enough.
    driver.disk.corrupt(&found.file, 90, 1);
    let again = damage(Journal::open(driver.disk.clone(), small()));
    assert_eq!(again.kind, DamageKind::LogTooShort { last: 4 });
    // And when all segments are gone.
    assert!(driver.disk.vanish(FIRST));
    let gone = damage(Journal::open(driver.disk.clone(), small()));
    assert_eq!(gone.kind, DamageKind::NoSegment);
}

#[test]
fn files_of_another_log_do_not_fit() {
    let log = log();
    let mut other = Driver::sim();
    other.open().unwrap();
    // The same lengths, one payload that differs.
    let journal = other.journal.as_mut().unwrap();
    let mut known = Position::START;
    for (payload, sequence) in log.payloads.iter().zip(1_u64..) {
        let mut payload = payload.clone();
        payload[0] ^= u8::from(sequence == 2);
        journal.append(&payload).unwrap();
        if sequence == 8 {
            known = journal.position();
            let writer = journal.snapshot_writer();
            writer.write(known, &state(&log.payloads)).unwrap();
        }
    }
    other.journal = None;

    let disk = log.disk.duplicate();
    disk.plant(&log.second, &other.disk.content(&log.second).unwrap());
    let mixed = damage(Journal::open(disk, small()));
    assert_eq!((&mixed.file, mixed.offset), (&log.second, 0));
    assert!(matches!(mixed.kind, DamageKind::Chain { .. }));

    let disk = log.disk.duplicate();
    let name = "snapshot-00000000000000000008.snap";
    disk.plant(name, &other.disk.content(name).unwrap());
    let foreign = damage(Journal::open(disk.clone(), small()));
    let DamageKind::Chain { expected, .. } = foreign.kind else {
        panic!("{foreign}");
    };
    assert_eq!(expected, known.chain_hash);
    let report = verify(&disk).unwrap();
    assert!(report.snapshots[0].damage.is_some());

    // A segment under another's name.
    let disk = log.disk.duplicate();
    disk.plant(&log.second, &disk.content(FIRST).unwrap());
    let renamed = damage(Journal::open(disk, small()));
    assert_eq!(renamed.kind, DamageKind::Name { found: 1 });
}

/// A record with a right checksum in place of the last one.
fn forge(log: &Log, change: impl Fn(&mut Vec<u8>)) -> Damage {
    let (file, from, to) = log.places.last().unwrap();
    let (from, to) = (
        usize::try_from(*from).unwrap(),
        usize::try_from(*to).unwrap(),
    );
    let mut content = log.disk.content(file).unwrap();
    let seed = crc32c::crc32c(&content[40..56]);
    let mut record = content[from..to].to_vec();
    change(&mut record);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..4]), &record[8..]);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
    content[from..to].copy_from_slice(&record);
    let disk = log.disk.duplicate();
    disk.plant(file, &content);
    let found = damage(Journal::open(disk.clone(), small()));
    assert_eq!((&found.file, found.offset), (file, from as u64));
    assert_eq!(found.sequence, 8);
    assert_eq!(verify(&disk).unwrap().damage.as_ref(), Some(&found));
    found
}

#[test]
fn a_whole_record_that_does_not_fit_is_no_torn_one() {
    let log = log();
    let changed = forge(&log, |record| record[40] ^= 1);
    assert!(matches!(changed.kind, DamageKind::Chain { .. }));
    let rehashed = forge(&log, |record| record[20] ^= 1);
    assert!(matches!(rehashed.kind, DamageKind::Chain { .. }));
    let ahead = forge(&log, |record| record[8] = 9);
    assert_eq!(ahead.kind, DamageKind::Sequence { found: 9 });
    let behind = forge(&log, |record| record[8] = 3);
    assert_eq!(behind.kind, DamageKind::Sequence { found: 3 });
}

#[test]
fn a_damaged_snapshot_falls_back_and_says_so() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..3 {
        driver.append();
        driver.snapshot().unwrap();
    }
    driver.journal = None;
    let name = "snapshot-00000000000000000003.snap";
    let length = driver.disk.content(name).unwrap().len();
    for offset in 0..length {
        let disk = driver.disk.duplicate();
        assert!(disk.corrupt(name, offset as u64, 0x10));
        let (journal, recovered) = Journal::open(disk.clone(), small()).unwrap();
        assert_eq!(recovered.snapshot.unwrap().position.sequence, 2);
        assert_eq!(recovered.damaged_snapshots.len(), 1);
        assert_eq!(recovered.damaged_snapshots[0].file, name);
        assert_eq!(recovered.last_sequence, 3);
        let recovery = journal.reader().recover_from_newest().unwrap();
        assert_eq!(recovery.damaged_snapshots, recovered.damaged_snapshots);
        assert_eq!(recovery.records.count(), 1);
        assert!(!verify(&disk).unwrap().is_intact());
    }
    for length in 0..length {
        let disk = driver.disk.duplicate();
        assert!(disk.truncate(name, length));
        let recovered = Journal::open(disk, small()).unwrap().1;
        assert_eq!(recovered.damaged_snapshots.len(), 1);
    }
}

#[test]
fn without_an_intact_snapshot_history_that_was_let_go_is_refused() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..20 {
        driver.append();
    }
    driver.snapshot().unwrap();
    driver.append();
    driver.retain(21).unwrap();
    driver.snapshot().unwrap();
    driver.journal = None;
    let base = "base-00000000000000000020.snap";
    let newest = "snapshot-00000000000000000021.snap";

    // A damaged base: the fast restart works, the rebuild falls back and says so.
    let disk = driver.disk.duplicate();
    assert!(disk.corrupt(base, 85, 1));
    let (journal, recovered) = Journal::open(disk.clone(), small()).unwrap();
    assert_eq!(recovered.base_sequence, 20);
    assert_eq!(recovered.damaged_snapshots, Vec::new());
    let recovery = journal.reader().recover_from_base().unwrap();
    assert_eq!(recovery.snapshot.unwrap().position.sequence, 21);
    assert_eq!(recovery.damaged_snapshots[0].file, base);

    assert!(disk.corrupt(newest, 85, 1));
    drop(journal);
    let found = damage(Journal::open(disk, small()));
    assert_eq!((found.kind, found.sequence), (DamageKind::NoSnapshot, 20));

    // The base gone: then the segments before it are missing, and nothing says why.
    let disk = driver.disk.duplicate();
    assert!(disk.vanish(base));
    let found = damage(Journal::open(disk, small()));
    assert!(matches!(found.kind, DamageKind::MissingSegment { .. }));
}

/// What was hashed when the log was opened is not hashed again, and all the same nothing
/// else than what was appended is read.
#[test]
fn damage_that_comes_after_opening_is_found_by_the_next_reading() {
    let log = log();
    for (name, start, end) in &log.places {
        for offset in (*start..*end).step_by(7) {
            let disk = log.disk.duplicate();
            let (journal, _) = Journal::open(disk.clone(), small()).unwrap();
            assert!(disk.corrupt(name, offset, 0x20));
            let mut records = journal.reader().recover_from_newest().unwrap().records;
            let mut read = 0;
            let ended = loop {
                match records.advance() {
                    Ok(Some(sequence)) => {
                        assert_eq!(*records.payload(), log.payloads[read]);
                        read += 1;
                        assert_eq!(sequence, read as u64);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let is_last = Some(&(name.clone(), *start, *end)) == log.places.last();
            assert!(read < log.payloads.len(), "{name} at {offset}");
            assert_eq!(ended.is_none(), is_last, "{name} at {offset}: {ended:?}");
        }
    }
}

#[test]
fn a_damaged_snapshot_never_becomes_the_base() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..3 {
        for _ in 0..6 {
            driver.append();
        }
        driver.snapshot().unwrap();
    }
    driver
        .disk
        .corrupt("snapshot-00000000000000000012.snap", 82, 4);
    let journal = driver.journal.as_ref().unwrap();
    let retained = journal.retain(Keep::From(18)).unwrap();
    assert_eq!(retained.base_sequence, 6);
}

#[test]
fn old_history_damaged_behind_a_snapshot_is_found_when_it_is_read() {
    let mut driver = Driver::sim();
    driver.open().unwrap();
    for _ in 0..20 {
        driver.append();
    }
    driver.snapshot().unwrap();
    driver.journal = None;
    assert!(driver.disk.corrupt(FIRST, HEADER_BYTES + 40, 1));
    // Fast: what is behind the snapshot is not read.
    let (journal, _) = Journal::open(driver.disk.clone(), small()).unwrap();
    let mut rebuilt = journal.reader().recover_from_base().unwrap().records;
    let Some(Err(ReadError::Damaged(found))) = rebuilt.next() else {
        panic!("read over damage");
    };
    assert_eq!((&*found.file, found.offset), (FIRST, HEADER_BYTES));
    assert!(rebuilt.next().is_none());
    assert_eq!(verify(&driver.disk).unwrap().damage, Some(*found));
}

#[test]
fn a_newer_format_is_named_as_such() {
    let log = log();
    let mut content = log.disk.content(FIRST).unwrap();
    content[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&content[..12]), &content[16..64]);
    content[12..16].copy_from_slice(&crc.to_le_bytes());
    log.disk.plant(FIRST, &content);
    let found = damage(Journal::open(log.disk, small()));
    assert_eq!(found.kind, DamageKind::Version(2));
}
