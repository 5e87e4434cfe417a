//! What clients are told, and whether it may be said: a reply rests on what is durable,
//! says what was so, and says the same again under the same key.

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::command::Reply;
use a4co_core::gateway::{GatewayCall, GatewayOperation};
use a4co_core::ids::{Fingerprint, IdempotencyKey, OrderId, ParticipantId, ProductId};
use a4co_core::order::{NewOrder, Order, SagaState};
use a4co_core::payment::{Payment, PaymentPhase};
use a4co_core::rejection::Rejection;
use a4co_core::row::{Answer, Row, RowKey};
use a4co_core::shards::{Shard, ShardId};

use super::{Audit, Rows};
use crate::verdict::{Checked, Failure, safety};

/// What was asked, as far as the reply is to be judged by it.
#[derive(Debug, Clone)]
pub enum Asked {
    /// An order.
    Create(OrderId, Arc<NewOrder>),
    /// A cancellation.
    Cancel(OrderId),
    /// A refund.
    Refund(OrderId),
    /// An operator's retry.
    Nudge(OrderId),
    /// An operator's retry of a payment.
    RetryPayment(OrderId),
    /// A payment whose capture was refused has been seen to.
    WriteOff(OrderId),
    /// Nothing: it is told what the gateway reports.
    Report(OrderId),
    /// A product described, or its stock changed.
    Product(ProductId),
}

/// Whether nothing more becomes of the charge.
pub(super) fn is_definite(payment: &Payment) -> bool {
    matches!(
        payment.phase,
        PaymentPhase::Captured
            | PaymentPhase::Failed
            | PaymentPhase::Cancelled
            | PaymentPhase::CaptureFailed
    )
}

