//! `a4co step-down`: a planned hand-over.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Request;
use async_nats::client::RequestErrorKind;
use futures_util::StreamExt as _;

use super::nats::with_nats;
use super::{Exit, StepDownFlags, show};
use crate::cluster::{MEMBERS_SUBJECT, Member, STEP_DOWN_SUBJECT, StepDownAnswer};
use crate::nats::{Connected, NatsError};

/// How long a leader may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How long the hand-over is waited for.
const HAND_OVER_WAIT: Duration = Duration::from_secs(30);

/// How long the processes may take to say who they are.
const MEMBERS_WAIT: Duration = Duration::from_millis(100);

/// Runs `a4co step-down`.
#[must_use]
pub fn run_step_down(flags: &StepDownFlags, file: Option<&Path>, as_json: bool) -> Exit {
    with_nats(&flags.settings, file, async |nats, _| {
        hand_over(nats, &flags.participant, as_json).await
    })
}

async fn hand_over(nats: &Connected, participant: &str, as_json: bool) -> Result<(), NatsError> {
    let failed =
        |error: &str| NatsError::jetstream(format!("the hand-over of {participant}"), error);
    let began = Instant::now();
    let request = Request::new()
        .payload(participant.to_owned().into())
        .timeout(Some(ANSWER_WAIT));
    let answer = nats.client.send_request(STEP_DOWN_SUBJECT, request).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => failed("no process is there"),
        RequestErrorKind::TimedOut => failed("nobody leads it"),
        _ => failed(&error.to_string()),
    })?;
    let from: StepDownAnswer = serde_json::from_slice(&answer.payload)
        .map_err(|error| failed(&format!("the answer is not understood: {error}")))?;
    loop {
        let to = members(nats).await?.into_iter().find(|member| {
            let leads =
                |it: &crate::cluster::MemberJournal| it.participant == participant && it.leads;
            member.host != from.host && member.journals.iter().any(leads)
        });
        let took_ms = began.elapsed().as_millis();
        if let Some(to) = to {
            if as_json {
                let said = serde_json::json!({
                    "participant": participant, "from": from.host, "to": to.host,
                    "listen": to.listen, "tookMs": u64::try_from(took_ms).unwrap_or(u64::MAX),
                });
                show(&format!("{said}\n"));
            } else {
                show(&format!(
                    "{participant}: handed over from {} to {} ({}) in {took_ms} ms\n",
                    from.host, to.host, to.listen
                ));
            }
            return Ok(());
        }
        if began.elapsed() > HAND_OVER_WAIT {
            return Err(failed(&format!(
                "{} stepped down, and nobody has taken over: is there another process that may lead it?",
                from.host
            )));
        }
    }
}

/// Every process that answers.
///
/// # Errors
/// [`NatsError`] when nobody can be asked.
pub(super) async fn members(nats: &Connected) -> Result<Vec<Member>, NatsError> {
    let failed =
        |error: &dyn std::fmt::Display| NatsError::jetstream("to ask the processes", error);
    let inbox = nats.client.new_inbox();
    let mut answers = nats
        .client
        .subscribe(inbox.clone())
        .await
        .map_err(|error| failed(&error))?;
    let asked = nats
        .client
        .publish_with_reply(MEMBERS_SUBJECT, inbox, Vec::new().into());
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
