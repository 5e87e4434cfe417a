//! The three participants and the messages between them, each with a number: what the
//! worlds of the exploration are made of.

use std::collections::HashMap;

use a4co_core::decider::{Fact, Input, Participant};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{CustomerId, Fingerprint, OrderId, ParticipantId, ProductId};
use a4co_core::invariants::{World as View, check_transition};
use a4co_core::inventory::{
    InventoryCommand, InventoryEvent, InventoryParticipant, InventoryState,
};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{
    CreateOrder, Line, NewOrder, OrderCommand, OrderEvent, OrderParticipant, OrderState,
    SandboxHints,
};
use a4co_core::payment::{PaymentEvent, PaymentParticipant, PaymentState};
use a4co_core::record::OwnedFact;
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;

use super::node::Table;
use crate::verdict::{Failure, safety};

/// What the order costs: two units of one product and one of another, at one euro.
pub(super) const TOTAL_MINOR: i64 = 300;
/// The products of the order, and units of each.
pub(super) const LINES: [(&str, u32); 2] = [("apple", 2), ("pear", 1)];

/// Something that a participant may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Another participant's event, on its way to this reader.
    Fact(ParticipantId, OwnedFact),
    /// The client's order.
    Create,
    /// The client's cancel.
    Cancel,
    /// The operator writes off all that is available of the last product.
    WriteOff,
    /// A call on its way to the gateway; nobody waits for the answer if it is stray.
    Call { call: GatewayCall, is_stray: bool },
    /// The gateway's answer, or (without an operation) its report.
    Outcome(Option<GatewayOperation>, GatewayOutcome),
    /// A timer of this participant.
    Timer(ParticipantId),
    /// The wait before the next gateway call is over.
    Retry,
}

impl Message {
    /// Who it is for; `None`: the gateway.
    pub(super) const fn reader(&self) -> Option<ParticipantId> {
        match self {
            Self::Fact(reader, _) | Self::Timer(reader) => Some(*reader),
            Self::Create | Self::Cancel => Some(ParticipantId::Order),
            Self::WriteOff => Some(ParticipantId::Inventory),
            Self::Outcome(..) | Self::Retry => Some(ParticipantId::Payment),
            Self::Call { .. } => None,
        }
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fact(reader, OwnedFact::Order(event)) => {
                write!(f, "{reader} reads {}", event.name())
            }
            Self::Fact(reader, OwnedFact::Inventory(event)) => {
                write!(f, "{reader} reads {}", event.name())
            }
            Self::Fact(reader, OwnedFact::Payment(event)) => {
                write!(f, "{reader} reads {}", event.name())
            }
            Self::Create => f.write_str("the client orders"),
            Self::Cancel => f.write_str("the client cancels"),
            Self::WriteOff => f.write_str("the operator writes off the last pears"),
            Self::Call {
                call,
                is_stray: false,
            } => write!(f, "the call {:?} arrives", call.operation),
            Self::Call { call, .. } => write!(
                f,
                "a call {:?} arrives for which nobody waits",
                call.operation
            ),
            Self::Outcome(Some(operation), outcome) => {
                write!(f, "payment hears of its {operation:?}: {outcome:?}")
            }
            Self::Outcome(None, outcome) => write!(f, "the gateway reports {outcome:?}"),
            Self::Timer(of) => write!(f, "the timer of {of} fires"),
            Self::Retry => f.write_str("payment's wait is over"),
        }
    }
}

/// What giving one message to its reader came to.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The reader's number after it.
    pub(super) node: u32,
    /// What it told the others: numbers of messages.
    pub(super) told: Vec<u16>,
    /// A command was accepted; true of every other message.
    pub(super) accepted: bool,
}

/// Everything that was ever seen, by number.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) order: Table<OrderParticipant>,
    pub(super) inventory: Table<InventoryParticipant>,
    pub(super) payment: Table<PaymentParticipant>,
    pub(super) order_id: OrderId,
    new_order: CreateOrder,
    messages: Vec<Message>,
    numbers: HashMap<String, u16>,
    steps: HashMap<(u32, u16), Step>,
    /// Facts, with a reader that takes no notice of them: see [`is_noticed`].
    unnoticed: Vec<(ParticipantId, OwnedFact)>,
}

