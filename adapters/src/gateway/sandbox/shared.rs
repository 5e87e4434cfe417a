//! The sandbox gateway of a cluster: one book for all processes, kept on a stream.
//!
//! A payment that one process has charged is known to the next one that leads. Whoever
//! decides appends what was decided with the stream's expected last sequence; where another
//! was faster, what was decided is taken back, its entries are read, and it is decided
//! again. An answer that changed nothing leaves only once the stream is known to end where
//! this process has read to.
//!
//! It is for tests and demos: every process that was asked for a charge keeps all payments
//! in memory, about 150 bytes each.

use std::sync::Arc;
use std::time::Duration;

use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::books::Tail;
use super::fate;
use super::ledger::{Ledger, Verdict};
use super::record::{BookEntry, RECORD_BYTES};
use super::{AnswerSink, Asked, Gateway, GatewayAnswer, answer_to};
use crate::config::SandboxConfig;
use crate::nats::{Connected, NatsError, SANDBOX_BOOKS, SANDBOX_SUBJECT, ordered};

/// Calls that are decided together, at most.
const BATCH_MAX: usize = 256;

/// Wait before the servers are asked again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The sandbox gateway of a cluster. Dropping it drops the answers that are still to come.
#[derive(Debug)]
pub struct SharedSandbox {
    inbox: mpsc::UnboundedSender<Work>,
}

#[derive(Debug)]
enum Work {
    Call(Asked),
    /// A slow charge ends.
    Finish(Asked),
}

impl SharedSandbox {
    /// A gateway over the books' stream, which has to be there.
    ///
    /// # Errors
    /// [`NatsError`] when the servers refuse.
    pub async fn open(nats: Connected, config: SandboxConfig) -> Result<Self, NatsError> {
        let books = nats.jetstream.get_stream_no_info(SANDBOX_BOOKS).await;
        let books = books.map_err(|error| NatsError::jetstream(SANDBOX_BOOKS, error))?;
        let (inbox, work) = mpsc::unbounded_channel();
        let desk = Desk {
            nats,
            books,
            config,
            ledger: Ledger::from_tail(
                Tail {
                    entries: Vec::new(),
                    traces: Vec::new(),
                    is_whole: true,
                },
                usize::MAX,
            ),
            last: 0,
            later: inbox.downgrade(),
        };
        tokio::spawn(desk.run(work));
        Ok(Self { inbox })
    }
}

impl Gateway for SharedSandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        for call in calls {
            let answers = answers.clone();
            // It ends with the process only.
            let _ = self.inbox.send(Work::Call(Asked { call, answers }));
        }
    }
}

struct Desk {
    nats: Connected,
    books: Stream<()>,
    config: SandboxConfig,
    ledger: Ledger,
    /// The last message that the ledger has.
    last: u64,
    later: mpsc::WeakUnboundedSender<Work>,
}

/// What is to be done once the books have what was decided.
#[derive(Default)]
struct Outbox {
    answers: Vec<(Duration, Arc<dyn AnswerSink>, GatewayAnswer)>,
    finishes: Vec<(Duration, Asked)>,
}

