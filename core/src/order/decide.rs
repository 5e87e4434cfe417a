//! What the order participant decides: the saga's rules.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::OrderParticipant;
use super::command::{CreateOrder, OrderCommand};
use super::event::{CancelReason, OrderEvent, Undo, UndoPart};
use super::state::{Order, OrderState, OrderStatus, SagaState};
use crate::decider::{Fact, Idempotency, Input, Need, Participant, Recorded};
use crate::gateway::GatewayCall;
use crate::ids::{OrderId, ParticipantId, Sequence};
use crate::inventory::InventoryEvent;
use crate::payment::{PaymentEvent, PaymentFailure};
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::row::{Answer, AnswerRecord, Row, RowKey};
use crate::settings::Settings;
use crate::shards::OrderShard;
use crate::time::Timestamp;

type Decision = Result<Vec<OrderEvent>, Rejection>;

impl Participant for OrderParticipant {
    const ID: ParticipantId = ParticipantId::Order;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type State = OrderState;

    fn decide(
        state: &OrderState,
        settings: &Settings,
        input: Input<'_, OrderCommand>,
        now: Timestamp,
    ) -> Decision {
        if settings.shard.is_alone() {
            return decide_step(state, settings, input, now);
        }
        OrderShard {
            count: settings.shard.count,
        }
        .decide(state, settings, input, now)
    }

    fn evolve(state: &mut OrderState, recorded: &Recorded<OrderEvent>, sequence: Sequence) {
        state.evolve(recorded, sequence);
    }

    fn order_id(event: &OrderEvent) -> Option<OrderId> {
        event.order_id()
    }

    fn touched(event: &OrderEvent, _: &OrderState, out: &mut Vec<RowKey>) {
        match event {
            OrderEvent::Answered(record) => {
                out.push(RowKey::Answer(ParticipantId::Order, record.key.clone()));
            }
            // Where the stock stands is no part of the row.
            OrderEvent::StockAnswered { .. } | OrderEvent::StockGivenUp { .. } => {}
            event => out.extend(event.order_id().map(RowKey::Order)),
        }
    }

    fn needs(input: &Input<'_, OrderCommand>) -> Option<Need> {
        let (order_id, may_exist) = match input {
            Input::Command(OrderCommand::Create(create)) => (create.order_id, create.may_exist),
            Input::Command(
                OrderCommand::Cancel { order_id, .. } | OrderCommand::Retry { order_id, .. },
            ) => (*order_id, true),
            // An order that has ended takes no further step, whatever the others say.
            Input::Upstream(_)
            | Input::Sharded { .. }
            | Input::Gateway { .. }
            | Input::Deadline(_) => return None,
        };
        Some(Need {
            key: RowKey::Order(order_id),
            may_exist,
        })
    }

    fn idempotency(command: &OrderCommand) -> Option<&Idempotency> {
        match command {
            // The order itself is the record: its id derives from the key.
            OrderCommand::Create(_) => None,
            OrderCommand::Cancel { idempotency, .. } | OrderCommand::Retry { idempotency, .. } => {
                idempotency.as_ref()
            }
        }
    }

    fn is_answered_by_state(command: &OrderCommand) -> bool {
        matches!(command, OrderCommand::Create(_))
    }

    fn answered(record: AnswerRecord) -> OrderEvent {
        OrderEvent::Answered(Box::new(record))
    }

    fn recalled(row: Row) -> Option<OrderEvent> {
        match row {
            Row::Order(order) => Some(OrderEvent::Recalled(order)),
            _ => None,
        }
    }

    fn answer(state: &OrderState, command: &OrderCommand) -> Option<Answer> {
        let order_id = match command {
            OrderCommand::Create(create) => create.order_id,
            OrderCommand::Cancel { order_id, .. } | OrderCommand::Retry { order_id, .. } => {
                *order_id
            }
        };
        state.orders.get(&order_id).cloned().map(Answer::Order)
    }

