//! One event of every kind that the three journals can hold, about one order.

use a4co_core::gateway::GatewayOperation;
use a4co_core::ids::{Fingerprint, ParticipantId};
use a4co_core::inventory::{HeldLine, InventoryEvent, ReleaseReason};
use a4co_core::order::{
    CancelReason, NewOrder, OrderEvent, SandboxHints, Shortage, Undo, UndoPart,
};
use a4co_core::payment::{PaymentEvent, PaymentFailure, RefundOrigin};
use a4co_core::row::{Answer, AnswerRecord};
use a4co_core::time::Millis;

use super::{T0, after, amount, eur, key, order_id, product_id, reference, text};

/// The order that all of them are about.
pub(crate) const ID: u8 = 1;
/// When the saga gives up.
pub(crate) const SAGA_END_MS: u64 = 300_000;
/// When the charge is given up.
pub(crate) const CHARGE_END_MS: u64 = 120_000;
/// How long a hold lasts.
pub(crate) const HOLD_MS: u64 = 900_000;
/// What the order costs: three units at one euro.
pub(crate) const TOTAL_MINOR: i64 = 300;

pub(crate) fn order_created(order: NewOrder) -> OrderEvent {
    OrderEvent::OrderCreated {
        order_id: order_id(ID),
        order: order.into(),
        deadline_at: after(SAGA_END_MS),
    }
}

pub(crate) fn payment_requested(minor: i64) -> OrderEvent {
    OrderEvent::PaymentRequested {
        order_id: order_id(ID),
        amount: amount(minor),
        currency: eur(),
        payment_method: None,
        hints: SandboxHints::default(),
        deadline_at: after(CHARGE_END_MS),
    }
}

pub(crate) fn compensation(reason: CancelReason, stock: bool, payment: bool) -> OrderEvent {
    OrderEvent::CompensationRequested {
        order_id: order_id(ID),
        reason,
        undo: Undo { stock, payment },
        currency: eur(),
    }
}

pub(crate) fn acknowledged(part: UndoPart) -> OrderEvent {
    let order_id = order_id(ID);
    OrderEvent::UndoAcknowledged { order_id, part }
}

pub(crate) fn shortage() -> Shortage {
    Shortage {
        product_id: product_id("apple"),
        requested: 3,
        available: 2,
    }
}

/// The order's other events, which need nothing but its id.
pub(crate) fn order_event(name: &str) -> OrderEvent {
    let order_id = order_id(ID);
    match name {
        "CommitRequested" => OrderEvent::CommitRequested { order_id },
        "OrderConfirmed" => OrderEvent::OrderConfirmed { order_id },
        "OrderFailed" => OrderEvent::OrderFailed {
            order_id,
            shortages: vec![shortage()],
        },
        "SagaParked" => OrderEvent::SagaParked { order_id },
        "RetryRequested" => OrderEvent::RetryRequested { order_id },
        "OrderCancelled" => OrderEvent::OrderCancelled { order_id },
        "Answered" => OrderEvent::Answered(Box::new(answer(ParticipantId::Order))),
        other => panic!("no order event {other}"),
    }
}

pub(crate) fn answer(participant: ParticipantId) -> AnswerRecord {
    let product = a4co_core::inventory::Product {
        product_id: product_id("apple"),
        name: None,
        price: None,
        on_hand: 0,
        reserved: 0,
        sold: 0,
        received: 0,
        version: a4co_core::ids::Sequence::FIRST,
    };
    AnswerRecord {
        participant,
        key: key("key"),
        fingerprint: Fingerprint::of(b"request"),
        at: T0,
        answer: Answer::Product(Box::new(product)),
    }
}

pub(crate) fn inventory_reserved(quantity: u64) -> InventoryEvent {
    InventoryEvent::InventoryReserved {
        order_id: order_id(ID),
        lines: [HeldLine {
            product_id: product_id("apple"),
            quantity,
        }]
        .into(),
        hold_ms: Millis::new(HOLD_MS),
        expires_at: after(HOLD_MS),
    }
}

pub(crate) fn product_defined() -> InventoryEvent {
    InventoryEvent::ProductDefined {
        product_id: product_id("apple"),
        name: None,
        price: None,
    }
}

pub(crate) fn stock_adjusted(delta: i64) -> InventoryEvent {
    InventoryEvent::StockAdjusted {
        product_id: product_id("apple"),
        delta,
        reason: text("test"),
    }
}

