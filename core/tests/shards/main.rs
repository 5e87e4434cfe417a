//! Shards: the same sagas over stock in several places, in any order of delivery.

#[path = "../common/mod.rs"]
mod common;

mod cases;

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::decider::{Fact, Input, Participant, Recorded};
use a4co_core::ids::{OrderId, Sequence};
use a4co_core::invariants::{StockSums, never_oversold, stock_conserved};
use a4co_core::inventory::{
    InventoryCommand, InventoryEvent, InventoryParticipant, InventoryState, ReservationStatus,
};
use a4co_core::order::{
    NewOrder, OrderCommand, OrderEvent, OrderParticipant, OrderState, SagaState,
};
use a4co_core::payment::{PaymentEvent, PaymentFailure};
use a4co_core::rejection::Rejection;
use a4co_core::settings::Settings;
use a4co_core::shards::{InventoryShard, OrderShard, ShardCount, ShardId, StockAnswer};
use a4co_core::time::{Millis, Timestamp};
use common::{T0, create, new_order, order_id, product_id, text};

const PRODUCTS: [&str; 5] = ["apple", "banana", "cherry", "date", "elder"];

fn count(shards: u16) -> ShardCount {
    ShardCount::new(shards).expect("within bounds")
}

/// What a journal and its decider are made of.
#[derive(Debug)]
struct Part<S, E> {
    state: S,
    journal: Vec<Recorded<E>>,
}

impl<S: Default, E> Default for Part<S, E> {
    fn default() -> Self {
        Self {
            state: S::default(),
            journal: Vec::new(),
        }
    }
}

/// All shards. Payment is played: it does what the order's number says, and takes it back
/// when it is told to.
struct World {
    count: ShardCount,
    settings: Settings,
    now: Timestamp,
    orders: Vec<Part<OrderState, OrderEvent>>,
    stock: Vec<Part<InventoryState, InventoryEvent>>,
    payments: Vec<Vec<PaymentEvent>>,
    /// How far, by reader and journal.
    read: BTreeMap<(Reader, usize), usize>,
    wanted: BTreeMap<OrderId, NewOrder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    OrderOfStock(usize),
    OrderOfPayment(usize),
    StockOfOrder(usize),
    PaymentOfOrder(usize),
}

impl World {
    fn new(count: ShardCount, on_hand: u64) -> Self {
        let shards = usize::from(count.get());
        let mut world = Self {
            count,
            settings: Settings::default(),
            now: T0,
            orders: (0..shards).map(|_| Part::default()).collect(),
            stock: (0..shards).map(|_| Part::default()).collect(),
            payments: vec![Vec::new(); shards],
            read: BTreeMap::new(),
            wanted: BTreeMap::new(),
        };
        for name in PRODUCTS {
            let command = InventoryCommand::Define {
                product_id: product_id(name),
                name: None,
                price: None,
                on_hand: Some(on_hand),
            };
            let at = usize::from(count.of_product(&product_id(name)).get());
            let decider = world.inventory(at);
            let state = &world.stock[at].state;
            let input = Input::Command(&command);
            let events = decider.decide(state, &world.settings, input, T0);
            world.append_stock(at, events.expect("its own product"));
        }
        world
    }

    fn shard(&self, index: usize) -> ShardId {
        self.count.shards().nth(index).expect("a shard")
    }

    fn inventory(&self, index: usize) -> InventoryShard {
        InventoryShard {
            shard: self.shard(index),
            count: self.count,
        }
    }

    fn order(&self) -> OrderShard {
        OrderShard { count: self.count }
    }

    fn append_stock(&mut self, index: usize, events: Vec<InventoryEvent>) {
        let part = &mut self.stock[index];
        for event in events {
            let recorded = Recorded {
                at: self.now,
                event,
            };
            let sequence = Sequence::new(part.journal.len() as u64 + 1);
            InventoryParticipant::evolve(&mut part.state, &recorded, sequence);
            part.journal.push(recorded);
        }
    }

    fn append_order(&mut self, index: usize, events: Vec<OrderEvent>) {
        for event in events {
            self.check_end(&event);
            let recorded = Recorded {
                at: self.now,
                event,
            };
            let part = &mut self.orders[index];
            let sequence = Sequence::new(part.journal.len() as u64 + 1);
            OrderParticipant::evolve(&mut part.state, &recorded, sequence);
            part.journal.push(recorded);
        }
    }

    /// What an order's end says is so at that moment, in every shard.
    fn check_end(&self, event: &OrderEvent) {
        match event.step() {
            OrderEvent::OrderConfirmed { order_id } => self.check_sold(*order_id),
            OrderEvent::OrderCancelled { order_id } | OrderEvent::OrderFailed { order_id, .. } => {
                self.check_free(*order_id);
            }
            _ => {}
        }
    }