    fn row(state: &OrderState, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Order(order_id) => state.orders.get(order_id).cloned().map(Row::Order),
            RowKey::Answer(ParticipantId::Order, key) => {
                state.answers.get(key).cloned().map(Row::Answer)
            }
            _ => None,
        }
    }

    fn holds(state: &OrderState, key: &RowKey) -> bool {
        match key {
            RowKey::Order(order_id) => state.orders.contains_key(order_id),
            RowKey::Answer(ParticipantId::Order, key) => state.answers.contains_key(key),
            _ => false,
        }
    }

    fn restore(state: &mut OrderState, row: Row) {
        match row {
            Row::Order(order) => {
                state.orders.insert(order.order_id, order);
            }
            Row::Answer(record) => {
                state.answers.insert(record.key.clone(), record);
            }
            _ => {}
        }
    }

    fn may_leave(state: &OrderState, key: &RowKey, sequence: Sequence) -> bool {
        match key {
            RowKey::Order(order_id) => state
                .order(*order_id)
                .is_some_and(|order| order.saga.is_terminal() && order.version <= sequence),
            RowKey::Answer(..) => true,
            _ => false,
        }
    }

    fn forget(state: &mut OrderState, key: &RowKey) {
        match key {
            RowKey::Order(order_id) => {
                state.orders.remove(order_id);
            }
            RowKey::Answer(_, key) => {
                state.answers.remove(key);
            }
            _ => {}
        }
    }

    fn deadline(state: &OrderState, order_id: OrderId) -> Option<Timestamp> {
        state
            .order(order_id)
            .filter(|order| may_time_out(order.saga))
            .map(|order| order.deadline_at)
    }

    fn owed_call(_: &OrderState, _: &Settings, _: OrderId) -> Option<(Timestamp, GatewayCall)> {
        None
    }

    fn order_ids(state: &OrderState) -> Vec<OrderId> {
        state.orders.keys().copied().collect()
    }

    fn active_len(state: &OrderState) -> usize {
        state.orders.len()
    }
}

/// Decides a step of the saga, over one inventory or over what several amount to.
pub(crate) fn decide_step(
    state: &OrderState,
    settings: &Settings,
    input: Input<'_, OrderCommand>,
    now: Timestamp,
) -> Decision {
    match input {
        Input::Command(OrderCommand::Create(create)) => on_create(state, settings, create, now),
        Input::Command(OrderCommand::Cancel {
            order_id, reason, ..
        }) => {
            let order = known(state, *order_id)?;
            on_cancel(order, CancelReason::Requested(reason.clone()))
        }
        Input::Command(OrderCommand::Retry { order_id, .. }) => on_retry(known(state, *order_id)?),
        Input::Upstream(Fact::Inventory(event)) => Ok(event
            .order_id()
            .and_then(|order_id| state.order(order_id))
            .map_or_else(Vec::new, |order| on_inventory(order, settings, event, now))),
        Input::Upstream(Fact::Payment(event)) => Ok(event
            .order_id()
            .and_then(|order_id| state.order(order_id))
            .map_or_else(Vec::new, |order| on_payment(order, event))),
        Input::Deadline(order_id) => Ok(state
            .order(order_id)
            .map_or_else(Vec::new, |order| on_deadline(order, now))),
        Input::Upstream(Fact::Order(_)) | Input::Sharded { .. } | Input::Gateway { .. } => {
            Ok(Vec::new())
        }
    }
}

fn known(state: &OrderState, order_id: OrderId) -> Result<&Order, Rejection> {
    state
        .order(order_id)
        .ok_or(Rejection::OrderNotFound(order_id))
}

const fn may_time_out(saga: SagaState) -> bool {
    // Once paid, the answer to the commit always comes, and completing beats undoing.
    matches!(saga, SagaState::Started | SagaState::PaymentProcessing)
}

