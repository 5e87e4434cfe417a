//! The driver's ports, simulated. Each call is a step at which the process may die, and
//! within each the other threads of the process go on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use a4co_core::gateway::GatewayCall;
use a4co_core::record::{self, Snapshot};
use a4co_core::row::{Row, RowKey};
use a4co_core::time::{Millis, Timestamp};
use a4co_driver::ports::{AnswerSink, Clock, Gateway, Log, LogError, Observer, RowSink, Rows};
use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{AppendError, Disk as _, Journal, Keep, Position};

use super::slots::interleave;
use super::world::with;
use super::{calls, life};
use crate::trace::Node;
use crate::verdict::safety;

/// Room that is enough for what a run writes at once; the real limit is larger than the
/// simulated segments.
const ROOM_BYTES: usize = 2_048;

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn gone() -> LogError {
    LogError::Fatal("the process is dead".to_owned())
}

/// The production log over the simulated disk.
pub(super) struct SimLog {
    pub(super) life: u32,
    pub(super) journal: Journal<SimDisk>,
    pub(super) since_snapshot: u32,
}

impl SimLog {
    /// The last snapshot, where the host stopped between two records.
    pub(super) fn finish(&mut self, state: &Snapshot) {
        if self.since_snapshot > 0 {
            write_snapshot(
                self.life,
                &self.journal.snapshot_writer(),
                self.journal.position(),
                &record::encode(state),
            );
        }
    }

    fn append_here(&mut self, bytes: &[u8]) -> Result<u64, LogError> {
        match self.journal.append(bytes) {
            Ok(sequence) => {
                with(|world| {
                    if let Some(life) = world.alive() {
                        life.is_full = false;
                    }
                    let seen = life::on_durable(world, sequence, bytes);
                    world.see(seen);
                });
                self.since_snapshot += 1;
                Ok(sequence)
            }
            Err(AppendError::Full(error)) => with(|world| {
                if let Some(life) = world.alive() {
                    life.is_full = true;
                }
                world.note(Node::Journal, "full", [0, 0], || "no room".into());
                Err(LogError::Full(error.to_string()))
            }),
            Err(error) => with(|world| {
                world.note(Node::Journal, "fails", [0, 0], || error.to_string());
                world.in_doubt = Some(bytes.to_vec());
                if let AppendError::TooLarge { bytes, limit } = error {
                    let why = format!("a record of {bytes} bytes, the log takes {limit}");
                    world.see(Err(safety("record_fits", why)));
                }
                if world.disk.power_is_off() {
                    world.die(true);
                } else if let Some(life) = world.alive() {
                    life.is_ending = true;
                }
                Err(LogError::Fatal(error.to_string()))
            }),
        }
    }

    fn prepare_spare(&self) {
        if !self.journal.wants_spare() {
            return;
        }
        let spare = self.journal.spare_preparer();
        let life = self.life;
        let waits = with(|world| world.threads.below(5_000));
        madsim::task::spawn(async move {
            madsim::time::sleep(us(waits)).await;
            if with(|world| world.step(life)) {
                // Without one, the log makes a segment when it needs it.
                let _ = spare.prepare();
                with(|world| {
                    if world.disk.power_is_off() {
                        world.die(true);
                    }
                });
            }
        });
    }
}

impl Log for SimLog {
    fn append(&mut self, record: &[u8]) -> Result<u64, LogError> {
        interleave();
        if !with(|world| world.step(self.life)) {
            return Err(gone());
        }
        let took = with(|world| {
            let most = world.plan.plan.knobs.append_us;
            world.threads.between(most / 2, most)
        });
        madsim::time::advance(us(took));
        let appended = self.append_here(record);
        interleave();
        // Here the record may be durable and nobody knows it yet.
        if appended.is_ok() && !with(|world| world.step(self.life)) {
            return Err(gone());
        }
        if appended.is_ok() {
            self.prepare_spare();
        }
        appended
    }

    fn has_room(&self, bytes: usize) -> bool {
        let bytes = bytes.min(ROOM_BYTES);
        with(|world| {
            let needed = world.plan.plan.knobs.segment_bytes + 4_096;
            self.journal.has_room(bytes) || world.disk.free_bytes().is_ok_and(|free| free > needed)
        })
    }

    fn wants_snapshot(&self) -> bool {
        let every = with(|world| world.plan.plan.knobs.snapshot_every);
        every > 0 && self.since_snapshot >= every
    }

