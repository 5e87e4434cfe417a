//! What a process tells of itself over NATS, and the hand-over that it is asked for.
//!
//! For `a4co nats status` and `a4co step-down`; nothing in the cluster rests on it.

use std::net::SocketAddr;
use std::time::Duration;

use a4co_core::replicated::HostId;
use a4co_core::shards::JournalId;
use a4co_driver::replicated::{Leader, Standings};
use async_nats::Client;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::config::Role;
use crate::http::Members;
use crate::nats::NatsError;

/// Asks every process what it is: each answers with a [`Member`] as JSON.
pub const MEMBERS_SUBJECT: &str = "a4co.members";

/// Asks the leader of the journal that the payload names (`order`; with several shards
/// `order-0`) to hand over. Only that one answers, with a [`StepDownAnswer`] as JSON.
pub const STEP_DOWN_SUBJECT: &str = "a4co.step_down";

/// A process, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// This start of the process.
    pub host: String,
    /// Where its HTTP API listens.
    pub listen: String,
    /// The program's version.
    pub version: String,
    /// How it stands to each journal.
    pub journals: Vec<MemberJournal>,
}

/// How a process stands to a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberJournal {
    /// The participant whose journal it is; with several shards, the journal.
    pub participant: String,
    /// It decides and appends.
    pub leads: bool,
    /// It would, if nobody else did.
    pub may_lead: bool,
    /// The epoch of the last message that it applied.
    pub epoch: u64,
    /// The last message that its readers see.
    pub shown: u64,
    /// Why its participant has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}

/// What a leader says to a hand-over that it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDownAnswer {
    /// Who hands over.
    pub host: String,
}

/// How long the processes may take to say who they are.
const MEMBERS_WAIT: Duration = Duration::from_millis(100);

/// Every process that answers within a moment.
///
/// # Errors
/// [`NatsError`] when nobody can be asked.
pub async fn members(client: &Client) -> Result<Vec<Member>, NatsError> {
    let failed =
        |error: &dyn std::fmt::Display| NatsError::jetstream("to ask the processes", error);
    let inbox = client.new_inbox();
    let answers = client.subscribe(inbox.clone()).await;
    let mut answers = answers.map_err(|error| failed(&error))?;
    let asked = client.publish_with_reply(MEMBERS_SUBJECT, inbox, Vec::new().into());
    asked.await.map_err(|error| failed(&error))?;
    let mut members = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(MEMBERS_WAIT, answers.next()).await {
        // The servers say at once that nobody listens, with a message without a body.
        if let Ok(member) = serde_json::from_slice::<Member>(&answer.payload) {
            members.push(member);
        }
    }
    Ok(members)
}

/// The processes, for whoever asks this one.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) host: HostId,
    pub(super) client: Client,
}

impl Members for Asking {
    fn host(&self) -> String {
        self.host.to_string()
    }

    fn members(&self) -> BoxFuture<'_, Vec<Member>> {
        Box::pin(async {
            members(&self.client).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the other processes cannot be asked");
                Vec::new()
            })
        })
    }
}

/// Answers for this process.
pub(super) struct Serving {
    pub(super) host: HostId,
    pub(super) role: Role,
    pub(super) standings: Standings,
    pub(super) step_down: mpsc::UnboundedSender<JournalId>,
    pub(super) listen: SocketAddr,
}

impl Serving {
    pub(super) async fn run(self, client: Client) {
        let subscribed = async {
            let members = client.subscribe(MEMBERS_SUBJECT).await?;
            let step_downs = client.subscribe(STEP_DOWN_SUBJECT).await?;
            Ok::<_, async_nats::SubscribeError>((members, step_downs))
        };
        let (mut members, mut step_downs) = match subscribed.await {
            Ok(subscribed) => subscribed,
            Err(error) => {
                tracing::error!(%error, "this process cannot tell of itself");
                return;
            }
        };
        loop {
            let (to, answer) = tokio::select! {
                message = members.next() => {
                    let Some(message) = message else { return };
                    (message.reply, serde_json::to_vec(&self.member()))
                }
                message = step_downs.next() => {
                    let Some(message) = message else { return };
                    let named = |it: &JournalId| it.to_string().as_bytes() == &message.payload[..];
                    let Some(journal) = self.standings.journals().find(named) else {
                        continue;
                    };
                    if !matches!(self.standings.leader(journal), Leader::Here(_)) {
                        continue;
                    }
                    tracing::info!(%journal, "asked to hand over");
                    let _ = self.step_down.send(journal);
                    let host = self.host.to_string();
                    (message.reply, serde_json::to_vec(&StepDownAnswer { host }))
                }
            };
            if let (Some(to), Ok(answer)) = (to, answer) {
                let _ = client.publish(to, answer.into()).await;
            }
        }
    }

    fn member(&self) -> Member {
        let journals = self.standings.journals().map(|journal| {
            let standing = self.standings.of(journal);
            MemberJournal {
                participant: journal.to_string(),
                leads: matches!(standing.leader, Leader::Here(_)),
                may_lead: self.role.may_lead(journal.participant),
                epoch: standing.epoch.get(),
                shown: standing.shown.get(),
                halted: standing.halted,
            }
        });
        Member {
            host: self.host.to_string(),
            listen: self.listen.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            journals: journals.collect(),
        }
    }
}
