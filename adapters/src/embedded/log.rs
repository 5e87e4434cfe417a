//! The journal as the driver's port, and the thread that does its chores: spare segments,
//! snapshots, retention, and an eye on the free space.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use a4co_core::embedded::EmbeddedHost;
use a4co_core::record::{self, Snapshot};
use a4co_driver::ports::{Log, LogError};
use a4co_journal::{
    AppendError, Disk, Journal, Keep, OsDisk, Position, Retainer, SnapshotWriter, SparePreparer,
};
use a4co_store::View;
use prometheus::Histogram;

use super::{DiskState, EmbeddedConfig, journal_dir};
use crate::nats::RecordTap;

/// How often free space is looked at, and a spare segment that found no room tried again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the end of the process waits for the store before the last snapshot.
const LAST_SNAPSHOT_WAIT: Duration = Duration::from_secs(30);

enum Chore {
    Snapshot { position: Position, state: Vec<u8> },
    PrepareSpare,
}

/// The journal with its chores.
pub(super) struct JournalLog {
    journal: Journal<OsDisk>,
    disk: Arc<DiskState>,
    snapshot_every_bytes: u64,
    bytes_since_snapshot: u64,
    snapshot_is_under_way: Arc<AtomicBool>,
    chores: mpsc::Sender<Chore>,
    chores_thread: JoinHandle<()>,
    append_s: Histogram,
    tap: Option<RecordTap>,
}

impl JournalLog {
    pub(super) fn start(
        journal: Journal<OsDisk>,
        view: View,
        config: &EmbeddedConfig,
        disk: Arc<DiskState>,
        append_s: Histogram,
    ) -> Self {
        let (chores, inbox) = mpsc::channel();
        let snapshot_is_under_way = Arc::new(AtomicBool::new(false));
        let worker = Chores {
            spare: journal.spare_preparer(),
            snapshots: journal.snapshot_writer(),
            retainer: journal.retainer(),
            folder: journal_dir(&config.data_dir),
            history: config.storage.history,
            min_free_bytes: config.storage.min_free_disk_bytes,
            view,
            disk: disk.clone(),
            snapshot_is_under_way: snapshot_is_under_way.clone(),
            wants_spare: journal.wants_spare(),
        };
        let chores_thread = std::thread::spawn(move || worker.run(&inbox));
        Self {
            journal,
            disk,
            snapshot_every_bytes: config.storage.snapshot_every_bytes,
            bytes_since_snapshot: 0,
            snapshot_is_under_way,
            chores,
            chores_thread,
            append_s,
            tap: config.tap.clone(),
        }
    }

    /// Takes a last snapshot, where the host stands between two records, and waits for the
    /// chores to end.
    pub(super) fn finish(mut self, host: &EmbeddedHost) {
        if self.bytes_since_snapshot > 0
            && let Some(state) = host.snapshot()
        {
            self.snapshot(&state);
        }
        drop(self.chores);
        if self.chores_thread.join().is_err() {
            tracing::error!("the journal's chores panicked; the next start takes longer");
        }
    }
}