fn on_create(
    state: &OrderState,
    settings: &Settings,
    create: &CreateOrder,
    now: Timestamp,
) -> Decision {
    // The duplicate check comes before every other check: a retry is answered like
    // the first time, whatever has become of the order or of the load meanwhile.
    if planted!("state_check_before_duplicate_check")
        && state.orders.len() >= settings.max_active_orders
    {
        return Err(Rejection::Overloaded);
    }
    if let Some(existing) = state.order(create.order_id) {
        return if existing.order.fingerprint == create.order.fingerprint
            || planted!("fingerprint_not_compared")
        {
            Ok(Vec::new())
        } else {
            Err(Rejection::IdempotencyKeyReused)
        };
    }
    if state.orders.len() >= settings.max_active_orders {
        return Err(Rejection::Overloaded);
    }
    Ok(vec![OrderEvent::OrderCreated {
        order_id: create.order_id,
        order: create.order.clone(),
        deadline_at: now.saturating_add(settings.saga_timeout_ms),
    }])
}

fn on_cancel(order: &Order, reason: CancelReason) -> Decision {
    match order.saga {
        SagaState::PaymentProcessing if planted!("cancel_says_ok_and_does_nothing") => {
            Ok(Vec::new())
        }
        SagaState::Started | SagaState::PaymentProcessing => {
            Ok(vec![compensate(order, reason, undo_all(order))])
        }
        SagaState::Completed if planted!("confirmed_order_is_cancelled") => {
            Ok(vec![compensate(order, reason, undo_all(order))])
        }
        SagaState::Compensating | SagaState::Compensated => Ok(Vec::new()),
        SagaState::InventoryReserved
        | SagaState::PaymentSucceeded
        | SagaState::Completed
        | SagaState::Failed => Err(Rejection::OrderNotCancellable {
            status: order.status,
            saga: order.saga,
        }),
    }
}

fn on_retry(order: &Order) -> Decision {
    if order.parked {
        Ok(vec![OrderEvent::RetryRequested {
            order_id: order.order_id,
        }])
    } else {
        Err(Rejection::SagaNotParked(order.saga))
    }
}

fn on_deadline(order: &Order, now: Timestamp) -> Vec<OrderEvent> {
    if may_time_out(order.saga) && now >= order.deadline_at {
        vec![compensate(
            order,
            CancelReason::SagaTimedOut,
            Undo {
                stock: true,
                payment: order.payment_requested && !planted!("time_out_keeps_the_charge"),
            },
        )]
    } else {
        Vec::new()
    }
}

fn on_inventory(
    order: &Order,
    settings: &Settings,
    event: &InventoryEvent,
    now: Timestamp,
) -> Vec<OrderEvent> {
    let order_id = order.order_id;
    match (order.saga, event) {
        (SagaState::Started, InventoryEvent::InventoryReserved { .. }) => {
            vec![OrderEvent::PaymentRequested {
                order_id,
                amount: if planted!("payment_asked_without_total") {
                    order.order.lines[0].unit_price
                } else {
                    order.order.total
                },
                currency: order.order.currency,
                payment_method: order.order.payment_method.clone(),
                hints: order.order.hints,
                deadline_at: now.saturating_add(settings.payment_timeout_ms),
            }]
        }
        (SagaState::Started, InventoryEvent::InventoryOutOfStock { shortages, .. }) => {
            vec![OrderEvent::OrderFailed {
                order_id,
                shortages: shortages.clone(),
            }]
        }
        (SagaState::PaymentSucceeded, InventoryEvent::InventoryCommitted { .. }) => {
            debug_assert_eq!(order.status, OrderStatus::InventoryReserved);
            vec![OrderEvent::OrderConfirmed { order_id }]
        }
        (SagaState::PaymentSucceeded, InventoryEvent::InventoryCommitRefused { .. }) => {
            let undo = Undo {
                stock: false,
                payment: true,
            };
            vec![compensate(order, CancelReason::CommitRefused, undo)]
        }
        // Heard of before the reserving itself. Nothing has been asked of payment yet; the
        // release is asked for so that there is an acknowledgement to end with.
        (SagaState::Started, InventoryEvent::InventoryExpired { .. }) => {
            vec![compensate(
                order,
                CancelReason::HoldExpired,
                undo_all(order),
            )]
        }
        // The hold is gone, so the stock needs no undo; the charge may still go
        // through, so the payment does.
        (SagaState::PaymentProcessing, InventoryEvent::InventoryExpired { .. }) => {
            let undo = Undo {
                stock: false,
                payment: true,
            };
            vec![compensate(order, CancelReason::HoldExpired, undo)]
        }
        (
            SagaState::Compensating,
            InventoryEvent::InventoryReleased { .. } | InventoryEvent::InventoryExpired { .. },
        ) => acknowledge(order, UndoPart::Stock),
        _ => Vec::new(),
    }
}

