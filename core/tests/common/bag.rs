//! The three deciders and a model gateway, with every message between them in one bag:
//! whoever drives it takes messages out in any order, and as often as it likes.
//!
//! The journals deliver in order and their readers drop what comes twice. The deciders
//! must not rely on it: they are idempotent by business key. So this goes further than
//! any journal would, unless it is told to keep to what journals do.

use a4co_core::decider::{Fact, Input, Participant};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{OrderId, ParticipantId};
use a4co_core::invariants::{Phase, World, check_all, check_transition, replay_equals_state};
use a4co_core::inventory::{InventoryCommand, InventoryParticipant, InventoryState};
use a4co_core::order::{
    CreateOrder, NewOrder, OrderCommand, OrderEvent, OrderParticipant, OrderState, Step, UndoPart,
};
use a4co_core::payment::{PaymentCommand, PaymentParticipant, PaymentState, RefundOrigin};
use a4co_core::row::Row;
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};

use super::gateway::ModelGateway;
use super::{Host, T0, product_id, text};

/// Something that is under way.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// The event at this place of a journal, to one of its readers.
    Fact {
        from: ParticipantId,
        to: ParticipantId,
        index: usize,
    },
    /// A call to the gateway; nobody waits for its answer if it is stray.
    Call { call: GatewayCall, is_stray: bool },
    /// What a call came to, or what the gateway reported.
    Outcome {
        order_id: OrderId,
        operation: Option<GatewayOperation>,
        outcome: GatewayOutcome,
    },
}

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: it is carried out and answered.
    None,
    /// It is carried out, its answer is lost.
    AnswerLost,
    /// It is never carried out.
    CallLost,
    /// It times out, and arrives later.
    ArrivesLate,
}

/// The whole system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bag {
    pub(crate) order: Host<OrderParticipant>,
    pub(crate) inventory: Host<InventoryParticipant>,
    pub(crate) payment: Host<PaymentParticipant>,
    pub(crate) gateway: ModelGateway,
    pub(crate) messages: Vec<Message>,
    pub(crate) now_ms: u64,
    /// Keep to what journals and cursors do: facts in order, each once.
    pub(crate) in_order: bool,
    /// How often the gateway refuses each refund that the saga asks for.
    pub(crate) refusals: u32,
    /// The gateway refuses what an operator asks for, for good.
    pub(crate) refuses_operators: bool,
}

