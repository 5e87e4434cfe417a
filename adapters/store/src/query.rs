//! Lists of orders, newest first: a range of one index, merged with what is in memory.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use a4co_core::ids::{CustomerId, ProductId};
use a4co_core::order::{Order, OrderStatus, SagaState};
use a4co_core::time::Timestamp;

use crate::apply::bundle_at;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::keys::{self, Position};
use crate::options::FaultPoint;
use crate::record;
use crate::runs::Family;
use crate::view::Shared;

/// Index entries that one call looks at; it then gives what it has, and a cursor.
const EXAMINED_MAX: usize = 10_000;

/// Which orders to list.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    /// Of this status only.
    pub status: Option<OrderStatus>,
    /// Of this customer only.
    pub customer: Option<CustomerId>,
    /// With a saga in this state only.
    pub saga: Option<SagaState>,
    /// Only those that wait for an operator, or only those that do not.
    pub parked: Option<bool>,
    /// With a line of this product only.
    pub product: Option<ProductId>,
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first. May be shorter than asked for although more follow, where orders
    /// that fit are rare.
    pub orders: Vec<Arc<Order>>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

impl OrderQuery {
    fn fits(&self, order: &Order) -> bool {
        let new = &order.order;
        self.status.is_none_or(|status| order.status == status)
            && self.saga.is_none_or(|saga| order.saga == saga)
            && self.parked.is_none_or(|parked| order.parked == parked)
            && self
                .product
                .as_ref()
                .is_none_or(|it| new.lines.iter().any(|line| line.product_id == *it))
            && self
                .customer
                .as_ref()
                .is_none_or(|it| new.customer_id == *it)
            && self
                .created_from
                .is_none_or(|from| order.created_at >= from)
            && self.created_to.is_none_or(|to| order.created_at <= to)
            && self
                .cursor
                .is_none_or(|cursor| position_of(order) < cursor.0)
    }

    /// The index that this is answered from, and its parts that can have what is wanted.
    fn index(&self) -> (Family, Vec<Vec<u8>>) {
        if let Some(customer) = &self.customer {
            return (keys::BY_CUSTOMER, vec![keys::customer_prefix(customer)]);
        }
        let statuses = match self.status {
            Some(_) => self.status.as_slice(),
            None => self.possible_statuses(),
        };
        if statuses.len() == OrderStatus::ALL.len() {
            return (keys::ORDERS, vec![Vec::new()]);
        }
        let prefix = |status: &OrderStatus| vec![keys::status_code(*status)];
        (keys::BY_STATUS, statuses.iter().map(prefix).collect())
    }

    /// The statuses that an order of this kind can have. What is under way is little, so
    /// that looking through it is cheap.
    const fn possible_statuses(&self) -> &'static [OrderStatus] {
        const UNDER_WAY: &[OrderStatus] = &[OrderStatus::Pending, OrderStatus::InventoryReserved];
        match self.saga {
            Some(SagaState::Completed) => &[OrderStatus::Confirmed],
            Some(SagaState::Failed) => &[OrderStatus::Failed],
            Some(SagaState::Compensated) => &[OrderStatus::Cancelled],
            Some(_) => UNDER_WAY,
            None if matches!(self.parked, Some(true)) => UNDER_WAY,
            None => &OrderStatus::ALL,
        }
    }

    /// The range of a part of the index, its end not included.
    fn range(&self, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let first = Position::first_at(self.created_from.unwrap_or_default());
        let last = Position::last_at(self.created_to.unwrap_or(Timestamp::MAX));
        let mut end = keys::at(prefix, last);
        // Just past the last position.
        end.push(0);
        if let Some(cursor) = self.cursor {
            end = end.min(keys::at(prefix, cursor.0));
        }
        (keys::at(prefix, first), end)
    }
}

/// What was found in sled.
#[derive(Default)]
struct Scanned {
    orders: Vec<Arc<Order>>,
    /// The last position that was looked at.
    last: Option<Position>,
    /// There was more to look at.
    is_cut: bool,
}

