//! A fact of another journal that its reader can not take yet, because it waits for a row:
//! it outlives the process, whether that starts from its log or from a snapshot.
//!
//! The deciders of today never make the embedded host wait for a row so: it is in memory
//! whenever such a fact needs it. So the test takes it out of memory by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use a4co_core::command::Command;
use a4co_core::embedded::{EmbeddedHost, HostInput};
use a4co_core::gateway::{GatewayOperation, GatewayOutcome};
use a4co_core::ids::ParticipantId;
use a4co_core::order::{OrderCommand, SagaState};
use a4co_core::record::{self, Record, Snapshot};
use a4co_core::row::RowKey;
use a4co_core::settings::Settings;
use common::world::World;
use common::{create, new_order, order_id, reference};

/// The row comes at last, and the order goes on to its end.
#[track_caller]
fn goes_on(world: &mut World) {
    let key = RowKey::Reservation(order_id(1));
    assert_eq!(
        world.fetches,
        std::slice::from_ref(&key),
        "the row is looked up"
    );
    let row = world.rows.get(&key).cloned();
    assert!(row.is_some());
    world.input(HostInput::Fetched { key, row });
    assert_eq!(world.order(1).saga, SagaState::Completed);
    assert_eq!(world.host.snapshot().unwrap().unread, []);
}

/// A process starts from this host.
fn start(world: &mut World, host: EmbeddedHost) {
    world.host = host;
    world.fetches.clear();
    world.host.start(world.now);
    world.drive();
}

/// Another host over this snapshot.
fn restored(snapshot: &Snapshot) -> EmbeddedHost {
    EmbeddedHost::from_snapshot(&Settings::default(), snapshot.clone())
}

/// A host whose commit of an order's stock waits for the reservation's row; with the
/// snapshot that it began from.
fn waiting() -> (World, Snapshot) {
    let mut world = World::new();
    world.holds_back = true;
    let order = Command::Order(OrderCommand::Create(create(1, &new_order(&[("sku-1", 1)]))));
    world.ask(order).result.unwrap();
    assert_eq!(world.order(1).saga, SagaState::PaymentProcessing);

    let mut snapshot = world.host.snapshot().unwrap();
    assert_eq!(snapshot.unread, []);
    let held = snapshot.inventory.state.reservations.remove(&order_id(1));
    assert!(held.is_some());
    world.log.clear();
    start(&mut world, restored(&snapshot));

    world.input(HostInput::Gateway {
        order_id: order_id(1),
        operation: Some(GatewayOperation::Charge),
        outcome: GatewayOutcome::Succeeded {
            reference: reference("charge"),
        },
    });
    assert_eq!(world.order(1).saga, SagaState::PaymentSucceeded);
    (world, snapshot)
}

#[test]
fn it_is_read_once_the_row_is_there() {
    let (mut world, _) = waiting();
    let unread = world.host.snapshot().unwrap().unread;
    let readers: Vec<_> = unread.iter().map(|(reader, ..)| *reader).collect();
    assert_eq!(readers, [ParticipantId::Inventory]);
    goes_on(&mut world);
}

#[test]
fn it_is_found_again_in_the_log() {
    let (mut world, snapshot) = waiting();
    let mut host = restored(&snapshot);
    for bytes in &world.log {
        host.replay(&record::decode::<Record>(bytes).unwrap(), false)
            .unwrap();
    }
    start(&mut world, host);
    goes_on(&mut world);
}

#[test]
fn it_is_found_again_in_a_snapshot() {
    let (mut world, _) = waiting();
    let snapshot = world.host.snapshot().unwrap();
    start(&mut world, restored(&snapshot));
    goes_on(&mut world);
}
