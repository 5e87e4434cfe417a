//! Answers that take time: one queue and one task for all of them.
//!
//! Apart from what is answered; a task for each call would cost more than the calls.

use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use a4co_core::gateway::GatewayCall;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Inner;
use crate::gateway::{AnswerSink, GatewayAnswer};

/// Jobs taken from the queue at a time.
const BATCH: usize = 1024;

/// What is to be done when its time has come.
pub(super) enum Due {
    /// Give an answer.
    Answer {
        answer: GatewayAnswer,
        answers: Arc<dyn AnswerSink>,
    },
    /// Finish a charge that was at work.
    Finish {
        call: GatewayCall,
        answers: Arc<dyn AnswerSink>,
    },
}

/// The way to the task. The queue has no bound of its own: there is at most one call for
/// each payment that is active, and their number has one.
#[derive(Debug)]
pub(super) struct Timers {
    queue: mpsc::UnboundedSender<Job>,
}

/// What comes out of [`Timers`].
pub(super) type Queue = mpsc::UnboundedReceiver<Job>;

pub(super) struct Job {
    at: Instant,
    due: Due,
}

impl Timers {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, jobs) = mpsc::unbounded_channel();
        (Self { queue }, jobs)
    }

    pub(super) fn after(&self, delay: Duration, due: Due) {
        let at = Instant::now() + delay;
        // With the runtime gone the process ends, and the answer with it.
        let _ = self.queue.send(Job { at, due });
    }
}

/// Jobs in the order of their time, and of their coming where that is the same.
#[derive(Default)]
struct Waiting {
    heap: BinaryHeap<Entry>,
    count: u64,
}

struct Entry {
    at: Instant,
    number: u64,
    due: Due,
}

impl Waiting {
    fn push(&mut self, Job { at, due }: Job) {
        let number = self.count;
        self.count += 1;
        self.heap.push(Entry { at, number, due });
    }

    fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.due)
    }
}

/// Carries jobs out until the sandbox is gone.
pub(super) async fn run(mut queue: Queue, inner: Weak<Inner>) {
    let mut waiting = Waiting::default();
    let mut arrived = Vec::with_capacity(BATCH);
    loop {
        let now = Instant::now();
        while let Some(due) = waiting.pop(now) {
            match due {
                Due::Answer { answer, answers } => answers.deliver(answer),
                Due::Finish { call, answers } => {
                    let Some(inner) = inner.upgrade() else {
                        return;
                    };
                    inner.finish(&call, &answers);
                }
            }
        }
        let next_at = waiting.next_at().unwrap_or(now);
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut arrived, BATCH) => {
                if taken == 0 {
                    return;
                }
                arrived.drain(..).for_each(|job| waiting.push(job));
            }
            () = tokio::time::sleep_until(next_at), if !waiting.heap.is_empty() => {}
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, since the heap gives the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
