//! What a trace's line means, as data for those who show it: the events of a record, the
//! rows that it changed, the gateway's books, and how each order ended.
//!
//! Only runs that keep their lines come here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::rc::Rc;

use serde::Serialize;

use a4co_core::ids::{OrderId, ParticipantId};
use a4co_core::record::{self, Record};
use a4co_core::row::{Row, RowKey};

use crate::clients::PROBE;
use crate::gateway::Gateway;
use crate::trace::Line;
use crate::world::World;

/// One event of a journal.
#[derive(Debug, Clone, Serialize)]
pub struct Noted {
    /// Whose journal: 0 order, 1 inventory, 2 payment.
    pub journal: u8,
    /// Its sequence there.
    pub sequence: u64,
    /// When it was decided, by the engine's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of event.
    pub name: &'static str,
    /// The order that it is about.
    pub order: Option<OrderId>,
    /// All of it.
    pub full: serde_json::Value,
}

/// Something that is otherwise after a line than before it.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Of what: "order", "reservation", "payment", "product", "answer" or "gateway".
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// The order that it belongs to.
    pub order: Option<OrderId>,
    /// Where it stands, in a word or two.
    pub state: String,
    /// All of it.
    pub full: serde_json::Value,
}

/// How an order ended.
#[derive(Debug, Clone, Serialize)]
pub struct OrderEnd {
    /// Which order.
    pub id: OrderId,
    /// Its number in the plan, if it was the last that was sent under that.
    pub number: Option<u32>,
    /// It is the one that the simulator places when all faults have ended.
    pub is_last: bool,
    /// Where its saga stands; `None`: no such order is durable.
    pub saga: Option<String>,
    /// What its customer sees.
    pub status: Option<String>,
    /// Where its payment stands.
    pub payment: Option<String>,
    /// Where its reservation stands.
    pub reservation: Option<String>,
    /// What the gateway's books say.
    pub gateway: String,
}

fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Adds the events of a record.
pub(crate) fn add_events(line: &mut Line, bytes: &[u8]) {
    let Ok(record) = record::decode::<Record>(bytes) else {
        return;
    };
    add_record(line, &record);
}

/// Adds the events of a record.
pub(crate) fn add_record(line: &mut Line, record: &Record) {
    macro_rules! add {
        ($participant:expr, $frame:expr) => {
            for (nth, recorded) in (1..).zip(&$frame.events) {
                line.events.push(Noted {
                    journal: u8::try_from($participant.index()).unwrap_or(0),
                    sequence: $frame.after.get() + nth,
                    at_ms: recorded.at.unix_ms(),
                    name: recorded.event.name(),
                    order: recorded.event.order_id(),
                    full: json(&recorded.event),
                });
            }
        };
    }
    add!(ParticipantId::Order, record.order);
    add!(ParticipantId::Inventory, record.inventory);
    add!(ParticipantId::Payment, record.payment);
    let about: BTreeSet<_> = line.events.iter().filter_map(|event| event.order).collect();
    line.about.extend(about);
}

/// Adds the rows that a record changed.
pub(crate) fn add_rows<'r>(line: &mut Line, rows: impl Iterator<Item = &'r (RowKey, Rc<Row>)>) {
    line.changes.extend(rows.map(|(key, row)| {
        let (kind, id, state, full) = match row.in_its_shard() {
            Row::Order(it) => (
                "order",
                it.order_id.to_string(),
                it.saga.to_string(),
                json(it),
            ),
            Row::Reservation(it) => (
                "reservation",
                it.order_id.to_string(),
                words(&it.status),
                json(it),
            ),
            Row::Payment(it) => (
                "payment",
                it.order_id.to_string(),
                words(&it.phase),
                json(it),
            ),
            Row::Product(it) => {
                let state = format!(
                    "{} on hand, {} reserved, {} sold",
                    it.on_hand, it.reserved, it.sold
                );
                ("product", it.product_id.to_string(), state, json(it))
            }
            Row::Answer(it) => ("answer", it.key.to_string(), "kept".into(), json(it)),
            Row::InShard(..) => ("row", String::new(), String::new(), json(row.as_ref())),
        };
        let order = match key.in_its_shard() {
            RowKey::Order(id) | RowKey::Reservation(id) | RowKey::Payment(id) => Some(*id),
            RowKey::Product(_) | RowKey::Answer(..) | RowKey::InShard(..) => None,
        };
        Change {
            kind,
            id,
            order,
            state,
            full,
        }
    }));
}

/// What the gateway's books say of an order.
pub(crate) fn books(gateway: &Gateway, order_id: OrderId) -> Change {
    let account = gateway.account(order_id);
    let charge = words(&gateway.charge(order_id));
    let full = serde_json::json!({
        "charge": charge,
        "captured": account.captured.minor(),
        "captures": account.captures,
        "refunded": account.refunded.minor(),
    });
    Change {
        kind: "gateway",
        id: order_id.to_string(),
        order: Some(order_id),
        state: charge,
        full,
    }
}

/// Where an order's reservations stand, one for each shard that it lies in.
fn stock(world: &World<'_>, order_id: OrderId) -> Option<String> {
    let stock = world.audit.stock_of(order_id);
    let words: Vec<String> = stock.iter().map(words).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn words(state: &impl Debug) -> String {
    format!("{state:?}")
}

/// How every order ended that was sent or is durable, in order of their creation and then
/// of their numbers.
pub(crate) fn ends(world: &World<'_>) -> Vec<OrderEnd> {
    let numbers: BTreeMap<OrderId, u32> = world
        .order_numbers()
        .map(|(number, id)| (id, number))
        .collect();
    let mut ids: Vec<OrderId> = world.audit.orders().map(|order| order.order_id).collect();
    ids.sort_by_key(|id| {
        let order = world.audit.order(*id);
        order.map(|order| (order.created_at, order.version))
    });
    let durable: BTreeSet<OrderId> = ids.iter().copied().collect();
    let sent = world.order_numbers().map(|(_, id)| id);
    ids.extend(sent.filter(|id| !durable.contains(id)));
    ids.into_iter()
        .map(|id| {
            let order = world.audit.order(id);
            let number = numbers.get(&id).copied();
            OrderEnd {
                id,
                number: number.filter(|number| *number != PROBE),
                is_last: number == Some(PROBE),
                saga: order.map(|order| order.saga.to_string()),
                status: order.map(|order| order.status.to_string()),
                payment: world.audit.payment(id).map(|it| words(&it.phase)),
                reservation: stock(world, id),
                gateway: books(&world.gateway, id).state,
            }
        })
        .collect()
}
