//! The view against a map: whatever is published, applied, pruned and reopened, in
//! whatever order, reads and lists give what a plain map gives.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use a4co_core::inventory::ReservationStatus;
use a4co_core::order::{Order, OrderStatus};
use a4co_core::row::{Row, RowKey};
use a4co_core::time::Timestamp;
use a4co_store::{Options, OrderQuery, View};
use proptest::collection::vec;
use proptest::prelude::*;

use common::{answer, at, customer, options, order, order_id, payment, product, reservation};

const WAIT: Duration = Duration::from_secs(30);
/// Few of each, so that they meet.
const ORDERS: u64 = 60;

#[derive(Debug, Clone)]
enum Action {
    Publish(Vec<Change>),
    Apply,
    /// What is published from here on stays in memory, until the next of the others.
    Pause,
    Reopen,
    /// Older than this, so many at a time.
    Prune(u64, usize),
    List(Filter),
}

#[derive(Debug, Clone)]
enum Change {
    Order(u64),
    Reservation(u64, u64),
    Payment(u64, u32),
    Product(u64, u64),
    Answer(u64, u64),
}

#[derive(Debug, Clone)]
struct Filter {
    status: Option<usize>,
    customer: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    limit: usize,
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..ORDERS).prop_map(Change::Order),
        3 => (0..ORDERS, 0..40_u64).prop_map(|(number, ms)| Change::Reservation(number, ms)),
        3 => (0..ORDERS, 0..3_u32).prop_map(|(number, tries)| Change::Payment(number, tries)),
        1 => (0..5_u64, 0..100_u64).prop_map(|(number, on_hand)| Change::Product(number, on_hand)),
        1 => (0..6_u64, 0..200_000_000_u64).prop_map(|(number, ms)| Change::Answer(number, ms)),
    ]
}

fn filters() -> impl Strategy<Value = Filter> {
    let time = || proptest::option::weighted(0.3, 0..60_u64);
    let status = proptest::option::of(0..OrderStatus::ALL.len());
    let customer = proptest::option::of(0..3_u64);
    (status, customer, time(), time(), 1..8_usize).prop_map(
        |(status, customer, from, to, limit)| Filter {
            status,
            customer,
            from,
            to,
            limit,
        },
    )
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => vec(changes(), 0..40).prop_map(Action::Publish),
        3 => Just(Action::Apply),
        3 => Just(Action::Pause),
        1 => Just(Action::Reopen),
        2 => (0..60_u64, 1..30_usize).prop_map(|(before, limit)| Action::Prune(before, limit)),
        4 => filters().prop_map(Action::List),
    ]
}

/// What must be there.
#[derive(Default)]
struct Model {
    rows: BTreeMap<RowKey, Row>,
    sequence: u64,
}

impl Model {
    /// The row that a change comes to. Orders go forward through their states, as they do.
    fn row(&self, change: &Change) -> Row {
        match *change {
            Change::Order(number) => {
                let created = number * 37 % 50;
                let status = match self.rows.get(&RowKey::Order(order_id(number))) {
                    None => OrderStatus::Pending,
                    Some(Row::Order(known)) => match known.status {
                        OrderStatus::Pending if number % 4 == 1 => OrderStatus::Failed,
                        OrderStatus::Pending => OrderStatus::InventoryReserved,
                        OrderStatus::InventoryReserved if number % 4 == 2 => OrderStatus::Cancelled,
                        OrderStatus::InventoryReserved => OrderStatus::Confirmed,
                        ended => ended,
                    },
                    Some(_) => unreachable!("rows lie under their keys"),
                };
                Row::Order(Box::new(order(number, created, number % 3, status)))
            }
            Change::Reservation(number, ms) => {
                let held = reservation(number, ms, ReservationStatus::Confirmed);
                Row::Reservation(Box::new(held))
            }
            Change::Payment(number, tries) => Row::Payment(Box::new(payment(number, 7, tries))),
            Change::Product(number, on_hand) => Row::Product(Box::new(product(number, on_hand))),
            Change::Answer(number, ms) => Row::Answer(Box::new(answer(number, ms))),
        }
    }

    fn publish(&mut self, view: &View, changes: &[Change]) {
        let mut rows = Vec::new();
        for change in changes {
            let row = self.row(change);
            self.rows.insert(row.key(), row.clone());
            rows.push(row);
        }
        self.sequence += 1;
        let _ = view.publish(self.sequence, rows);
    }

    fn orders(&self, filter: &Filter) -> Vec<Order> {
        let fits = |order: &&Order| {
            filter
                .status
                .is_none_or(|it| order.status == OrderStatus::ALL[it])
                && filter
                    .customer
                    .is_none_or(|it| order.order.customer_id == customer(it))
                && filter.from.is_none_or(|it| order.created_at >= at(it))
                && filter.to.is_none_or(|it| order.created_at <= at(it))
        };
        let orders = self.rows.values().filter_map(|row| match row {
            Row::Order(order) => Some(&**order),
            _ => None,
        });
        let mut orders: Vec<Order> = orders.filter(fits).cloned().collect();
        orders.sort_by_key(|order| std::cmp::Reverse((order.created_at, order.order_id)));
        orders
    }

