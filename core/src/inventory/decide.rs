//! What inventory decides: who gets the stock, and for how long.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::InventoryParticipant;
use super::event::{InventoryCommand, InventoryEvent, ReleaseReason};
use super::state::{HeldLine, InventoryState, Reservation, ReservationStatus};
use crate::decider::{Fact, Idempotency, Input, Need, Participant, Recorded};
use crate::gateway::GatewayCall;
use crate::ids::{OrderId, ParticipantId, ProductId, Sequence};
use crate::limits::STOCK_UNITS_MAX;
use crate::order::{CancelReason, NewOrder, OrderEvent, Shortage};
use crate::planted::planted;
use crate::rejection::Rejection;
use crate::row::{Answer, AnswerRecord, Row, RowKey};
use crate::settings::Settings;
use crate::shards::{self, InventoryShard};
use crate::time::Timestamp;

type Decision = Result<Vec<InventoryEvent>, Rejection>;

impl Participant for InventoryParticipant {
    const ID: ParticipantId = ParticipantId::Inventory;
    type Command = InventoryCommand;
    type Event = InventoryEvent;
    type State = InventoryState;

    fn decide(
        state: &InventoryState,
        settings: &Settings,
        input: Input<'_, InventoryCommand>,
        now: Timestamp,
    ) -> Decision {
        if settings.shard.is_alone() {
            return decide_alone(state, settings, input, now);
        }
        InventoryShard {
            shard: settings.shard.id,
            count: settings.shard.count,
        }
        .decide(state, settings, input, now)
    }

    fn evolve(state: &mut InventoryState, recorded: &Recorded<InventoryEvent>, sequence: Sequence) {
        state.evolve(recorded, sequence);
    }

    fn order_id(event: &InventoryEvent) -> Option<OrderId> {
        event.order_id()
    }

    fn touched(event: &InventoryEvent, state: &InventoryState, out: &mut Vec<RowKey>) {
        match event {
            InventoryEvent::ProductDefined { product_id, .. }
            | InventoryEvent::StockAdjusted { product_id, .. } => {
                out.push(RowKey::Product(product_id.clone()));
            }
            InventoryEvent::Answered(record) => {
                out.push(RowKey::Answer(ParticipantId::Inventory, record.key.clone()));
            }
            event => {
                let Some(order_id) = event.order_id() else {
                    return;
                };
                out.push(RowKey::Reservation(order_id));
                let moves_stock = !matches!(
                    event,
                    InventoryEvent::ReservationExtended { .. } | InventoryEvent::Recalled(_)
                );
                if let Some(held) = state.reservation(order_id).filter(|_| moves_stock) {
                    out.extend(
                        held.lines
                            .iter()
                            .map(|line| RowKey::Product(line.product_id.clone())),
                    );
                }
            }
        }
    }

    fn needs(input: &Input<'_, InventoryCommand>) -> Option<Need> {
        let order_id = match input {
            Input::Upstream(Fact::Order(OrderEvent::CommitRequested { order_id })) => *order_id,
            Input::Upstream(Fact::Order(OrderEvent::CompensationRequested {
                order_id,
                undo,
                ..
            })) if undo.stock => *order_id,
            Input::Sharded {
                to,
                fact: Fact::Order(event),
                ..
            } => shards::asks_of_what_is_known(event, *to)?,
            // A new order has no reservation yet, and an ended hold is not extended.
            _ => return None,
        };
        Some(Need {
            key: RowKey::Reservation(order_id),
            may_exist: true,
        })
    }

    fn idempotency(command: &InventoryCommand) -> Option<&Idempotency> {
        match command {
            InventoryCommand::Define { .. } => None,
            InventoryCommand::Adjust { idempotency, .. } => idempotency.as_ref(),
        }
    }

    fn is_answered_by_state(_: &InventoryCommand) -> bool {
        false
    }

    fn answered(record: AnswerRecord) -> InventoryEvent {
        InventoryEvent::Answered(Box::new(record))
    }

    fn recalled(row: Row) -> Option<InventoryEvent> {
        match row {
            Row::Reservation(reservation) => Some(InventoryEvent::Recalled(reservation)),
            _ => None,
        }
    }

