//! What is asked of the shards.

use a4co_core::decider::{Fact, Input};
use a4co_core::inventory::{InventoryCommand, InventoryEvent};
use a4co_core::order::SagaState;
use a4co_core::rejection::Rejection;
use a4co_core::shards::{SHARDS_MAX, ShardCount, StockAnswer};
use proptest::collection::vec;
use proptest::prelude::*;

use super::common::{T0, order_id, product_id, text};
use super::{PRODUCTS, Reader, World, count};

/// Two products in different shards of two, the first of them in shard 0.
fn apart() -> (&'static str, &'static str) {
    let of = |shard| {
        let mut names = PRODUCTS.into_iter();
        names.find(|name| count(2).of_product(&product_id(name)).get() == shard)
    };
    (of(0).expect("one in 0"), of(1).expect("one in 1"))
}

/// The shard of an id is part of the format at rest.
#[test]
fn an_id_is_in_the_same_shard_for_ever() {
    let of = |name, shards| count(shards).of_product(&product_id(name)).get();
    assert_eq!(PRODUCTS.map(|name| of(name, 1)), [0; 5]);
    assert_eq!(PRODUCTS.map(|name| of(name, 2)), [1, 1, 0, 0, 1]);
    assert_eq!(PRODUCTS.map(|name| of(name, 16)), [11, 1, 8, 0, 11]);
    let orders = [1, 2, 3, 4, 5].map(|number| count(16).of_order(order_id(number)).get());
    assert_eq!(orders, [1, 2, 7, 2, 12]);
    assert_eq!(ShardCount::new(0), None);
    assert_eq!(ShardCount::new(SHARDS_MAX + 1), None);
}

#[test]
fn an_order_over_two_shards_waits_for_both() {
    let (a, b) = apart();
    let mut world = World::new(count(2), 5);
    world.create(1, &[(a, 2), (b, 3)]);
    let at = usize::from(count(2).of_order(order_id(1)).get());
    while world.read_on((Reader::StockOfOrder(0), at)) {}
    while world.read_on((Reader::OrderOfStock(at), 0)) {}
    assert_eq!(world.saga(1), SagaState::Started);
    assert_eq!(world.answers(), [StockAnswer::Held]);
    world.settle();
    assert_eq!(world.saga(1), SagaState::Completed);
    assert_eq!((world.on_hand(a), world.on_hand(b)), ((3, 0, 2), (2, 0, 3)));
    world.check_ended();
}

#[test]
fn what_is_short_in_one_shard_is_released_in_the_other_and_each_short_line_is_named() {
    let (a, b) = apart();
    for (first, second, named) in [(2, 9, 1), (9, 2, 1), (9, 9, 2)] {
        let mut world = World::new(count(2), 5);
        world.create(1, &[(a, first), (b, second)]);
        world.settle();
        assert_eq!(world.saga(1), SagaState::Failed);
        let at = usize::from(count(2).of_order(order_id(1)).get());
        let order = world.orders[at].state.order(order_id(1));
        assert_eq!(order.expect("the order").shortages.len(), named);
        assert_eq!((world.on_hand(a), world.on_hand(b)), ((5, 0, 0), (5, 0, 0)));
        world.check_ended();
    }
}

/// One shard sells; the other one's hold has ended and somebody else has bought.
#[test]
fn a_commit_that_one_shard_refuses_is_given_back_in_the_other() {
    let (a, b) = apart();
    for sells_first in [true, false] {
        let mut world = World::new(count(2), 5);
        world.create(1, &[(a, 5), (b, 5)]);
        let at = usize::from(count(2).of_order(order_id(1)).get());
        let payment = [Reader::PaymentOfOrder(at), Reader::OrderOfPayment(at)];
        for shard in [0, 1] {
            while world.read_on((Reader::StockOfOrder(shard), at)) {}
            while world.read_on((Reader::OrderOfStock(at), shard)) {}
        }
        for reader in payment {
            while world.read_on((reader, at)) {}
        }
        assert_eq!(world.saga(1), SagaState::PaymentSucceeded);
        if sells_first {
            while world.read_on((Reader::StockOfOrder(0), at)) {}
        }
        // Past the hold: what is not committed yet goes back, and is written off.
        world.pass(world.settings.hold_ms.get() + 1);
        let command = InventoryCommand::Adjust {
            product_id: product_id(b),
            delta: -5,
            reason: text("broken"),
            idempotency: None,
        };
        let (decider, state) = (world.inventory(1), &world.stock[1].state);
        let input = Input::Command(&command);
        let events = decider.decide(state, &world.settings, input, world.now);
        world.append_stock(1, events.expect("nothing is held any more"));
        world.settle();
        assert_eq!(world.saga(1), SagaState::Compensated);
        assert_eq!((world.on_hand(a), world.on_hand(b)), ((5, 0, 0), (0, 0, 0)));
        let returned = world.stock[0].journal.iter();
        let returned = returned.filter(|it| matches!(it.event, InventoryEvent::Returned { .. }));
        assert_eq!(returned.count(), 1);
        world.check_ended();
    }
}