    fn check_sold(&self, id: OrderId) {
        let mut sold: BTreeMap<_, u64> = BTreeMap::new();
        for part in &self.stock {
            if let Some(held) = part.state.reservation(id) {
                assert_eq!(held.status, ReservationStatus::Confirmed, "{id}");
                for line in held.lines.iter() {
                    *sold.entry(line.product_id.clone()).or_default() += line.quantity;
                }
            }
        }
        let mut wanted: BTreeMap<_, u64> = BTreeMap::new();
        for line in self.wanted[&id].lines.iter() {
            *wanted.entry(line.product_id.clone()).or_default() += u64::from(line.quantity);
        }
        assert_eq!(sold, wanted, "{id}");
    }

    fn check_free(&self, id: OrderId) {
        for (shard, part) in self.stock.iter().enumerate() {
            if let Some(held) = part.state.reservation(id) {
                let has = matches!(
                    held.status,
                    ReservationStatus::Active | ReservationStatus::Confirmed
                );
                assert!(!has, "{id} is over, and {:?} in shard {shard}", held.status);
            }
        }
    }

    fn create(&mut self, number: u8, lines: &[(&str, u32)]) {
        let order = new_order(lines);
        let id = order_id(number);
        self.wanted.entry(id).or_insert_with(|| order.clone());
        self.command(id, &OrderCommand::Create(create(number, &order)));
    }

    fn cancel(&mut self, number: u8) {
        let order_id = order_id(number);
        let reason = text("no");
        let idempotency = None;
        self.command(
            order_id,
            &OrderCommand::Cancel {
                order_id,
                reason,
                idempotency,
            },
        );
    }

    fn command(&mut self, id: OrderId, command: &OrderCommand) {
        let at = usize::from(self.count.of_order(id).get());
        self.decide_order(at, Input::Command(command));
    }

    fn decide_order(&mut self, at: usize, input: Input<'_, OrderCommand>) {
        let state = &self.orders[at].state;
        let events = self
            .order()
            .decide(state, &self.settings, input.clone(), self.now);
        let alone = OrderParticipant::decide(state, &self.settings, input, self.now);
        // A refused command changes nothing; what it is refused for is the saga's affair.
        self.compare(events.as_deref(), alone.as_deref());
        self.append_order(at, events.unwrap_or_default());
    }

    /// With one shard, the saga goes as it goes without shards.
    fn compare(
        &self,
        events: Result<&[OrderEvent], &Rejection>,
        alone: Result<&[OrderEvent], &Rejection>,
    ) {
        if self.count == ShardCount::ONE {
            let steps = events.map(|events| events.iter().filter_map(step));
            assert_eq!(
                steps.map(Iterator::collect::<Vec<_>>),
                alone.map(|alone| alone.iter().collect())
            );
        }
    }

    /// Reads the event at `position` of a journal, whether for the first time or not.
    fn read(&mut self, reader: Reader, journal: usize, position: usize) {
        match reader {
            Reader::OrderOfStock(at) => {
                let Some(recorded) = self.stock[journal].journal.get(position) else {
                    return;
                };
                let state = &self.orders[at].state;
                let fact = Fact::Inventory(&recorded.event);
                let input = Input::Sharded {
                    from: self.shard(journal),
                    to: self.shard(at),
                    fact,
                };
                let events = self.order().decide(state, &self.settings, input, self.now);
                let input = Input::Upstream(fact);
                let alone = OrderParticipant::decide(state, &self.settings, input, self.now);
                self.compare(events.as_deref(), alone.as_deref());
                let events = events.expect("no command");
                self.append_order(at, events);
            }
            Reader::OrderOfPayment(at) => {
                if let Some(event) = self.payments[journal].get(position).cloned() {
                    self.decide_order(at, Input::Upstream(Fact::Payment(&event)));
                }
            }
            Reader::StockOfOrder(at) => {
                let Some(recorded) = self.orders[journal].journal.get(position) else {
                    return;
                };
                let state = &self.stock[at].state;
                let input = Input::Sharded {
                    from: self.shard(journal),
                    to: self.shard(at),
                    fact: Fact::Order(&recorded.event),
                };
                let decider = self.inventory(at);
                let events = decider.decide(state, &self.settings, input, self.now);
                let events = events.expect("no command");
                if let (ShardCount::ONE, Some(event)) = (self.count, step(&recorded.event)) {
                    let input = Input::Upstream(Fact::Order(event));
                    let alone =
                        InventoryParticipant::decide(state, &self.settings, input, self.now);
                    assert_eq!(events, alone.expect("no command"));
                }
                self.append_stock(at, events);
            }
            Reader::PaymentOfOrder(at) => {
                let recorded = self.orders[journal].journal.get(position);
                let said = recorded.and_then(|it| play(it.event.step()));
                self.payments[at].extend(said);
            }
        }
    }

    fn readers(&self) -> Vec<(Reader, usize)> {
        let shards = usize::from(self.count.get());
        let mut readers = Vec::new();
        for at in 0..shards {
            readers.push((Reader::OrderOfPayment(at), at));
            readers.push((Reader::PaymentOfOrder(at), at));
            for other in 0..shards {
                readers.push((Reader::OrderOfStock(at), other));
                readers.push((Reader::StockOfOrder(at), other));
            }
        }
        readers
    }

