//! The ledger's share that is about money, about what one journal claims of another, and
//! about kept answers.

use a4co_core::decider::Recorded;
use a4co_core::ids::OrderId;
use a4co_core::inventory::{InventoryEvent, Product};
use a4co_core::order::OrderEvent;
use a4co_core::payment::{PaymentEvent, PaymentFailure};
use a4co_core::row::{AnswerRecord, Row, RowKey};
use a4co_core::shards::Shard;

use super::{Hold, Ledger, Needs, Part, RefundState, Stage, Units, wrong};
use crate::audit::Rows;
use crate::coverage::{INVENTORY, PAYMENT};
use crate::gateway::{Charge, Gateway};
use crate::verdict::{Checked, safety};

impl Ledger {
    pub(super) fn on_payment(
        &mut self,
        shard: Shard,
        recorded: &Recorded<PaymentEvent>,
        gateway: &Gateway,
        rows: &Rows,
    ) -> Checked {
        let Some(order_id) = recorded.event.order_id() else {
            if let PaymentEvent::Answered(record) = &recorded.event {
                return answered(shard, record, rows);
            }
            return Ok(());
        };
        if shard.count.of_order(order_id) != shard.id {
            let why = format!("a payment's event in shard {}", shard.id);
            return Err(wrong("model_shard", order_id, why));
        }
        let charge = gateway.charge(order_id);
        let is_wild = gateway.is_wild(order_id);
        let (stage, cell) = (self.case(order_id).stage, payment_cell(&recorded.event));
        self.reach(stage, cell);
        let write_off_asked = self.write_off_asked.contains(&order_id);
        let lie = |why: &str| {
            let why = format!("{why}; at the gateway it is {charge:?}");
            Err(wrong("model_money", order_id, why))
        };
        let case = self.case(order_id);
        match &recorded.event {
            PaymentEvent::PaymentProcessing { amount, .. } => {
                if case.payment_known {
                    return lie("a second charge is begun");
                }
                case.payment_known = true;
                if case.payment_asked != Some(amount.minor()) {
                    return lie("another amount is charged than was asked for");
                }
            }
            PaymentEvent::PaymentSucceeded { .. } => {
                let amount = case.payment_asked.unwrap_or(0);
                let is_again = case.captured == amount && amount > 0;
                case.captured = amount;
                case.not_taken = false;
                if (amount > 0 && charge != Charge::Captured) || case.payment_cancelled {
                    return lie("said to be captured");
                }
                if is_again && case.refunds_in(RefundState::Done) > 0 {
                    return lie("said to be captured after it was given back");
                }
            }
            PaymentEvent::PaymentCapturedLate { .. } => {
                let amount = case.payment_asked.unwrap_or(0);
                if charge != Charge::Captured || case.captured != 0 || amount == 0 {
                    return lie("said to be captured late");
                }
                case.captured = amount;
            }
            PaymentEvent::PaymentFailed { .. } => {
                case.payment_failed = true;
                let may_be = matches!(charge, Charge::Declined | Charge::Cancelled | Charge::Gone)
                    || (is_wild && charge == Charge::Captured);
                if !may_be || case.captured != 0 {
                    return lie("said to have failed");
                }
            }
            PaymentEvent::PaymentCancelled {
                forestalled,
                failure,
                ..
            } => {
                let was_known = case.payment_known;
                case.payment_cancelled = true;
                case.payment_known = true;
                let nothing_to_pay = case.payment_asked == Some(0);
                let may_be = if forestalled.is_some() {
                    charge == Charge::None && !was_known
                } else {
                    nothing_to_pay
                        || matches!(charge, Charge::Cancelled | Charge::Declined | Charge::Gone)
                        || (charge == Charge::None && *failure == PaymentFailure::Undone)
                        || (is_wild && charge == Charge::Captured)
                };
                if !may_be || case.captured != 0 {
                    return lie("said to be cancelled");
                }
            }
            PaymentEvent::RefundRequested {
                number,
                amount,
                origin,
                ..
            } => {
                case.refunds
                    .push((amount.minor(), RefundState::Owed, *origin));
                let refused = case.refunds_in(RefundState::Refused);
                let sum: i64 = case.refunds.iter().map(|refund| refund.0).sum();
                if usize::try_from(*number) != Ok(case.refunds.len())
                    || sum - refused > case.captured
                    || amount.minor() <= 0
                {
                    return lie("a refund of more than is left");
                }
            }
            PaymentEvent::PaymentRefunded {
                number,
                amount,
                nothing_left,
                ..
            } => {
                let given = gateway.refund(order_id, *number);
                let captured = case.captured;
                let Some(refund) = nth(&mut case.refunds, *number) else {
                    return lie("a refund that nobody asked for");
                };
                refund.1 = RefundState::Done;
                if given != Some(*amount) || refund.0 != amount.minor() {
                    return lie("said to be refunded");
                }
                if *nothing_left != (case.refunds_in(RefundState::Done) == captured) {
                    return lie("wrong about what is left of the charge");
                }
            }
            PaymentEvent::RefundFailed { number, .. } => {
                let may_be_given = gateway.refund(order_id, *number).is_some()
                    || gateway.is_refund_pending(order_id, *number);
                let Some(refund) = nth(&mut case.refunds, *number) else {
                    return lie("a refund that nobody asked for");
                };
                let was_owed = refund.1 == RefundState::Owed;
                refund.1 = RefundState::Refused;
                if may_be_given || !was_owed {
                    return lie("a refund said to be refused");
                }
            }
            PaymentEvent::Recalled(payment) => {
                recalled(&Row::Payment(payment.clone()), rows)?;
            }
            PaymentEvent::PaymentActionRequired { .. } => {
                if !gateway.needed_action(order_id) || case.captured != 0 {
                    return lie("said to wait for the customer");
                }
            }
            PaymentEvent::PaymentAuthorised { .. } => {
                case.authorised = true;
                if !was_set_aside(charge) {
                    return lie("said to be set aside");
                }
            }
            // Money is taken once everything else is done.
            PaymentEvent::PaymentCaptureRequested { .. } => {
                if !case.authorised {
                    return lie("taken, and it was never set aside");
                }
                self.needs.push((order_id, Needs::Confirmed));
            }
            PaymentEvent::PaymentCaptureFailed { .. } => {
                let is_gone = charge == Charge::Gone || (is_wild && charge == Charge::Captured);
                if !is_gone || !case.authorised || case.captured != 0 {
                    return lie("said not to be given");
                }
                case.not_taken = true;
                self.needs.push((order_id, Needs::Confirmed));
            }
            PaymentEvent::PaymentWrittenOff { .. } => {
                if !case.not_taken || !write_off_asked {
                    return lie("written off, and nobody asked for that");
                }
                case.written_off = true;
            }
            PaymentEvent::PaymentRetried { .. } => case.not_taken = false,
            PaymentEvent::PaymentAttempted { retry_at, .. } => {
                if *retry_at < recorded.at {
                    return lie("the next try is due before this one");
                }
            }
            PaymentEvent::PaymentCancelRequested { .. } => {
                if recorded.at < case.payment_deadline {
                    return Err(wrong("model_time", order_id, "payment given up too early"));
                }
            }
            PaymentEvent::PaymentUndoRequested { .. } => {
                self.needs.push((order_id, Needs::UndoAsked));
            }
            PaymentEvent::PaymentParked { .. } | PaymentEvent::Answered(_) => {}
        }
        Ok(())
    }