    fn answer(state: &InventoryState, command: &InventoryCommand) -> Option<Answer> {
        let (InventoryCommand::Define { product_id, .. }
        | InventoryCommand::Adjust { product_id, .. }) = command;
        state.products.get(product_id).cloned().map(Answer::Product)
    }

    fn row(state: &InventoryState, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Reservation(order_id) => state
                .reservations
                .get(order_id)
                .cloned()
                .map(Row::Reservation),
            RowKey::Product(product_id) => {
                state.products.get(product_id).cloned().map(Row::Product)
            }
            RowKey::Answer(ParticipantId::Inventory, key) => {
                state.answers.get(key).cloned().map(Row::Answer)
            }
            _ => None,
        }
    }

    fn holds(state: &InventoryState, key: &RowKey) -> bool {
        match key {
            RowKey::Reservation(order_id) => state.reservations.contains_key(order_id),
            RowKey::Product(product_id) => state.products.contains_key(product_id),
            RowKey::Answer(ParticipantId::Inventory, key) => state.answers.contains_key(key),
            _ => false,
        }
    }

    fn restore(state: &mut InventoryState, row: Row) {
        match row {
            Row::Reservation(reservation) => {
                state.reservations.insert(reservation.order_id, reservation);
            }
            Row::Answer(record) => {
                state.answers.insert(record.key.clone(), record);
            }
            _ => {}
        }
    }

    fn may_leave(state: &InventoryState, key: &RowKey, sequence: Sequence) -> bool {
        match key {
            RowKey::Reservation(order_id) => state.reservation(*order_id).is_some_and(|held| {
                held.status != ReservationStatus::Active && held.version <= sequence
            }),
            RowKey::Answer(..) => true,
            _ => false,
        }
    }

    fn forget(state: &mut InventoryState, key: &RowKey) {
        match key {
            RowKey::Reservation(order_id) => {
                state.reservations.remove(order_id);
            }
            RowKey::Answer(_, key) => {
                state.answers.remove(key);
            }
            _ => {}
        }
    }

    fn deadline(state: &InventoryState, order_id: OrderId) -> Option<Timestamp> {
        state
            .reservation(order_id)
            .filter(|held| held.status == ReservationStatus::Active)
            .map(|held| held.expires_at)
    }

    fn owed_call(_: &InventoryState, _: &Settings, _: OrderId) -> Option<(Timestamp, GatewayCall)> {
        None
    }

    fn order_ids(state: &InventoryState) -> Vec<OrderId> {
        state.reservations.keys().copied().collect()
    }

    fn active_len(state: &InventoryState) -> usize {
        state.reservations.len()
    }
}

/// Decides for stock that lies in one place, or for the part that lies in this one.
pub(crate) fn decide_alone(
    state: &InventoryState,
    settings: &Settings,
    input: Input<'_, InventoryCommand>,
    now: Timestamp,
) -> Decision {
    match input {
        Input::Command(command) => on_command(state, command),
        Input::Upstream(Fact::Order(event)) => Ok(on_order(state, settings, event, now)),
        Input::Deadline(order_id) => Ok(state
            .reservation(order_id)
            .map_or_else(Vec::new, |held| on_deadline(held, now))),
        Input::Upstream(Fact::Inventory(_) | Fact::Payment(_))
        | Input::Sharded { .. }
        | Input::Gateway { .. } => Ok(Vec::new()),
    }
}

fn on_command(state: &InventoryState, command: &InventoryCommand) -> Decision {
    match command {
        InventoryCommand::Define {
            product_id,
            name,
            price,
            on_hand,
        } => {
            let mut events = vec![InventoryEvent::ProductDefined {
                product_id: product_id.clone(),
                name: name.clone(),
                price: *price,
            }];
            if let Some(target) = *on_hand {
                let present = state
                    .product(product_id)
                    .map_or(0, |product| product.on_hand);
                let delta = i128::from(target) - i128::from(present);
                let reason = Arc::from("set by description");
                events.extend(adjust(state, product_id, delta, reason)?);
            }
            Ok(events)
        }
        InventoryCommand::Adjust {
            product_id,
            delta,
            reason,
            ..
        } => {
            if state.product(product_id).is_none() {
                return Err(Rejection::ProductNotFound(product_id.clone()));
            }
            adjust(state, product_id, i128::from(*delta), reason.clone())
                .map(|event| event.into_iter().collect())
        }
    }
}