impl Log for JournalLog {
    fn append(&mut self, record: &[u8]) -> Result<u64, LogError> {
        let timer = self.append_s.start_timer();
        let appended = self.journal.append(record);
        timer.observe_duration();
        if self.journal.wants_spare() {
            // The chores outlive the log, so somebody listens.
            let _ = self.chores.send(Chore::PrepareSpare);
        }
        match appended {
            Ok(sequence) => {
                self.bytes_since_snapshot += u64::try_from(record.len()).unwrap_or(u64::MAX);
                if let Some(tap) = &self.tap {
                    tap.offer(sequence, record);
                }
                Ok(sequence)
            }
            Err(AppendError::Full(error)) => Err(LogError::Full(error.to_string())),
            Err(error) => Err(LogError::Fatal(error.to_string())),
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.journal.has_room(bytes) && self.disk.has_room()
    }

    fn wants_snapshot(&self) -> bool {
        self.bytes_since_snapshot >= self.snapshot_every_bytes
            && !self.snapshot_is_under_way.load(Ordering::Acquire)
    }

    fn snapshot(&mut self, state: &Snapshot) {
        self.bytes_since_snapshot = 0;
        self.snapshot_is_under_way.store(true, Ordering::Release);
        let chore = Chore::Snapshot {
            position: self.journal.position(),
            state: record::encode(state),
        };
        let _ = self.chores.send(chore);
    }
}

struct Chores {
    spare: SparePreparer<OsDisk>,
    snapshots: SnapshotWriter<OsDisk>,
    retainer: Retainer<OsDisk>,
    folder: PathBuf,
    history: Option<Duration>,
    min_free_bytes: u64,
    view: View,
    disk: Arc<DiskState>,
    snapshot_is_under_way: Arc<AtomicBool>,
    wants_spare: bool,
}

impl Chores {
    fn run(mut self, inbox: &mpsc::Receiver<Chore>) {
        loop {
            match inbox.recv_timeout(LOOK_EVERY) {
                Ok(Chore::PrepareSpare) => self.wants_spare = true,
                Ok(Chore::Snapshot { position, state }) => self.snapshot(position, &state),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_free_space();
            if self.wants_spare {
                self.prepare_spare();
            }
        }
    }

    fn prepare_spare(&mut self) {
        match self.spare.prepare() {
            Ok(()) => self.wants_spare = false,
            // Tried again at the next look: without a spare, new commands are refused
            // before the last segment is full.
            Err(error) => tracing::warn!(%error, "no spare segment could be made"),
        }
    }

    /// The state is written once the store has what it rests on, so that a store that is
    /// intact never lacks rows from before the newest snapshot.
    fn snapshot(&mut self, position: Position, state: &[u8]) {
        if self
            .view
            .wait_applied(position.sequence, LAST_SNAPSHOT_WAIT)
        {
            match self.snapshots.write(position, state) {
                Ok(()) => {
                    tracing::debug!(
                        sequence = position.sequence,
                        bytes = state.len(),
                        "snapshot"
                    );
                    self.let_history_go();
                }
                Err(error) => tracing::warn!(%error, "the snapshot could not be written"),
            }
        } else {
            tracing::warn!("no snapshot was taken: the store is behind");
        }
        self.snapshot_is_under_way.store(false, Ordering::Release);
    }

    fn let_history_go(&self) {
        let Some(history) = self.history else { return };
        let Some(keep_from) = newest_older_than(&self.folder, history) else {
            return;
        };
        match self.retainer.retain(Keep::From(keep_from + 1)) {
            Ok(retained) if retained.segments_removed > 0 => tracing::info!(
                segments = retained.segments_removed,
                bytes = retained.bytes_removed,
                "history beyond the configured time was let go"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old history could not be let go"),
        }
    }

    fn look_at_free_space(&self) {
        let free = match OsDisk::open_existing(&self.folder).and_then(|disk| disk.free_bytes()) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "free space could not be looked up");
                return;
            }
        };
        let is_low = free < self.min_free_bytes;
        if self.disk.is_low.swap(is_low, Ordering::AcqRel) != is_low {
            if is_low {
                tracing::warn!(
                    free_bytes = free,
                    min_free_bytes = self.min_free_bytes,
                    "the disk is nearly full: new commands are refused until there is room"
                );
            } else {
                tracing::info!(free_bytes = free, "there is room on the disk again");
            }
        }
    }
}

/// The sequence of the newest snapshot that was written longer ago than this.
fn newest_older_than(folder: &Path, age: Duration) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the files' own times"
    )]
    let before = SystemTime::now().checked_sub(age)?;
    let old = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let sequence = name
            .strip_prefix("snapshot-")?
            .strip_suffix(".snap")?
            .parse()
            .ok()?;
        let written = entry.metadata().ok()?.modified().ok()?;
        (written < before).then_some(sequence)
    };
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(old)
        .max()
}
