//! The loop: inputs in, one record a batch, outputs out.

use std::collections::HashMap;
use std::sync::Arc;

use a4co_core::command::{Reply, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::GatewayCall;
use a4co_core::limits::FRAME_BYTES_SOFT_MAX;
use a4co_core::row::{Answer, Row, RowKey};
use a4co_core::time::Millis;
use tokio::sync::{mpsc, oneshot};

use crate::handle::{EngineHandle, Submission};
use crate::planted::planted;
use crate::ports::{
    AnswerSink, Clock, Gateway, GatewayAnswer, Log, LogError, Observer, RowSink, Rows,
};
use crate::watch::Watches;

/// Bytes that the log must have room for, whatever the disk does, before new commands
/// are taken: what is under way needs room to end.
pub const ROOM_BYTES: usize = 4 * FRAME_BYTES_SOFT_MAX;

/// How long to wait before a record that found no room is tried again.
const FULL_RETRY: Millis = Millis::new(100);

/// Inputs taken at once, at most; a saturated record ends a batch earlier.
const BATCH_INPUTS_MAX: usize = 4_096;

/// Why the loop ended other than by being asked to. The process must end.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The log failed. Whether its last record is there is unknown; a restart finds out.
    #[error(transparent)]
    Log(LogError),
    /// It was asked to stop while the log had no room. What had been decided since is not
    /// durable, and nobody was told that it is: those who asked see that the engine
    /// stopped. Make room, and start again.
    #[error(
        "the engine was stopped while the log had no room ({0}); what was under way was neither written nor acknowledged"
    )]
    StoppedWithoutRoom(String),
}

/// What is left when the loop has ended as asked: everything taken was answered.
#[derive(Debug)]
pub struct Stopped<L, R> {
    /// The log, with every record durable.
    pub log: L,
    /// The rows.
    pub rows: R,
    /// The host, between two records.
    pub host: EmbeddedHost,
}

pub(crate) enum Event {
    Gateway(GatewayAnswer),
    Fetched(RowKey, Option<Row>),
}

/// The way back into the loop. One that has ended takes nothing: a call whose answer is
/// lost is owed again at the next start.
pub(crate) struct Events(pub(crate) mpsc::UnboundedSender<Event>);

impl AnswerSink for Events {
    fn deliver(&self, answer: GatewayAnswer) {
        let _ = self.0.send(Event::Gateway(answer));
    }
}

impl RowSink for Events {
    fn fetched(&self, key: RowKey, row: Option<Row>) {
        let _ = self.0.send(Event::Fetched(key, row));
    }
}

/// The loop with all that it drives.
pub struct Driver<L, R, C, O> {
    host: EmbeddedHost,
    log: L,
    rows: R,
    clock: C,
    observer: O,
    gateway: Arc<dyn Gateway>,
    watches: Watches,
    submissions: mpsc::Receiver<Submission>,
    events: mpsc::UnboundedReceiver<Event>,
    row_sink: Arc<dyn RowSink>,
    answer_sink: Arc<dyn AnswerSink>,
    stop: oneshot::Receiver<()>,
    replies: HashMap<RequestId, oneshot::Sender<Reply>>,
    /// Replies whose receivers wait for an end as well, which is often one commit away:
    /// told of both at once, they wake once.
    late: Vec<(oneshot::Sender<Reply>, Reply)>,
    next_request: u64,
    /// A record that found no room, to be tried again.
    unwritten: Option<Vec<u8>>,
    /// Why it is not written.
    full_reason: String,
    committed: (u64, usize),
    calls: Vec<GatewayCall>,
    fetches: Vec<RowKey>,
    has_room: bool,
}

/// How the outside reaches the loop.
pub struct Reach {
    /// Sends commands.
    pub handle: EngineHandle,
    /// Waits for ends.
    pub watches: Watches,
    /// Takes reports of the gateway that nobody asked for (webhooks).
    pub answers: Arc<dyn AnswerSink>,
    /// Ends the loop: it takes nothing new, finishes what it has, and returns.
    pub stop: oneshot::Sender<()>,
}