    fn length(&self, reader: Reader, journal: usize) -> usize {
        match reader {
            Reader::OrderOfStock(_) => self.stock[journal].journal.len(),
            Reader::OrderOfPayment(_) => self.payments[journal].len(),
            Reader::StockOfOrder(_) | Reader::PaymentOfOrder(_) => {
                self.orders[journal].journal.len()
            }
        }
    }

    /// Reads the next event, if there is one.
    fn read_on(&mut self, (reader, journal): (Reader, usize)) -> bool {
        let position = self.read.get(&(reader, journal)).copied().unwrap_or(0);
        if position >= self.length(reader, journal) {
            return false;
        }
        self.read(reader, journal, position);
        self.read.insert((reader, journal), position + 1);
        true
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.saturating_add(Millis::new(ms));
        for at in 0..self.orders.len() {
            for id in OrderParticipant::order_ids(&self.orders[at].state) {
                self.decide_order(at, Input::Deadline(id));
            }
            let held = InventoryParticipant::order_ids(&self.stock[at].state);
            for id in held {
                let (decider, state) = (self.inventory(at), &self.stock[at].state);
                let input = Input::Deadline(id);
                let events = decider.decide(state, &self.settings, input, self.now);
                self.append_stock(at, events.expect("no command"));
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let readers = self.readers();
            let went_on = readers.into_iter().filter(|it| self.read_on(*it)).count();
            if went_on == 0 {
                break;
            }
        }
    }

    /// The books, which are right at any time.
    fn check_stock(&self) {
        for (index, part) in self.stock.iter().enumerate() {
            let mut sums = StockSums::default();
            for held in part.state.reservations.values() {
                sums.add(held);
            }
            for product in part.state.products.values() {
                assert_eq!(
                    self.count.of_product(&product.product_id),
                    self.shard(index),
                    "a product is in one shard"
                );
                assert_eq!(
                    stock_conserved(product, sums.of(&product.product_id), true),
                    Ok(())
                );
                assert_eq!(never_oversold(product), Ok(()));
            }
        }
    }

    fn check_ended(&self) {
        self.check_stock();
        for part in &self.orders {
            for order in part.state.orders.values() {
                match order.saga {
                    SagaState::Completed => self.check_sold(order.order_id),
                    SagaState::Compensated => self.check_free(order.order_id),
                    SagaState::Failed => {
                        self.check_free(order.order_id);
                        assert!(!order.shortages.is_empty());
                    }
                    open => panic!("{} is still {open}", order.order_id),
                }
            }
            assert!(part.state.stock.is_empty(), "what has ended is forgotten");
            let mut replayed = OrderState::default();
            for (sequence, recorded) in (1..).zip(&part.journal) {
                OrderParticipant::evolve(&mut replayed, recorded, Sequence::new(sequence));
            }
            assert_eq!(replayed, part.state);
        }
    }

    fn saga(&self, number: u8) -> SagaState {
        let id = order_id(number);
        let at = usize::from(self.count.of_order(id).get());
        let order = self.orders[at].state.order(id);
        order.expect("the order").saga
    }

    fn answers(&self) -> Vec<StockAnswer> {
        let events = self.orders.iter().flat_map(|part| &part.journal);
        let answers = events.filter_map(|it| match &it.event {
            OrderEvent::StockAnswered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answers.collect()
    }

    fn on_hand(&self, name: &str) -> (u64, u64, u64) {
        let id = product_id(name);
        let at = usize::from(self.count.of_product(&id).get());
        let product = self.stock[at].state.product(&id).expect("the product");
        (product.on_hand, product.reserved, product.sold)
    }
}

/// The step of the saga, where the event is one.
fn step(event: &OrderEvent) -> Option<&OrderEvent> {
    match event.step() {
        OrderEvent::StockAnswered { .. } | OrderEvent::StockGivenUp { .. } => None,
        step => Some(step),
    }
}

/// What payment says: every third order is declined.
fn play(event: &OrderEvent) -> Option<PaymentEvent> {
    match event {
        OrderEvent::PaymentRequested { order_id, .. } if order_id.as_bytes()[0] % 3 == 2 => {
            Some(PaymentEvent::PaymentFailed {
                order_id: *order_id,
                failure: PaymentFailure::Declined {
                    code: Arc::from("no"),
                },
            })
        }
        OrderEvent::PaymentRequested { order_id, .. } => Some(PaymentEvent::PaymentSucceeded {
            order_id: *order_id,
            reference: None,
        }),
        OrderEvent::CompensationRequested { order_id, undo, .. } if undo.payment => {
            Some(PaymentEvent::PaymentCancelled {
                order_id: *order_id,
                failure: PaymentFailure::Undone,
                forestalled: None,
            })
        }
        _ => None,
    }
}