    pub(super) fn check_needs(
        &mut self,
        order_id: OrderId,
        needs: Needs,
        gateway: &Gateway,
    ) -> Checked {
        let books = gateway.account(order_id);
        let charge = gateway.charge(order_id);
        let is_wild = gateway.is_wild(order_id);
        let count = self.count;
        let case = self.case(order_id);
        let total = case.payment_asked.unwrap_or(0);
        let holds = match needs {
            Needs::Reserved => case.everywhere(count, |part| part.was_held),
            Needs::ShortOfStock => {
                case.anywhere(|part| part.hold == Hold::Short) && !case.anywhere(Part::has)
            }
            Needs::Paid => {
                (books.captured.minor() == total && case.captured == total)
                    || (case.authorised && was_set_aside(charge))
            }
            Needs::Confirmed => case.stage == Stage::Confirmed,
            Needs::CommitAsked => case.commit_asked,
            Needs::Committed => case.everywhere(count, |part| part.hold == Hold::Sold),
            Needs::StockUndone => !case.anywhere(Part::has),
            Needs::UndoAsked => case.undo.is_some() || case.given_up,
            Needs::HoldExpired => case.anywhere(|part| part.hold == Hold::Expired),
            Needs::CommitRefused => case.anywhere(|part| part.commit_refused),
            Needs::PaymentEnded => case.payment_failed || case.payment_cancelled,
            Needs::PaymentUndone => {
                let net = books.captured.minor() - books.refunded.minor();
                let owed = case.refunds_in(RefundState::Owed);
                let claims = case.captured - case.refunds_in(RefundState::Done);
                // A charge that may still go through is not undone.
                let is_over = match charge {
                    Charge::None => !case.payment_known || total == 0 || case.payment_cancelled,
                    // Set aside is not given back either.
                    Charge::Pending { .. } | Charge::NeedsAction { .. } | Charge::Authorised => {
                        false
                    }
                    Charge::Captured | Charge::Declined | Charge::Cancelled | Charge::Gone => true,
                };
                is_over && (is_wild || (net == 0 && claims == 0 && owed == 0))
            }
        };
        if holds {
            return Ok(());
        }
        let why = format!(
            "{needs:?} is not so. The ledger has: {}; the gateway: {charge:?}, {} captured, {} \
             given back",
            case.in_words(),
            books.captured.minor(),
            books.refunded.minor()
        );
        Err(wrong("model_causes", order_id, why))
    }