pub(crate) fn orders(shared: &Shared, query: &OrderQuery) -> Result<Page, StoreError> {
    // While this is held, no row leaves memory: one that is seen in neither place is in
    // neither place.
    let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
    let limit = query.limit.max(1);
    let mut found = in_memory(shared, query, limit);
    let (family, prefixes) = query.index();
    let mut stopped_at = None;
    for prefix in prefixes {
        let scanned = scan(shared, query, family, &prefix, limit)?;
        found.extend(scanned.orders);
        // Beyond the first place where one part was left, the others are not complete.
        stopped_at = stopped_at.max(scanned.last.filter(|_| scanned.is_cut));
    }
    // An order that was published just now may be there twice: memory's comes first.
    found.sort_by_key(|order| std::cmp::Reverse(position_of(order)));
    found.dedup_by_key(|order| order.order_id);
    if let Some(stopped_at) = stopped_at {
        found.retain(|order| position_of(order) >= stopped_at);
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more {
        found.last().map(|order| position_of(order))
    } else {
        stopped_at
    };
    Ok(Page {
        orders: found,
        next: next.map(Cursor),
    })
}

/// How many orders there are of each status that is final, in the order of
/// [`OrderStatus::ALL`]; the others count 0. Reads the whole index by status.
pub(crate) fn count_ended(shared: &Shared) -> Result<[u64; OrderStatus::ALL.len()], StoreError> {
    // As for lists: one that is seen in neither place is in neither place.
    let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
    let mut counts = [0; OrderStatus::ALL.len()];
    let mut count = |status: OrderStatus| {
        if !keys::is_active(status) {
            counts[status as usize] += 1;
        }
    };
    for order in shared.overlay().orders() {
        count(order.status);
    }
    let (first, end) = ([keys::ACTIVE_CODE_MAX + 1], [u8::MAX]);
    shared.disk.with(FaultPoint::Read, |db| {
        keys::BY_STATUS.visit(db, &first, &end, |key, _| {
            let status = key.first().copied().and_then(keys::status_from_code);
            if let (Some(status), Some(position)) = (status, Position::from_end(key))
                && shared.overlay().order(position.order_id).is_none()
            {
                count(status);
            }
            Ok(ControlFlow::Continue(()))
        })
    })?;
    Ok(counts)
}

/// The newest orders in memory that fit, one more than asked for.
fn in_memory(shared: &Shared, query: &OrderQuery, limit: usize) -> Vec<Arc<Order>> {
    let overlay = shared.overlay();
    let mut found: Vec<&Arc<Order>> = overlay.orders().filter(|order| query.fits(order)).collect();
    if found.len() > limit {
        found.select_nth_unstable_by_key(limit, |order| std::cmp::Reverse(position_of(order)));
        found.truncate(limit + 1);
    }
    found.into_iter().cloned().collect()
}

fn scan(
    shared: &Shared,
    query: &OrderQuery,
    family: Family,
    prefix: &[u8],
    limit: usize,
) -> Result<Scanned, StoreError> {
    let (first, end) = query.range(prefix);
    let mut scanned = Scanned::default();
    let mut examined = 0;
    shared.disk.with(FaultPoint::Read, |db| {
        family.visit_back(db, &first, &end, |key, value| {
            if scanned.orders.len() > limit || examined == EXAMINED_MAX {
                scanned.is_cut = true;
                return Ok(ControlFlow::Break(()));
            }
            examined += 1;
            let Some(position) = Position::from_end(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            scanned.last = Some(position);
            let order = match shared.overlay().order(position.order_id) {
                Some(order) => Some(order),
                None if family == keys::ORDERS => record::decode_bundle(key, value)?.order,
                None if family == keys::BY_CUSTOMER && !status_fits(query, value) => None,
                None => bundle_at(db, position)?.and_then(|bundle| bundle.order),
            };
            scanned
                .orders
                .extend(order.filter(|order| query.fits(order)));
            Ok(ControlFlow::Continue(()))
        })
    })?;
    Ok(scanned)
}

fn status_fits(query: &OrderQuery, value: &[u8]) -> bool {
    query
        .status
        .is_none_or(|status| *value == [keys::status_code(status)])
}

pub(crate) fn position_of(order: &Order) -> Position {
    Position {
        created_at: order.created_at,
        order_id: order.order_id,
    }
}
