//! The process under test: the embedded host over the real log on the simulated disk, and
//! a driver that mirrors the production one, step by step.
//!
//! Between any two of its steps the process can die.

use std::collections::{BTreeSet, VecDeque};

use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::record;
use a4co_core::row::{Row, RowKey};
use a4co_core::time::Timestamp;
use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{AppendError, Journal, Keep};

use crate::coverage::Strike;
use crate::detail;
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::{Checked, safety};
use crate::world::{Event, World};

/// Bytes for which there must be room before new commands are taken.
const ROOM_BYTES: usize = 2_048;
/// A full disk is tried again after this long.
const FULL_RETRY_US: u64 = 100_000;
/// Inputs that wait for the driver; more are refused.
const INBOX_MAX: usize = 1_024;

/// A process.
pub(crate) struct Process {
    pub(crate) host: EmbeddedHost,
    pub(crate) journal: Journal<SimDisk>,
    pub(crate) inbox: VecDeque<HostInput>,
    pub(crate) appending: Option<Vec<u8>>,
    pub(crate) drives: bool,
    pub(crate) wakes_at_us: Option<u64>,
    pub(crate) has_room: bool,
    /// Commands that came while there was no room.
    pub(crate) without_room: BTreeSet<u64>,
    pub(crate) since_snapshot: u32,
    pub(crate) started_wall: Timestamp,
    pub(crate) started_us: u64,
}

