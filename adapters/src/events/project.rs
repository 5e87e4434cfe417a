//! From the journals' events to the public ones.
//!
//! Apart from their codec because this is where the journals' types end. It keeps no state:
//! what an event of a journal does not say, its public event does not say either.

use a4co_core::decider::Recorded;
use a4co_core::ids::{OrderId, ParticipantId, Sequence};
use a4co_core::inventory::InventoryEvent;
use a4co_core::order::{OrderEvent, Shortage};
use a4co_core::payment::{PaymentEvent, PaymentFailure};
use a4co_core::record::{Frame, Record};
use a4co_core::replicated::{AnyEntry, Content, Entry};
use a4co_core::time::Timestamp;

use super::{Body, Item, Kind, PublicEvent, Short, Traces};

/// The public events of one record, those of each journal in its order.
#[must_use]
pub fn project(record: &Record, traces: &mut Traces) -> Vec<PublicEvent> {
    let mut events = Vec::new();
    traces.begin(&record.order);
    frame(
        &record.order,
        ParticipantId::Order,
        of_order,
        traces,
        &mut events,
    );
    frame(
        &record.inventory,
        ParticipantId::Inventory,
        of_inventory,
        traces,
        &mut events,
    );
    frame(
        &record.payment,
        ParticipantId::Payment,
        of_payment,
        traces,
        &mut events,
    );
    traces.end(&record.order);
    events
}

/// The public events of one entry of a journal.
#[must_use]
pub fn project_entry(entry: &AnyEntry, traces: &mut Traces) -> Vec<PublicEvent> {
    let mut events = Vec::new();
    let out = &mut events;
    match entry {
        AnyEntry::Order(Entry { content, .. }) => {
            if let Content::Frame(frame) = content {
                traces.begin(frame);
            }
            framed(content, ParticipantId::Order, of_order, traces, out);
            if let Content::Frame(frame) = content {
                traces.end(frame);
            }
        }
        AnyEntry::Inventory(Entry { content, .. }) => {
            framed(content, ParticipantId::Inventory, of_inventory, traces, out);
        }
        AnyEntry::Payment(Entry { content, .. }) => {
            framed(content, ParticipantId::Payment, of_payment, traces, out);
        }
    }
    events
}

fn framed<E>(
    content: &Content<E>,
    participant: ParticipantId,
    of: impl Fn(&E) -> Option<(OrderId, Kind, Body)>,
    traces: &mut Traces,
    out: &mut Vec<PublicEvent>,
) {
    match content {
        Content::Claim => {}
        Content::Frame(it) => frame(it, participant, of, traces, out),
    }
}

fn frame<E>(
    frame: &Frame<E>,
    participant: ParticipantId,
    of: impl Fn(&E) -> Option<(OrderId, Kind, Body)>,
    traces: &mut Traces,
    out: &mut Vec<PublicEvent>,
) {
    let mut sequence = frame.after;
    for Recorded { at, event } in &frame.events {
        sequence = sequence.next();
        if let Some((order_id, kind, data)) = of(event) {
            let mut event = public(participant, sequence, *at, order_id, kind, data);
            event.traceparent = traces.of(order_id).map(|trace| trace.to_string());
            out.push(event);
        }
    }
}

fn public(
    participant: ParticipantId,
    sequence: Sequence,
    at: Timestamp,
    order_id: OrderId,
    kind: Kind,
    mut data: Body,
) -> PublicEvent {
    debug_assert_eq!(kind.stream().owner(), participant.name());
    data.order_id = order_id.to_string();
    PublicEvent {
        // The order's id makes it unique beyond this journal: a journal begun anew counts anew.
        id: format!("{}-{}-{order_id}", participant.name(), sequence.get()),
        kind,
        at,
        order_id,
        traceparent: None,
        data,
    }
}

fn of_order(event: &OrderEvent) -> Option<(OrderId, Kind, Body)> {
    let order_id = event.order_id()?;
    let body = Body::default;
    let (kind, data) = match event.step() {
        OrderEvent::OrderCreated { order, .. } => {
            let items = order.lines.iter().map(|line| Item {
                product_id: line.product_id.to_string(),
                quantity: u64::from(line.quantity),
                unit_price_minor: Some(line.unit_price.minor()),
            });
            let data = Body {
                customer_id: Some(order.customer_id.to_string()),
                items: items.collect(),
                amount_minor: Some(order.total.minor()),
                currency: Some(order.currency.as_str().to_owned()),
                ..body()
            };
            (Kind::OrderCreated, data)
        }
        OrderEvent::PaymentRequested {
            amount, currency, ..
        } => {
            let data = Body {
                amount_minor: Some(amount.minor()),
                currency: Some(currency.as_str().to_owned()),
                ..body()
            };
            (Kind::PaymentRequested, data)
        }
        OrderEvent::CommitRequested { .. } => (Kind::CommitRequested, body()),
        OrderEvent::OrderConfirmed { .. } => (Kind::OrderConfirmed, body()),
        OrderEvent::OrderFailed { shortages, .. } => {
            (Kind::OrderFailed, short(shortages, "out_of_stock"))
        }
        OrderEvent::CompensationRequested { reason, .. } => {
            let data = Body {
                reason_code: Some(reason.name().to_owned()),
                reason: Some(reason.to_string()),
                ..body()
            };
            (Kind::CompensationRequested, data)
        }
        OrderEvent::OrderCancelled { .. } => (Kind::OrderCancelled, body()),
        OrderEvent::UndoAcknowledged { .. }
        | OrderEvent::SagaParked { .. }
        | OrderEvent::RetryRequested { .. }
        | OrderEvent::Answered(_)
        | OrderEvent::Recalled(_)
        | OrderEvent::Asked { .. }
        | OrderEvent::StockAnswered { .. }
        | OrderEvent::StockGivenUp { .. } => return None,
    };
    Some((order_id, kind, data))
}