impl<L: Log, R: Rows, C: Clock, O: Observer> Driver<L, R, C, O> {
    /// A loop around a host that has recovered and not been started. `queue` bounds the
    /// commands that wait to be taken.
    pub fn new(
        host: EmbeddedHost,
        log: L,
        rows: R,
        clock: C,
        observer: O,
        gateway: Arc<dyn Gateway>,
        queue: usize,
    ) -> (Self, Reach) {
        let (submit, submissions) = mpsc::channel(queue);
        let (send, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let events_sink = Arc::new(Events(send));
        let answers: Arc<dyn AnswerSink> = events_sink.clone();
        let watches = Watches::default();
        let reach = Reach {
            handle: EngineHandle::new(submit),
            watches: watches.clone(),
            answers: answers.clone(),
            stop,
        };
        let driver = Self {
            host,
            log,
            rows,
            clock,
            observer,
            gateway,
            watches,
            submissions,
            events,
            row_sink: events_sink,
            answer_sink: answers,
            stop: stopped,
            replies: HashMap::new(),
            late: Vec::new(),
            next_request: 0,
            unwritten: None,
            full_reason: String::new(),
            committed: (0, 0),
            calls: Vec::new(),
            fetches: Vec::new(),
            has_room: true,
        };
        (driver, reach)
    }

    /// Runs until it is told to stop, or until nobody can reach it any more.
    ///
    /// # Errors
    /// [`DriverError`] when the log fails for good, or has no room when it is to stop.
    pub async fn run(mut self) -> Result<Stopped<L, R>, DriverError> {
        self.host.start(self.clock.now());
        self.carry_out()?;
        loop {
            self.look_for_room();
            if !self.wait().await {
                break;
            }
            self.take_batch();
            self.carry_out()?;
        }
        self.finish()
    }

    /// Waits for something to do; `false` when the loop is to end.
    async fn wait(&mut self) -> bool {
        if self.events.is_empty() {
            // No answer of the gateway is at hand, so no end is near.
            self.send_late_replies();
        }
        let nap = self.nap();
        // Without room nothing more is decided than one record holds.
        let may_decide = self.unwritten.is_none() || !self.host.is_saturated();
        tokio::select! {
            // In this order: an end that was asked for comes, and what is under way goes
            // on before new work begins.
            biased;
            _ = &mut self.stop => false,
            event = self.events.recv(), if may_decide => {
                if let Some(event) = event {
                    self.take_event(event);
                }
                true
            }
            submission = self.submissions.recv() => match submission {
                Some(submission) => {
                    self.take(submission);
                    true
                }
                None => false,
            },
            () = self.clock.sleep(nap) => true,
        }
    }

    /// How long there is nothing to do unless something comes in.
    fn nap(&self) -> Millis {
        const LONGEST: Millis = Millis::from_secs(1);
        if self.unwritten.is_some() {
            return FULL_RETRY;
        }
        let until = self
            .host
            .wake_at()
            .map(|at| at.saturating_since(self.clock.now()));
        until.map_or(LONGEST, |until| until.min(LONGEST))
    }

    fn take_batch(&mut self) {
        for _ in 0..BATCH_INPUTS_MAX {
            if self.host.is_saturated() {
                return;
            }
            if let Ok(event) = self.events.try_recv() {
                self.take_event(event);
            } else if let Ok(submission) = self.submissions.try_recv() {
                self.take(submission);
            } else {
                return;
            }
        }
    }

    fn take(&mut self, Submission { command, reply }: Submission) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.replies.insert(request, reply);
        self.host
            .handle_input(self.clock.now(), HostInput::Command { request, command });
    }

    fn take_event(&mut self, event: Event) {
        let input = match event {
            Event::Gateway(GatewayAnswer {
                order_id,
                operation,
                outcome,
            }) => HostInput::Gateway {
                order_id,
                operation,
                outcome,
            },
            Event::Fetched(..) if planted!("fetched_row_lost") => return,
            Event::Fetched(key, row) => HostInput::Fetched { key, row },
        };
        self.host.handle_input(self.clock.now(), input);
    }

