//! One participant as a node: every state that it was ever seen in, and what each input
//! made of it. Apart from the world, which knows of a node only its number.
//!
//! Each decision is asked of the real decider once for each state and input, and
//! remembered; the world's interleavings are made of these numbers.

use std::collections::HashMap;

use a4co_core::decider::{Input, Participant, Recorded};
use a4co_core::gateway::GatewayCall;
use a4co_core::ids::{OrderId, Sequence};
use a4co_core::inventory::InventoryState;
use a4co_core::order::OrderState;
use a4co_core::payment::PaymentState;
use a4co_core::record;
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;

use crate::verdict::{Checked, safety};

/// A state without the journal sequences in it. No decision reads them, and they would
/// tell apart what is the same.
pub(super) trait Canonical {
    /// Takes every sequence out.
    fn without_sequences(&mut self);
}

impl Canonical for OrderState {
    fn without_sequences(&mut self) {
        for order in self.orders.values_mut() {
            order.version = Sequence::NONE;
        }
    }
}

impl Canonical for InventoryState {
    fn without_sequences(&mut self) {
        for product in self.products.values_mut() {
            product.version = Sequence::NONE;
        }
        for held in self.reservations.values_mut() {
            held.version = Sequence::NONE;
        }
    }
}

impl Canonical for PaymentState {
    fn without_sequences(&mut self) {
        for payment in self.payments.values_mut() {
            payment.version = Sequence::NONE;
        }
    }
}

/// A participant in one state.
#[derive(Debug)]
pub(super) struct Node<P: Participant> {
    /// The fold of the journal.
    pub(super) state: P::State,
    /// Its own clock, which no other node's keeps step with.
    pub(super) now: Timestamp,
    /// One journal that leads here, the first that was found.
    pub(super) journal: Vec<Recorded<P::Event>>,
    /// When its timer is due.
    pub(super) deadline: Option<Timestamp>,
    /// What it owes the gateway, and when.
    pub(super) owed: Option<(Timestamp, GatewayCall)>,
}

/// What an input came to.
#[derive(Debug)]
pub(super) struct Decided<E> {
    /// The node's number after it.
    pub(super) node: u32,
    /// What was decided.
    pub(super) events: Vec<E>,
    /// A command was accepted; true of every other input.
    pub(super) accepted: bool,
}

/// Every state that one participant was seen in.
#[derive(Debug)]
pub(super) struct Table<P: Participant> {
    pub(super) nodes: Vec<Node<P>>,
    numbers: HashMap<Vec<u8>, u32>,
    settings: Settings,
    order_id: OrderId,
}

impl<P: Participant> Table<P>
where
    P::State: Canonical,
{
    /// A participant with an empty journal, as node 0.
    pub(super) fn new(settings: &Settings, order_id: OrderId, now: Timestamp) -> Self {
        let mut table = Self {
            nodes: Vec::new(),
            numbers: HashMap::new(),
            settings: settings.clone(),
            order_id,
        };
        table.add(P::State::default(), now, Vec::new());
        table
    }

    pub(super) fn node(&self, number: u32) -> &Node<P> {
        &self.nodes[number as usize]
    }

    /// Asks the decider, appends what it decided to the node's journal, and checks that
    /// the journal alone, through its format at rest, gives the same state again: that is
    /// what a crash leaves.
    pub(super) fn decide(
        &mut self,
        number: u32,
        input: Input<'_, P::Command>,
        now: Timestamp,
    ) -> Result<Decided<P::Event>, crate::verdict::Failure> {
        let node = self.node(number);
        let now = node.now.max(now);
        let (events, accepted) = match P::decide(&node.state, &self.settings, input, now) {
            Ok(events) => (events, true),
            Err(_) => (Vec::new(), false),
        };
        let mut state = node.state.clone();
        let mut journal = node.journal.clone();
        for event in &events {
            let recorded = Recorded {
                at: now,
                event: event.clone(),
            };
            journal.push(recorded.clone());
            P::evolve(&mut state, &recorded, Sequence::new(journal.len() as u64));
        }
        state.without_sequences();
        let known = self.nodes.len();
        let node = self.add(state, now, journal);
        if self.nodes.len() > known {
            self.replays(node)?;
        }
        Ok(Decided {
            node,
            events,
            accepted,
        })
    }

    fn add(&mut self, state: P::State, now: Timestamp, journal: Vec<Recorded<P::Event>>) -> u32 {
        let key = record::encode(&(&state, now));
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.numbers.insert(key, number);
        self.nodes.push(Node {
            deadline: P::deadline(&state, self.order_id),
            owed: P::owed_call(&state, &self.settings, self.order_id),
            state,
            now,
            journal,
        });
        number
    }

    /// The node's state, rebuilt from the bytes of its journal.
    fn replays(&self, number: u32) -> Checked {
        let node = self.node(number);
        let bytes = record::encode(&node.journal);
        let journal: Vec<Recorded<P::Event>> =
            record::decode(&bytes).map_err(|why| safety("replay_equals_state", why.to_string()))?;
        let mut state = P::State::default();
        for (recorded, sequence) in journal.iter().zip(1..) {
            P::evolve(&mut state, recorded, Sequence::new(sequence));
        }
        state.without_sequences();
        if state == node.state {
            return Ok(());
        }
        let detail = format!("the {} journal gives another state", P::ID);
        Err(safety("replay_equals_state", detail))
    }
}
