//! Commands, wherever they arrive: decided here where this process leads, else sent to the
//! process that does.

use std::sync::Arc;
use std::time::Duration;

use a4co_core::command::{Command, Reply};
use a4co_core::record;
use a4co_core::replicated::{HostId, Refusal, StreamSequence};
use a4co_core::shards::{JournalId, PerJournal, ShardCount};
use a4co_driver::SubmitError;
use a4co_driver::replicated::{
    Leader, Positions, ReplicaHandle, ReplicaSubmitError, Replied, Standings,
};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::http::{Commands, PositionError, Positioned};

/// How long a command waits for somebody to lead before it is refused.
const LEADER_WAIT: Duration = Duration::from_secs(2);

/// How long a leader may take for a forwarded command before nobody knows what became of it.
const REPLY_WAIT: Duration = Duration::from_secs(10);

/// How long the answer to a forwarded command is held back, so that readers of this process
/// see what it did.
const SHOWN_WAIT: Duration = Duration::from_millis(500);

/// How long a read waits for a position that it names.
const POSITION_WAIT: Duration = Duration::from_secs(2);

/// Wait before a leader that was not there is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Forwarded commands that are under way at once, at most.
const FORWARDED_MAX: usize = 4_096;

/// Where a process takes forwarded commands.
pub(super) fn command_subject(host: HostId) -> String {
    format!("a4co.host.{host}.command")
}

/// What a leader says to a forwarded command.
#[derive(Debug, Serialize, Deserialize)]
enum Forwarded {
    Replied(Box<Reply>, PerJournal<StreamSequence>),
    /// It changed nothing, and never will.
    NotLeader,
    OutcomeUnknown,
    QueueFull,
    Undecodable,
}

/// The commands' way.
#[derive(Debug, Clone)]
pub(super) struct Router {
    pub(super) local: ReplicaHandle,
    pub(super) standings: Standings,
    pub(super) client: Client,
    /// How far the leaders were that have answered here.
    pub(super) known: Arc<std::sync::Mutex<Positions>>,
}

impl Router {
    async fn route(&self, command: Command) -> Result<Reply, SubmitError> {
        let journal = command.journal(self.standings.shard_count());
        let until = Instant::now() + LEADER_WAIT;
        loop {
            let leader = self.standings.leader(journal);
            let tried = match leader {
                Leader::Here(_) => self.decide(command.clone()).await,
                Leader::There(host) => self.forward(host, &command).await,
                Leader::Nobody => None,
            };
            if let Some(ended) = tried {
                return ended;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SubmitError::NoLeader);
            }
            let changed = self.standings.wait_leader(journal, leader);
            let _ = tokio::time::timeout(left.min(LOOK_AGAIN), changed).await;
        }
    }

    /// `None`: not here, and it changed nothing.
    async fn decide(&self, command: Command) -> Option<Result<Reply, SubmitError>> {
        match self.local.submit(command).await {
            Ok(Replied { reply, shown }) => {
                // The loop tells the standings a moment after the reply.
                self.know(&shown);
                Some(Ok(reply))
            }
            Err(ReplicaSubmitError::Refused(Refusal::NotLeader { .. })) => None,
            Err(ReplicaSubmitError::Refused(Refusal::OutcomeUnknown)) => {
                Some(Err(SubmitError::OutcomeUnknown))
            }
            Err(ReplicaSubmitError::Submit(error)) => Some(Err(error)),
        }
    }

    /// `None`: not there, and it changed nothing.
    async fn forward(&self, host: HostId, command: &Command) -> Option<Result<Reply, SubmitError>> {
        let request = Request::new()
            .payload(record::encode(command).into())
            .timeout(Some(REPLY_WAIT));
        let answer = self
            .client
            .send_request(command_subject(host), request)
            .await;
        let answer = match answer {
            Ok(message) => record::decode(&message.payload).unwrap_or(Forwarded::Undecodable),
            // Nobody listens: it was taken by nobody.
            Err(error) if error.kind() == RequestErrorKind::NoResponders => return None,
            Err(error) => {
                tracing::warn!(%host, %error, "a forwarded command has no answer");
                return Some(Err(SubmitError::OutcomeUnknown));
            }
        };
        Some(match answer {
            Forwarded::Replied(reply, shown) => {
                let count = self.standings.shard_count();
                let shown: Positions = JournalId::all(count).map(|it| shown.of(it)).collect();
                self.know(&shown);
                let shown = self.standings.wait_shown(&shown);
                let _ = tokio::time::timeout(SHOWN_WAIT, shown).await;
                Ok(*reply)
            }
            Forwarded::NotLeader => return None,
            Forwarded::QueueFull => Err(SubmitError::QueueFull),
            Forwarded::OutcomeUnknown => Err(SubmitError::OutcomeUnknown),
            Forwarded::Undecodable => {
                tracing::error!(%host, "a forwarded command or its answer was not understood: do all processes run versions that fit?");
                Err(SubmitError::OutcomeUnknown)
            }
        })
    }

    fn know(&self, shown: &[StreamSequence]) {
        let mut known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.resize(shown.len(), StreamSequence::NONE);
        for (known, shown) in known.iter_mut().zip(shown) {
            *known = (*known).max(*shown);
        }
    }
}

