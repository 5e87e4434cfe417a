//! Rows to store, made of a few numbers.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a4co_core::ids::{
    CustomerId, Fingerprint, IdempotencyKey, OrderId, ParticipantId, ProductId, Sequence,
};
use a4co_core::inventory::{HeldLine, Product, Reservation, ReservationStatus};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{
    HistoryEntry, Line, MetadataValue, NewOrder, Order, OrderStatus, SagaState, SandboxHints, Step,
};
use a4co_core::payment::{Payment, PaymentPhase};
use a4co_core::row::{Answer, AnswerRecord, Row};
use a4co_core::time::{Millis, Timestamp};
use a4co_store::{Opened, Options, View};

/// Options for tests: nothing is gathered for long, and the disk has room.
pub(crate) fn options() -> Options {
    Options {
        cache_bytes: 16 << 20,
        apply_every: Duration::from_millis(1),
        retry_every: Duration::from_millis(5),
        free_space: Arc::new(|_| Ok(u64::MAX)),
        ..Options::default()
    }
}

pub(crate) fn open(folder: &Path) -> Opened {
    View::open(folder, options()).expect("a folder of our own")
}

pub(crate) fn order_id(number: u64) -> OrderId {
    // Spread as ids of idempotency keys are.
    let high = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    OrderId::from_bytes((u128::from(high) << 64 | u128::from(number)).to_be_bytes())
}

pub(crate) fn customer(number: u64) -> CustomerId {
    CustomerId::parse(&format!("customer-{number}")).expect("printable")
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_767_225_600_000 + ms)
}

pub(crate) fn lines(count: u64) -> Arc<[Line]> {
    let line = |number| Line {
        product_id: ProductId::parse(&format!("product-with-a-long-name-{number:03}"))
            .expect("printable"),
        quantity: 3,
        unit_price: Amount::from_minor(1999).expect("in range"),
    };
    (0..count).map(line).collect()
}

pub(crate) fn order(number: u64, created: u64, of: u64, status: OrderStatus) -> Order {
    let saga = match status {
        OrderStatus::Pending => SagaState::Started,
        OrderStatus::InventoryReserved => SagaState::PaymentProcessing,
        OrderStatus::Confirmed => SagaState::Completed,
        OrderStatus::Failed => SagaState::Failed,
        OrderStatus::Cancelled => SagaState::Compensated,
    };
    Order {
        order_id: order_id(number),
        order: Arc::new(NewOrder {
            customer_id: customer(of),
            lines: lines(1 + number % 3),
            total: Amount::from_minor(5997).expect("in range"),
            currency: Currency::parse("EUR").expect("a currency"),
            payment_method: None,
            metadata: Arc::from([]),
            hints: SandboxHints::default(),
            idempotency_key: None,
            fingerprint: Fingerprint::of(&number.to_be_bytes()),
            trace: None,
        }),
        saga,
        status,
        created_at: at(created),
        updated_at: at(created),
        deadline_at: at(created),
        payment_requested: false,
        undo: None,
        parked: false,
        shortages: Vec::new(),
        cancel_reason: None,
        history: vec![HistoryEntry {
            at: at(created),
            saga,
            step: Step::Created,
            sequence: Sequence::new(1),
        }],
        version: Sequence::new(1),
    }
}

/// An order of the largest kind: 100 lines and 50 long notes.
pub(crate) fn large_order(number: u64, created: u64) -> Order {
    let mut order = order(number, created, 0, OrderStatus::Confirmed);
    let new = Arc::make_mut(&mut order.order);
    new.lines = lines(100);
    let text: Arc<str> = Arc::from("é".repeat(500));
    let note = |number| {
        let key: Arc<str> = Arc::from(format!("key-{number}"));
        (key, MetadataValue::Text(text.clone()))
    };
    new.metadata = (0..50).map(note).collect();
    order
}

pub(crate) fn reservation(number: u64, created: u64, status: ReservationStatus) -> Reservation {
    Reservation {
        order_id: order_id(number),
        status,
        lines: Arc::from([HeldLine {
            product_id: ProductId::parse("product").expect("printable"),
            quantity: 3,
        }]),
        shortages: Vec::new(),
        hold_ms: Millis::from_minutes(15),
        created_at: at(created),
        expires_at: at(created),
        released_at: None,
        release_reason: None,
        version: Sequence::new(1),
    }
}

pub(crate) fn payment(number: u64, created: u64, attempts: u32) -> Payment {
    Payment {
        order_id: order_id(number),
        amount: Amount::from_minor(5997).expect("in range"),
        currency: Currency::parse("EUR").expect("a currency"),
        payment_method: None,
        hints: SandboxHints::default(),
        phase: PaymentPhase::Captured,
        undo_requested: false,
        attempts,
        due_at: at(created),
        deadline_at: at(created),
        parked: false,
        last_detail: None,
        reference: None,
        failure: None,
        captured: Amount::from_minor(5997).expect("in range"),
        refunds: Vec::new(),
        created_at: at(created),
        updated_at: at(created),
        version: Sequence::new(1),
    }
}

pub(crate) fn product(number: u64, on_hand: u64) -> Product {
    Product {
        product_id: ProductId::parse(&format!("product-{number}")).expect("printable"),
        name: None,
        price: None,
        on_hand,
        reserved: 0,
        sold: 0,
        received: 0,
        version: Sequence::new(1),
    }
}

pub(crate) fn answer(number: u64, answered: u64) -> AnswerRecord {
    AnswerRecord {
        participant: ParticipantId::ALL[usize::try_from(number % 3).expect("below three")],
        key: IdempotencyKey::parse(&format!("key-{number}")).expect("printable"),
        fingerprint: Fingerprint::of(&answered.to_be_bytes()),
        at: at(answered),
        answer: Answer::Product(Box::new(product(number, answered))),
    }
}

/// What a whole ended order is published as.
pub(crate) fn ended(number: u64, created: u64) -> Vec<Row> {
    let order = order(number, created, number % 7, OrderStatus::Confirmed);
    let held = reservation(number, created, ReservationStatus::Confirmed);
    vec![
        Row::Order(Box::new(order)),
        Row::Reservation(Box::new(held)),
        Row::Payment(Box::new(payment(number, created, 0))),
    ]
}
