//! What is to happen, in order of time and, at one time, of scheduling.
//!
//! Apart from the world because the order is all that a seed's meaning rests on. The heap
//! moves small keys about; the events stay where they are put.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::world::Event;

/// When, how many were scheduled before, and the place of the event.
type Key = Reverse<(u64, u64, usize)>;

/// The queue of one run.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    keys: BinaryHeap<Key>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    scheduled: u64,
}

impl Queue {
    /// Schedules an event, at this time in microseconds.
    pub(crate) fn push(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.keys.push(Reverse((at_us, self.scheduled, place)));
    }

    /// Takes the next event, with its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at_us, _, place)) = self.keys.pop()?;
        self.free.push(place);
        let event = self.events.get_mut(place)?.take()?;
        Some((at_us, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_comes_first_and_then_the_order_of_scheduling() {
        let mut queue = Queue::default();
        for (at_us, intent) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            queue.push(at_us, Event::Send(intent));
        }
        let mut next = || match queue.pop() {
            Some((at_us, Event::Send(intent))) => {
                queue.push(9, Event::Heal);
                Some((at_us, intent))
            }
            _ => None,
        };
        assert_eq!([next(), next()], [Some((3, 2)), Some((3, 4))]);
        assert_eq!([next(), next()], [Some((5, 1)), Some((5, 3))]);
        assert_eq!(next(), None);
    }
}