fn product(name: &str) -> ProductId {
    #[expect(clippy::expect_used, reason = "a constant")]
    ProductId::parse(name).expect("a valid id")
}

fn amount(minor: i64) -> Amount {
    Amount::from_minor(minor).unwrap_or(Amount::MAX)
}

fn new_order() -> NewOrder {
    let line = |(name, quantity): &(&str, u32)| Line {
        product_id: product(name),
        quantity: *quantity,
        unit_price: amount(100),
    };
    #[expect(clippy::expect_used, reason = "a constant")]
    let customer_id = CustomerId::parse("customer").expect("a valid id");
    NewOrder {
        customer_id,
        lines: LINES.iter().map(line).collect(),
        total: amount(TOTAL_MINOR),
        currency: Currency::EUR,
        payment_method: None,
        metadata: [].into(),
        hints: SandboxHints::default(),
        idempotency_key: None,
        fingerprint: Fingerprint::of(b"order"),
        trace: None,
    }
}

/// Does this reader ever decide anything on such a fact? The others are not delivered,
/// which keeps the worlds few; that they decide nothing in any state that the reader was
/// in is checked once all is explored ([`Model::unnoticed_decide_nothing`]).
fn is_noticed(reader: ParticipantId, fact: &OwnedFact) -> bool {
    use ParticipantId::{Inventory, Order, Payment};
    match (reader, fact) {
        (Order, OwnedFact::Inventory(event)) => matches!(
            event,
            InventoryEvent::InventoryReserved { .. }
                | InventoryEvent::InventoryOutOfStock { .. }
                | InventoryEvent::InventoryCommitted { .. }
                | InventoryEvent::InventoryCommitRefused { .. }
                | InventoryEvent::InventoryReleased { .. }
                | InventoryEvent::InventoryExpired { .. }
        ),
        (Order, OwnedFact::Payment(event)) => matches!(
            event,
            PaymentEvent::PaymentSucceeded { .. }
                | PaymentEvent::PaymentFailed { .. }
                | PaymentEvent::PaymentCancelled { .. }
                | PaymentEvent::PaymentRefunded { .. }
                | PaymentEvent::PaymentParked { .. }
        ),
        (Inventory, OwnedFact::Order(event)) => match event {
            OrderEvent::OrderCreated { .. }
            | OrderEvent::PaymentRequested { .. }
            | OrderEvent::CommitRequested { .. } => true,
            OrderEvent::CompensationRequested { undo, .. } => undo.stock,
            _ => false,
        },
        (Payment, OwnedFact::Order(event)) => match event {
            OrderEvent::PaymentRequested { .. } | OrderEvent::RetryRequested { .. } => true,
            OrderEvent::CompensationRequested { undo, .. } => undo.payment,
            _ => false,
        },
        _ => false,
    }
}

impl Model {
    /// The three with empty journals, as node 0 each, at this time.
    pub(super) fn new(settings: &Settings) -> Self {
        let order_id = OrderId::from_bytes([1; 16]);
        let now = Timestamp::from_unix_ms(1_000_000);
        Self {
            order: Table::new(settings, order_id, now),
            inventory: Table::new(settings, order_id, now),
            payment: Table::new(settings, order_id, now),
            order_id,
            new_order: CreateOrder {
                order_id,
                may_exist: true,
                order: new_order().into(),
            },
            messages: Vec::new(),
            numbers: HashMap::new(),
            steps: HashMap::new(),
            unnoticed: Vec::new(),
        }
    }

    /// Inventory's number once it has so many units of each product.
    pub(super) fn stocked(&mut self, units: [u64; 2]) -> Result<u32, Failure> {
        let mut node = 0;
        for ((name, _), units) in LINES.iter().zip(units) {
            let define = InventoryCommand::Define {
                product_id: product(name),
                name: None,
                price: None,
                on_hand: Some(units),
            };
            let input = Input::Command(&define);
            node = self
                .inventory
                .decide(node, input, Timestamp::UNIX_EPOCH)?
                .node;
        }
        Ok(node)
    }