impl Bag {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut bag = Self::default();
        bag.order.settings = settings.clone();
        bag.inventory.settings = settings.clone();
        bag.payment.settings = settings;
        bag
    }

    /// As [`Bag::new`], with hosts that forget what has ended, as the engine's do. What
    /// was forgotten is no defence against what comes twice or out of order: such hosts
    /// rely on their journals and cursors, so this keeps to what those do.
    pub(crate) fn forgetting(settings: Settings) -> Self {
        let mut bag = Self::new(settings);
        bag.in_order = true;
        bag.order.forgets = true;
        bag.inventory.forgets = true;
        bag.payment.forgets = true;
        bag
    }

    pub(crate) fn now(&self) -> Timestamp {
        T0.saturating_add(Millis::new(self.now_ms))
    }

    pub(crate) fn stock(&mut self, name: &str, delta: i64) {
        let product_id = product_id(name);
        let exists = self.inventory.state.product(&product_id).is_some();
        if !exists {
            self.on_inventory(Input::Command(&InventoryCommand::Define {
                product_id: product_id.clone(),
                name: None,
                price: None,
                on_hand: None,
            }));
        }
        self.on_inventory(Input::Command(&InventoryCommand::Adjust {
            product_id,
            delta,
            reason: text("test"),
            idempotency: None,
        }));
    }

    /// Writes off all that is available.
    pub(crate) fn write_off(&mut self, name: &str) {
        let product = self.inventory.state.product(&product_id(name));
        let units = product.map_or(0, a4co_core::inventory::Product::available);
        self.stock(name, -i64::try_from(units).expect("few units"));
    }

    /// Time passes until the order's hold has ended, and its timer is served.
    pub(crate) fn expire(&mut self, order_id: OrderId) {
        let state = &self.inventory.state;
        if let Some(at) = InventoryParticipant::deadline(state, order_id) {
            self.now_ms = self.now_ms.max(at.unix_ms() - T0.unix_ms());
            self.timer(ParticipantId::Inventory, order_id);
        }
    }

    pub(crate) fn create(&mut self, order_id: OrderId, order: &NewOrder) {
        self.on_order(Input::Command(&OrderCommand::Create(CreateOrder {
            order_id,
            may_exist: true,
            order: order.clone().into(),
        })));
    }

    pub(crate) fn cancel(&mut self, order_id: OrderId) {
        self.on_order(Input::Command(&OrderCommand::Cancel {
            order_id,
            reason: text("changed my mind"),
            idempotency: None,
        }));
    }

    pub(crate) fn retry(&mut self, order_id: OrderId) {
        self.on_order(Input::Command(&OrderCommand::Retry {
            order_id,
            idempotency: None,
        }));
    }

    pub(crate) fn refund(&mut self, order_id: OrderId, minor: Option<i64>) {
        self.on_payment(Input::Command(&PaymentCommand::Refund {
            order_id,
            amount: minor.map(super::amount),
            idempotency: None,
        }));
    }

    /// Puts the call that the order's payment owes into the bag, if it owes one.
    pub(crate) fn call(&mut self, order_id: OrderId) {
        let settings = self.payment.settings.clone();
        let state = &self.payment.state;
        let Some((_, call)) = PaymentParticipant::owed_call(state, &settings, order_id) else {
            return;
        };
        if let GatewayOperation::Refund { number } = call.operation {
            let payment = state.payment(order_id).expect("it owes a call");
            let by_operator = payment
                .pending_refund()
                .is_some_and(|(_, refund)| refund.origin == RefundOrigin::Operator);
            let refusals = match (by_operator, self.refuses_operators) {
                (true, true) => u32::MAX,
                (true, false) => 0,
                (false, _) => self.refusals,
            };
            let of_number = self.gateway.refusals.entry((order_id, number));
            of_number.or_insert(refusals);
        }
        let is_stray = false;
        self.messages.push(Message::Call { call, is_stray });
    }

    /// The gateway says by itself what became of the charge.
    pub(crate) fn report(&mut self, order_id: OrderId) {
        if let Some(outcome) = self.gateway.report(order_id) {
            self.messages.push(Message::Outcome {
                order_id,
                operation: None,
                outcome,
            });
        }
    }

    /// A timer of one participant; it may be early, or late, or nobody's.
    pub(crate) fn timer(&mut self, participant: ParticipantId, order_id: OrderId) {
        match participant {
            ParticipantId::Order => self.on_order(Input::Deadline(order_id)),
            ParticipantId::Inventory => self.on_inventory(Input::Deadline(order_id)),
            ParticipantId::Payment => self.on_payment(Input::Deadline(order_id)),
        }
    }

    /// Delivers one message, and leaves it in the bag if it `stays` and may.
    pub(crate) fn deliver(&mut self, pick: usize, fault: Fault, stays: bool) {
        if self.messages.is_empty() {
            return;
        }
        let mut index = pick % self.messages.len();
        if let (true, Message::Fact { from, to, .. }) = (self.in_order, &self.messages[index]) {
            let (from, to) = (*from, *to);
            let is_first = |message: &Message| matches!(message, Message::Fact { from: f, to: t, .. } if (*f, *t) == (from, to));
            index = self
                .messages
                .iter()
                .position(is_first)
                .expect("the picked one at least");
        }
        let is_fact = matches!(self.messages[index], Message::Fact { .. });
        let message = if stays && !(self.in_order && is_fact) {
            self.messages[index].clone()
        } else {
            self.messages.remove(index)
        };
        match message {
            Message::Fact { from, to, index } => self.deliver_fact(from, to, index),
            Message::Call { call, is_stray } => self.arrive(call, is_stray, fault),
            Message::Outcome {
                order_id,
                operation,
                outcome,
            } => self.on_payment(Input::Gateway {
                order_id,
                operation,
                outcome: &outcome,
            }),
        }
    }

    /// Everything that is under way arrives, the gateway answers, time passes.
    pub(crate) fn heal(&mut self) {
        for _ in 0..2_000 {
            while !self.messages.is_empty() {
                self.deliver(0, Fault::None, false);
            }
            let due = self.serve_what_is_due();
            if !self.messages.is_empty() {
                continue;
            }
            let Some(due) = due else {
                return;
            };
            self.now_ms = self.now_ms.max(due.unix_ms() - T0.unix_ms());
        }
        panic!("it does not come to rest: {self:#?}");
    }

    /// Asks for quiescence, and for a journal that gives the same states again.
    pub(crate) fn assert_ended(&self) {
        self.assert_all(Phase::Quiescent { now: self.now() });
        if self.order.forgets {
            return; // the fold knows of what was forgotten
        }
        let replays = [
            replay_equals_state::<OrderParticipant>(
                OrderState::default(),
                self.order.entries(),
                &self.order.state,
            ),
            replay_equals_state::<InventoryParticipant>(
                InventoryState::default(),
                self.inventory.entries(),
                &self.inventory.state,
            ),
            replay_equals_state::<PaymentParticipant>(
                PaymentState::default(),
                self.payment.entries(),
                &self.payment.state,
            ),
        ];
        assert_eq!(replays, [Ok(()), Ok(()), Ok(())]);
    }

    pub(crate) fn assert_all(&self, phase: Phase) {
        let found = check_all(&self.world(), phase);
        assert!(found.is_empty(), "{found:#?}");
    }

    /// Everything that holds of this moment, and of it and an earlier one.
    pub(crate) fn assert_step(&self, before: &Self) {
        self.assert_all(Phase::Commit);
        let found = check_transition(&before.world(), &self.world());
        assert!(found.is_empty(), "{found:#?}");
    }

    fn world(&self) -> World<'_> {
        let (order, inventory) = (&self.order.state, &self.inventory.state);
        let mut world = World::of_states(order, inventory, &self.payment.state);
        let stores = [
            &self.order.store,
            &self.inventory.store,
            &self.payment.store,
        ];
        let rows = stores.into_iter().flat_map(|store| store.values());
        rows.for_each(|row: &Row| world.add_row(row));
        world.complete().with_books(&self.gateway.books)
    }

    fn arrive(&mut self, call: GatewayCall, is_stray: bool, fault: Fault) {
        let (order_id, operation) = (call.order_id, call.operation);
        let outcome = match fault {
            Fault::CallLost => None,
            Fault::ArrivesLate if !is_stray => {
                let is_stray = true;
                self.messages.push(Message::Call { call, is_stray });
                None
            }
            Fault::None | Fault::AnswerLost | Fault::ArrivesLate => {
                let captures = |bag: &Self| bag.gateway.books.get(&order_id).map(|it| it.captures);
                let before = captures(self);
                let outcome = self.gateway.execute(&call);
                // What is captured behind our back is reported.
                if (is_stray || fault != Fault::None) && captures(self) != before {
                    self.report(order_id);
                }
                (fault == Fault::None).then_some(outcome)
            }
        };
        if !is_stray {
            self.messages.push(Message::Outcome {
                order_id,
                operation: Some(operation),
                outcome: outcome.unwrap_or(GatewayOutcome::Unknown {
                    detail: text("timeout"),
                }),
            });
        }
    }

    fn deliver_fact(&mut self, from: ParticipantId, to: ParticipantId, index: usize) {
        let (order, inventory, payment);
        let fact = match from {
            ParticipantId::Order => {
                order = self.order.journal[index].event.clone();
                Fact::Order(&order)
            }
            ParticipantId::Inventory => {
                inventory = self.inventory.journal[index].event.clone();
                Fact::Inventory(&inventory)
            }
            ParticipantId::Payment => {
                payment = self.payment.journal[index].event.clone();
                Fact::Payment(&payment)
            }
        };
        match to {
            ParticipantId::Order => self.on_order(Input::Upstream(fact)),
            ParticipantId::Inventory => self.on_inventory(Input::Upstream(fact)),
            ParticipantId::Payment => self.on_payment(Input::Upstream(fact)),
        }
    }

    fn on_order(&mut self, input: Input<'_, OrderCommand>) {
        let before = self.order.clone();
        let from = self.order.journal.len();
        // A refusal is a decision too: it changes nothing.
        if self.order.handle(input, self.now()).is_err() {
            assert_eq!(before.state, self.order.state);
        }
        assert_legal(before, &self.order);
        self.spread(ParticipantId::Order, from, self.order.journal.len());
    }

    fn on_inventory(&mut self, input: Input<'_, InventoryCommand>) {
        let from = self.inventory.journal.len();
        let now = self.now();
        let _refusal = self.inventory.handle(input, now);
        self.spread(ParticipantId::Inventory, from, self.inventory.journal.len());
    }

    fn on_payment(&mut self, input: Input<'_, PaymentCommand>) {
        let from = self.payment.journal.len();
        let now = self.now();
        let _refusal = self.payment.handle(input, now);
        self.spread(ParticipantId::Payment, from, self.payment.journal.len());
    }

    fn spread(&mut self, from: ParticipantId, first: usize, end: usize) {
        for index in first..end {
            for to in ParticipantId::ALL {
                if to != from {
                    self.messages.push(Message::Fact { from, to, index });
                }
            }
        }
    }

    /// Serves what is due now; else says when something next is.
    fn serve_what_is_due(&mut self) -> Option<Timestamp> {
        let now = self.now();
        let settings = self.payment.settings.clone();
        let mut due = Vec::new();
        let mut calls = Vec::new();
        for id in OrderParticipant::order_ids(&self.order.state) {
            let at = OrderParticipant::deadline(&self.order.state, id);
            due.extend(at.map(|at| (at, ParticipantId::Order, id)));
        }
        for id in InventoryParticipant::order_ids(&self.inventory.state) {
            let at = InventoryParticipant::deadline(&self.inventory.state, id);
            due.extend(at.map(|at| (at, ParticipantId::Inventory, id)));
        }
        for id in PaymentParticipant::order_ids(&self.payment.state) {
            let state = &self.payment.state;
            let at = PaymentParticipant::deadline(state, id);
            due.extend(at.map(|at| (at, ParticipantId::Payment, id)));
            let call = PaymentParticipant::owed_call(state, &settings, id);
            calls.extend(call.map(|(at, _)| (at, id)));
        }
        for (at, id) in &calls {
            if *at <= now {
                self.call(*id);
            }
        }
        for (at, participant, id) in &due {
            if *at <= now {
                self.timer(*participant, *id);
            }
        }
        let later = due.iter().map(|(at, ..)| *at);
        let later = later.chain(calls.iter().map(|(at, _)| *at));
        later.filter(|at| *at > now).min()
    }
}