    /// Carries out what the host asks for, until it asks for nothing more.
    fn carry_out(&mut self) -> Result<(), DriverError> {
        let now = self.clock.now();
        if self.host.wake_at().is_some_and(|at| at <= now) {
            self.host.handle_input(now, HostInput::Time);
        }
        if let Some(record) = self.unwritten.take() {
            self.commit(record)?;
        }
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(record) => self.commit(record)?,
                HostOutput::Publish(rows) => self.publish(rows),
                HostOutput::Reply { request, reply } => self.reply(request, reply),
                HostOutput::CallGateway(call) => self.calls.push(call),
                HostOutput::Fetch(key) => self.fetches.push(key),
            }
        }
        if !self.calls.is_empty() {
            self.gateway
                .submit(std::mem::take(&mut self.calls), &self.answer_sink);
        }
        if !self.fetches.is_empty() {
            self.rows
                .fetch(std::mem::take(&mut self.fetches), &self.row_sink);
        }
        if self.log.wants_snapshot()
            && let Some(snapshot) = self.host.snapshot()
        {
            self.log.snapshot(&snapshot);
        }
        Ok(())
    }

    fn commit(&mut self, record: Vec<u8>) -> Result<(), DriverError> {
        if planted!("reply_before_append") {
            self.host
                .handle_input(self.clock.now(), HostInput::Committed);
            while let Some(output) = self.host.poll_output() {
                match output {
                    HostOutput::Reply { request, reply } => self.reply(request, reply),
                    HostOutput::CallGateway(call) => self.calls.push(call),
                    HostOutput::Fetch(key) => self.fetches.push(key),
                    HostOutput::Commit(_) | HostOutput::Publish(_) => {}
                }
            }
        }
        match self.log.append(&record) {
            Ok(sequence) => {
                self.committed = (sequence, record.len());
                self.host
                    .handle_input(self.clock.now(), HostInput::Committed);
                Ok(())
            }
            Err(LogError::Full(reason)) => {
                tracing::warn!(%reason, "the log has no room; the record is tried again");
                self.unwritten = Some(record);
                self.full_reason = reason;
                self.set_room(false);
                Ok(())
            }
            Err(fatal @ LogError::Fatal(_)) => Err(DriverError::Log(fatal)),
        }
    }

    fn publish(&mut self, rows: Vec<Row>) {
        let (sequence, bytes) = self.committed;
        self.observer.committed(sequence, bytes, &rows);
        // Rows first, and only then a look at who waits: whoever registers meanwhile either
        // reads the end or is told of it.
        let ended: Vec<Row> = rows
            .iter()
            .filter(|row| may_be_awaited(row))
            .cloned()
            .collect();
        if planted!("end_told_before_shown") {
            self.watches.tell(&ended);
        }
        let early =
            planted!("watchers_looked_up_before_rows").then(|| self.watches.taken_early(&ended));
        self.rows.publish(sequence, rows);
        early.as_ref().unwrap_or(&self.watches).tell(&ended);
        self.send_late_replies();
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        let Some(sender) = self.replies.remove(&request) else {
            return;
        };
        if let Ok(Answer::Order(order)) = &reply.result
            && self.watches.is_awaited(order.order_id)
        {
            self.late.push((sender, reply));
        } else {
            // Whoever asked may have gone; the outcome stands all the same.
            let _ = sender.send(reply);
        }
    }

    fn send_late_replies(&mut self) {
        for (sender, reply) in self.late.drain(..) {
            let _ = sender.send(reply);
        }
    }

    fn look_for_room(&mut self) {
        self.set_room(self.unwritten.is_none() && self.log.has_room(ROOM_BYTES));
    }

    fn set_room(&mut self, has_room: bool) {
        if self.has_room != has_room {
            self.has_room = has_room;
            self.host
                .handle_input(self.clock.now(), HostInput::Room(has_room));
        }
        self.observer.room(has_room);
    }

    /// Commits what is at hand; a gateway's answers that are still out are owed again at
    /// the next start.
    fn finish(mut self) -> Result<Stopped<L, R>, DriverError> {
        self.submissions.close();
        loop {
            self.take_batch();
            if planted!("stop_drops_what_was_taken") {
                break;
            }
            self.carry_out()?;
            // Tried once more just now. Waiting for room would keep whoever stops us waiting.
            if self.unwritten.is_some() && !planted!("full_record_dropped") {
                return Err(DriverError::StoppedWithoutRoom(self.full_reason));
            }
            if self.events.is_empty() && self.submissions.is_empty() {
                break;
            }
        }
        self.send_late_replies();
        Ok(Stopped {
            log: self.log,
            rows: self.rows,
            host: self.host,
        })
    }
}

pub(crate) fn may_be_awaited(row: &Row) -> bool {
    match row {
        Row::Order(order) => order.saga.is_terminal(),
        Row::Payment(payment) => !payment.refunds.is_empty(),
        Row::Reservation(_) | Row::Product(_) | Row::Answer(_) | Row::InShard(..) => false,
    }
}