pub(crate) fn inventory_event(name: &str) -> InventoryEvent {
    let order_id = order_id(ID);
    match name {
        "OutOfStock" => InventoryEvent::InventoryOutOfStock {
            order_id,
            shortages: vec![shortage()],
        },
        "Extended" => InventoryEvent::ReservationExtended {
            order_id,
            expires_at: after(2 * HOLD_MS),
        },
        "Committed" => InventoryEvent::InventoryCommitted {
            order_id,
            retaken: false,
        },
        "Retaken" => InventoryEvent::InventoryCommitted {
            order_id,
            retaken: true,
        },
        "CommitRefused" => InventoryEvent::InventoryCommitRefused {
            order_id,
            shortages: vec![shortage()],
        },
        "Released" => InventoryEvent::InventoryReleased {
            order_id,
            reason: ReleaseReason::Compensation(CancelReason::SagaTimedOut),
        },
        "NeverHeld" => InventoryEvent::InventoryReleased {
            order_id,
            reason: ReleaseReason::NeverHeld,
        },
        "Expired" => InventoryEvent::InventoryExpired { order_id },
        "Answered" => InventoryEvent::Answered(Box::new(answer(ParticipantId::Inventory))),
        other => panic!("no inventory event {other}"),
    }
}

pub(crate) fn payment_processing(minor: i64) -> PaymentEvent {
    PaymentEvent::PaymentProcessing {
        order_id: order_id(ID),
        amount: amount(minor),
        currency: eur(),
        payment_method: None,
        hints: SandboxHints::default(),
        deadline_at: after(CHARGE_END_MS),
    }
}

pub(crate) fn payment_succeeded() -> PaymentEvent {
    PaymentEvent::PaymentSucceeded {
        order_id: order_id(ID),
        reference: Some(reference("charge")),
    }
}

pub(crate) fn payment_cancelled(failure: PaymentFailure) -> PaymentEvent {
    PaymentEvent::PaymentCancelled {
        order_id: order_id(ID),
        failure,
        forestalled: None,
    }
}

pub(crate) fn attempted(operation: GatewayOperation, attempts: u32) -> PaymentEvent {
    PaymentEvent::PaymentAttempted {
        order_id: order_id(ID),
        operation,
        attempts,
        retry_at: after(1_000),
        detail: text("timeout"),
    }
}

pub(crate) fn refund_requested(number: u32, minor: i64, origin: RefundOrigin) -> PaymentEvent {
    PaymentEvent::RefundRequested {
        order_id: order_id(ID),
        number,
        amount: amount(minor),
        origin,
    }
}

pub(crate) fn refunded(number: u32, minor: i64, nothing_left: bool) -> PaymentEvent {
    PaymentEvent::PaymentRefunded {
        order_id: order_id(ID),
        number,
        amount: amount(minor),
        reference: reference("refund"),
        nothing_left,
    }
}

pub(crate) fn parked(operation: GatewayOperation) -> PaymentEvent {
    PaymentEvent::PaymentParked {
        order_id: order_id(ID),
        operation,
    }
}

pub(crate) fn payment_event(name: &str) -> PaymentEvent {
    let order_id = order_id(ID);
    match name {
        "Failed" => PaymentEvent::PaymentFailed {
            order_id,
            failure: PaymentFailure::Declined {
                code: text("card_declined"),
            },
        },
        "CancelRequested" => PaymentEvent::PaymentCancelRequested { order_id },
        "UndoRequested" => PaymentEvent::PaymentUndoRequested { order_id },
        "Forestalled" => PaymentEvent::PaymentCancelled {
            order_id,
            failure: PaymentFailure::Undone,
            forestalled: Some(eur()),
        },
        "CapturedLate" => PaymentEvent::PaymentCapturedLate {
            order_id,
            reference: reference("charge"),
        },
        "ActionRequired" => PaymentEvent::PaymentActionRequired {
            order_id,
            reference: reference("charge"),
        },
        "Authorised" => PaymentEvent::PaymentAuthorised {
            order_id,
            reference: reference("charge"),
        },
        "CaptureRequested" => PaymentEvent::PaymentCaptureRequested { order_id },
        "CaptureFailed" => PaymentEvent::PaymentCaptureFailed {
            order_id,
            code: text("authorisation_expired"),
        },
        "WrittenOff" => PaymentEvent::PaymentWrittenOff { order_id },
        "RefundFailed" => PaymentEvent::RefundFailed {
            order_id,
            number: 1,
            code: text("refund_refused"),
        },
        "Retried" => PaymentEvent::PaymentRetried { order_id },
        "Answered" => PaymentEvent::Answered(Box::new(answer(ParticipantId::Payment))),
        other => panic!("no payment event {other}"),
    }
}
