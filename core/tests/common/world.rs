//! An embedded host without I/O: a list of records stands for the log, a map for the store,
//! and a gateway that answers as it is told.

use std::collections::{BTreeMap, VecDeque};

use a4co_core::command::{Command, Reply, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::inventory::InventoryCommand;
use a4co_core::order::Order;
use a4co_core::payment::Payment;
use a4co_core::record;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};

use super::{order_id, product_id};

/// The host with everything around it.
pub(crate) struct World {
    pub(crate) host: EmbeddedHost,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<Vec<u8>>,
    pub(crate) rows: BTreeMap<RowKey, Row>,
    pub(crate) replies: BTreeMap<u64, Reply>,
    pub(crate) calls: VecDeque<GatewayCall>,
    /// What waits to be durable.
    pub(crate) in_flight: Option<Vec<u8>>,
    /// Commits wait until they are answered by [`World::commit`].
    pub(crate) commits_wait: bool,
    /// Look-ups of reservations are kept in [`World::fetches`], and not answered.
    pub(crate) holds_back: bool,
    pub(crate) fetches: Vec<RowKey>,
    requests: u64,
}

impl World {
    /// A host that has just started, and has ten units of `sku-1`.
    pub(crate) fn new() -> Self {
        let settings = Settings::default();
        let mut world = Self {
            host: EmbeddedHost::new(&settings),
            settings,
            now: Timestamp::from_unix_ms(1_000_000),
            log: Vec::new(),
            rows: BTreeMap::new(),
            replies: BTreeMap::new(),
            calls: VecDeque::new(),
            in_flight: None,
            commits_wait: false,
            holds_back: false,
            fetches: Vec::new(),
            requests: 0,
        };
        world.host.start(world.now);
        world.stock(10);
        world
    }

    /// From now on there are so many units of `sku-1`.
    pub(crate) fn stock(&mut self, on_hand: u64) {
        let stock = Command::Inventory(InventoryCommand::Define {
            product_id: product_id("sku-1"),
            name: None,
            price: None,
            on_hand: Some(on_hand),
        });
        self.ask(stock).result.expect("a product is taken");
    }

    /// Carries out what the host asks for.
    pub(crate) fn drive(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    self.in_flight = Some(bytes);
                    if !self.commits_wait {
                        self.commit();
                    }
                }
                HostOutput::Publish(rows) => {
                    let rows = rows.into_iter().map(|row| (row.key(), row));
                    self.rows.extend(rows);
                }
                HostOutput::Reply { request, reply } => {
                    self.replies.insert(request.0, reply);
                }
                HostOutput::CallGateway(call) => self.calls.push_back(call),
                HostOutput::Fetch(key @ RowKey::Reservation(_)) if self.holds_back => {
                    self.fetches.push(key);
                }
                HostOutput::Fetch(key) => {
                    let row = self.rows.get(&key).cloned();
                    let fetched = HostInput::Fetched { key, row };
                    self.host.handle_input(self.now, fetched);
                }
            }
        }
    }

    pub(crate) fn input(&mut self, input: HostInput) {
        self.host.handle_input(self.now, input);
        self.drive();
    }

    /// What is in flight is durable.
    pub(crate) fn commit(&mut self) {
        self.log.extend(self.in_flight.take());
        self.host.handle_input(self.now, HostInput::Committed);
    }

    /// The number under which the reply comes.
    pub(crate) fn submit(&mut self, command: Command) -> u64 {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(HostInput::Command { request, command });
        self.requests
    }

    pub(crate) fn ask(&mut self, command: Command) -> Reply {
        let request = self.submit(command);
        self.replies.remove(&request).expect("an answer")
    }

    /// The oldest call is answered; what it was.
    pub(crate) fn answer_gateway(&mut self, outcome: GatewayOutcome) -> GatewayOperation {
        let call = self.calls.pop_front().expect("a call is owed");
        self.input(HostInput::Gateway {
            order_id: call.order_id,
            operation: Some(call.operation),
            outcome,
        });
        call.operation
    }

    /// The oldest call, which has to be this one, is answered.
    #[track_caller]
    pub(crate) fn answer(&mut self, operation: GatewayOperation, outcome: GatewayOutcome) {
        assert_eq!(self.answer_gateway(outcome), operation);
    }

    pub(crate) fn pass(&mut self, length: Millis) {
        self.now = self.now.saturating_add(length);
        self.input(HostInput::Time);
    }

    #[track_caller]
    pub(crate) fn order(&self, id: u8) -> &Order {
        match &self.rows[&RowKey::Order(order_id(id))] {
            Row::Order(order) => order,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn payment(&self, id: u8) -> &Payment {
        match &self.rows[&RowKey::Payment(order_id(id))] {
            Row::Payment(payment) => payment,
            other => panic!("{other:?}"),
        }
    }

    /// Another process, with the log alone: it has the same rows, and owes the same calls.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let mut host = EmbeddedHost::new(&self.settings);
        let mut rows = BTreeMap::new();
        for bytes in &self.log {
            let record = record::decode(bytes).expect("what was written decodes");
            let changed = host.replay(&record, true).expect("it follows");
            rows.extend(changed.into_iter().map(|row| (row.key(), row)));
        }
        assert_eq!(rows, self.rows, "the rows follow from the log alone");
        let owed = std::mem::take(&mut self.calls);
        self.host = host;
        self.host.start(self.now);
        self.drive();
        assert_eq!(self.calls, owed, "the same calls are owed");
    }
}