impl Commands for Router {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Reply, SubmitError>> {
        Box::pin(self.route(command))
    }
}

impl Positioned for Router {
    fn position(&self) -> String {
        self.know(&self.standings.shown());
        let known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let known: Vec<String> = known.iter().map(|it| it.get().to_string()).collect();
        known.join(".")
    }

    fn wait<'a>(&'a self, position: &'a str) -> BoxFuture<'a, Result<(), PositionError>> {
        Box::pin(async move {
            let parts: Option<Vec<StreamSequence>> = position
                .split('.')
                .map(|part| part.parse().ok().map(StreamSequence::new))
                .collect();
            let journals = self.standings.journals().count();
            let wanted = parts
                .filter(|parts| parts.len() == journals)
                .ok_or(PositionError::Malformed)?;
            let shown = self.standings.wait_shown(&wanted);
            tokio::time::timeout(POSITION_WAIT, shown)
                .await
                .map_err(|_| PositionError::Behind)
        })
    }
}

/// Takes forwarded commands, for as long as the connection lives.
pub(super) async fn serve(client: Client, host: HostId, local: ReplicaHandle, count: ShardCount) {
    let permits = Arc::new(Semaphore::new(FORWARDED_MAX));
    let mut requests = match client.subscribe(command_subject(host)).await {
        Ok(requests) => requests,
        Err(error) => {
            tracing::error!(%error, "forwarded commands cannot be taken");
            return;
        }
    };
    while let Some(message) = requests.next().await {
        let Some(to) = message.reply.clone() else {
            continue;
        };
        let (client, local) = (client.clone(), local.clone());
        let permit = permits.clone().try_acquire_owned();
        tokio::spawn(async move {
            let answer = match permit {
                Err(_) => Forwarded::QueueFull,
                Ok(_permit) => match record::decode::<Command>(&message.payload) {
                    Ok(command) => carry_out(&local, command, count).await,
                    Err(_) => Forwarded::Undecodable,
                },
            };
            // Whoever asked asks again, or finds out.
            let _ = client.publish(to, record::encode(&answer).into()).await;
        });
    }
}

async fn carry_out(local: &ReplicaHandle, command: Command, count: ShardCount) -> Forwarded {
    match local.submit(command).await {
        Ok(Replied { reply, shown }) => {
            let mut positions = PerJournal::default();
            for (journal, shown) in JournalId::all(count).zip(shown) {
                positions.set(journal, shown);
            }
            Forwarded::Replied(Box::new(reply), positions)
        }
        Err(ReplicaSubmitError::Refused(Refusal::NotLeader { .. })) => Forwarded::NotLeader,
        Err(ReplicaSubmitError::Submit(SubmitError::QueueFull)) => Forwarded::QueueFull,
        Err(ReplicaSubmitError::Refused(Refusal::OutcomeUnknown))
        | Err(ReplicaSubmitError::Submit(_)) => Forwarded::OutcomeUnknown,
    }
}
