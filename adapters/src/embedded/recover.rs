//! From the data folder to a host that can go on: newest snapshot and the records after
//! it, or, where the store has to be rebuilt, the whole history that is kept.

use std::path::PathBuf;
use std::time::Instant;

use a4co_core::embedded::{EmbeddedHost, ReplayError};
use a4co_core::record::{self, DecodeError, Record, Snapshot};
use a4co_core::time::Timestamp;
use a4co_journal::{DiskError, Journal, OpenError, Options, OsDisk, ReadError, Reader, TornTail};
use a4co_store::{Reason, StoreError, View};

use super::{EmbeddedConfig, journal_dir, store_dir};

/// Why the engine does not start. Nothing was changed that a later start could not go on
/// from.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made or read.
    #[error("the data folder cannot be used: {0}")]
    Folder(#[from] DiskError),
    /// The journal is in use, damaged, or of another version; the error says what to do.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal could not be read; the error says where and what to do.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record's checksum is right, but its content is not this version's.
    #[error(
        "record {sequence} of the journal in {} cannot be decoded ({source}): start the version of a4co that wrote it, or restore a backup with `a4co restore`",
        folder.display()
    )]
    Decode {
        /// The journal's folder.
        folder: PathBuf,
        /// Which record; for a snapshot, the record that it stands at.
        sequence: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// A record that does not follow from those before it.
    #[error(
        "record {sequence} of the journal in {} does not continue what comes before it ({source}): check it with `a4co verify` and restore a backup with `a4co restore`",
        folder.display()
    )]
    Replay {
        /// The journal's folder.
        folder: PathBuf,
        /// Which record.
        sequence: u64,
        /// What is wrong.
        source: ReplayError,
    },
    /// The store's folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread for the engine.
    #[error("the engine's thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Nothing was there: a new data folder.
    pub is_new: bool,
    /// The last record of the journal.
    pub last_sequence: u64,
    /// Records that were replayed.
    pub replayed: u64,
    /// The store was rebuilt, for this reason.
    pub store_rebuilt: Option<String>,
    /// An unacknowledged record that a crash had interrupted was cut off.
    pub torn_tail: Option<TornTail>,
    /// The time of the newest event that was seen.
    pub last_event_at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
}

pub(super) struct Engine {
    pub(super) host: EmbeddedHost,
    pub(super) journal: Journal<OsDisk>,
    pub(super) view: View,
}

pub(super) fn recover(config: &EmbeddedConfig) -> Result<(Engine, Recovered), StartError> {
    let began = Instant::now();
    let folder = journal_dir(&config.data_dir);
    let disk = OsDisk::create(&folder)?;
    let options = Options {
        segment_bytes: config.storage.segment_bytes,
        ..Options::default()
    };
    let (journal, found) = Journal::open(disk, options)?;
    for damage in &found.damaged_snapshots {
        tracing::warn!(%damage, "a snapshot is damaged; an older one takes its place");
    }
    if let Some(torn) = &found.torn_tail {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            bytes = torn.bytes,
            sequence = torn.sequence,
            "an unfinished record at the end of the journal was cut off"
        );
    }
    let (view, why_rebuilt) = open_view(config, found.last_sequence)?;
    let applied = view.applied();
    let reader = journal.reader();
    let newest = found
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.position.sequence);
    let mut replay = Replay {
        folder,
        view: &view,
        applied,
        replayed: 0,
        last_event_at: Timestamp::UNIX_EPOCH,
    };
    let host = if applied >= newest {
        replay.run(config, &reader, true)?
    } else {
        tracing::info!("the store is rebuilt from the whole journal");
        replay.run(config, &reader, false)?
    };
    let recovered = Recovered {
        is_new: found.last_sequence == 0,
        last_sequence: found.last_sequence,
        replayed: replay.replayed,
        store_rebuilt: why_rebuilt,
        torn_tail: found.torn_tail,
        last_event_at: replay.last_event_at,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    Ok((
        Engine {
            host,
            journal,
            view,
        },
        recovered,
    ))
}

fn open_view(config: &EmbeddedConfig, log_end: u64) -> Result<(View, Option<String>), StartError> {
    let options = a4co_store::Options {
        cache_bytes: config.storage.store_cache_bytes,
        // Lower than where new commands are refused: what is under way may still be applied.
        free_floor_bytes: config.storage.min_free_disk_bytes / 2,
        ..a4co_store::Options::default()
    };
    let opened = View::open(&store_dir(&config.data_dir), options)?;
    let beyond = opened.view.discard_if_beyond(log_end)?;
    let why = match beyond.or(opened.why_rebuilt) {
        // Nothing is lost where there was nothing.
        Some(Reason::New) if log_end == 0 => None,
        why => why.map(|reason| reason.to_string()),
    };
    if let Some(reason) = &why {
        tracing::warn!(reason, "the store is rebuilt from the journal");
    }
    Ok((opened.view, why))
}

struct Replay<'a> {
    folder: PathBuf,
    view: &'a View,
    applied: u64,
    replayed: u64,
    last_event_at: Timestamp,
}

impl Replay<'_> {
    fn run(
        &mut self,
        config: &EmbeddedConfig,
        reader: &Reader<OsDisk>,
        from_newest: bool,
    ) -> Result<EmbeddedHost, StartError> {
        let recovery = if from_newest {
            reader.recover_from_newest()
        } else {
            reader.recover_from_base()
        }?;
        let mut host = match &recovery.snapshot {
            None => EmbeddedHost::new(&config.settings),
            Some(snapshot) => {
                let sequence = snapshot.position.sequence;
                let state: Snapshot = self.decode(sequence, &snapshot.payload)?;
                self.last_event_at = self.last_event_at.max(state.latest());
                if sequence > self.applied {
                    self.view.publish(sequence, state.rows().collect());
                }
                EmbeddedHost::from_snapshot(&config.settings, state)
            }
        };
        let mut records = recovery.records;
        while let Some(sequence) = records.advance()? {
            let record: Record = self.decode(sequence, records.payload())?;
            let wanted = sequence > self.applied;
            let rows = host
                .replay(&record, wanted)
                .map_err(|source| StartError::Replay {
                    folder: self.folder.clone(),
                    sequence,
                    source,
                })?;
            if wanted {
                self.view.publish(sequence, rows);
            }
            self.replayed += 1;
            self.last_event_at = self.last_event_at.max(record.latest());
        }
        Ok(host)
    }

    fn decode<T: serde::de::DeserializeOwned>(
        &self,
        sequence: u64,
        bytes: &[u8],
    ) -> Result<T, StartError> {
        record::decode(bytes).map_err(|source| StartError::Decode {
            folder: self.folder.clone(),
            sequence,
            source,
        })
    }
}
