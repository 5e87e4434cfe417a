//! Three journals as one sequence of records, causes before their effects.
//!
//! ```text
//! A frame says how far its decider had read the other journals. It comes once those
//! events have come; what rests on each other both ways (a record of the embedded log that
//! was moved to a cluster is three such frames) comes together, as one record. So every
//! prefix of the sequence is a consistent cut, whichever ends the journals were read to.
//! ```
//! Pure: who reads the journals is told which one to read on.

use std::collections::VecDeque;
use std::sync::Arc;

use a4co_core::ids::{ParticipantId, Sequence};
use a4co_core::inventory::InventoryEvent;
use a4co_core::order::OrderEvent;
use a4co_core::payment::PaymentEvent;
use a4co_core::record::{Cursors, Frame, Record};
use a4co_core::replicated::{AnyEntry, Content, Entry};
use a4co_core::time::Timestamp;

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Frames of one journal or of several that belong together.
    Record(Box<Record>),
    /// Read this journal on, and say with [`Merge::push`] or [`Merge::ended`] what came.
    Read(ParticipantId),
    /// All that is there has come.
    Done,
    /// What is left rests on an event that this journal has not had. It ends before it.
    Missing {
        /// Whose event.
        of: ParticipantId,
        /// Which event.
        event: Sequence,
        /// Whose frame rests on it.
        wanted_by: ParticipantId,
    },
}

/// A frame that waits, whosever it is.
#[derive(Debug)]
enum Waiting {
    Order(Arc<Frame<OrderEvent>>),
    Inventory(Arc<Frame<InventoryEvent>>),
    Payment(Arc<Frame<PaymentEvent>>),
}

/// What the rule asks of a frame.
#[derive(Debug, Clone)]
struct Claim {
    last: Sequence,
    cursors: Cursors,
    /// When its first event was decided.
    at: Timestamp,
}

/// The three journals, as far as they have been read and not taken.
#[derive(Debug, Default)]
pub struct Merge {
    lanes: [Lane; 3],
}

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<(Claim, Waiting)>,
    has_ended: bool,
    /// The last event that was taken, and how far the others were read there.
    taken: Sequence,
    cursors: Cursors,
}

impl Lane {
    fn head(&self) -> Option<&Claim> {
        self.frames.front().map(|(claim, _)| claim)
    }
}

/// Whether what a frame rests on is there.
enum Closure {
    /// So many frames of each journal belong together.
    Whole([usize; 3]),
    /// This journal has to be read on.
    Read(ParticipantId),
    Missing(ParticipantId, Sequence),
}

impl Merge {
    /// The next entry of a journal, which continues the one before.
    pub fn push(&mut self, entry: AnyEntry) {
        let lane = entry.journal().index();
        let waiting = match entry {
            AnyEntry::Order(entry) => waiting(entry, Waiting::Order),
            AnyEntry::Inventory(entry) => waiting(entry, Waiting::Inventory),
            AnyEntry::Payment(entry) => waiting(entry, Waiting::Payment),
        };
        self.lanes[lane].frames.extend(waiting);
    }

    /// A journal has no more, for now ([`Merge::goes_on`]) or for good.
    pub fn ended(&mut self, journal: ParticipantId) {
        self.lanes[journal.index()].has_ended = true;
    }

    /// A journal that had ended has more after all.
    pub fn goes_on(&mut self, journal: ParticipantId) {
        self.lanes[journal.index()].has_ended = false;
    }

    /// The last event of a journal that was taken.
    #[must_use]
    pub fn taken(&self, journal: ParticipantId) -> Sequence {
        self.lanes[journal.index()].taken
    }

    /// What comes next.
    pub fn step(&mut self) -> Step {
        for journal in ParticipantId::ALL {
            let lane = &self.lanes[journal.index()];
            if lane.frames.is_empty() && !lane.has_ended {
                return Step::Read(journal);
            }
        }
        // The oldest first, so that no journal runs ahead of those that read it.
        let ready = ParticipantId::ALL
            .into_iter()
            .filter_map(|journal| Some((self.lanes[journal.index()].head()?, journal)))
            .filter(|(claim, journal)| self.is_ready(*journal, claim))
            .min_by_key(|(claim, _)| claim.at)
            .map(|(_, journal)| journal);
        if let Some(journal) = ready {
            let mut counts = [0; 3];
            counts[journal.index()] = 1;
            return Step::Record(Box::new(self.take(counts)));
        }
        self.step_together()
    }