    fn snapshot(&mut self, state: &Snapshot) {
        self.since_snapshot = 0;
        let position = self.journal.position();
        let (writer, retainer) = (self.journal.snapshot_writer(), self.journal.retainer());
        let (bytes, life) = (record::encode(state), self.life);
        let seen = with(|world| {
            let seen = world.audit.same_state(state, "the engine");
            world.see(seen);
            world.threads.below(20_000)
        });
        madsim::task::spawn(async move {
            madsim::time::sleep(us(seen)).await;
            if !write_snapshot(life, &writer, position, &bytes) {
                return;
            }
            let (keep, saved) = with(|world| {
                let keep = u64::from(world.plan.plan.knobs.keep_records);
                (keep, world.store.saved_applied)
            });
            if keep > 0 {
                // What the store has not saved yet only the log can tell.
                let from = position.sequence.saturating_sub(keep).min(saved) + 1;
                let _ = retainer.retain(Keep::From(from));
                with(|world| {
                    if world.disk.power_is_off() {
                        world.die(true);
                    }
                });
            }
        });
    }
}

/// False: the process is dead, or nothing was written.
fn write_snapshot(
    life: u32,
    writer: &a4co_journal::SnapshotWriter<SimDisk>,
    position: Position,
    bytes: &[u8],
) -> bool {
    if !with(|world| world.step(life)) {
        return false;
    }
    let written = writer.write(position, bytes);
    with(|world| {
        let (sequence, is_there) = (position.sequence, written.is_ok());
        world.stats.snapshots += u64::from(is_there);
        world.note(
            Node::Journal,
            "snapshot",
            [sequence, u64::from(is_there)],
            || format!("at {sequence}: {written:?}"),
        );
        if world.disk.power_is_off() {
            world.die(true);
        }
        is_there
    })
}

/// The rows, as far behind on disk as the seed says.
pub(super) struct SimRows {
    pub(super) life: u32,
}

impl Rows for SimRows {
    fn publish(&mut self, sequence: u64, rows: Vec<Row>) {
        // Readers do not see them yet, and some of them look just now.
        interleave();
        with(|world| {
            if !world.step(self.life) {
                return;
            }
            match world.audit.on_publish(rows) {
                Ok(rows) => {
                    let known = world.audit.records.len() as u64;
                    let lag = world.plan.plan.knobs.store_lag;
                    world.store.publish(known, rows, lag);
                    if sequence != known {
                        let why = format!("rows of record {sequence} come after {known}");
                        world.see(Err(safety("output_after_commit", why)));
                    }
                }
                Err(failure) => world.see(Err(failure)),
            }
        });
        interleave();
    }

    fn fetch(&self, keys: Vec<RowKey>, sink: &Arc<dyn RowSink>) {
        let life = self.life;
        let (most, fails) = with(|world| {
            if let Some(life) = world.alive_as(life) {
                life.fetches += keys.len() as u64;
            }
            let fails = world.plan.unreadable;
            let fails = if world.is_healed { 0 } else { fails };
            (world.plan.plan.knobs.fetch_us, fails)
        });
        for key in keys {
            let sink = sink.clone();
            madsim::task::spawn(async move {
                while with(|world| world.threads.chance(fails) && !world.is_healed) {
                    madsim::time::sleep(Duration::from_millis(100)).await;
                }
                let look = |world: &mut super::world::World| world.threads.below(most / 2 + 1);
                madsim::time::sleep(us(with(look))).await;
                let row = with(|world| world.store.shown.get(&key).map(|row| (**row).clone()));
                madsim::time::sleep(us(with(look))).await;
                let is_there = with(|world| {
                    let is_found = u64::from(row.is_some());
                    world.note(Node::Store, "fetched", [is_found, 0], || format!("{key:?}"));
                    let life = world.alive_as(life);
                    // Once the loop has returned, nothing is handed over to it.
                    life.map(|life| life.fetches -= u64::from(!life.has_stopped))
                        .is_some()
                });
                if is_there {
                    sink.fetched(key, row);
                }
            });
        }
    }
}

/// The adapter of the simulated gateway.
pub(super) struct SimGateway {
    pub(super) life: u32,
}

impl Gateway for SimGateway {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn submit(&self, made: Vec<GatewayCall>, _: &Arc<dyn AnswerSink>) {
        for call in made {
            interleave();
            if with(|world| world.step(self.life)) {
                calls::make(self.life, call);
            }
        }
    }
}

/// The engine's clock, on madsim's.
pub(super) struct SimClock {
    pub(super) life: u32,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        with(super::world::World::engine_now)
    }

    fn sleep(&self, length: Millis) -> impl Future<Output = ()> {
        with(|world| world.step(self.life));
        madsim::time::sleep(Duration::from_millis(length.get()))
    }
}

/// What is told of every commit.
pub(super) struct SimObserver {
    pub(super) life: u32,
}

impl Observer for SimObserver {
    fn committed(&mut self, sequence: u64, bytes: usize, rows: &[Row]) {
        interleave();
        with(|world| {
            if !world.step(self.life) {
                return;
            }
            let last = world.audit.records.last().map(|record| record.len());
            if world.audit.records.len() as u64 != sequence || last != Some(bytes) {
                let why = format!("record {sequence} of {bytes} bytes, {} rows", rows.len());
                world.see(Err(safety("output_after_commit", why)));
            }
        });
    }

    fn room(&mut self, _: bool) {}
}
