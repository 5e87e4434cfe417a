//! The relay: public events out of the journal, after the commit.
//!
//! ```text
//! What it promises
//!  - every public event of every record from where it last stood, at least once;
//!  - of one order and one stream, in the order of the journal: one at a time, each
//!    acknowledged before the next is sent;
//!  - where it stands is written down after the acknowledgements, so that a restart skips
//!    nothing, and repeats at most what a second brings; the streams know those ids.
//! ```
//! The engine never waits for it: a record that it cannot take at once, it reads from the
//! journal later.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use a4co_core::record::{self, Record};
use a4co_journal::{OsDisk, Reader};
use async_nats::jetstream::Context;
use tokio::sync::{mpsc, oneshot};

use super::connect::{Connected, NatsConfig, connect};
use super::publish::{RETRY_FIRST, RETRY_LONGEST, RelayMetrics, pause, publish_all};
use super::streams;
use crate::embedded::journal_dir;
use crate::events::{Traces, project};

/// Records that may wait for the relay before it has to read them from the journal.
const TAP_RECORDS_MAX: usize = 1_024;

/// Records whose events go out together, at most.
const BATCH_RECORDS_MAX: usize = 256;

/// How often the position is written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the last events.
const LAST_EVENTS_WAIT: Duration = Duration::from_secs(5);

/// The file in the data folder that says how far the relay has got.
const POSITION_FILE: &str = "events-relay.position";

/// Where the log hands over each record once it is durable.
#[derive(Debug, Clone)]
pub struct RecordTap {
    records: mpsc::Sender<(u64, Vec<u8>)>,
    /// A record found no room. There were others then, so the relay comes by and looks.
    missed: Arc<AtomicBool>,
}

impl RecordTap {
    /// Hands a record over if there is room, and never waits.
    pub fn offer(&self, sequence: u64, record: &[u8]) {
        match self.records.try_reserve() {
            Ok(place) => place.send((sequence, record.to_vec())),
            Err(_) => self.missed.store(true, Ordering::Release),
        }
    }
}

/// The relay of one embedded engine.
#[derive(Debug)]
pub struct Relay {
    data_dir: PathBuf,
    nats: NatsConfig,
    metrics: RelayMetrics,
    records: mpsc::Receiver<(u64, Vec<u8>)>,
    missed: Arc<AtomicBool>,
    /// The last record whose events are all acknowledged.
    position: u64,
    saved: u64,
    saved_at: Instant,
}

/// The relay is to end.
struct Ended;

impl Relay {
    /// A relay of this folder's journal, and the tap that feeds it.
    #[must_use]
    pub fn new(data_dir: &Path, nats: NatsConfig, metrics: RelayMetrics) -> (Self, RecordTap) {
        let (tap, records) = mpsc::channel(TAP_RECORDS_MAX);
        let position = saved_position(data_dir);
        let missed = Arc::new(AtomicBool::new(false));
        let relay = Self {
            data_dir: data_dir.to_owned(),
            nats,
            metrics,
            records,
            missed: missed.clone(),
            position,
            saved: position,
            saved_at: Instant::now(),
        };
        let tap = RecordTap {
            records: tap,
            missed,
        };
        (relay, tap)
    }

    /// Relays until `end` is told, then for a few seconds more what is left.
    pub async fn run(mut self, mut traces: Traces, end: oneshot::Receiver<()>) {
        let (late, mut too_late) = oneshot::channel::<()>();
        let patience = tokio::spawn(async move {
            let _ = end.await;
            tokio::time::sleep(LAST_EVENTS_WAIT).await;
            drop(late);
        });
        tokio::select! {
            biased;
            _ = &mut too_late => tracing::warn!(
                "public events are left to be published; the next start goes on with them"
            ),
            Ended = self.relay(&mut traces) => {}
        }
        patience.abort();
        self.save();
    }

    async fn relay(&mut self, traces: &mut Traces) -> Ended {
        let nats = self.connected().await;
        // It ends with the runtime, and only looks.
        tokio::spawn(self.metrics.dead_letters.clone().watch(nats.clone()));
        loop {
            if let Err(Ended) = self.catch_up(&nats.jetstream, traces).await {
                return Ended;
            }
            if self.read_tap(&nats.jetstream, traces).await.is_err() {
                return Ended;
            }
        }
    }

    /// Connects and looks at the streams, until both are as they must be.
    async fn connected(&self) -> Connected {
        let mut wait = RETRY_FIRST;
        loop {
            let tried = async {
                let nats = connect(&self.nats, "a4co events").await?;
                streams::set_up(&nats, &streams::public(self.nats.replicas), true).await?;
                Ok::<_, super::NatsError>(nats)
            };
            match tried.await {
                Ok(nats) => return nats,
                Err(error) => {
                    self.metrics.failures.inc();
                    tracing::warn!(%error, "public events cannot be published; trying again");
                }
            }
            wait = pause(wait).await;
        }
    }