fn adjust(
    state: &InventoryState,
    product_id: &ProductId,
    delta: i128,
    reason: Arc<str>,
) -> Result<Option<InventoryEvent>, Rejection> {
    let (present, reserved) = state
        .product(product_id)
        .map_or((0, 0), |product| (product.on_hand, product.reserved));
    let on_hand = i128::from(present) + delta;
    if on_hand > i128::from(STOCK_UNITS_MAX) {
        return Err(Rejection::StockTooLarge {
            max: STOCK_UNITS_MAX,
        });
    }
    if on_hand < i128::from(reserved) && !(planted!("write_off_takes_reserved") && on_hand >= 0) {
        let on_hand = i64::try_from(on_hand).unwrap_or(i64::MIN);
        return Err(Rejection::StockBelowReserved { on_hand, reserved });
    }
    // Both ends are within the limit, so their difference fits.
    let delta = i64::try_from(delta).unwrap_or(0);
    Ok((delta != 0).then(|| InventoryEvent::StockAdjusted {
        product_id: product_id.clone(),
        delta,
        reason,
    }))
}

fn on_order(
    state: &InventoryState,
    settings: &Settings,
    event: &OrderEvent,
    now: Timestamp,
) -> Vec<InventoryEvent> {
    match event {
        OrderEvent::OrderCreated {
            order_id, order, ..
        } => {
            match state.reservation(*order_id) {
                // Also a tombstone: a reserve that its release has overtaken holds nothing.
                Some(known) => answer_again(known),
                None => vec![reserve(state, settings, *order_id, order, now)],
            }
        }
        OrderEvent::PaymentRequested { order_id, .. } => {
            let held = state
                .reservation(*order_id)
                .filter(|held| held.status == ReservationStatus::Active);
            held.map(|held| (held, now.saturating_add(held.hold_ms)))
                .filter(|(held, expires_at)| *expires_at > held.expires_at)
                .map(|(_, expires_at)| InventoryEvent::ReservationExtended {
                    order_id: *order_id,
                    expires_at,
                })
                .into_iter()
                .collect()
        }
        OrderEvent::CommitRequested { order_id } => vec![commit(state, *order_id)],
        OrderEvent::CompensationRequested {
            order_id,
            reason,
            undo,
            ..
        } if undo.stock => release(state, *order_id, reason),
        _ => Vec::new(),
    }
}

/// All lines, or none: every product that is short is named.
fn reserve(
    state: &InventoryState,
    settings: &Settings,
    order_id: OrderId,
    order: &NewOrder,
    now: Timestamp,
) -> InventoryEvent {
    let lines = by_product(order);
    let mut shortages = shortages(state, &lines);
    if planted!("lines_checked_one_by_one") {
        shortages.retain(|short| {
            let mut of_product = order
                .lines
                .iter()
                .filter(|it| it.product_id == short.product_id);
            of_product.any(|line| u64::from(line.quantity) > short.available)
        });
    }
    let takes_what_there_is =
        planted!("check_and_reserve_not_atomic") && shortages.len() < lines.len();
    if !shortages.is_empty() && !takes_what_there_is {
        return InventoryEvent::InventoryOutOfStock {
            order_id,
            shortages,
        };
    }
    let mut hold_ms = order.hints.hold_ms.unwrap_or(settings.hold_ms);
    if planted!("hold_shorter_than_payment") {
        hold_ms = settings.payment_timeout_ms;
    }
    InventoryEvent::InventoryReserved {
        order_id,
        lines,
        hold_ms,
        expires_at: now.saturating_add(hold_ms),
    }
}

