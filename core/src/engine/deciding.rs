//! The part of an engine that decides: inputs that have all they need, and those that wait
//! for a row.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Engine, EngineOutput, Waiting};
use crate::command::{Reply, RequestId};
use crate::decider::{Input, Participant};
use crate::gateway::{GatewayOperation, GatewayOutcome};
use crate::ids::{OrderId, Sequence};
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::row::{AnswerRecord, Row, RowKey};

impl<P: Participant> Engine<P> {
    pub(super) fn on_command(
        &mut self,
        request: RequestId,
        command: P::Command,
        absent: BTreeSet<RowKey>,
    ) {
        if let Some(idempotency) = P::idempotency(&command) {
            let key = RowKey::Answer(P::ID, idempotency.key.clone());
            match P::row(&self.state, &key) {
                Some(Row::Answer(record)) => {
                    let result = if record.fingerprint == idempotency.fingerprint
                        || planted!("kept_answer_of_another_request")
                    {
                        Ok(record.answer)
                    } else {
                        Err(Rejection::IdempotencyKeyReused)
                    };
                    return self.reply(
                        request,
                        Reply {
                            replayed: result.is_ok(),
                            result,
                        },
                    );
                }
                _ if !absent.contains(&key) => {
                    return self.wait_for(key, Waiting::Command { request, command }, absent);
                }
                _ => {}
            }
        }
        if let Some(key) = self.missing(&Input::Command(&command), &absent) {
            return self.wait_for(key, Waiting::Command { request, command }, absent);
        }
        let need = P::needs(&Input::Command(&command)).map(|need| need.key);
        let events = match P::decide(
            &self.state,
            &self.settings,
            Input::Command(&command),
            self.now,
        ) {
            Ok(events) => events,
            Err(rejection) => {
                return self.reply(
                    request,
                    Reply {
                        result: Err(rejection),
                        replayed: false,
                    },
                );
            }
        };
        let replayed = events.is_empty() && P::is_answered_by_state(&command);
        self.record(events, need.as_ref());
        #[expect(
            clippy::expect_used,
            reason = "an accepted command leaves its row in memory"
        )]
        let answer = P::answer(&self.state, &command).expect("the answer to an accepted command");
        if let Some(idempotency) = P::idempotency(&command) {
            let record = AnswerRecord {
                participant: P::ID,
                key: idempotency.key.clone(),
                fingerprint: idempotency.fingerprint,
                at: self.now,
                answer: answer.clone(),
            };
            if !planted!("answer_not_kept") {
                self.record(alloc::vec![P::answered(record)], None);
            }
            // Whoever was told that this answer does not exist has to look again.
            let key = RowKey::Answer(P::ID, idempotency.key.clone());
            for (_, absent) in self.waiting.values_mut().flatten() {
                absent.remove(&key);
            }
        }
        self.reply(
            request,
            Reply {
                result: Ok(answer),
                replayed,
            },
        );
    }

    pub(super) fn on_gateway(
        &mut self,
        order_id: OrderId,
        operation: Option<GatewayOperation>,
        outcome: GatewayOutcome,
        absent: BTreeSet<RowKey>,
    ) {
        let input = Input::Gateway {
            order_id,
            operation,
            outcome: &outcome,
        };
        if let Some(key) = self.missing(&input, &absent) {
            let waiting = Waiting::Gateway {
                order_id,
                operation,
                outcome,
            };
            return self.wait_for(key, waiting, absent);
        }
        self.decide(input);
        self.owe(order_id);
    }

    /// Decides an input that cannot be refused.
    pub(super) fn decide(&mut self, input: Input<'_, P::Command>) {
        let need = P::needs(&input).map(|need| need.key);
        // Only commands are refused; the trait says so.
        let events = P::decide(&self.state, &self.settings, input, self.now).unwrap_or_default();
        self.record(events, need.as_ref());
    }

    pub(super) fn missing(
        &self,
        input: &Input<'_, P::Command>,
        absent: &BTreeSet<RowKey>,
    ) -> Option<RowKey> {
        P::needs(input)
            .filter(|need| need.may_exist && !planted!("tombstone_forgotten"))
            .map(|need| need.key)
            .filter(|key| !P::holds(&self.state, key) && !absent.contains(key))
    }

    pub(super) fn wait_for(
        &mut self,
        key: RowKey,
        waiting: Waiting<P::Command>,
        absent: BTreeSet<RowKey>,
    ) {
        let queue = self.waiting.entry(key.clone()).or_default();
        if queue.is_empty() {
            let key = key.of_shard(self.settings.shard);
            self.ready.push_back(EngineOutput::Fetch(key));
        }
        // The one upstream event that waits is offered again by the host as often as it likes.
        let is_noted = matches!(waiting, Waiting::Upstream)
            && queue
                .iter()
                .any(|(noted, _)| matches!(noted, Waiting::Upstream));
        if !is_noted {
            queue.push((waiting, absent));
        }
    }

    fn record(&mut self, events: Vec<P::Event>, need: Option<&RowKey>) {
        if events.is_empty() {
            return;
        }
        if let Some(key) = need
            && (self.borrowed.remove(key)
                || (self.would_have_left(key) && !planted!("recall_forgotten")))
            && let Some(recalled) = P::row(&self.state, key).and_then(P::recalled)
            && !planted!("fetched_row_changed_unrecorded")
        {
            self.push(recalled);
        }
        let mut order_id = None;
        for event in events {
            order_id = order_id.or_else(|| P::order_id(&event));
            self.push(event);
        }
        if let Some(order_id) = order_id {
            self.deadlines
                .set(order_id, P::deadline(&self.state, order_id));
            self.owe(order_id);
        }
    }

    /// Did this row end in a frame that was taken before, and is here only because that
    /// frame is not durable yet? A replay takes it out of memory with that frame.
    fn would_have_left(&self, key: &RowKey) -> bool {
        let open = u64::try_from(self.frame.len()).unwrap_or(u64::MAX);
        let taken = Sequence::new(self.decided.get().saturating_sub(open));
        P::may_leave(&self.state, key, taken)
    }
}
