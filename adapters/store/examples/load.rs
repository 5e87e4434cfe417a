//! Fills a view with ended orders, and tells what that took: `cargo run --release
//! -p a4co-store --example load -- FOLDER [ORDERS] [random]`.
//!
//! Each order is published as one that has just ended, with its reservation and its
//! payment, 64 orders a sequence. With `random`, ids are those of idempotency keys, else
//! they sort by time.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a4co_core::ids::{
    CustomerId, Fingerprint, GatewayReference, IdempotencyKey, OrderId, ProductId, Sequence,
};
use a4co_core::inventory::{HeldLine, Reservation, ReservationStatus};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{
    HistoryEntry, Line, NewOrder, Order, OrderStatus, SagaState, SandboxHints, Step,
};
use a4co_core::payment::{Payment, PaymentPhase};
use a4co_core::row::Row;
use a4co_core::time::{Millis, Timestamp};
use a4co_store::{Options, OrderQuery, View};

const ORDERS_PER_SEQUENCE: u64 = 64;
const START_MS: u64 = 1_767_225_600_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let orders: u64 = arguments.next().map_or(1_000_000, |it| it.parse().unwrap());
    let random = arguments.next().is_some();
    let folder = Path::new(&folder);

    let opened = View::open(folder, Options::default()).unwrap();
    let view = opened.view;
    println!(
        "opened: applied {}, {:?}",
        opened.applied, opened.why_rebuilt
    );
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut generating = Duration::ZERO;
    let sequences = orders.div_ceil(ORDERS_PER_SEQUENCE);
    for sequence in 1..=sequences {
        let begin = Instant::now();
        let numbers = (sequence - 1) * ORDERS_PER_SEQUENCE..sequence * ORDERS_PER_SEQUENCE;
        let rows = numbers.flat_map(|number| rows(number, random)).collect();
        generating += begin.elapsed();
        let _ = view.publish(sequence, rows);
        if sequence % (sequences / 10).max(1) == 0 {
            let done = sequence * ORDERS_PER_SEQUENCE;
            report("published", done, start, cpu, generating);
        }
    }
    assert!(view.wait_applied(sequences, Duration::from_secs(600)));
    report("applied", orders, start, cpu, generating);
    println!("disk: {} MB", view.disk_bytes() >> 20);

    let last = sequences * ORDERS_PER_SEQUENCE - 1;
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    for step in 0..10_000 {
        let number = step * 7919 % last;
        assert!(view.order(order_id(number, random)).unwrap().is_some());
    }
    println!(
        "read by id: {:.1} µs, cpu {:.1} µs",
        begin.elapsed().as_secs_f64() * 100.0,
        (cpu_seconds() - cpu) * 100.0
    );
    let begin = Instant::now();
    let customer = CustomerId::parse("customer-17").unwrap();
    for status in OrderStatus::ALL {
        let query = OrderQuery {
            status: Some(status),
            customer: Some(customer.clone()),
            limit: 20,
            ..OrderQuery::default()
        };
        view.orders(&query).unwrap();
    }
    println!("five pages of one customer: {:?}", begin.elapsed());
    view.close().unwrap();
    drop(view);
    println!("closed; resident {} MB", resident_mb());
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let opened = View::open(folder, Options::default()).unwrap();
    println!(
        "reopened in {:?}, cpu {:.1} s: applied {}, resident {} MB",
        begin.elapsed(),
        cpu_seconds() - cpu,
        opened.applied,
        resident_mb()
    );
}

fn report(what: &str, orders: u64, start: Instant, cpu: f64, generating: Duration) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what} {orders}: {seconds:.1} s, {:.0} orders/s, cpu {:.1} s (of it {:.1} s to make the rows), resident {} MB",
        orders as f64 / seconds,
        cpu_seconds() - cpu,
        generating.as_secs_f64(),
        resident_mb(),
    );
}