impl World<'_> {
    /// One step of the driver has been taken: does the process die here?
    fn dies_here(&mut self) -> bool {
        self.steps += 1;
        match self.dies_at {
            Some((step, power)) if self.steps >= step && self.process.is_some() => {
                self.die(power);
                true
            }
            _ => false,
        }
    }

    /// The process dies, with or without the power.
    pub(crate) fn die(&mut self, power: bool) {
        let Some(process) = self.process.take() else {
            return;
        };
        drop(process);
        self.after_death(power);
        let knobs = &self.plan.knobs;
        let mut rng = Rng::fork(knobs.seed, Stream::Restart, &[u64::from(self.processes)]);
        let delay_us = rng.between(1, knobs.restart_ms.max(1)) * 1000;
        if !self.is_healed && knobs.restart_skew_ms > 0 {
            let skew_ms = rng.below(2 * knobs.restart_skew_ms + 1);
            let skew_ms = i64::try_from(skew_ms).unwrap_or(0)
                - i64::try_from(knobs.restart_skew_ms).unwrap_or(0);
            self.skew_ms = skew_ms;
        }
        let is_lost = !self.is_healed && rng.chance(knobs.store_lost);
        self.store.crash(is_lost);
        self.note(
            Node::Fault,
            "dies",
            [u64::from(power), u64::from(is_lost)],
            || {
                let power = if power { "the power goes" } else { "killed" };
                let store = if is_lost { ", the store is lost" } else { "" };
                format!(
                    "process dies: {power}{store}; again in {} ms",
                    delay_us / 1000
                )
            },
        );
        self.schedule(delay_us, Event::Start);
    }

    /// What a death does to the disk and to what was under way.
    pub(crate) fn after_death(&mut self, power: bool) {
        self.stats.crashes += 1;
        self.audit.ledger.strike(Strike::of_death(power));
        self.dies_at = None;
        self.disk_is_armed = false;
        if power {
            let names = [u64::from(self.processes), self.stats.crashes];
            let mut rng = Rng::fork(self.plan.knobs.seed, Stream::Crash, &names);
            self.disk.crash(&mut rng.next_u64());
        } else {
            self.disk.kill();
        }
        for call in self.calls.values_mut() {
            call.is_open = false;
        }
        self.calling.clear();
        self.audit.unpublished = None;
    }

    /// The engine's clock.
    pub(crate) fn engine_now(&self) -> Timestamp {
        match &self.process {
            Some(process) if !self.plan.knobs.raw_clock => {
                let ms = (self.now_us - process.started_us) / 1000;
                let ms = a4co_core::time::Millis::new(ms);
                process.started_wall.saturating_add(ms)
            }
            _ => self.wall(),
        }
    }

    /// Puts an input before the driver.
    pub(crate) fn hand_in(&mut self, input: HostInput) {
        let number = self.processes;
        let linger_us = self.plan.knobs.linger_us;
        let Some(process) = &mut self.process else {
            return;
        };
        if process.inbox.len() >= INBOX_MAX && matches!(input, HostInput::Command { .. }) {
            return;
        }
        process.inbox.push_back(input);
        if !process.drives {
            process.drives = true;
            self.schedule(linger_us, Event::Drive { process: number });
        }
    }

    pub(crate) fn on_wake(&mut self, process: u32) -> Checked {
        if self.processes != process {
            return Ok(());
        }
        let now_us = self.now_us;
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        // Set to another time since: this one is stale.
        if process.wakes_at_us != Some(now_us) {
            return Ok(());
        }
        process.wakes_at_us = None;
        self.drive()
    }

    pub(crate) fn on_drive(&mut self, process: u32) -> Checked {
        if self.processes != process {
            return Ok(());
        }
        if let Some(process) = &mut self.process {
            process.drives = false;
        }
        self.drive()
    }

    fn drive(&mut self) -> Checked {
        if self.process.is_none() || self.dies_here() {
            return Ok(());
        }
        let now = self.engine_now();
        let batch_max = self.plan.knobs.batch_max;
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let has_room = process.journal.has_room(ROOM_BYTES) || self.disk_has_room();
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        // A record that was refused has to go in before there is room for more.
        let has_room = has_room && (process.has_room || process.appending.is_none());
        if has_room != process.has_room {
            process.has_room = has_room;
            process.host.handle_input(now, HostInput::Room(has_room));
        }
        if process.host.wake_at().is_some_and(|at| at <= now) {
            process.host.handle_input(now, HostInput::Time);
            self.aside(Node::Clock, "timer", None, || {
                format!("a deadline has come, by the engine's clock {now}")
            });
        }
        for _ in 0..batch_max {
            let Some(process) = &mut self.process else {
                return Ok(());
            };
            if process.host.is_saturated() {
                break;
            }
            let Some(input) = process.inbox.pop_front() else {
                break;
            };
            if let HostInput::Command { request, .. } = &input
                && !process.has_room
            {
                process.without_room.insert(request.0);
            }
            process.host.handle_input(now, input);
            if self.dies_here() {
                return Ok(());
            }
        }
        self.take_outputs()?;
        self.rearm();
        self.drive_on();
        Ok(())
    }

    /// Sees to it that the driver takes what is left, as soon as there is room for it.
    fn drive_on(&mut self) {
        let linger_us = self.plan.knobs.linger_us;
        let number = self.processes;
        if let Some(process) = &mut self.process
            && !process.inbox.is_empty()
            && !process.drives
            && !process.host.is_saturated()
        {
            process.drives = true;
            self.schedule(linger_us, Event::Drive { process: number });
        }
    }

    fn disk_has_room(&self) -> bool {
        use a4co_journal::Disk as _;
        let needed = self.plan.knobs.segment_bytes + 4_096;
        self.disk.free_bytes().is_ok_and(|free| free > needed)
    }

    /// Sets the driver's timer to the engine's next deadline.
    pub(crate) fn rearm(&mut self) {
        let now = self.engine_now();
        let (number, now_us) = (self.processes, self.now_us);
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(at) = process.host.wake_at() else {
            return;
        };
        // A timer that is due already waits a moment, as that of a real driver would.
        let delay_us = (at.unix_ms().saturating_sub(now.unix_ms()) * 1000).max(10);
        let at_us = now_us.saturating_add(delay_us);
        if process.wakes_at_us.is_none_or(|before| at_us < before) {
            process.wakes_at_us = Some(at_us);
            self.schedule(delay_us, Event::Wake { process: number });
        }
    }

    /// Carries out what the engine asks for, until it asks for nothing more.
    pub(crate) fn take_outputs(&mut self) -> Checked {
        loop {
            let Some(process) = &mut self.process else {
                return Ok(());
            };
            let Some(output) = process.host.poll_output() else {
                return Ok(());
            };
            match output {
                HostOutput::Commit(bytes) => self.begin_append(bytes)?,
                HostOutput::Publish(rows) => self.publish(rows)?,
                HostOutput::Reply { request, reply } => self.on_reply(None, request, reply)?,
                HostOutput::CallGateway(call) => self.make_call(call)?,
                HostOutput::Fetch(key) => self.fetch(key),
            }
            if self.dies_here() {
                return Ok(());
            }
        }
    }

    fn begin_append(&mut self, bytes: Vec<u8>) -> Checked {
        let (number, most_us) = (self.processes, self.plan.knobs.append_us);
        let records = self.audit.records.len() as u64;
        let names = [u64::from(number), records];
        let mut rng = Rng::fork(self.plan.knobs.seed, Stream::Append, &names);
        if let Some(process) = &mut self.process {
            if process.appending.is_some() {
                return Err(safety(
                    "one_append_in_flight",
                    "a second append is asked for",
                ));
            }
            process.appending = Some(bytes);
        }
        let delay_us = rng.between(most_us / 2, most_us);
        self.schedule(delay_us, Event::Append { process: number });
        Ok(())
    }

    pub(crate) fn on_append(&mut self, number: u32) -> Checked {
        if self.processes != number || self.process.is_none() || self.dies_here() {
            return Ok(());
        }
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let Some(bytes) = process.appending.take() else {
            return Ok(());
        };
        match process.journal.append(&bytes) {
            Ok(sequence) => self.on_durable(sequence, &bytes)?,
            Err(AppendError::Full(_)) => {
                process.appending = Some(bytes);
                if process.has_room {
                    process.has_room = false;
                    let now = self.engine_now();
                    if let Some(process) = &mut self.process {
                        process.host.handle_input(now, HostInput::Room(false));
                    }
                }
                self.note(Node::Journal, "full", [0, 0], || {
                    "no room; tried again".into()
                });
                self.schedule(FULL_RETRY_US, Event::Append { process: number });
                return self.take_outputs();
            }
            Err(AppendError::TooLarge { bytes, limit }) => {
                let why = format!("a record of {bytes} bytes, the log takes {limit}");
                return Err(safety("record_fits", why));
            }
            Err(error) => {
                self.note(Node::Journal, "fails", [0, 0], || error.to_string());
                self.in_doubt = Some(bytes);
                let power = self.disk.power_is_off();
                self.die(power);
                return Ok(());
            }
        }
        // Here the record is durable and nobody knows it yet.
        if self.dies_here() {
            return Ok(());
        }
        let now = self.engine_now();
        if let Some(process) = &mut self.process {
            process.host.handle_input(now, HostInput::Committed);
        }
        self.take_outputs()?;
        self.check_state("the engine")?;
        self.tend_log()?;
        self.rearm();
        self.drive_on();
        Ok(())
    }

    /// A record is durable: the auditor reads it.
    pub(crate) fn on_durable(&mut self, sequence: u64, bytes: &[u8]) -> Checked {
        let hash = crate::describe::hash(bytes);
        self.note(Node::Journal, "durable", [sequence, hash], || {
            let events = crate::describe::record(bytes);
            format!("record {sequence}: {events}")
        });
        self.trace.add(|line| detail::add_events(line, bytes));
        self.audit.on_record(bytes, &self.gateway)?;
        let changed = &self.audit.unpublished;
        self.trace
            .add(|line| detail::add_rows(line, changed.iter().flatten()));
        if sequence == self.audit.records.len() as u64 {
            return Ok(());
        }
        let known = self.audit.records.len();
        let why = format!("the log says record {sequence}, it is number {known}");
        Err(safety("journal_contiguous", why))
    }

    /// From time to time the whole state in memory is compared with the fold of the log.
    fn check_state(&mut self, whose: &str) -> Checked {
        if !self.audit.records.len().is_multiple_of(8) {
            return Ok(());
        }
        match &self.process {
            Some(process) if process.host.is_settled() => {
                self.audit.same_state(&process.host, whose)
            }
            _ => Ok(()),
        }
    }

    fn publish(&mut self, rows: Vec<Row>) -> Checked {
        let rows = self.audit.on_publish(rows)?;
        let record = self.audit.records.len() as u64;
        self.store.publish(record, rows, self.plan.knobs.store_lag);
        Ok(())
    }

    fn fetch(&mut self, key: RowKey) {
        let row = self.store.shown.get(&key).map(|row| (**row).clone());
        let knobs = &self.plan.knobs;
        let number = self.processes;
        let is_there = u64::from(row.is_some());
        self.note(Node::Store, "fetches", [is_there, 0], || format!("{key:?}"));
        if let RowKey::Order(id) | RowKey::Reservation(id) | RowKey::Payment(id) = &key {
            self.about(*id);
        }
        if knobs.fetch_us == 0 {
            let now = self.engine_now();
            if let Some(process) = &mut self.process {
                process
                    .host
                    .handle_input(now, HostInput::Fetched { key, row });
            }
            return;
        }
        let names = [self.stats.events, u64::from(number)];
        let mut rng = Rng::fork(knobs.seed, Stream::Fetch, &names);
        let fetched = Event::Fetched {
            process: number,
            key: Box::new(key),
            row: row.map(Box::new),
        };
        self.schedule(rng.between(1, knobs.fetch_us), fetched);
    }

    pub(crate) fn on_fetched(
        &mut self,
        number: u32,
        key: RowKey,
        row: Option<Box<Row>>,
    ) -> Checked {
        if self.processes == number && self.process.is_some() {
            let row = row.map(|row| *row);
            self.hand_in(HostInput::Fetched { key, row });
        }
        Ok(())
    }

    /// Snapshots, retention, and the spare segment: what the driver does beside appending.
    fn tend_log(&mut self) -> Checked {
        let knobs = &self.plan.knobs;
        let (every, keep) = (knobs.snapshot_every, u64::from(knobs.keep_records));
        let saved = self.store.saved_applied;
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let names = [
            u64::from(self.processes),
            process.journal.last_sequence(),
            1,
        ];
        let mut rng = Rng::fork(knobs.seed, Stream::Append, &names);
        if rng.chance(knobs.spare) && process.journal.wants_spare() {
            // That there is no spare costs time, and nothing else.
            let _ = process.journal.spare_preparer().prepare();
        }
        process.since_snapshot += 1;
        let is_due = every > 0 && process.since_snapshot >= every;
        if is_due && let Some(snapshot) = process.host.snapshot() {
            process.since_snapshot = 0;
            let cut = self.cut_tending.filter(|_| !self.disk_is_armed);
            if let Some(operations) = cut {
                self.disk.cut_power_at(self.disk.operations() + operations);
            }
            let position = process.journal.position();
            let bytes = record::encode(&snapshot);
            let written = process.journal.snapshot_writer().write(position, &bytes);
            if written.is_ok() {
                self.stats.snapshots += 1;
            }
            let retained = match keep {
                0 => Ok(()),
                keep => {
                    // What the store has not saved yet only the log can tell.
                    let from = position.sequence.saturating_sub(keep).min(saved) + 1;
                    process.journal.retain(Keep::From(from)).map(|_| ())
                }
            };
            self.note(Node::Journal, "snapshot", [position.sequence, 0], || {
                format!("at {}: {written:?}, {retained:?}", position.sequence)
            });
            // A tending that does less than that is not cut: the next one is that does more,
            // and so the last steps, which come only where history goes, are cut as well.
            if cut.is_some() && !self.disk.power_is_off() {
                self.disk.keep_power_on();
            }
        }
        if self.disk.power_is_off() {
            self.cut_tending = None;
            self.die(true);
        }
        Ok(())
    }
}