    /// No frame can come alone.
    fn step_together(&mut self) -> Step {
        let mut smallest: Option<[usize; 3]> = None;
        let mut read = None;
        let mut missing = None;
        for journal in ParticipantId::ALL {
            if self.lanes[journal.index()].frames.is_empty() {
                continue;
            }
            match self.closure(journal) {
                Closure::Whole(counts) => {
                    let size = |counts: &[usize; 3]| counts.iter().sum::<usize>();
                    if smallest.is_none_or(|other| size(&counts) < size(&other)) {
                        smallest = Some(counts);
                    }
                }
                Closure::Read(on) => read = Some(on),
                Closure::Missing(of, event) => missing = Some((of, event, journal)),
            }
        }
        match (smallest, read, missing) {
            (Some(counts), _, _) => Step::Record(Box::new(self.take(counts))),
            (None, Some(journal), _) => Step::Read(journal),
            (None, None, Some((of, event, wanted_by))) => Step::Missing {
                of,
                event,
                wanted_by,
            },
            (None, None, None) => Step::Done,
        }
    }

    fn is_ready(&self, journal: ParticipantId, claim: &Claim) -> bool {
        ParticipantId::ALL
            .into_iter()
            .all(|from| from == journal || claim.cursors.of(from) <= self.lanes[from.index()].taken)
    }

    /// Everything that has to come with the head of this journal.
    fn closure(&self, journal: ParticipantId) -> Closure {
        let mut counts = [0; 3];
        counts[journal.index()] = 1;
        // Events of each journal that the frames counted so far rest on.
        let mut wanted = [Sequence::NONE; 3];
        let mut looked_at = [0; 3];
        loop {
            let mut has_grown = false;
            for from in ParticipantId::ALL {
                let lane = &self.lanes[from.index()];
                let place = from.index();
                while looked_at[place] < counts[place] {
                    let Some((claim, _)) = lane.frames.get(looked_at[place]) else {
                        break;
                    };
                    for of in ParticipantId::ALL.into_iter().filter(|of| *of != from) {
                        let wanted = &mut wanted[of.index()];
                        *wanted = (*wanted).max(claim.cursors.of(of));
                    }
                    looked_at[place] += 1;
                    has_grown = true;
                }
            }
            if !has_grown {
                return Closure::Whole(counts);
            }
            for of in ParticipantId::ALL {
                let place = of.index();
                let lane = &self.lanes[place];
                if wanted[place] <= lane.taken {
                    continue;
                }
                let short = lane
                    .frames
                    .partition_point(|(it, _)| it.last < wanted[place]);
                if short < lane.frames.len() {
                    counts[place] = counts[place].max(short + 1);
                } else if lane.has_ended {
                    return Closure::Missing(of, wanted[place]);
                } else {
                    return Closure::Read(of);
                }
            }
        }
    }

    fn take(&mut self, counts: [usize; 3]) -> Record {
        let mut record = Record {
            order: self.begin(ParticipantId::Order),
            inventory: self.begin(ParticipantId::Inventory),
            payment: self.begin(ParticipantId::Payment),
        };
        for (lane, count) in self.lanes.iter_mut().zip(counts) {
            for (claim, waiting) in lane.frames.drain(..count) {
                lane.taken = claim.last;
                lane.cursors = claim.cursors;
                match waiting {
                    Waiting::Order(frame) => append(&mut record.order, frame),
                    Waiting::Inventory(frame) => append(&mut record.inventory, frame),
                    Waiting::Payment(frame) => append(&mut record.payment, frame),
                }
            }
        }
        record
    }

    fn begin<E>(&self, journal: ParticipantId) -> Frame<E> {
        let lane = &self.lanes[journal.index()];
        Frame {
            after: lane.taken,
            cursors: lane.cursors.clone(),
            events: Vec::new(),
        }
    }
}

fn waiting<E: Clone>(
    entry: Entry<E>,
    wrap: impl FnOnce(Arc<Frame<E>>) -> Waiting,
) -> Option<(Claim, Waiting)> {
    let Content::Frame(frame) = entry.content else {
        return None; // a claim decides nothing
    };
    let count = u64::try_from(frame.events.len()).unwrap_or(u64::MAX);
    let claim = Claim {
        last: Sequence::new(frame.after.get().saturating_add(count)),
        cursors: frame.cursors.clone(),
        at: frame
            .events
            .first()
            .map_or_else(Timestamp::default, |it| it.at),
    };
    Some((claim, wrap(frame)))
}

