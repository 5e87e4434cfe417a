//! `a4co verify`: the journal's files, what they replay to, and whether everything else
//! agrees with it.
//!
//! The order is that of trust: first the files, then the invariants over the replay, then
//! snapshots, store and gateway's books, each compared with the replay.

mod api;
mod books;
mod cluster;
mod contents;
mod findings;
mod parts;
mod replay;
mod report;
mod shards;
mod snapshots;
mod store;
mod totals;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use a4co_core::ids::OrderId;
use a4co_core::record::{self, Record, Snapshot};
use a4co_journal::{Disk, DiskError, OsDisk, OsLock, ReadError, Reader};
use a4co_store::StoreError;

use self::replay::{Replay, touched_orders};
use self::store::Store;
use super::progress::Progress;
use crate::embedded::{journal_dir, store_dir};

pub(super) use self::books::BooksCut;
pub use self::cluster::{ClusterReport, JournalCut, verify_cluster};
pub(super) use self::cluster::{journals, replay_cluster, replay_cut};
pub use self::contents::{Contents, EventCounts, MoneySums, StockSummary};
pub use self::findings::{Finding, FindingKind, Findings};
pub use self::report::{Checked, JournalSummary, SnapshotSummary, VerifyReport};
pub(super) use self::snapshots::difference;

/// Records between two notes of progress.
const NOTE_EVERY: u64 = 1024;

/// What to verify.
#[derive(Debug, Clone)]
pub struct VerifyArgs {
    /// The data folder, of a stopped or a running instance, or a backup's.
    pub data_dir: PathBuf,
    /// Where a running instance answers, `http://host:port`: its store is then compared by
    /// what it says.
    pub url: Option<String>,
}

/// Why nothing could be verified. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no journal.
    #[error(
        "there is no journal in {}: name the folder that `a4co serve --data-dir` uses, or a backup's",
        folder.display()
    )]
    NoJournal {
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder holds a copy that did not finish.
    #[error(
        "the journal in {} is a copy that was interrupted: empty the folder and run `a4co restore` (or `a4co backup`) again",
        folder.display()
    )]
    Unfinished {
        /// The data folder.
        folder: PathBuf,
    },
    /// History was let go while it was read.
    #[error("history was let go while it was being read: run `a4co verify` again ({0})")]
    Moving(ReadError),
    /// The journal's files cannot be read.
    #[error("the journal cannot be read: {0}; check the folder's permissions and the disk")]
    Disk(DiskError),
    /// The store's folder cannot be used.
    #[error("{0}; check the folder's permissions and the disk")]
    Store(#[from] StoreError),
}

/// Checks a data folder; see the module's page.
///
/// # Errors
/// [`VerifyError`], where there is nothing to check. What is wrong is in the report.
pub fn verify(args: &VerifyArgs, progress: &dyn Progress) -> Result<VerifyReport, VerifyError> {
    let folder = &args.data_dir;
    let disk = open_journal(folder)?;
    let owner = Owner::of(&disk);
    let mut findings = Findings::default();
    let store = match &owner {
        Owner::Us(_) => store::open(&store_dir(folder), &mut findings)?,
        Owner::Process => Store::Without(
            "the instance is running, and holds it; give its --url, or stop it".to_owned(),
        ),
        Owner::Unknown(why) => Store::Without(format!(
            "whether an instance is running could not be found out ({why})"
        )),
    };
    let applied = match &store {
        Store::Open(inspection) => inspection.applied(),
        Store::Without(_) => u64::MAX,
    };
    let mut checked = check_journal(&disk, applied, &mut findings, progress)?;
    let stopped_early = || Checked::NotChecked {
        why: "the journal could not be replayed to its end".to_owned(),
    };
    let last = checked.replay.last_sequence;
    let touched_since = || match owner {
        Owner::Us(_) => HashSet::new(),
        Owner::Process | Owner::Unknown(_) => touched_after(&disk, last),
    };
    let store = match (store, &args.url) {
        _ if !checked.is_whole => stopped_early(),
        (Store::Open(inspection), _) => {
            progress.begin("comparing the store", None);
            let note = |rows: u64| note(progress, rows);
            store::compare(&inspection, &mut checked.replay, &mut findings, note)
        }
        (Store::Without(_), Some(url)) if !matches!(owner, Owner::Us(_)) => {
            progress.begin("comparing the API", None);
            let note = |orders: u64| note(progress, orders);
            api::compare(url, &mut checked.replay, touched_since, &mut findings, note)
        }
        (Store::Without(why), _) => Checked::NotChecked { why },
    };
    let gateway_books = if checked.is_whole {
        progress.begin("comparing the books", None);
        books::compare(folder, &mut checked.replay, touched_since, &mut findings)
    } else {
        stopped_early()
    };
    progress.end();
    let is_running = matches!(owner, Owner::Process);
    Ok(checked.report(folder, is_running, store, gateway_books, findings))
}