/// Every event that was decided is a step of the saga's table from where the saga stood.
fn assert_legal(mut before: Host<OrderParticipant>, after: &Host<OrderParticipant>) {
    for recorded in &after.journal[before.journal.len()..] {
        if let Some(order_id) = recorded.event.order_id()
            && let Some(order) = before.state.order(order_id)
        {
            let mut saga = order.saga;
            for step in steps(&recorded.event) {
                saga = saga.next(*step).expect("a step of the table");
            }
        }
        before.append(recorded.event.clone(), recorded.at);
    }
}

fn steps(event: &OrderEvent) -> &'static [Step] {
    match event.step() {
        OrderEvent::OrderCreated { .. } => panic!("an order was created twice"),
        OrderEvent::PaymentRequested { .. } => &[Step::InventoryReserved, Step::PaymentRequested],
        OrderEvent::CommitRequested { .. } => &[Step::PaymentSucceeded],
        OrderEvent::OrderConfirmed { .. } => &[Step::Confirmed],
        OrderEvent::OrderFailed { .. } => &[Step::OutOfStock],
        OrderEvent::CompensationRequested { .. } => &[Step::CompensationRequested],
        OrderEvent::UndoAcknowledged { part, .. } => match part {
            UndoPart::Stock => &[Step::StockUndone],
            UndoPart::Payment => &[Step::PaymentUndone],
        },
        OrderEvent::SagaParked { .. } => &[Step::Parked],
        OrderEvent::RetryRequested { .. } => &[Step::RetryRequested],
        OrderEvent::OrderCancelled { .. } => &[Step::Cancelled],
        OrderEvent::Answered(_)
        | OrderEvent::Recalled(_)
        | OrderEvent::StockAnswered { .. }
        | OrderEvent::StockGivenUp { .. }
        | OrderEvent::Asked { .. } => &[],
    }
}