impl Asked {
    /// The order that it is about.
    #[must_use]
    pub const fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::Create(order_id, _)
            | Self::Cancel(order_id)
            | Self::Refund(order_id)
            | Self::Report(order_id)
            | Self::RetryPayment(order_id)
            | Self::WriteOff(order_id)
            | Self::Nudge(order_id) => Some(*order_id),
            Self::Product(_) => None,
        }
    }

    const fn participant(&self) -> ParticipantId {
        match self {
            Self::Create(..) | Self::Cancel(_) | Self::Nudge(_) => ParticipantId::Order,
            Self::Refund(_) | Self::Report(_) | Self::RetryPayment(_) | Self::WriteOff(_) => {
                ParticipantId::Payment
            }
            Self::Product(_) => ParticipantId::Inventory,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Replies {
    /// The first answer to each creation, and whether one said that it was new.
    created: BTreeMap<OrderId, (Order, bool)>,
    /// Where each payment's charge became definite, in records.
    pub(super) definite: BTreeMap<OrderId, usize>,
}

fn early(why: impl Into<String>) -> Failure {
    safety("output_after_commit", why)
}

impl Audit {
    /// Whether what is asked about is durable now.
    #[must_use]
    pub fn knows(&self, asked: &Asked) -> bool {
        match asked {
            Asked::Create(order_id, _) | Asked::Cancel(order_id) | Asked::Nudge(order_id) => {
                self.order(*order_id).is_some()
            }
            Asked::Refund(order_id)
            | Asked::Report(order_id)
            | Asked::RetryPayment(order_id)
            | Asked::WriteOff(order_id) => self.payment(*order_id).is_some(),
            Asked::Product(product_id) => self.product(product_id).is_some(),
        }
    }

    /// A reply leaves the engine; `shown` is what readers see at this moment.
    ///
    /// # Errors
    /// What may not be said.
    pub fn on_reply(
        &mut self,
        asked: &Asked,
        was_known: bool,
        key: Option<&(IdempotencyKey, Fingerprint)>,
        reply: &Reply,
        shown: &Rows,
    ) -> Checked {
        match (asked, &reply.result) {
            (Asked::Create(order_id, body), Ok(Answer::Order(order))) => {
                self.order_is_durable(order, shown)?;
                if order.order_id != *order_id || order.order.fingerprint != body.fingerprint {
                    let why = format!("{order_id}: the order of another request is its answer");
                    return Err(safety("same_key_same_answer", why));
                }
                self.same_creation(order, reply.replayed)
            }
            (Asked::Cancel(order_id), Ok(Answer::Order(order))) => {
                self.order_is_durable(order, shown)?;
                self.same_answer(asked, key, reply)?;
                let is_undone =
                    matches!(order.saga, SagaState::Compensating | SagaState::Compensated);
                if order.order_id != *order_id || !is_undone {
                    let why = format!("{order_id}: cancelled, and it is {}", order.saga);
                    return Err(safety("reply_is_true", why));
                }
                Ok(())
            }
            (Asked::Nudge(_), Ok(Answer::Order(order))) => {
                self.order_is_durable(order, shown)?;
                self.same_answer(asked, key, reply)
            }
            (Asked::Refund(order_id), Ok(Answer::Payment(payment))) => {
                self.payment_is_durable(payment, shown)?;
                self.same_answer(asked, key, reply)?;
                if payment.order_id != *order_id || payment.refunds.is_empty() {
                    let why = format!("{order_id}: a refund accepted, and there is none");
                    return Err(safety("reply_is_true", why));
                }
                Ok(())
            }
            (
                Asked::RetryPayment(order_id) | Asked::WriteOff(order_id),
                Ok(Answer::Payment(payment)),
            ) => {
                self.payment_is_durable(payment, shown)?;
                self.same_answer(asked, key, reply)?;
                let is_waiting = payment.waits_for_a_person();
                if payment.order_id != *order_id || is_waiting {
                    let why = format!("{order_id}: {asked:?} is answered by {payment:?}");
                    return Err(safety("reply_is_true", why));
                }
                Ok(())
            }
            (Asked::Report(order_id), Ok(Answer::Payment(payment))) => {
                self.payment_is_durable(payment, shown)?;
                if payment.order_id != *order_id || reply.replayed {
                    let why = format!("{order_id}: a report answered by {payment:?}");
                    return Err(safety("reply_is_true", why));
                }
                Ok(())
            }
            (Asked::Product(product_id), Ok(Answer::Product(product))) => {
                self.same_answer(asked, key, reply)?;
                let durable = self.product(product_id).map(|known| known.version);
                if durable.is_none_or(|durable| durable < product.version) {
                    return Err(early(format!("{product_id}: the change is not durable")));
                }
                let place = (self.count.of_product(product_id), product.version.get());
                let units = self.ledger.stock_at.get(&place).copied();
                let told = super::ledger::Units {
                    on_hand: i128::from(product.on_hand),
                    reserved: i128::from(product.reserved),
                    sold: i128::from(product.sold),
                };
                if let Some(units) = units.filter(|units| *units != told) {
                    let why = format!("{product_id}: told {told:?}, it was {units:?}");
                    return Err(safety("reply_is_true", why));
                }
                Ok(())
            }
            (_, Ok(answer)) => {
                let why = format!("{asked:?} is answered by {answer:?}");
                Err(safety("reply_is_true", why))
            }
            (_, Err(rejection)) => self.rejection_is_true(asked, was_known, key, rejection),
        }
    }

    fn order_is_durable(&self, order: &Order, shown: &Rows) -> Checked {
        let order_id = order.order_id;
        let durable = self.order(order_id);
        if durable.is_none_or(|durable| durable.version < order.version) {
            return Err(early(format!("order {order_id}: the reply is not durable")));
        }
        match shown.get(&RowKey::Order(order_id)).map(AsRef::as_ref) {
            Some(Row::Order(shown)) if shown.version >= order.version => Ok(()),
            _ => {
                let why = format!("order {order_id}: readers do not see what the reply says");
                Err(safety("read_your_writes", why))
            }
        }
    }

    fn payment_is_durable(&self, payment: &Payment, shown: &Rows) -> Checked {
        let order_id = payment.order_id;
        let durable = self.payment(order_id);
        if durable.is_none_or(|durable| durable.version < payment.version) {
            return Err(early(format!(
                "payment {order_id}: the reply is not durable"
            )));
        }
        match shown.get(&RowKey::Payment(order_id)).map(AsRef::as_ref) {
            Some(Row::Payment(shown)) if shown.version >= payment.version => Ok(()),
            _ => {
                let why = format!("payment {order_id}: readers do not see what the reply says");
                Err(safety("read_your_writes", why))
            }
        }
    }

    fn same_creation(&mut self, order: &Order, replayed: bool) -> Checked {
        let first = order.as_created();
        let known = self.replies.created.entry(order.order_id);
        let (known, told_new) = known.or_insert_with(|| (first.clone(), false));
        let was_new = std::mem::replace(told_new, *told_new || !replayed);
        let is_same = known.order == first.order
            && known.created_at == first.created_at
            && known.deadline_at == first.deadline_at;
        // The first answer may be the last to leave, where its process slept meanwhile.
        if !is_same || (was_new && !replayed) {
            let why = format!(
                "order {}: created twice, at {} and {}",
                order.order_id, known.created_at, first.created_at
            );
            return Err(safety("same_key_same_answer", why));
        }
        Ok(())
    }

    fn same_answer(
        &self,
        asked: &Asked,
        key: Option<&(IdempotencyKey, Fingerprint)>,
        reply: &Reply,
    ) -> Checked {
        let Some((key, fingerprint)) = key else {
            return Ok(());
        };
        let row = self.answer_key(asked, key);
        match (self.kept(&row), &reply.result) {
            (Some(Row::Answer(kept)), Ok(answer))
                if kept.answer == *answer && kept.fingerprint == *fingerprint =>
            {
                Ok(())
            }
            (kept, told) => {
                let why = format!("under {key} {told:?} is told, {kept:?} is kept");
                Err(safety("same_key_same_answer", why))
            }
        }
    }

    /// Under which name an answer is kept.
    fn answer_key(&self, asked: &Asked, key: &IdempotencyKey) -> RowKey {
        let count = self.count;
        let id = match asked {
            Asked::Product(product_id) => count.of_product(product_id),
            asked => asked
                .order_id()
                .map_or(ShardId::FIRST, |order_id| count.of_order(order_id)),
        };
        RowKey::Answer(asked.participant(), key.clone()).of_shard(Shard { id, count })
    }

    fn kept(&self, key: &RowKey) -> Option<&Row> {
        self.rows.get(key).map(|row| row.in_its_shard())
    }

    fn rejection_is_true(
        &self,
        asked: &Asked,
        was_known: bool,
        key: Option<&(IdempotencyKey, Fingerprint)>,
        rejection: &Rejection,
    ) -> Checked {
        let is_lie = match (asked, rejection) {
            (_, Rejection::JournalFull) => false,
            // A leader whose frame is full takes nothing until it is appended.
            (_, Rejection::Overloaded) if self.is_of_cluster => false,
            // A retry is answered like the first time, whatever the load.
            (Asked::Create(..), Rejection::Overloaded) => was_known,
            (Asked::Create(order_id, body), Rejection::IdempotencyKeyReused) => self
                .order(*order_id)
                .is_none_or(|order| order.order.fingerprint == body.fingerprint),
            (_, Rejection::IdempotencyKeyReused) => {
                // What the key was first used for is durable, and was something else.
                let kept = key.and_then(|(key, fingerprint)| {
                    match self.kept(&self.answer_key(asked, key)) {
                        Some(Row::Answer(kept)) => Some(kept.fingerprint != *fingerprint),
                        _ => None,
                    }
                });
                kept != Some(true)
            }
            (Asked::Cancel(_), Rejection::OrderNotCancellable { saga, .. }) => matches!(
                saga,
                SagaState::Started | SagaState::Compensating | SagaState::Compensated
            ),
            (Asked::Cancel(order_id) | Asked::Nudge(order_id), Rejection::OrderNotFound(named)) => {
                order_id != named || was_known
            }
            (Asked::Nudge(_), Rejection::SagaNotParked(_)) => false,
            (
                Asked::Refund(order_id)
                | Asked::Report(order_id)
                | Asked::RetryPayment(order_id)
                | Asked::WriteOff(order_id),
                Rejection::PaymentNotFound(named),
            ) => order_id != named || was_known,
            (Asked::RetryPayment(_), Rejection::PaymentNotParked(_))
            | (Asked::WriteOff(_), Rejection::NothingToWriteOff(_)) => false,
            (
                Asked::Refund(_),
                Rejection::PaymentNotRefundable(_)
                | Rejection::RefundExceedsCharge { .. }
                | Rejection::TooManyRefunds { .. },
            ) => false,
            (Asked::Product(product_id), Rejection::ProductNotFound(named)) => {
                product_id != named || was_known
            }
            (
                Asked::Product(_),
                Rejection::StockBelowReserved { .. } | Rejection::StockTooLarge { .. },
            ) => false,
            _ => true,
        };
        if is_lie {
            let why = format!("{asked:?} is refused: {rejection}");
            return Err(safety("reply_is_true", why));
        }
        Ok(())
    }

    /// A call leaves for the gateway. It must rest on what is durable, and never charge
    /// what has had its definite end in an earlier record.
    ///
    /// # Errors
    /// Which call should not have been made.
    pub fn on_call(&mut self, call: &GatewayCall) -> Checked {
        self.on_call_of(call, self.records.len())
    }

    /// The same, by a process that knows so many of the records: one that has slept may ask
    /// once more for what another has brought to its end meanwhile.
    ///
    /// # Errors
    /// Which call should not have been made.
    pub fn on_call_of(&mut self, call: &GatewayCall, known: usize) -> Checked {
        let order_id = call.order_id;
        let Some(payment) = self.payment(order_id) else {
            let why = format!(
                "{:?} of {order_id} leaves before its record",
                call.operation
            );
            return Err(early(why));
        };
        let rests = match call.operation {
            GatewayOperation::Refund { number } => usize::try_from(number)
                .ok()
                .and_then(|number| payment.refunds.get(number.checked_sub(1)?))
                .is_some_and(|refund| refund.amount == call.amount),
            GatewayOperation::Cancel => {
                is_definite(payment) || payment.phase == PaymentPhase::Cancelling
            }
            GatewayOperation::Capture => {
                let is_owed = is_definite(payment) || payment.phase == PaymentPhase::Capturing;
                is_owed && payment.amount == call.amount
            }
            GatewayOperation::Charge | GatewayOperation::Query => payment.amount == call.amount,
        };
        if !rests {
            let why = format!(
                "{:?} of {order_id} leaves, durable is {payment:?}",
                call.operation
            );
            return Err(early(why));
        }
        let since = self.replies.definite.get(&order_id);
        let was_definite = since.is_some_and(|since| *since < known);
        if call.operation == GatewayOperation::Charge && was_definite {
            let why = format!("order {order_id} is charged again after its definite end");
            return Err(safety("charged_at_most_once", why));
        }
        Ok(())
    }
}