fn append<E: Clone>(to: &mut Frame<E>, frame: Arc<Frame<E>>) {
    let frame = Arc::unwrap_or_clone(frame);
    to.cursors = frame.cursors;
    to.events.extend(frame.events);
}

#[cfg(test)]
mod tests {
    use a4co_core::decider::Recorded;
    use a4co_core::ids::{OrderId, ProductId};
    use a4co_core::replicated::{AppendId, Epoch};

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn entry<E>(journal: ParticipantId, frame: Frame<E>) -> Entry<E> {
        Entry {
            journal: journal.into(),
            append_id: AppendId::default(),
            previous: AppendId::default(),
            epoch: Epoch::new(1),
            content: Content::Frame(Arc::new(frame)),
        }
    }

    fn frame<E: Clone>(after: u64, count: u64, cursors: [u64; 3], ms: u64, event: &E) -> Frame<E> {
        let mut read = Cursors::default();
        for (from, cursor) in ParticipantId::ALL.into_iter().zip(cursors) {
            read.set(from, Sequence::new(cursor));
        }
        let recorded = |_| Recorded {
            at: at(ms),
            event: event.clone(),
        };
        Frame {
            after: Sequence::new(after),
            cursors: read,
            events: (0..count).map(recorded).collect(),
        }
    }

    fn order(after: u64, count: u64, cursors: [u64; 3], ms: u64) -> AnyEntry {
        let order_id = OrderId::from_bytes([7; 16]);
        let event = OrderEvent::CommitRequested { order_id };
        let it = frame(after, count, cursors, ms, &event);
        AnyEntry::Order(entry(ParticipantId::Order, it))
    }

    fn inventory(after: u64, count: u64, cursors: [u64; 3], ms: u64) -> AnyEntry {
        let event = InventoryEvent::StockAdjusted {
            product_id: ProductId::parse("cup").unwrap(),
            delta: 1,
            reason: Arc::from(""),
        };
        let it = frame(after, count, cursors, ms, &event);
        AnyEntry::Inventory(entry(ParticipantId::Inventory, it))
    }

    /// Feeds the entries as they are asked for; says what came, as events of each journal.
    fn run(entries: Vec<AnyEntry>) -> (Vec<[usize; 3]>, Step) {
        let mut merge = Merge::default();
        let mut queues: [VecDeque<AnyEntry>; 3] = Default::default();
        for entry in entries {
            queues[entry.journal().index()].push_back(entry);
        }
        let mut came = Vec::new();
        loop {
            match merge.step() {
                Step::Record(record) => came.push([
                    record.order.events.len(),
                    record.inventory.events.len(),
                    record.payment.events.len(),
                ]),
                Step::Read(journal) => match queues[journal.index()].pop_front() {
                    Some(entry) => merge.push(entry),
                    None => merge.ended(journal),
                },
                end => return (came, end),
            }
        }
    }

    #[test]
    fn a_cause_comes_before_its_effect_whatever_the_clocks_say() {
        let (came, end) = run(vec![
            order(0, 1, [0, 0, 0], 50),
            order(1, 1, [0, 2, 0], 60),
            inventory(0, 2, [1, 0, 0], 10),
        ]);
        assert_eq!(came, [[1, 0, 0], [0, 2, 0], [1, 0, 0]]);
        assert!(matches!(end, Step::Done));
    }

    #[test]
    fn what_rests_on_each_other_comes_as_one() {
        let (came, end) = run(vec![
            order(0, 1, [0, 0, 0], 1),
            order(1, 2, [0, 3, 0], 2),
            order(3, 1, [0, 3, 0], 3),
            inventory(0, 1, [0, 0, 0], 1),
            inventory(1, 1, [3, 0, 0], 2),
            inventory(2, 1, [3, 0, 0], 2),
        ]);
        assert_eq!(came, [[1, 0, 0], [0, 1, 0], [2, 2, 0], [1, 0, 0]]);
        assert!(matches!(end, Step::Done));
    }

    #[test]
    fn an_effect_without_its_cause_is_named() {
        let (came, end) = run(vec![
            order(0, 1, [0, 0, 0], 1),
            inventory(0, 1, [4, 0, 0], 2),
        ]);
        assert_eq!(came, [[1, 0, 0]]);
        let Step::Missing {
            of,
            event,
            wanted_by,
        } = end
        else {
            panic!("{end:?}");
        };
        assert_eq!(
            (of, event.get(), wanted_by),
            (ParticipantId::Order, 4, ParticipantId::Inventory)
        );
    }
}
