//! A fact of another journal that its reader can not take yet, because it waits for a row:
//! it outlives the process, whether that starts from its log or from a snapshot.
//!
//! The deciders of today never make the embedded host wait for a row so: it is in memory
//! whenever such a fact needs it. So the test takes it out of memory by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use a4co_core::command::{Command, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::ids::ParticipantId;
use a4co_core::inventory::InventoryCommand;
use a4co_core::order::{OrderCommand, SagaState};
use a4co_core::record::{self, Record, Snapshot};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;
use common::{create, new_order, order_id, product_id, reference};

const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

struct World {
    host: EmbeddedHost,
    log: Vec<Vec<u8>>,
    rows: BTreeMap<RowKey, Row>,
    /// Looked up, and not answered yet.
    fetches: Vec<RowKey>,
}

impl World {
    fn of(host: EmbeddedHost) -> Self {
        Self {
            host,
            log: Vec::new(),
            rows: BTreeMap::new(),
            fetches: Vec::new(),
        }
    }

    fn input(&mut self, input: HostInput) {
        self.host.handle_input(NOW, input);
        self.drive();
    }

    fn drive(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    self.log.push(bytes);
                    self.host.handle_input(NOW, HostInput::Committed);
                }
                HostOutput::Publish(rows) => {
                    let keyed = rows.into_iter().map(|row| (row.key(), row));
                    self.rows.extend(keyed);
                }
                HostOutput::Fetch(key @ RowKey::Reservation(_)) => self.fetches.push(key),
                HostOutput::Fetch(key) => {
                    let row = self.rows.get(&key).cloned();
                    self.host.handle_input(NOW, HostInput::Fetched { key, row });
                }
                HostOutput::Reply { .. } | HostOutput::CallGateway(_) => {}
            }
        }
    }

    fn saga(&self) -> SagaState {
        match &self.rows[&RowKey::Order(order_id(1))] {
            Row::Order(order) => order.saga,
            other => panic!("{other:?}"),
        }
    }

    /// The row comes at last, and the order goes on to its end.
    #[track_caller]
    fn goes_on(&mut self) {
        let key = RowKey::Reservation(order_id(1));
        assert_eq!(
            self.fetches,
            std::slice::from_ref(&key),
            "the row is looked up"
        );
        let row = self.rows.get(&key).cloned();
        assert!(row.is_some());
        self.input(HostInput::Fetched { key, row });
        assert_eq!(self.saga(), SagaState::Completed);
        assert_eq!(self.host.snapshot().unwrap().unread, []);
    }
}

/// Another host over this snapshot.
fn restored(snapshot: &Snapshot) -> EmbeddedHost {
    EmbeddedHost::from_snapshot(&Settings::default(), snapshot.clone())
}

/// A host whose commit of an order's stock waits for the reservation's row; with the
/// snapshot that it began from.
fn waiting() -> (World, Snapshot) {
    let mut world = World::of(EmbeddedHost::new(&Settings::default()));
    world.host.start(NOW);
    let stock = Command::Inventory(InventoryCommand::Define {
        product_id: product_id("sku-1"),
        name: None,
        price: None,
        on_hand: Some(10),
    });
    let order = Command::Order(OrderCommand::Create(create(1, &new_order(&[("sku-1", 1)]))));
    for (request, command) in [(1, stock), (2, order)] {
        let request = RequestId(request);
        world.input(HostInput::Command { request, command });
    }
    assert_eq!(world.saga(), SagaState::PaymentProcessing);

    let mut snapshot = world.host.snapshot().unwrap();
    assert_eq!(snapshot.unread, []);
    let held = snapshot.inventory.state.reservations.remove(&order_id(1));
    assert!(held.is_some());
    world.host = restored(&snapshot);
    world.host.start(NOW);
    world.log.clear();
    world.drive();

    world.input(HostInput::Gateway {
        order_id: order_id(1),
        operation: Some(GatewayOperation::Charge),
        outcome: GatewayOutcome::Succeeded {
            reference: reference("charge"),
        },
    });
    assert_eq!(world.saga(), SagaState::PaymentSucceeded);
    (world, snapshot)
}

#[test]
fn it_is_read_once_the_row_is_there() {
    let (mut world, _) = waiting();
    let unread = world.host.snapshot().unwrap().unread;
    let readers: Vec<_> = unread.iter().map(|(reader, ..)| *reader).collect();
    assert_eq!(readers, [ParticipantId::Inventory]);
    world.goes_on();
}

#[test]
fn it_is_found_again_in_the_log() {
    let (mut world, snapshot) = waiting();
    let mut host = restored(&snapshot);
    for bytes in &world.log {
        host.replay(&record::decode::<Record>(bytes).unwrap(), false)
            .unwrap();
    }
    world.host = host;
    world.fetches.clear();
    world.host.start(NOW);
    world.drive();
    world.goes_on();
}

#[test]
fn it_is_found_again_in_a_snapshot() {
    let (mut world, _) = waiting();
    let snapshot = world.host.snapshot().unwrap();
    world.host = restored(&snapshot);
    world.fetches.clear();
    world.host.start(NOW);
    world.drive();
    world.goes_on();
}
