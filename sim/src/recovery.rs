//! Starting: what the log and the store still have, and whether that is all there was.

use std::collections::{BTreeSet, VecDeque};

use a4co_core::embedded::EmbeddedHost;
use a4co_core::record;
use a4co_core::settings::Settings;
use a4co_journal::sim_disk::SimDisk;
use a4co_journal::{Journal, OpenError, Options, ReadError, Recovery, verify};

use crate::audit::{Audit, Rows, shared};
use crate::process::Process;
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::{Checked, Failure, safety};
use crate::world::{Event, World};

/// A start that failed for a reason that passes is tried again after this long.
const AGAIN_US: u64 = 300_000;

impl World<'_> {
    fn options(&self) -> Options {
        Options {
            segment_bytes: self.plan.knobs.segment_bytes,
            milestones: usize::try_from(self.plan.knobs.milestones).unwrap_or(0),
        }
    }

    pub(crate) fn on_start(&mut self) -> Checked {
        if self.process.is_some() {
            return Ok(());
        }
        self.processes += 1;
        let opened = Journal::open(self.disk.clone(), self.options());
        let (journal, recovered) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.start_failed(&error),
        };
        let known = self.audit.records.len() as u64;
        let last = recovered.last_sequence;
        self.note(
            Node::Journal,
            "opens",
            [last, recovered.base_sequence],
            || {
                let snapshot = recovered.snapshot.as_ref().map(|it| it.position.sequence);
                format!(
                    "{last} records from {}, snapshot {snapshot:?}, torn {:?}",
                    recovered.base_sequence, recovered.torn_tail
                )
            },
        );
        if let Some(damage) = recovered.damaged_snapshots.first() {
            return Err(safety("journal_is_intact", damage.to_string()));
        }
        if let Some(bytes) = doubt(&journal, known, last, self.in_doubt.take())? {
            self.on_durable(last, &bytes)?;
        }
        self.audit.unpublished = None;
        let host = self.rebuild(&journal)?;
        self.begin(host, journal)
    }

    fn start_failed(&mut self, error: &OpenError) -> Checked {
        let passes = matches!(error, OpenError::Full(_) | OpenError::Disk(_));
        self.note(Node::Journal, "refuses", [0, 0], || error.to_string());
        if self.disk.power_is_off() {
            self.after_death(true);
        } else if !passes {
            return Err(safety("journal_opens_after_crash", error.to_string()));
        } else {
            self.after_death(false);
        }
        self.schedule(AGAIN_US, Event::Start);
        Ok(())
    }

    /// The host from the newest snapshot, and, where the store is further behind or the
    /// dice say so, from the base too; both must be the same.
    fn rebuild(&mut self, journal: &Journal<SimDisk>) -> Result<EmbeddedHost, Failure> {
        let reader = journal.reader();
        let newest = reader
            .recover_from_newest()
            .map_err(|error| safety("journal_is_intact", error.to_string()))?;
        let applied = self.store.saved_applied;
        let from = newest
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.position.sequence);
        let (host, mut rows) = replay(&self.audit, &self.settings, newest, applied)?;
        let names = [u64::from(self.processes), 1];
        let mut rng = Rng::fork(self.plan.knobs.seed, Stream::Restart, &names);
        // Without a snapshot it would be the same reading of the same log again.
        if applied < from || (from > 0 && rng.chance(self.plan.knobs.rebuild)) {
            let base = reader
                .recover_from_base()
                .map_err(|error| safety("journal_is_intact", error.to_string()))?;
            let (other, all) = replay(&self.audit, &self.settings, base, applied)?;
            rows = all;
            if other.is_settled() {
                self.audit
                    .same_state(&other, "the host rebuilt from the base")?;
            }
        }
        self.store.catch_up(self.audit.records.len() as u64, rows);
        if host.is_settled() {
            self.audit.same_state(&host, "the restarted host")?;
        }
        self.audit
            .same_rows(&self.store.shown, "the restarted store")?;
        Ok(host)
    }

    fn begin(&mut self, host: EmbeddedHost, journal: Journal<SimDisk>) -> Checked {
        let started_wall = self.wall();
        self.process = Some(Box::new(Process {
            host,
            journal,
            inbox: VecDeque::new(),
            appending: None,
            drives: false,
            wakes_at_us: None,
            has_room: true,
            without_room: BTreeSet::new(),
            since_snapshot: 0,
            started_wall,
            started_us: self.now_us,
        }));
        self.note(
            Node::Engine,
            "starts",
            [u64::from(self.processes), 0],
            || format!("at {started_wall}"),
        );
        let now = self.engine_now();
        if let Some(process) = &mut self.process {
            process.host.start(now);
        }
        self.take_outputs()?;
        self.rearm();
        Ok(())
    }

    /// Changes a byte in a copy of the disk, and opens that. It must be refused, or cut by
    /// one record at its very end, or be of no consequence.
    pub(crate) fn on_bit_flip(&mut self, number: u32) -> Checked {
        use a4co_journal::Disk as _;
        let copy = self.disk.duplicate();
        copy.kill();
        let names = [u64::from(number)];
        let mut rng = Rng::fork(self.plan.knobs.seed, Stream::Flip, &names);
        let Ok(files) = copy.list() else {
            return Ok(());
        };
        if files.is_empty() {
            return Ok(());
        }
        let name = &files[usize::try_from(rng.below(files.len() as u64)).unwrap_or(0)];
        let content = copy.content(name).unwrap_or_default();
        // Most of a segment is zeros: half of the flips go where something is written.
        let used = content
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        let within = rng.pick(&[used, content.len() as u64]).max(1);
        let offset = rng.below(within);
        copy.corrupt(name, offset, 1 << rng.below(8));
        let known = &self.audit.records;
        let what = format!("a bit of {name} at {offset} flips");
        match Journal::open(copy.clone(), self.options()) {
            Err(error) => {
                self.note(Node::Disk, "flip", [offset, 0], || {
                    format!("{what}: {error}")
                });
                Ok(())
            }
            Ok((journal, recovered)) => {
                let last = recovered.last_sequence;
                let appending = known.len() as u64 + 1;
                if last + 1 < known.len() as u64 || last > appending {
                    let why = format!("{what}; {last} of {} records are left", known.len());
                    return Err(safety("damage_is_refused", why));
                }
                let read = journal.reader().recover_from_newest();
                let Ok(read) = read else {
                    return Err(safety("damage_is_refused", what));
                };
                for record in read.records {
                    let Ok(record) = record else {
                        return Err(safety("damage_is_refused", what));
                    };
                    let index = usize::try_from(record.sequence).unwrap_or(0);
                    let expected = known.get(index.saturating_sub(1));
                    if expected.is_some_and(|expected| **expected != *record.payload) {
                        let why = format!("{what}; record {index} reads as another");
                        return Err(safety("damage_is_refused", why));
                    }
                }
                self.note(Node::Disk, "flip", [offset, last], || {
                    format!("{what}: opened with {last} records")
                });
                Ok(())
            }
        }
    }
}