    /// Publishes what the journal holds after the position.
    async fn catch_up(&mut self, jetstream: &Context, traces: &mut Traces) -> Result<(), Ended> {
        loop {
            let (folder, after) = (journal_dir(&self.data_dir), self.position);
            let read = tokio::task::spawn_blocking(move || read_after(&folder, after)).await;
            let batch = match read {
                Err(_) => return Err(Ended),
                Ok(Err(error)) => {
                    self.metrics.failures.inc();
                    tracing::error!(%error, "the journal cannot be read for its public events; trying again");
                    tokio::time::sleep(RETRY_LONGEST).await;
                    continue;
                }
                Ok(Ok(batch)) => batch,
            };
            if batch.begins > after + 1 {
                tracing::error!(
                    after,
                    begins = batch.begins,
                    "history_days has removed records whose events were not published"
                );
            }
            if batch.records.is_empty() {
                // Behind the end of a journal that was restored from a backup: what it
                // appends from now on is new.
                self.position = self.position.min(batch.last);
                return Ok(());
            }
            self.publish(jetstream, traces, batch.records).await;
        }
    }

    /// Publishes what the tap brings, until something is missing in it.
    async fn read_tap(&mut self, jetstream: &Context, traces: &mut Traces) -> Result<(), Ended> {
        loop {
            let Some(first) = self.records.recv().await else {
                // The engine has ended; what the tap had no room for is in the journal.
                return match self.catch_up(jetstream, traces).await {
                    Ok(()) | Err(Ended) => Err(Ended),
                };
            };
            let mut batch = Vec::new();
            let mut has_gap = false;
            let mut next = Some(first);
            while let Some((sequence, bytes)) = next.take() {
                let expected = self.position + 1 + batch.len() as u64;
                if sequence == expected {
                    match record::decode(&bytes) {
                        Ok(record) => batch.push((sequence, record)),
                        Err(error) => unreachable!("our own record: {error}"),
                    }
                } else if sequence > expected {
                    has_gap = true;
                    break;
                }
                if batch.len() < BATCH_RECORDS_MAX {
                    next = self.records.try_recv().ok();
                }
            }
            self.publish(jetstream, traces, batch).await;
            if has_gap || self.missed.swap(false, Ordering::AcqRel) {
                return Ok(());
            }
        }
    }

    /// Publishes the events of these records, and moves the position behind them.
    async fn publish(
        &mut self,
        jetstream: &Context,
        traces: &mut Traces,
        records: Vec<(u64, Record)>,
    ) {
        let Some(last) = records.last().map(|(sequence, _)| *sequence) else {
            return;
        };
        let events = records
            .iter()
            .flat_map(|(_, record)| project(record, traces));
        publish_all(jetstream, events, &self.metrics).await;
        self.position = last;
        self.metrics
            .position
            .set(i64::try_from(last).unwrap_or(i64::MAX));
        if self.saved_at.elapsed() >= SAVE_EVERY {
            self.save();
        }
    }

    fn save(&mut self) {
        self.saved_at = Instant::now();
        if self.saved == self.position {
            return;
        }
        let file = self.data_dir.join(POSITION_FILE);
        let fresh = file.with_extension("position.new");
        let saved = std::fs::write(&fresh, format!("{}\n", self.position))
            .and_then(|()| std::fs::rename(&fresh, &file));
        match saved {
            Ok(()) => self.saved = self.position,
            Err(error) => tracing::warn!(%error, "the relay's position could not be written"),
        }
    }
}

/// Where the relay stood; the journal's beginning where nothing says so. A file that a
/// power cut left damaged is read as nothing: events are repeated, never skipped.
fn saved_position(data_dir: &Path) -> u64 {
    let text = std::fs::read_to_string(data_dir.join(POSITION_FILE));
    text.ok()
        .and_then(|text| text.strip_suffix('\n')?.parse().ok())
        .unwrap_or(0)
}

/// Some records of the journal.
struct Batch {
    records: Vec<(u64, Record)>,
    /// The first record that could be read.
    begins: u64,
    /// The last record of the journal, where `records` is empty.
    last: u64,
}

fn read_after(
    folder: &Path,
    after: u64,
) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
    let reader = Reader::open(OsDisk::open_existing(folder)?)?;
    let base = reader.base()?;
    let begins = (after + 1).max(base + 1);
    let mut found = reader.read_from(begins)?;
    let mut records = Vec::new();
    while records.len() < BATCH_RECORDS_MAX {
        let Some(sequence) = found.advance()? else {
            break;
        };
        records.push((sequence, record::decode(found.payload())?));
    }
    let last = found.position().sequence;
    Ok(Batch {
        records,
        begins,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_position_repeats_and_never_skips() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(POSITION_FILE);
        assert_eq!(saved_position(folder.path()), 0);
        std::fs::write(&file, "17\n").expect("written");
        assert_eq!(saved_position(folder.path()), 17);
        for text in ["17", "1x\n", "\n", ""] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(saved_position(folder.path()), 0, "{text:?}");
        }
    }
}