fn on_payment(order: &Order, event: &PaymentEvent) -> Vec<OrderEvent> {
    let order_id = order.order_id;
    match (order.saga, event) {
        // What is only authorised is secured all the same: it is captured once the order
        // is confirmed, so that nobody pays for what could not be sold.
        (
            SagaState::PaymentProcessing,
            PaymentEvent::PaymentSucceeded { .. } | PaymentEvent::PaymentAuthorised { .. },
        ) => {
            if planted!("confirmed_before_committed") {
                return vec![
                    OrderEvent::CommitRequested { order_id },
                    OrderEvent::OrderConfirmed { order_id },
                ];
            }
            vec![OrderEvent::CommitRequested { order_id }]
        }
        (
            SagaState::PaymentProcessing,
            PaymentEvent::PaymentFailed { failure, .. }
            | PaymentEvent::PaymentCancelled { failure, .. },
        ) => {
            let reason = match failure {
                PaymentFailure::Declined { code } | PaymentFailure::CaptureRefused { code } => {
                    CancelReason::PaymentFailed(code.clone())
                }
                PaymentFailure::TimedOut | PaymentFailure::Undone => CancelReason::PaymentTimedOut,
            };
            vec![compensate(
                order,
                reason,
                Undo {
                    stock: !planted!("decline_keeps_the_hold"),
                    payment: false,
                },
            )]
        }
        (
            SagaState::Compensating,
            PaymentEvent::PaymentFailed { .. } | PaymentEvent::PaymentCancelled { .. },
        ) => acknowledge(order, UndoPart::Payment),
        (SagaState::Compensating, PaymentEvent::PaymentRefunded { nothing_left, .. })
            if *nothing_left || planted!("partial_refund_ends_the_undo") =>
        {
            acknowledge(order, UndoPart::Payment)
        }
        // A late word of a payment that is settled by now parks nothing.
        (SagaState::PaymentProcessing, PaymentEvent::PaymentParked { .. }) if !order.parked => {
            vec![OrderEvent::SagaParked { order_id }]
        }
        (SagaState::Compensating, PaymentEvent::PaymentParked { .. })
            if !order.parked && order.undo.is_some_and(|undo| undo.payment_owed) =>
        {
            vec![OrderEvent::SagaParked { order_id }]
        }
        _ => Vec::new(),
    }
}

/// Everything that was done, or may have been: what is not known to be undone.
const fn undo_all(order: &Order) -> Undo {
    Undo {
        stock: true,
        payment: order.payment_requested,
    }
}

fn compensate(order: &Order, reason: CancelReason, undo: Undo) -> OrderEvent {
    OrderEvent::CompensationRequested {
        order_id: order.order_id,
        reason,
        undo,
        currency: order.order.currency,
    }
}

/// Notes one acknowledgement, and ends the saga with the last one.
fn acknowledge(order: &Order, part: UndoPart) -> Vec<OrderEvent> {
    let Some(undo) = order.undo else {
        return Vec::new();
    };
    let owed = match part {
        UndoPart::Stock => undo.stock_owed,
        UndoPart::Payment => undo.payment_owed,
    };
    if !owed {
        return Vec::new();
    }
    let order_id = order.order_id;
    let mut events = vec![OrderEvent::UndoAcknowledged { order_id, part }];
    if undo.is_last(part) || planted!("compensated_before_acknowledged") {
        events.push(OrderEvent::OrderCancelled { order_id });
    }
    events
}