/// A record that was being appended when the process died may be there, and if so, for
/// good: it is given back where it is. Any other difference from what was durable is wrong.
pub(crate) fn doubt(
    journal: &Journal<SimDisk>,
    known: u64,
    last: u64,
    in_doubt: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Failure> {
    match in_doubt {
        Some(bytes) if last == known + 1 => {
            let there = journal.read_from(last).ok().and_then(|mut it| it.next());
            if there.is_none_or(|there| there.is_ok_and(|it| it.payload != bytes)) {
                return Err(safety(
                    "journal_is_intact",
                    "another record than was written",
                ));
            }
            Ok(Some(bytes))
        }
        _ if last == known => Ok(None),
        _ => {
            let why = format!("{known} records were durable, the log has {last}");
            Err(safety("durable_record_is_found", why))
        }
    }
}

/// Replays what a recovery says, and gives back the rows of records after `applied`.
pub(crate) fn replay(
    audit: &Audit,
    settings: &Settings,
    recovery: Recovery<SimDisk>,
    applied: u64,
) -> Result<(EmbeddedHost, Rows), Failure> {
    let mut host = match &recovery.snapshot {
        None => EmbeddedHost::new(settings),
        Some(snapshot) => {
            let snapshot = record::decode(&snapshot.payload)
                .map_err(|error| safety("record_decodes", format!("a snapshot: {error}")))?;
            EmbeddedHost::from_snapshot(settings, snapshot)
        }
    };
    let mut rows = Rows::new();
    let mut last = recovery
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.position.sequence);
    let mut records = recovery.records;
    let damaged = |error: ReadError| safety("journal_is_intact", error.to_string());
    while let Some(sequence) = records.advance().map_err(damaged)? {
        last += 1;
        let index = usize::try_from(sequence)
            .ok()
            .and_then(|it| it.checked_sub(1));
        let known = index.and_then(|index| {
            let (bytes, record) = (audit.records.get(index)?, audit.decoded.get(index)?);
            (**bytes == *records.payload()).then_some(record)
        });
        let Some(record) = known.filter(|_| sequence == last) else {
            let why = format!("record {sequence} is not what was written");
            return Err(safety("durable_record_is_found", why));
        };
        let changed = host
            .replay(record, sequence > applied)
            .map_err(|error| safety("replay_equals_state", error.to_string()))?;
        rows.extend(shared(changed));
    }
    if last != audit.records.len() as u64 {
        let why = format!("the log ends with record {last}");
        return Err(safety("durable_record_is_found", why));
    }
    Ok((host, rows))
}

/// The log on the disk as it is now is intact from end to end.
pub(crate) fn check_log(disk: &SimDisk, audit: &Audit) -> Checked {
    let copy = disk.duplicate();
    copy.kill();
    let report = verify(&copy).map_err(|it| safety("journal_is_intact", it.to_string()))?;
    if report.is_intact() && report.last_sequence == audit.records.len() as u64 {
        return Ok(());
    }
    Err(safety("journal_is_intact", format!("{report:?}")))
}
