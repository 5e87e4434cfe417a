//! The observer against a real host's rows, and against rows that are wrong.

use a4co_core::command::{Command, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::ids::CustomerId;
use a4co_core::inventory::{InventoryCommand, Price};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, OrderCommand};
use a4co_core::settings::Settings;

use super::*;

const AT: Timestamp = Timestamp::from_unix_ms(1_000_000);

fn metrics() -> EngineMetrics {
    EngineMetrics::new(&Registry::new(), Arc::new(Readiness::default())).unwrap()
}

/// A product, and an order that waits for its payment: the rows of their commits.
fn rows() -> Vec<Vec<Row>> {
    let mut host = EmbeddedHost::new(&Settings::default());
    let product_id = "cup".parse::<ProductId>().unwrap();
    let price = Price {
        amount: Amount::from_minor(1_000).unwrap(),
        currency: Currency::EUR,
    };
    let define = Command::Inventory(InventoryCommand::Define {
        product_id: product_id.clone(),
        name: None,
        price: Some(price),
        on_hand: Some(10),
    });
    let create = Command::Order(OrderCommand::Create(CreateOrder {
        order_id: OrderId::from_bytes([7; 16]),
        may_exist: false,
        order: Arc::new(NewOrder {
            customer_id: "ada".parse::<CustomerId>().unwrap(),
            lines: Arc::from([Line {
                product_id,
                quantity: 3,
                unit_price: price.amount,
            }]),
            total: Amount::from_minor(3_000).unwrap(),
            currency: Currency::EUR,
            payment_method: None,
            metadata: Arc::from([]),
            hints: Default::default(),
            idempotency_key: None,
            fingerprint: a4co_core::ids::Fingerprint::of(b""),
            trace: None,
        }),
    }));
    let mut commits = Vec::new();
    for (number, command) in (1..).zip([define, create]) {
        let request = RequestId(number);
        host.handle_input(AT, HostInput::Command { request, command });
        while let Some(output) = host.poll_output() {
            match output {
                HostOutput::Commit(_) => host.handle_input(AT, HostInput::Committed),
                HostOutput::Publish(rows) => commits.push(rows),
                _ => {}
            }
        }
    }
    commits
}

fn after(commits: &[Vec<Row>]) -> EngineMetrics {
    let mut metrics = metrics();
    for rows in commits {
        metrics.committed(1, 1, rows);
    }
    metrics
}

fn alter(commits: &mut [Vec<Row>], mut with: impl FnMut(&mut Row)) {
    commits.iter_mut().flatten().for_each(&mut with);
}

#[test]
fn right_rows_leave_both_at_zero_and_are_counted_once() {
    let mut commits = rows();
    commits.push(commits[1].clone());
    let metrics = after(&commits);
    assert_eq!((metrics.leaked.get(), metrics.unaccounted.get()), (0, 0));
    assert_eq!((metrics.started.get(), metrics.active.get()), (1, 1));
    assert_eq!(metrics.holds.get(), 1);
    assert_eq!(metrics.held_units, 3);
}

#[test]
fn units_that_vanish_from_a_product_are_leaked() {
    let mut commits = rows();
    alter(&mut commits, |row| {
        if let Row::Product(product) = row {
            product.on_hand -= 2;
        }
    });
    assert_eq!(after(&commits).leaked.get(), 2);
}

#[test]
fn units_reserved_for_nobody_are_leaked() {
    let mut commits = rows();
    alter(&mut commits, |row| {
        if let Row::Reservation(held) = row {
            held.status = ReservationStatus::Released;
        }
    });
    assert_eq!(after(&commits).leaked.get(), 3);
}

#[test]
fn money_of_an_order_that_ended_undone_is_unaccounted_until_it_is_on_its_way_back() {
    let mut commits = rows();
    alter(&mut commits, |row| match row {
        Row::Order(order) => {
            order.saga = SagaState::Compensated;
            order.status = OrderStatus::Cancelled;
        }
        Row::Payment(payment) => {
            payment.phase = a4co_core::payment::PaymentPhase::Captured;
            payment.captured = payment.amount;
        }
        _ => {}
    });
    let mut metrics = after(&commits);
    assert_eq!(metrics.unaccounted.get(), 3_000);
    alter(&mut commits, |row| {
        if let Row::Payment(payment) = row {
            payment.refunds.push(a4co_core::payment::Refund {
                amount: payment.amount,
                origin: a4co_core::payment::RefundOrigin::Compensation,
                status: RefundStatus::Pending,
                requested_at: AT,
            });
        }
    });
    metrics.committed(2, 1, &commits[1]);
    assert_eq!(metrics.unaccounted.get(), 0);
}

#[test]
fn an_order_that_comes_back_after_its_end_is_not_counted_again() {
    let mut commits = rows();
    alter(&mut commits, |row| {
        if let Row::Order(order) = row {
            order.saga = SagaState::Failed;
            order.status = OrderStatus::Failed;
        }
    });
    commits[1].retain(|row| matches!(row, Row::Order(_)));
    commits.push(commits[1].clone());
    let metrics = after(&commits);
    assert_eq!(metrics.started.get(), 1);
    assert_eq!(metrics.failed[0].get(), 1);
    assert_eq!(metrics.by_status[OrderStatus::Failed as usize].get(), 1);
    assert!(metrics.seen.is_empty());
}