impl Desk {
    async fn run(mut self, mut work: mpsc::UnboundedReceiver<Work>) {
        let mut batch = Vec::new();
        while work.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut finishes = Vec::new();
            let outbox = loop {
                let mut outbox = self.decide(&batch);
                finishes.append(&mut outbox.finishes);
                if self.keep().await {
                    break outbox;
                }
                // Another was faster, or nobody knows: read what there is, decide again.
                self.ledger.take_back();
                for work in &batch {
                    if let Work::Finish(asked) = work {
                        self.ledger.resume(asked.call.order_id);
                    }
                }
                self.read().await;
            };
            batch.clear();
            self.send(Outbox { finishes, ..outbox });
        }
    }

    fn decide(&mut self, batch: &[Work]) -> Outbox {
        let mut outbox = Outbox::default();
        for work in batch {
            match work {
                Work::Call(asked) => self.decide_call(asked, &mut outbox),
                Work::Finish(Asked { call, answers }) => {
                    if let Some(outcome) = self.ledger.finish(call) {
                        let report = GatewayAnswer {
                            order_id: call.order_id,
                            operation: None,
                            outcome,
                        };
                        outbox
                            .answers
                            .push((Duration::ZERO, answers.clone(), report));
                    }
                }
            }
        }
        outbox
    }

    fn decide_call(&mut self, asked: &Asked, outbox: &mut Outbox) {
        let Asked { call, answers } = asked;
        let delay = fate::latency(&self.config, call.order_id);
        let (delay, outcome) = match self.ledger.decide(call, &self.config, true) {
            Verdict::Answer(outcome) => (delay, outcome),
            Verdict::AnswerAfter(wait, outcome) => (delay + wait, outcome),
            Verdict::AtWork(wait) => {
                let (call, answers) = (call.clone(), answers.clone());
                outbox
                    .finishes
                    .push((delay + wait, Asked { call, answers }));
                (delay, GatewayOutcome::Pending)
            }
            Verdict::LookUp => unreachable!("all that there is has been read"),
        };
        outbox
            .answers
            .push((delay, answers.clone(), answer_to(call, outcome)));
    }

    /// Makes what was decided part of the books; or, where nothing was, makes sure that
    /// nobody has decided anything meanwhile.
    async fn keep(&mut self) -> bool {
        let records = self.ledger.unwritten();
        if records.is_empty() {
            return self.books_end().await == Some(self.last);
        }
        let message = PublishMessage::build()
            .payload(records.to_vec().into())
            .expected_stream(SANDBOX_BOOKS)
            .expected_last_sequence(self.last);
        let kept = async {
            let sent = self.nats.jetstream.send_publish(SANDBOX_SUBJECT, message);
            sent.await?.await
        };
        match kept.await {
            Ok(ack) => {
                self.last = ack.sequence;
                self.ledger.written();
                true
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => false,
            Err(error) => {
                tracing::warn!(%error, "the sandbox's books on NATS cannot be written; trying again");
                tokio::time::sleep(RETRY_AFTER).await;
                false
            }
        }
    }

    async fn books_end(&self) -> Option<u64> {
        let info = self.books.get_info().await;
        info.map(|info| info.state.last_sequence)
            .inspect_err(|error| {
                tracing::warn!(%error, "the sandbox's books on NATS cannot be looked at");
            })
            .ok()
    }

    /// Reads the books to their end.
    async fn read(&mut self) {
        while !self.try_read().await {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn try_read(&mut self) -> bool {
        let Some(end) = self.books_end().await else {
            return false;
        };
        if end <= self.last {
            return true;
        }
        let config = ordered::from_sequence(self.last + 1);
        let Ok(mut messages) = ordered::read(&self.books, SANDBOX_BOOKS, config).await else {
            return false;
        };
        while self.last < end {
            let Some(Ok(message)) = messages.next().await else {
                return false;
            };
            let Ok(info) = message.info() else {
                return false;
            };
            for record in message.payload.chunks(RECORD_BYTES) {
                match BookEntry::decode(record) {
                    Some(entry) => self.ledger.learn(&entry),
                    None => tracing::error!(
                        sequence = info.stream_sequence,
                        "the sandbox's books on NATS hold what is no record of theirs"
                    ),
                }
            }
            self.last = info.stream_sequence;
        }
        true
    }

    fn send(&self, outbox: Outbox) {
        for (delay, answers, answer) in outbox.answers {
            if delay.is_zero() {
                answers.deliver(answer);
            } else {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    answers.deliver(answer);
                });
            }
        }
        for (delay, asked) in outbox.finishes {
            let later = self.later.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Some(later) = later.upgrade() {
                    let _ = later.send(Work::Finish(asked));
                }
            });
        }
    }
}