/// Lines of one product are one claim: checked one by one, they could each find enough.
fn by_product(order: &NewOrder) -> Arc<[HeldLine]> {
    let mut quantities: BTreeMap<&ProductId, u64> = BTreeMap::new();
    for line in order.lines.iter() {
        *quantities.entry(&line.product_id).or_default() += u64::from(line.quantity);
    }
    quantities
        .into_iter()
        .map(|(product_id, quantity)| HeldLine {
            product_id: product_id.clone(),
            quantity,
        })
        .collect()
}

fn shortages(state: &InventoryState, lines: &[HeldLine]) -> Vec<Shortage> {
    let short = |line: &HeldLine| {
        let available = state
            .product(&line.product_id)
            .map_or(0, |product| product.available());
        (available + u64::from(planted!("last_unit_sold_twice")) < line.quantity).then(|| {
            Shortage {
                product_id: line.product_id.clone(),
                requested: line.quantity,
                available,
            }
        })
    };
    let named = if planted!("only_first_shortage_named") {
        1
    } else {
        usize::MAX
    };
    lines.iter().filter_map(short).take(named).collect()
}

fn commit(state: &InventoryState, order_id: OrderId) -> InventoryEvent {
    let refused = |shortages| InventoryEvent::InventoryCommitRefused {
        order_id,
        shortages,
    };
    let Some(known) = state.reservation(order_id) else {
        return refused(Vec::new());
    };
    match known.status {
        ReservationStatus::Active | ReservationStatus::Confirmed => {
            InventoryEvent::InventoryCommitted {
                order_id,
                retaken: false,
            }
        }
        // A refusal is final: the saga acts on it, so that to sell after all would be to
        // sell what is being refunded.
        ReservationStatus::Expired if !known.shortages.is_empty() => {
            refused(known.shortages.clone())
        }
        // Too late, but perhaps nobody else wanted it: completing beats refunding.
        ReservationStatus::Expired => {
            let shortages = shortages(state, &known.lines);
            if shortages.is_empty() {
                InventoryEvent::InventoryCommitted {
                    order_id,
                    retaken: true,
                }
            } else {
                refused(shortages)
            }
        }
        ReservationStatus::Released | ReservationStatus::OutOfStock => refused(Vec::new()),
    }
}

fn release(
    state: &InventoryState,
    order_id: OrderId,
    reason: &CancelReason,
) -> Vec<InventoryEvent> {
    let reason = match state.reservation(order_id) {
        None => ReleaseReason::NeverHeld,
        // A saga asks for a commit or for an undo, never for both; what is sold stays so.
        Some(known) if known.status == ReservationStatus::Confirmed => return Vec::new(),
        Some(known)
            if planted!("release_of_expired_says_nothing")
                && known.status == ReservationStatus::OutOfStock =>
        {
            return Vec::new();
        }
        Some(_) => ReleaseReason::Compensation(reason.clone()),
    };
    vec![InventoryEvent::InventoryReleased { order_id, reason }]
}

/// Whoever asks again may have lost the answer, so it gets it again.
fn answer_again(known: &Reservation) -> Vec<InventoryEvent> {
    let order_id = known.order_id;
    vec![match known.status {
        ReservationStatus::Active => InventoryEvent::InventoryReserved {
            order_id,
            lines: known.lines.clone(),
            hold_ms: known.hold_ms,
            expires_at: known.expires_at,
        },
        ReservationStatus::Confirmed => InventoryEvent::InventoryCommitted {
            order_id,
            retaken: false,
        },
        ReservationStatus::Released => InventoryEvent::InventoryReleased {
            order_id,
            reason: known
                .release_reason
                .clone()
                .unwrap_or(ReleaseReason::NeverHeld),
        },
        ReservationStatus::Expired => InventoryEvent::InventoryExpired { order_id },
        ReservationStatus::OutOfStock => InventoryEvent::InventoryOutOfStock {
            order_id,
            shortages: known.shortages.clone(),
        },
    }]
}

fn on_deadline(held: &Reservation, now: Timestamp) -> Vec<InventoryEvent> {
    if held.status == ReservationStatus::Active && now >= held.expires_at {
        vec![InventoryEvent::InventoryExpired {
            order_id: held.order_id,
        }]
    } else {
        Vec::new()
    }
}