    /// The engine's product must be the ledger's.
    ///
    /// # Errors
    /// Both.
    pub fn agrees(&self, product: &Product) -> Checked {
        let units = self.stock.get(&product.product_id).copied();
        let theirs = Units {
            on_hand: i128::from(product.on_hand),
            reserved: i128::from(product.reserved),
            sold: i128::from(product.sold),
        };
        if units.unwrap_or_default() == theirs {
            return Ok(());
        }
        let why = format!(
            "{} is {theirs:?}, the ledger has {units:?}",
            product.product_id
        );
        Err(safety("model_stock", why))
    }

    /// What must hold once nothing is under way any more.
    ///
    /// # Errors
    /// The first order whose money or stock does not add up.
    pub fn at_rest(&self, gateway: &Gateway, rows: &Rows) -> Checked {
        for (order_id, case) in &self.cases {
            let books = gateway.account(*order_id);
            let net = books.captured.minor() - books.refunded.minor();
            let total = case.body.as_ref().map_or(0, |body| body.total.minor());
            let by_hand: i64 = case
                .refunds
                .iter()
                .filter(|refund| refund.1 == RefundState::Done)
                .map(|refund| refund.0)
                .sum();
            let expected = match case.stage {
                Stage::Confirmed if case.not_taken => 0,
                Stage::Confirmed => total - by_hand,
                Stage::Failed | Stage::Undone => 0,
                stage => {
                    let why = format!("still {stage:?}");
                    return Err(wrong("model_saga", *order_id, why));
                }
            };
            let row = rows.get(&RowKey::Payment(*order_id)).map(AsRef::as_ref);
            let is_shown = matches!(row, Some(Row::Payment(it)) if it.waits_for_a_person());
            if case.not_taken && !case.written_off && !is_shown {
                let why = format!("confirmed, not paid, and shown to nobody: {row:?}");
                return Err(wrong("unpaid_is_shown", *order_id, why));
            }
            // Nobody's money stays set aside for nothing.
            if matches!(
                gateway.charge(*order_id),
                Charge::Authorised | Charge::NeedsAction { .. }
            ) {
                return Err(wrong("model_money", *order_id, "a charge is left open"));
            }
            if net != expected {
                let why = format!(
                    "{net} kept, should be {expected}. The ledger has: {}; the gateway: {} \
                     captured, {} given back",
                    case.in_words(),
                    books.captured.minor(),
                    books.refunded.minor()
                );
                return Err(wrong("model_money", *order_id, why));
            }
        }
        Ok(())
    }

    /// Whether an order with this id is durable.
    #[must_use]
    pub fn knows(&self, order_id: OrderId) -> bool {
        self.cases
            .get(&order_id)
            .is_some_and(|case| case.body.is_some())
    }
}

/// Whether the gateway has, or had, the amount for us.
const fn was_set_aside(charge: Charge) -> bool {
    matches!(charge, Charge::Authorised | Charge::Captured | Charge::Gone)
}

fn nth<T>(refunds: &mut [T], number: u32) -> Option<&mut T> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    refunds.get_mut(index)
}

/// A kept answer is the first under its key.
pub(super) fn answered(shard: Shard, record: &AnswerRecord, rows: &Rows) -> Checked {
    let key = RowKey::Answer(record.participant, record.key.clone()).of_shard(shard);
    match rows.get(&key) {
        None => Ok(()),
        Some(_) => {
            let why = format!("a second answer is kept under {}", record.key);
            Err(safety("same_key_same_answer", why))
        }
    }
}