/// The journal's folder, for reading.
pub(super) fn open_journal(data_dir: &Path) -> Result<OsDisk, VerifyError> {
    let folder = || data_dir.to_owned();
    let disk = match OsDisk::open_existing(journal_dir(data_dir)) {
        Ok(disk) => disk,
        Err(error) if error.is_not_found() => {
            return Err(VerifyError::NoJournal { folder: folder() });
        }
        Err(error) => return Err(VerifyError::Disk(error)),
    };
    match Reader::open(disk.clone()) {
        Ok(_) => Ok(disk),
        Err(ReadError::UnfinishedCopy) => Err(VerifyError::Unfinished { folder: folder() }),
        Err(ReadError::Disk(error)) => Err(VerifyError::Disk(error)),
        Err(error) => Err(VerifyError::Moving(error)),
    }
}

/// Who has the data folder.
enum Owner {
    /// Nobody else: it is held, so that no process starts meanwhile.
    Us(#[expect(dead_code, reason = "held, and let go when dropped")] OsLock),
    /// A running process.
    Process,
    /// It could not be found out: a read-only disk, for one.
    Unknown(DiskError),
}

impl Owner {
    fn of(disk: &OsDisk) -> Self {
        match disk.lock() {
            Ok(lock) => Self::Us(lock),
            Err(DiskError::Locked { .. }) => Self::Process,
            Err(error) => Self::Unknown(error),
        }
    }
}

/// A journal that was checked and replayed.
pub(super) struct CheckedJournal {
    replay: Replay,
    summary: JournalSummary,
    /// Every record was replayed.
    is_whole: bool,
}

/// Checks the files, replays them, asks the invariants and compares the snapshots.
pub(super) fn check_journal(
    disk: &OsDisk,
    store_applied: u64,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<CheckedJournal, VerifyError> {
    progress.begin("checking the files", None);
    let files = a4co_journal::verify(disk).map_err(read_error)?;
    if let Some(damage) = &files.damage {
        let place = format!("{} at byte {}", damage.file, damage.offset);
        findings.damage("journal_intact", place, damage.to_string());
    }
    for damage in files.snapshots.iter().filter_map(|one| one.damage.as_ref()) {
        findings.damage("snapshot_intact", damage.file.clone(), damage.to_string());
    }
    let reader = Reader::open(disk.clone()).map_err(read_error)?;
    let total = files.last_sequence.saturating_sub(files.base_sequence);
    progress.begin("replaying the journal", Some(total));
    let mut summary = JournalSummary {
        segments: files.segments,
        records: files.records,
        records_replayed: 0,
        payload_bytes: files.payload_bytes,
        last_sequence: files.last_sequence,
        base_sequence: files.base_sequence,
        chain_hash: files.chain_hash.to_string(),
        snapshots: Vec::new(),
        torn_tail: files.torn_tail.map(|torn| {
            format!(
                "{} bytes of an unacknowledged record at byte {} of {}, which the next start cuts \
                 off",
                torn.bytes, torn.offset, torn.file
            )
        }),
    };
    for one in &files.snapshots {
        summary.snapshots.push(SnapshotSummary {
            sequence: one.sequence,
            is_base: one.is_base,
            equals_replay: None,
        });
    }
    let (replay, is_whole) = run_replay(&reader, store_applied, &mut summary, findings, progress)?;
    Ok(CheckedJournal {
        replay,
        summary,
        is_whole: is_whole && files.damage.is_none(),
    })
}

/// The replay, and whether it came to the end.
fn run_replay(
    reader: &Reader<OsDisk>,
    store_applied: u64,
    summary: &mut JournalSummary,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(Replay, bool), VerifyError> {
    let recovery = match reader.recover_from_base() {
        Ok(recovery) => recovery,
        Err(ReadError::Damaged(damage)) => {
            let place = format!("{} at byte {}", damage.file, damage.offset);
            findings.damage("journal_intact", place, damage.to_string());
            return Ok((Replay::new(None, store_applied), false));
        }
        Err(error) => return Err(read_error(error)),
    };
    let mut base = None;
    if let Some(snapshot) = &recovery.snapshot {
        let sequence = snapshot.position.sequence;
        match record::decode::<Snapshot>(&snapshot.payload) {
            Ok(state) => base = Some((sequence, state)),
            Err(error) => {
                let subject = format!("snapshot at record {sequence}");
                findings.damage("snapshot_decodable", subject, error.to_string());
                return Ok((Replay::new(None, store_applied), false));
            }
        }
    }
    let from = base.as_ref().map_or(0, |(sequence, _)| *sequence);
    let checked_to = summary.last_sequence;
    let mut pending: BTreeSet<u64> = (summary.snapshots.iter())
        .map(|one| one.sequence)
        .filter(|sequence| *sequence > from)
        .collect();
    let mut replay = Replay::new(base, store_applied);
    let mut records = recovery.records;
    let is_whole = loop {
        let sequence = match records.advance() {
            Ok(Some(sequence)) => sequence,
            Ok(None) => break true,
            Err(ReadError::Damaged(damage)) => {
                let place = format!("{} at byte {}", damage.file, damage.offset);
                findings.damage("journal_intact", place, damage.to_string());
                break false;
            }
            Err(error) => return Err(read_error(error)),
        };
        let subject = || format!("record {sequence}");
        let record: Record = match record::decode(records.payload()) {
            Ok(record) => record,
            Err(error) => {
                findings.damage("record_decodable", subject(), error.to_string());
                break false;
            }
        };
        if let Err(error) = replay.apply(sequence, &record, findings) {
            findings.damage("journal_contiguous", subject(), error.to_string());
            break false;
        }
        summary.records_replayed += 1;
        if sequence > checked_to {
            // Appended since the files were checked.
            summary.records += 1;
            summary.payload_bytes += records.payload().len() as u64;
        }
        note(progress, summary.records_replayed);
        if pending.remove(&sequence) {
            let equal = compare_snapshot(reader, sequence, &replay, findings)?;
            let mut listed = summary.snapshots.iter_mut();
            if let Some(one) = listed.find(|one| one.sequence == sequence) {
                one.equals_replay = equal;
            }
        }
    };
    summary.last_sequence = replay.last_sequence;
    summary.chain_hash = records.position().chain_hash.to_string();
    replay.finish(findings);
    Ok((replay, is_whole))
}

fn compare_snapshot(
    reader: &Reader<OsDisk>,
    sequence: u64,
    replay: &Replay,
    findings: &mut Findings,
) -> Result<Option<bool>, VerifyError> {
    let kept = match reader.snapshot_at(sequence) {
        Ok(Some(kept)) => kept,
        // Thinned out meanwhile; or damaged, which is among the findings.
        Ok(None) | Err(ReadError::Damaged(_)) => return Ok(None),
        Err(error) => return Err(read_error(error)),
    };
    Ok(Some(match record::decode::<Snapshot>(&kept.payload) {
        Ok(kept) => {
            let replayed = replay.host.snapshot();
            snapshots::compare(sequence, &kept, replayed.as_ref(), findings)
        }
        Err(error) => {
            let subject = format!("snapshot at record {sequence}");
            findings.damage("snapshot_decodable", subject, error.to_string());
            false
        }
    }))
}

/// The orders that records after this one are about, as far as the log goes now.
fn touched_after(disk: &OsDisk, sequence: u64) -> HashSet<OrderId> {
    let mut touched = HashSet::new();
    let records = Reader::open(disk.clone()).and_then(|reader| reader.read_from(sequence + 1));
    for record in records.into_iter().flatten().map_while(Result::ok) {
        if let Ok(record) = record::decode::<Record>(&record.payload) {
            touched.extend(touched_orders(&record));
        }
    }
    touched
}

impl CheckedJournal {
    /// The state that the replay has come to.
    pub(super) fn state(&self) -> Option<Snapshot> {
        self.replay.state()
    }

    /// What it replays to, counted.
    pub(super) fn contents(&self) -> Contents {
        Contents::of(&self.replay)
    }

    /// The last record, the one that history begins after, and the chain hash at the end.
    pub(super) fn ends(&self) -> (u64, u64, String) {
        let JournalSummary {
            last_sequence,
            base_sequence,
            chain_hash,
            ..
        } = &self.summary;
        (*last_sequence, *base_sequence, chain_hash.clone())
    }

    /// Which of the gateway's books belong to the past of this journal's end.
    pub(super) fn books_cut(&self) -> BooksCut<'_> {
        BooksCut::new(&self.replay)
    }

    /// Compares the books in a folder, to which nobody writes.
    pub(super) fn compare_books(&mut self, folder: &Path, findings: &mut Findings) -> Checked {
        books::compare(folder, &mut self.replay, HashSet::new, findings)
    }

    pub(super) fn report(
        self,
        folder: &Path,
        is_running: bool,
        store: Checked,
        gateway_books: Checked,
        findings: Findings,
    ) -> VerifyReport {
        let Self {
            replay, summary, ..
        } = self;
        VerifyReport {
            data_dir: folder.to_owned(),
            is_running,
            journal: summary,
            contents: Contents::of(&replay),
            store,
            gateway_books,
            findings,
        }
    }
}

fn note(progress: &dyn Progress, done: u64) {
    if done.is_multiple_of(NOTE_EVERY) {
        progress.at(done);
    }
}

fn read_error(error: ReadError) -> VerifyError {
    match error {
        ReadError::Disk(error) => VerifyError::Disk(error),
        other => VerifyError::Moving(other),
    }
}