    pub(super) fn message(&self, number: u16) -> &Message {
        &self.messages[usize::from(number)]
    }

    pub(super) fn number(&mut self, message: &Message) -> u16 {
        let key = format!("{message:?}");
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u16::try_from(self.messages.len()).unwrap_or(u16::MAX);
        self.messages.push(message.clone());
        self.numbers.insert(key, number);
        number
    }

    /// Gives a message to its reader, which is in this state.
    pub(super) fn step(&mut self, node: u32, number: u16) -> Result<Step, Failure> {
        if let Some(step) = self.steps.get(&(node, number)) {
            return Ok(step.clone());
        }
        let message = self.message(number).clone();
        let step = match message.reader() {
            Some(ParticipantId::Order) => self.step_order(node, &message),
            Some(ParticipantId::Inventory) => self.step_inventory(node, &message),
            _ => self.step_payment(node, &message),
        }?;
        self.steps.insert((node, number), step.clone());
        Ok(step)
    }

    fn step_order(&mut self, node: u32, message: &Message) -> Result<Step, Failure> {
        let early = Timestamp::UNIX_EPOCH;
        let (create, cancel);
        let (input, now) = match message {
            Message::Create => {
                create = OrderCommand::Create(self.new_order.clone());
                (Input::Command(&create), early)
            }
            Message::Cancel => {
                cancel = OrderCommand::Cancel {
                    order_id: self.order_id,
                    reason: "changed my mind".into(),
                    idempotency: None,
                };
                (Input::Command(&cancel), early)
            }
            Message::Fact(_, fact) => (Input::Upstream(fact.as_fact()), early),
            _ => {
                let due = self.order.node(node).deadline;
                (Input::Deadline(self.order_id), due.unwrap_or(early))
            }
        };
        let decided = self.order.decide(node, input, now)?;
        let (before, after) = (
            &self.order.node(node).state,
            &self.order.node(decided.node).state,
        );
        let (inventory, payment) = (InventoryState::default(), PaymentState::default());
        check(
            &View::of_states(before, &inventory, &payment),
            &View::of_states(after, &inventory, &payment),
        )?;
        // What a client was told came true, or is under way.
        if *message == Message::Cancel
            && decided.accepted
            && let Some(order) = after.order(self.order_id)
            && order.undo.is_none()
        {
            let detail = format!("a cancel was accepted, and the order is {}", order.saga);
            return Err(safety("accepted_cancel_undoes", detail));
        }
        let told = self.spread(ParticipantId::Order, decided.events.iter().map(Fact::Order));
        Ok(Step {
            node: decided.node,
            told,
            accepted: decided.accepted,
        })
    }

    fn step_inventory(&mut self, node: u32, message: &Message) -> Result<Step, Failure> {
        let early = Timestamp::UNIX_EPOCH;
        let adjust;
        let (input, now) = match message {
            Message::WriteOff => {
                let product_id = product(LINES[1].0);
                let known = self.inventory.node(node).state.product(&product_id);
                let units = known.map_or(0, a4co_core::inventory::Product::available);
                adjust = InventoryCommand::Adjust {
                    product_id,
                    delta: -i64::try_from(units).unwrap_or(0),
                    reason: "rotten".into(),
                    idempotency: None,
                };
                (Input::Command(&adjust), early)
            }
            Message::Fact(_, fact) => (Input::Upstream(fact.as_fact()), early),
            _ => {
                let due = self.inventory.node(node).deadline;
                (Input::Deadline(self.order_id), due.unwrap_or(early))
            }
        };
        let decided = self.inventory.decide(node, input, now)?;
        let before = &self.inventory.node(node).state;
        let after = &self.inventory.node(decided.node).state;
        let (order, payment) = (OrderState::default(), PaymentState::default());
        check(
            &View::of_states(&order, before, &payment),
            &View::of_states(&order, after, &payment),
        )?;
        let events = decided.events.iter().map(Fact::Inventory);
        let told = self.spread(ParticipantId::Inventory, events);
        Ok(Step {
            node: decided.node,
            told,
            accepted: decided.accepted,
        })
    }

