//! What every test of the deciders starts from: ids, orders, and a participant that is
//! nothing but its state and its journal.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod bag;
pub(crate) mod facts;
pub(crate) mod gateway;
pub(crate) mod streams;
pub(crate) mod table;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::decider::{Input, Participant, Recorded};
use a4co_core::ids::{
    CustomerId, Fingerprint, GatewayReference, IdempotencyKey, OrderId, ProductId, Sequence,
};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, SandboxHints};
use a4co_core::rejection::Rejection;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};

pub(crate) const T0: Timestamp = Timestamp::from_unix_ms(1_767_000_000_000);

pub(crate) fn after(ms: u64) -> Timestamp {
    T0.saturating_add(Millis::new(ms))
}

pub(crate) fn order_id(number: u8) -> OrderId {
    OrderId::from_bytes([number; 16])
}

pub(crate) fn product_id(name: &str) -> ProductId {
    ProductId::parse(name).expect("a valid product id")
}

pub(crate) fn reference(name: &str) -> GatewayReference {
    GatewayReference::parse(name).expect("a valid reference")
}

pub(crate) fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::parse(name).expect("a valid key")
}

pub(crate) fn eur() -> Currency {
    Currency::parse("EUR").expect("the euro exists")
}

pub(crate) fn amount(minor: i64) -> Amount {
    Amount::from_minor(minor).expect("within range")
}

pub(crate) fn text(words: &str) -> Arc<str> {
    Arc::from(words)
}

/// An order of these lines, each unit at one euro.
pub(crate) fn new_order(lines: &[(&str, u32)]) -> NewOrder {
    let units: i64 = lines.iter().map(|(_, quantity)| i64::from(*quantity)).sum();
    let line = |(name, quantity): &(&str, u32)| Line {
        product_id: product_id(name),
        quantity: *quantity,
        unit_price: amount(100),
    };
    NewOrder {
        customer_id: CustomerId::parse("customer").expect("a valid customer id"),
        lines: lines.iter().map(line).collect(),
        total: amount(100 * units),
        currency: eur(),
        payment_method: None,
        metadata: Arc::from([]),
        hints: SandboxHints::default(),
        idempotency_key: None,
        fingerprint: Fingerprint::of(b"first"),
        trace: None,
    }
}

pub(crate) fn create(number: u8, order: &NewOrder) -> CreateOrder {
    CreateOrder {
        order_id: order_id(number),
        may_exist: true,
        order: Arc::new(order.clone()),
    }
}

/// A participant with its journal and, where it forgets, its store.
#[derive(Debug, Clone)]
pub(crate) struct Host<P: Participant> {
    pub(crate) state: P::State,
    pub(crate) journal: Vec<Recorded<P::Event>>,
    pub(crate) settings: Settings,
    /// What has ended leaves memory at once, and is fetched back when it is needed.
    pub(crate) forgets: bool,
    pub(crate) store: BTreeMap<RowKey, Row>,
}

impl<P: Participant> Default for Host<P> {
    fn default() -> Self {
        Self {
            state: P::State::default(),
            journal: Vec::new(),
            settings: Settings::default(),
            forgets: false,
            store: BTreeMap::new(),
        }
    }
}

impl<P: Participant> Host<P> {
    /// Decides without appending.
    pub(crate) fn decide(
        &self,
        input: Input<'_, P::Command>,
        now: Timestamp,
    ) -> Result<Vec<P::Event>, Rejection> {
        P::decide(&self.state, &self.settings, input, now)
    }

    /// Decides, and appends what was decided; gives the events of that append.
    pub(crate) fn handle(
        &mut self,
        input: Input<'_, P::Command>,
        now: Timestamp,
    ) -> Result<Vec<P::Event>, Rejection> {
        let borrowed = self.fetch(&input);
        let decision = self.decide(input, now);
        let recalled = borrowed.and_then(|key| {
            let row = P::row(&self.state, &key);
            if decision.as_ref().is_ok_and(|events| !events.is_empty()) {
                row.and_then(P::recalled)
            } else {
                P::forget(&mut self.state, &key);
                None
            }
        });
        let events: Vec<_> = recalled.into_iter().chain(decision?).collect();
        for event in &events {
            self.append(event.clone(), now);
        }
        if self.forgets {
            self.forget_what_ended(&events);
        }
        Ok(events)
    }

    /// Appends an event, whether decided or not.
    pub(crate) fn append(&mut self, event: P::Event, at: Timestamp) {
        let recorded = Recorded { at, event };
        let sequence = Sequence::new(self.journal.len() as u64 + 1);
        P::evolve(&mut self.state, &recorded, sequence);
        self.journal.push(recorded);
    }

    /// As [`Host::append`], for a table's fixtures.
    pub(crate) fn with(mut self, events: impl IntoIterator<Item = P::Event>) -> Self {
        for event in events {
            self.append(event, T0);
        }
        self
    }

    /// The journal with its sequences.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Sequence, &Recorded<P::Event>)> {
        (1..).map(Sequence::new).zip(&self.journal)
    }

    fn fetch(&mut self, input: &Input<'_, P::Command>) -> Option<RowKey> {
        let need = P::needs(input).filter(|need| need.may_exist)?;
        if P::holds(&self.state, &need.key) {
            return None;
        }
        let row = self.store.get(&need.key)?.clone();
        P::restore(&mut self.state, row);
        Some(need.key)
    }

    fn forget_what_ended(&mut self, events: &[P::Event]) {
        let mut keys = Vec::new();
        for event in events {
            P::touched(event, &self.state, &mut keys);
        }
        let last = Sequence::new(self.journal.len() as u64);
        for key in keys {
            if let Some(row) = P::row(&self.state, &key) {
                self.store.insert(key.clone(), row);
            }
            if P::may_leave(&self.state, &key, last) {
                P::forget(&mut self.state, &key);
            }
        }
    }
}