    /// Everything of an order that has ended, and old answers.
    fn prune(&mut self, before: Timestamp, now: Timestamp) {
        let created = |number: u64| {
            let part = |key: &RowKey| match self.rows.get(key) {
                Some(Row::Order(order)) => Some(order.created_at),
                _ => None,
            };
            part(&RowKey::Order(order_id(number)))
        };
        let gone: Vec<u64> = (0..ORDERS)
            .filter(|number| {
                let ended = match self.rows.get(&RowKey::Order(order_id(*number))) {
                    Some(Row::Order(order)) => order.saga.is_terminal(),
                    _ => false,
                };
                ended && created(*number).is_some_and(|at| at < before)
            })
            .collect();
        for number in gone {
            let id = order_id(number);
            for key in [
                RowKey::Order(id),
                RowKey::Reservation(id),
                RowKey::Payment(id),
            ] {
                self.rows.remove(&key);
            }
        }
        let day = a4co_core::time::Millis::from_hours(24);
        let before = before.min(now.saturating_sub(day));
        self.rows
            .retain(|_, row| !matches!(row, Row::Answer(record) if record.at < before));
    }

    #[track_caller]
    fn check(&self, view: &View) {
        for number in 0..ORDERS {
            let id = order_id(number);
            for key in [
                RowKey::Order(id),
                RowKey::Reservation(id),
                RowKey::Payment(id),
            ] {
                assert_eq!(
                    view.row(&key).unwrap().as_ref(),
                    self.rows.get(&key),
                    "{key:?}"
                );
            }
        }
        for number in 0..6 {
            let key = Row::Answer(Box::new(answer(number, 0))).key();
            assert_eq!(
                view.row(&key).unwrap().as_ref(),
                self.rows.get(&key),
                "{key:?}"
            );
        }
        let products = self.rows.values().filter_map(|row| match row {
            Row::Product(product) => Some(Arc::new((**product).clone())),
            _ => None,
        });
        assert_eq!(view.products(), products.collect::<Vec<_>>());
    }

    /// All pages, one after the other.
    #[track_caller]
    fn check_list(&self, view: &View, filter: &Filter) {
        let mut query = OrderQuery {
            status: filter.status.map(|it| OrderStatus::ALL[it]),
            customer: filter.customer.map(customer),
            saga: None,
            parked: None,
            product: None,
            created_from: filter.from.map(at),
            created_to: filter.to.map(at),
            limit: filter.limit,
            cursor: None,
        };
        let mut listed = Vec::new();
        loop {
            let page = view.orders(&query).unwrap();
            assert!(page.orders.len() <= filter.limit);
            listed.extend(page.orders.iter().map(|order| (**order).clone()));
            let Some(next) = page.next else { break };
            // As a client sends it back.
            query.cursor = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(listed, self.orders(filter));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_view_is_a_map(actions in vec(actions(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let open = || {
            let free = free.clone();
            let options = Options {
                free_space: Arc::new(move |_| Ok(free.load(Ordering::SeqCst))),
                ..options()
            };
            View::open(folder.path(), options).unwrap()
        };
        let mut view = open().view;
        let mut model = Model::default();
        for action in actions {
            if matches!(action, Action::Apply | Action::Reopen | Action::Prune(..)) {
                free.store(u64::MAX, Ordering::SeqCst);
            }
            match action {
                Action::Pause => free.store(0, Ordering::SeqCst),
                Action::Publish(changes) => model.publish(&view, &changes),
                Action::Apply => assert!(view.wait_applied(model.sequence, WAIT)),
                Action::Reopen => {
                    view.close().unwrap();
                    drop(view);
                    let opened = open();
                    if model.sequence > 0 {
                        assert_eq!(opened.why_rebuilt, None);
                    }
                    assert_eq!(opened.applied, model.sequence);
                    view = opened.view;
                }
                Action::Prune(before, limit) => {
                    assert!(view.wait_applied(model.sequence, WAIT));
                    let now = at(150_000_000);
                    while view.prune(now, at(before), limit).unwrap().more {}
                    // Parts without their order go by their own time; none are here.
                    model.prune(at(before), now);
                    let orphans = |key: &RowKey| match key {
                        RowKey::Reservation(id) | RowKey::Payment(id) => {
                            !model.rows.contains_key(&RowKey::Order(*id))
                        }
                        _ => false,
                    };
                    let orphans: Vec<_> =
                        model.rows.keys().filter(|key| orphans(key)).cloned().collect();
                    for key in orphans {
                        if view.row(&key).unwrap().is_none() {
                            model.rows.remove(&key);
                        }
                    }
                }
                Action::List(filter) => model.check_list(&view, &filter),
            }
            model.check(&view);
        }
        free.store(u64::MAX, Ordering::SeqCst);
        view.close().unwrap();
    }
}