fn order_id(number: u64, random: bool) -> OrderId {
    if random {
        let key = IdempotencyKey::parse(&format!("key-{number}")).unwrap();
        return OrderId::from_idempotency_key(&key);
    }
    // As a UUID of version 7: the time, and what tells apart.
    let mut bytes = [0x80; 16];
    bytes[..6].copy_from_slice(&created_ms(number).to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..]
        .copy_from_slice(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63).to_be_bytes());
    OrderId::from_bytes(bytes)
}

const fn created_ms(number: u64) -> u64 {
    START_MS + number / 10
}

fn rows(number: u64, random: bool) -> [Row; 3] {
    let order_id = order_id(number, random);
    let created_at = Timestamp::from_unix_ms(created_ms(number));
    let at = created_at.saturating_add(Millis::new(40));
    let currency = Currency::parse("EUR").unwrap();
    let lines: Vec<Line> = (0..=number % 3)
        .map(|line| Line {
            product_id: ProductId::parse(&format!("product-{:04}", (number + line) % 1000))
                .unwrap(),
            quantity: 2,
            unit_price: Amount::from_minor(1999).unwrap(),
        })
        .collect();
    let held: Vec<HeldLine> = lines
        .iter()
        .map(|line| HeldLine {
            product_id: line.product_id.clone(),
            quantity: 2,
        })
        .collect();
    let total = Amount::from_minor(3998 * (number % 3 + 1).cast_signed()).unwrap();
    let steps = [
        (SagaState::Started, Step::Created),
        (SagaState::InventoryReserved, Step::InventoryReserved),
        (SagaState::PaymentProcessing, Step::PaymentRequested),
        (SagaState::PaymentProcessing, Step::Parked),
        (SagaState::PaymentProcessing, Step::RetryRequested),
        (SagaState::PaymentSucceeded, Step::PaymentSucceeded),
        (SagaState::PaymentSucceeded, Step::PaymentSucceeded),
        (SagaState::Completed, Step::Confirmed),
    ];
    let order = Order {
        order_id,
        order: Arc::new(NewOrder {
            customer_id: CustomerId::parse(&format!("customer-{}", number * 7 % 50_000)).unwrap(),
            lines: Arc::from(lines),
            total,
            currency,
            payment_method: None,
            metadata: Arc::from([]),
            hints: SandboxHints::default(),
            idempotency_key: None,
            fingerprint: Fingerprint::of(&number.to_be_bytes()),
            trace: None,
        }),
        saga: SagaState::Completed,
        status: OrderStatus::Confirmed,
        created_at,
        updated_at: at,
        deadline_at: at,
        payment_requested: true,
        undo: None,
        parked: false,
        shortages: Vec::new(),
        cancel_reason: None,
        history: steps
            .map(|(saga, step)| HistoryEntry {
                at,
                saga,
                step,
                sequence: Sequence::new(number),
            })
            .to_vec(),
        version: Sequence::new(number),
    };
    let reservation = Reservation {
        order_id,
        status: ReservationStatus::Confirmed,
        lines: Arc::from(held),
        shortages: Vec::new(),
        hold_ms: Millis::from_minutes(15),
        created_at,
        expires_at: at,
        released_at: None,
        release_reason: None,
        version: Sequence::new(number),
    };
    let payment = Payment {
        order_id,
        amount: total,
        currency,
        payment_method: None,
        hints: SandboxHints::default(),
        phase: PaymentPhase::Captured,
        undo_requested: false,
        attempts: 0,
        due_at: at,
        deadline_at: at,
        parked: false,
        last_detail: None,
        reference: Some(GatewayReference::parse(&format!("ch_{number:020}")).unwrap()),
        failure: None,
        captured: total,
        refunds: Vec::new(),
        created_at,
        updated_at: at,
        version: Sequence::new(number),
    };
    [
        Row::Order(Box::new(order)),
        Row::Reservation(Box::new(reservation)),
        Row::Payment(Box::new(payment)),
    ]
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}
