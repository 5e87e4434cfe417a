//! `a4co step-down`: a planned hand-over.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Request;
use async_nats::client::RequestErrorKind;

use super::nats::with_nats;
use super::{Exit, StepDownFlags, show};
use crate::cluster::{MemberJournal, STEP_DOWN_SUBJECT, StepDownAnswer, members};
use crate::nats::{Connected, NatsError};

/// How long a leader may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How long the hand-over is waited for.
const HAND_OVER_WAIT: Duration = Duration::from_secs(30);

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
        let to = members(&nats.client).await?.into_iter().find(|member| {
            let leads = |it: &MemberJournal| it.participant == participant && it.leads;
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