/// An end of a hold is no acknowledgement while a commit is on its way behind it.
#[test]
fn a_hold_that_ended_before_its_commit_is_not_taken_for_undone() {
    let (a, b) = apart();
    let mut world = World::new(count(2), 5);
    world.create(1, &[(a, 5), (b, 5)]);
    let at = usize::from(count(2).of_order(order_id(1)).get());
    for shard in [0, 1] {
        while world.read_on((Reader::StockOfOrder(shard), at)) {}
        while world.read_on((Reader::OrderOfStock(at), shard)) {}
    }
    for reader in [Reader::PaymentOfOrder(at), Reader::OrderOfPayment(at)] {
        while world.read_on((reader, at)) {}
    }
    world.pass(world.settings.hold_ms.get() + 1);
    let refused = InventoryEvent::InventoryCommitRefused {
        order_id: order_id(1),
        shortages: Vec::new(),
    };
    let input = Input::Sharded {
        from: world.shard(1),
        to: world.shard(at),
        fact: Fact::Inventory(&refused),
    };
    let state = &world.orders[at].state;
    let events = world
        .order()
        .decide(state, &world.settings, input, world.now);
    world.append_order(at, events.expect("no command"));
    // The end of the hold in shard 0, from before the commit that it has not read yet.
    while world.read_on((Reader::OrderOfStock(at), 0)) {}
    assert_eq!(world.saga(1), SagaState::Compensating);
    assert!(!world.answers().contains(&StockAnswer::Free));
}

#[test]
fn a_product_of_another_shard_is_refused() {
    let (a, _) = apart();
    let world = World::new(count(2), 5);
    let command = InventoryCommand::Adjust {
        product_id: product_id(a),
        delta: 1,
        reason: text("found"),
        idempotency: None,
    };
    let state = &world.stock[1].state;
    let input = Input::Command(&command);
    let decided = world.inventory(1).decide(state, &world.settings, input, T0);
    assert_eq!(decided, Err(Rejection::ProductNotFound(product_id(a))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Orders over any shards, delivered in any order and more than once, cancelled and
    /// timed out at any point: each ends, and has sold everything or holds nothing.
    #[test]
    fn every_order_ends_with_all_of_it_or_nothing(
        shards in proptest::sample::select(&[1_u16, 2, 3, 16][..]),
        on_hand in 3_u64..12,
        orders in vec((vec((0_usize..5, 1_u32..5), 1..5), any::<bool>()), 1..7),
        steps in vec((0_u8..24, any::<u16>(), any::<u16>()), 0..160),
    ) {
        let mut world = World::new(count(shards), on_hand);
        let mut coming = (1_u8..).zip(&orders);
        for (kind, which, what) in steps {
            let readers = world.readers();
            let reader = readers[usize::from(which) % readers.len()];
            match kind {
                0..=2 => {
                    if let Some((number, (lines, _))) = coming.next() {
                        let lines: Vec<_> = lines.iter().map(|(it, n)| (PRODUCTS[*it], *n)).collect();
                        world.create(number, &lines);
                    }
                }
                3 => world.cancel(u8::try_from(what % 7).expect("small") + 1),
                4 => world.pass(u64::from(what) * 4),
                5 => world.pass(u64::from(what) * 40),
                6 | 7 => {
                    let have = world.read.get(&reader).copied().unwrap_or(0);
                    if have > 0 {
                        world.read(reader.0, reader.1, usize::from(what) % have);
                    }
                }
                8 => world.settle(),
                _ => {
                    // Of many readers, one that has something to read.
                    let from = usize::from(which) % readers.len();
                    let turn = readers[from..].iter().chain(&readers[..from]);
                    for reader in turn.copied() {
                        if world.read_on(reader) {
                            break;
                        }
                    }
                }
            }
            world.check_stock();
        }
        for (number, (lines, is_cancelled)) in coming {
            let lines: Vec<_> = lines.iter().map(|(it, n)| (PRODUCTS[*it], *n)).collect();
            world.create(number, &lines);
            if *is_cancelled {
                world.cancel(number);
            }
        }
        world.settle();
        world.pass(10 * 60 * 60_000);
        world.settle();
        world.check_ended();
    }
}