    fn step_payment(&mut self, node: u32, message: &Message) -> Result<Step, Failure> {
        let early = Timestamp::UNIX_EPOCH;
        let order_id = self.order_id;
        let (input, now) = match message {
            Message::Outcome(operation, outcome) => {
                let operation = *operation;
                (
                    Input::Gateway {
                        order_id,
                        operation,
                        outcome,
                    },
                    early,
                )
            }
            Message::Fact(_, fact) => (Input::Upstream(fact.as_fact()), early),
            // Nothing is decided, but time has passed.
            Message::Retry => {
                let owed = &self.payment.node(node).owed;
                let due = owed.as_ref().map_or(early, |(due, _)| *due);
                let nothing = OwnedFact::Payment(PaymentEvent::PaymentRetried { order_id });
                let decided = self
                    .payment
                    .decide(node, Input::Upstream(nothing.as_fact()), due)?;
                return Ok(Step {
                    node: decided.node,
                    told: Vec::new(),
                    accepted: true,
                });
            }
            _ => {
                let due = self.payment.node(node).deadline;
                (Input::Deadline(order_id), due.unwrap_or(early))
            }
        };
        let decided = self.payment.decide(node, input, now)?;
        let before = &self.payment.node(node).state;
        let after = &self.payment.node(decided.node).state;
        let (order, inventory) = (OrderState::default(), InventoryState::default());
        check(
            &View::of_states(&order, &inventory, before),
            &View::of_states(&order, &inventory, after),
        )?;
        let events = decided.events.iter().map(Fact::Payment);
        let told = self.spread(ParticipantId::Payment, events);
        Ok(Step {
            node: decided.node,
            told,
            accepted: decided.accepted,
        })
    }

    fn spread<'e>(
        &mut self,
        from: ParticipantId,
        facts: impl Iterator<Item = Fact<'e>>,
    ) -> Vec<u16> {
        let mut told = Vec::new();
        for fact in facts.map(OwnedFact::from) {
            for reader in ParticipantId::ALL {
                if reader == from {
                    continue;
                }
                if is_noticed(reader, &fact) {
                    told.push(self.number(&Message::Fact(reader, fact.clone())));
                } else if !self.unnoticed.contains(&(reader, fact.clone())) {
                    self.unnoticed.push((reader, fact.clone()));
                }
            }
        }
        told
    }

    /// The proof that leaving such messages out left nothing out: no reader decides
    /// anything on them, in any state that it was seen in.
    pub(super) fn unnoticed_decide_nothing(&self, settings: &Settings) -> Result<usize, Failure> {
        let mut asked = 0;
        for (reader, fact) in &self.unnoticed {
            let fact = fact.as_fact();
            let decides = match reader {
                ParticipantId::Order => decides(&self.order, settings, fact),
                ParticipantId::Inventory => decides(&self.inventory, settings, fact),
                ParticipantId::Payment => decides(&self.payment, settings, fact),
            };
            asked += decides.map_err(|what| {
                let detail = format!("{reader} decides {what} on {fact:?}");
                safety("unnoticed_decide_nothing", detail)
            })?;
        }
        Ok(asked)
    }
}

fn decides<P: Participant>(
    table: &Table<P>,
    settings: &Settings,
    fact: Fact<'_>,
) -> Result<usize, String> {
    for node in &table.nodes {
        let events = P::decide(&node.state, settings, Input::Upstream(fact), node.now);
        match events {
            Ok(events) if events.is_empty() => {}
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(table.nodes.len())
}

fn check(before: &View<'_>, after: &View<'_>) -> Result<(), Failure> {
    match check_transition(before, after).first() {
        None => Ok(()),
        Some(found) => Err(safety(
            found.invariant.name(),
            format!("{}: {}", found.subject, found.detail),
        )),
    }
}