/// What comes back into memory is what left it.
pub(super) fn recalled(row: &Row, rows: &Rows) -> Checked {
    let key = row.key();
    match rows.get(&key) {
        Some(known) if **known == *row => Ok(()),
        // Changed earlier in this very record: the next row tells.
        Some(known) if version(row) > version(known) => Ok(()),
        known => {
            let why = format!("recalled {row:?}, the last record has {known:?}");
            Err(safety("replay_equals_state", why))
        }
    }
}

fn version(row: &Row) -> u64 {
    match row {
        Row::Order(order) => order.version.get(),
        Row::Reservation(held) => held.version.get(),
        Row::Payment(payment) => payment.version.get(),
        Row::Product(product) => product.version.get(),
        Row::Answer(_) => 0,
        Row::InShard(_, row) => version(row),
    }
}

pub(super) const fn order_cell(event: &OrderEvent) -> u8 {
    match event {
        OrderEvent::OrderCreated { .. } => 0,
        OrderEvent::PaymentRequested { .. } => 1,
        OrderEvent::CommitRequested { .. } => 2,
        OrderEvent::OrderConfirmed { .. } => 3,
        OrderEvent::OrderFailed { .. } => 4,
        OrderEvent::CompensationRequested { .. } => 5,
        OrderEvent::UndoAcknowledged { .. } => 6,
        OrderEvent::SagaParked { .. } => 7,
        OrderEvent::RetryRequested { .. } => 8,
        OrderEvent::OrderCancelled { .. } => 9,
        OrderEvent::Answered(_) => 10,
        OrderEvent::Recalled(_) => 11,
        OrderEvent::StockAnswered { .. } => 12,
        OrderEvent::StockGivenUp { .. } => 13,
        // The step that it wraps counts.
        OrderEvent::Asked { .. } => 0,
    }
}

pub(super) const fn inventory_cell(event: &InventoryEvent) -> u8 {
    INVENTORY
        + match event {
            InventoryEvent::ProductDefined { .. } => 0,
            InventoryEvent::StockAdjusted { .. } => 1,
            InventoryEvent::InventoryReserved { .. } => 2,
            InventoryEvent::InventoryOutOfStock { .. } => 3,
            InventoryEvent::ReservationExtended { .. } => 4,
            InventoryEvent::InventoryCommitted { retaken: false, .. } => 5,
            InventoryEvent::InventoryCommitted { retaken: true, .. } => 6,
            InventoryEvent::InventoryCommitRefused { .. } => 7,
            InventoryEvent::InventoryReleased { .. } => 8,
            InventoryEvent::InventoryExpired { .. } => 9,
            InventoryEvent::Answered(_) => 10,
            InventoryEvent::Recalled(_) => 11,
            InventoryEvent::Returned { .. } => 12,
        }
}

const fn payment_cell(event: &PaymentEvent) -> u8 {
    PAYMENT
        + match event {
            PaymentEvent::PaymentProcessing { .. } => 0,
            PaymentEvent::PaymentAttempted { .. } => 1,
            PaymentEvent::PaymentSucceeded { .. } => 2,
            PaymentEvent::PaymentFailed { .. } => 3,
            PaymentEvent::PaymentCancelRequested { .. } => 4,
            PaymentEvent::PaymentUndoRequested { .. } => 5,
            PaymentEvent::PaymentCancelled {
                forestalled: None, ..
            } => 6,
            PaymentEvent::PaymentCancelled { .. } => 7,
            PaymentEvent::PaymentCapturedLate { .. } => 8,
            PaymentEvent::RefundRequested { .. } => 9,
            PaymentEvent::PaymentRefunded { .. } => 10,
            PaymentEvent::RefundFailed { .. } => 11,
            PaymentEvent::PaymentParked { .. } => 12,
            PaymentEvent::PaymentRetried { .. } => 13,
            PaymentEvent::Answered(_) => 14,
            PaymentEvent::Recalled(_) => 15,
            PaymentEvent::PaymentActionRequired { .. } => 16,
            PaymentEvent::PaymentAuthorised { .. } => 17,
            PaymentEvent::PaymentCaptureRequested { .. } => 18,
            PaymentEvent::PaymentCaptureFailed { .. } => 19,
            PaymentEvent::PaymentWrittenOff { .. } => 20,
        }
}