fn of_inventory(event: &InventoryEvent) -> Option<(OrderId, Kind, Body)> {
    let order_id = event.order_id()?;
    let (kind, data) = match event {
        InventoryEvent::InventoryReserved {
            lines, expires_at, ..
        } => {
            let items = lines.iter().map(|line| Item {
                product_id: line.product_id.to_string(),
                quantity: line.quantity,
                unit_price_minor: None,
            });
            let data = Body {
                items: items.collect(),
                expires_at: Some(expires_at.to_string()),
                ..Body::default()
            };
            (Kind::InventoryReserved, data)
        }
        InventoryEvent::InventoryOutOfStock { shortages, .. } => {
            (Kind::InventoryOutOfStock, short(shortages, "out_of_stock"))
        }
        InventoryEvent::InventoryCommitted { .. } => (Kind::InventoryCommitted, Body::default()),
        InventoryEvent::InventoryCommitRefused { shortages, .. } => (
            Kind::InventoryCommitRefused,
            short(shortages, "commit_refused"),
        ),
        InventoryEvent::InventoryReleased { reason, .. }
        | InventoryEvent::Returned { reason, .. } => {
            let data = Body {
                reason: Some(reason.to_string()),
                ..Body::default()
            };
            (Kind::InventoryReleased, data)
        }
        InventoryEvent::InventoryExpired { .. } => (Kind::InventoryExpired, Body::default()),
        InventoryEvent::ProductDefined { .. }
        | InventoryEvent::StockAdjusted { .. }
        | InventoryEvent::ReservationExtended { .. }
        | InventoryEvent::Answered(_)
        | InventoryEvent::Recalled(_) => return None,
    };
    Some((order_id, kind, data))
}

fn of_payment(event: &PaymentEvent) -> Option<(OrderId, Kind, Body)> {
    let order_id = event.order_id()?;
    let (kind, data) = match event {
        PaymentEvent::PaymentProcessing {
            amount, currency, ..
        } => {
            let data = Body {
                amount_minor: Some(amount.minor()),
                currency: Some(currency.as_str().to_owned()),
                ..Body::default()
            };
            (Kind::PaymentProcessing, data)
        }
        PaymentEvent::PaymentSucceeded { reference, .. } => {
            let data = Body {
                gateway_reference: reference.as_ref().map(ToString::to_string),
                ..Body::default()
            };
            (Kind::PaymentSucceeded, data)
        }
        PaymentEvent::PaymentFailed { failure, .. } => (Kind::PaymentFailed, failed(failure)),
        PaymentEvent::PaymentCancelled { failure, .. } => (Kind::PaymentCancelled, failed(failure)),
        PaymentEvent::PaymentRefunded {
            number,
            amount,
            reference,
            ..
        } => {
            let data = Body {
                amount_minor: Some(amount.minor()),
                gateway_reference: Some(reference.to_string()),
                refund_number: Some(*number),
                ..Body::default()
            };
            (Kind::PaymentRefunded, data)
        }
        PaymentEvent::PaymentCaptureFailed { code, .. } => {
            let code = code.clone();
            let failure = PaymentFailure::CaptureRefused { code };
            (Kind::PaymentCaptureFailed, failed(&failure))
        }
        PaymentEvent::PaymentAttempted { .. }
        | PaymentEvent::PaymentCancelRequested { .. }
        | PaymentEvent::PaymentUndoRequested { .. }
        | PaymentEvent::PaymentCapturedLate { .. }
        | PaymentEvent::RefundRequested { .. }
        | PaymentEvent::RefundFailed { .. }
        | PaymentEvent::PaymentParked { .. }
        | PaymentEvent::PaymentRetried { .. }
        | PaymentEvent::PaymentActionRequired { .. }
        | PaymentEvent::PaymentAuthorised { .. }
        | PaymentEvent::PaymentCaptureRequested { .. }
        | PaymentEvent::PaymentWrittenOff { .. }
        | PaymentEvent::Answered(_)
        | PaymentEvent::Recalled(_) => return None,
    };
    Some((order_id, kind, data))
}

fn short(shortages: &[Shortage], code: &str) -> Body {
    let shortages = shortages.iter().map(|short| Short {
        product_id: short.product_id.to_string(),
        requested: short.requested,
        available: short.available,
    });
    Body {
        shortages: shortages.collect(),
        reason_code: Some(code.to_owned()),
        ..Body::default()
    }
}

fn failed(failure: &PaymentFailure) -> Body {
    let code = match failure {
        PaymentFailure::Declined { .. } => "declined",
        PaymentFailure::TimedOut => "timed_out",
        PaymentFailure::Undone => "undone",
        PaymentFailure::CaptureRefused { .. } => "capture_refused",
    };
    Body {
        reason_code: Some(code.to_owned()),
        reason: Some(failure.to_string()),
        ..Body::default()
    }
}
