//! Checking all of a journal, stopped or running, without changing anything.

use std::collections::BTreeMap;

use crate::disk::{Disk, DiskError};
use crate::error::{Damage, DamageKind, ReadError};
use crate::format::{ChainHash, Position};
use crate::layout::{Layout, SnapshotFile};
use crate::open::TornTail;
use crate::reader::{ATTEMPTS, Records};
use crate::scan::Tail;
use crate::snapshot::read_snapshot;

/// What a check of a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Records read, from the oldest that is kept.
    pub records: u64,
    /// The payloads' bytes.
    pub payload_bytes: u64,
    /// The oldest record; none: there are no records.
    pub first_sequence: Option<u64>,
    /// The last intact record; 0: there is none.
    pub last_sequence: u64,
    /// The chain hash after it: two logs with the same one have the same history.
    pub chain_hash: ChainHash,
    /// The base: every record after it should be there.
    pub base_sequence: u64,
    /// All snapshots, the oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// What stands after the last record and is none: on a running instance a record in
    /// flight, on a stopped one what a crash interrupted; the next start cuts it.
    pub torn_tail: Option<TornTail>,
    /// Where the log is damaged; nothing after that place was read.
    pub damage: Option<Damage>,
}

/// One snapshot in a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The last record that it stands for.
    pub sequence: u64,
    /// Whether history before it has been let go.
    pub is_base: bool,
    /// The payload's bytes, if it is intact.
    pub payload_bytes: Option<u64>,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

impl Report {
    /// Whether nothing is damaged. A torn tail is no damage.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.damage.is_none() && self.snapshots.iter().all(|one| one.damage.is_none())
    }
}

/// Checks every record, the chain, and every snapshot.
///
/// # Errors
/// [`ReadError`] when the folder cannot be read at all; damage is in the [`Report`].
pub fn verify<D: Disk>(disk: &D) -> Result<Report, ReadError> {
    let mut attempt = 1;
    if Layout::read(disk)?.copy_is_unfinished {
        return Err(ReadError::UnfinishedCopy);
    }
    loop {
        match verify_once(disk) {
            Err(ReadError::Removed { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(ReadError::Disk(DiskError::NotFound { .. })) if attempt < ATTEMPTS => attempt += 1,
            answer => return answer,
        }
    }
}

/// The same for a folder that is still marked as an unfinished copy.
pub(crate) fn verify_once<D: Disk>(disk: &D) -> Result<Report, ReadError> {
    // Snapshots first: the log only grows, so each of them must be within it.
    let layout = Layout::read(disk)?;
    let mut report = Report {
        base_sequence: layout.base(),
        ..Report::default()
    };
    let mut known = BTreeMap::new();
    for file in layout.live_snapshots() {
        let mut one = SnapshotReport {
            sequence: file.sequence,
            is_base: file.is_base,
            payload_bytes: None,
            damage: None,
        };
        match read_snapshot(disk, file) {
            Ok(snapshot) => {
                one.payload_bytes = Some(snapshot.payload.len() as u64);
                known.insert(file.sequence, snapshot.position.chain_hash);
            }
            Err(ReadError::Damaged(damage)) => one.damage = Some(*damage),
            // Pruned meanwhile.
            Err(ReadError::Disk(error)) if error.is_not_found() && !file.is_base => continue,
            Err(other) => return Err(other),
        }
        report.snapshots.push(one);
    }
    match check_log(disk, &layout, &mut report, &known) {
        Ok(()) => {}
        Err(ReadError::Damaged(damage)) => report.damage = Some(*damage),
        Err(other) => return Err(other),
    }
    Ok(report)
}

fn check_log<D: Disk>(
    disk: &D,
    layout: &Layout,
    report: &mut Report,
    known: &BTreeMap<u64, ChainHash>,
) -> Result<(), ReadError> {
    let mut records = Records::open_oldest(disk.clone())?;
    let mut segment = 0;
    note_place(report, records.position());
    check_snapshot(report, known, records.position());
    loop {
        let next = records.advance();
        if let Some(reader) = records.segment()
            && reader.header().first != segment
        {
            segment = reader.header().first;
            report.segments += 1;
        }
        let Some(sequence) = next? else { break };
        report.first_sequence.get_or_insert(sequence);
        report.records += 1;
        report.payload_bytes += records.payload().len() as u64;
        note_place(report, records.position());
        check_snapshot(report, known, records.position());
    }
    let last = report.last_sequence;
    if let Some(reader) = records.segment()
        && let Tail::Torn { bytes } = records.tail()
    {
        report.torn_tail = Some(TornTail {
            file: reader.name().to_owned(),
            offset: reader.offset(),
            bytes,
            sequence: last + 1,
        });
    }
    if let Some(file) = layout.snapshots.last()
        && file.sequence > last
    {
        let kind = DamageKind::LogTooShort { last };
        return Err(ReadError::damaged(file.name(), 0, file.sequence, kind));
    }
    Ok(())
}

fn note_place(report: &mut Report, position: Position) {
    report.last_sequence = position.sequence;
    report.chain_hash = position.chain_hash;
}

fn check_snapshot(report: &mut Report, known: &BTreeMap<u64, ChainHash>, position: Position) {
    let Some(&found) = known.get(&position.sequence) else {
        return;
    };
    if found == position.chain_hash {
        return;
    }
    for one in &mut report.snapshots {
        if one.sequence == position.sequence {
            let file = SnapshotFile {
                sequence: one.sequence,
                is_base: one.is_base,
            };
            one.damage = Some(Damage {
                file: file.name(),
                offset: 0,
                sequence: one.sequence,
                kind: DamageKind::Chain {
                    found,
                    expected: position.chain_hash,
                },
            });
        }
    }
}
