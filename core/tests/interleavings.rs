//! Any interleaving, duplication, delay and loss of the messages of several orders keeps
//! every invariant after every step, and once all is healed every saga has ended and our
//! books and the gateway's are equal.

mod common;

use a4co_core::ids::ParticipantId;
use a4co_core::settings::Settings;
use a4co_core::time::Millis;
use common::bag::{Bag, Fault};
use common::gateway::Plan;
use std::collections::BTreeMap;

use common::{new_order, order_id};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// What the outside, the network and time may do next.
#[derive(Debug, Clone)]
enum Action {
    Create { order: usize, changed: bool },
    Cancel { order: usize },
    Retry { order: usize },
    Refund { order: usize, minor: Option<i64> },
    Stock { product: usize, delta: i64 },
    WriteOff { product: usize },
    Call { order: usize },
    Report { order: usize },
    Timer { of: ParticipantId, order: usize },
    Expire { order: usize },
    Deliver { pick: usize, fault: Fault },
    Repeat { pick: usize, fault: Fault },
    Pass { ms: u64 },
    JumpBack { ms: u64 },
}

/// What an order of the test is about, and what the gateway makes of it.
#[derive(Debug, Clone)]
struct Plot {
    lines: Vec<(usize, u32)>,
    plan: Plan,
    hold_ms: Option<u64>,
    is_free: bool,
}

/// A whole run.
#[derive(Debug, Clone)]
struct Run {
    plots: Vec<Plot>,
    stock: Vec<i64>,
    refusals: u32,
    refuses_operators: bool,
    park_after_attempts: u32,
    actions: Vec<Action>,
}

const PRODUCTS: [&str; 2] = ["apple", "pear"];
const ORDERS: usize = 3;

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        5 => Just(Fault::None),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::CallLost),
        1 => Just(Fault::ArrivesLate),
    ]
}

fn participant() -> impl Strategy<Value = ParticipantId> {
    proptest::sample::select(&ParticipantId::ALL[..])
}

fn action() -> impl Strategy<Value = Action> {
    let order = || 0..ORDERS;
    prop_oneof![
        3 => (order(), proptest::bool::weighted(0.1))
            .prop_map(|(order, changed)| Action::Create { order, changed }),
        1 => order().prop_map(|order| Action::Cancel { order }),
        1 => order().prop_map(|order| Action::Retry { order }),
        1 => (order(), proptest::option::of(1..300_i64))
            .prop_map(|(order, minor)| Action::Refund { order, minor }),
        1 => (0..PRODUCTS.len(), -3..4_i64)
            .prop_map(|(product, delta)| Action::Stock { product, delta }),
        6 => order().prop_map(|order| Action::Call { order }),
        1 => order().prop_map(|order| Action::Report { order }),
        1 => (0..PRODUCTS.len()).prop_map(|product| Action::WriteOff { product }),
        1 => order().prop_map(|order| Action::Expire { order }),
        2 => (participant(), order()).prop_map(|(of, order)| Action::Timer { of, order }),
        40 => (any::<usize>(), fault()).prop_map(|(pick, fault)| Action::Deliver { pick, fault }),
        8 => (any::<usize>(), fault()).prop_map(|(pick, fault)| Action::Repeat { pick, fault }),
        2 => prop_oneof![1..1_000_u64, 1_000..1_000_000_u64].prop_map(|ms| Action::Pass { ms }),
        1 => (1..10_000_u64).prop_map(|ms| Action::JumpBack { ms }),
    ]
}

fn plot(plans: &'static [Plan]) -> impl Strategy<Value = Plot> {
    (
        vec((0..PRODUCTS.len(), 1..3_u32), 1..3),
        proptest::sample::select(plans),
        proptest::option::weighted(0.3, prop_oneof![0..2_u64, 0..200_000_u64]),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(lines, plan, hold_ms, is_free)| Plot {
            lines,
            plan,
            hold_ms,
            is_free,
        })
}

fn run(plans: &'static [Plan]) -> impl Strategy<Value = Run> {
    (
        vec(plot(plans), ORDERS),
        vec(1..9_i64, PRODUCTS.len()),
        0..4_u32,
        any::<bool>(),
        1..4_u32,
        vec(action(), 1..300),
    )
        .prop_map(
            |(plots, stock, refusals, refuses_operators, park_after_attempts, actions)| Run {
                plots,
                stock,
                refusals,
                refuses_operators,
                park_after_attempts,
                actions,
            },
        )
}

impl Run {
    fn play(&self, build: fn(Settings) -> Bag) -> Bag {
        let mut bag = build(Settings {
            park_after_attempts: self.park_after_attempts,
            ..Settings::default()
        });
        bag.refusals = self.refusals;
        bag.refuses_operators = self.refuses_operators;
        for (number, plot) in (0..).zip(&self.plots) {
            bag.gateway.plans.insert(order_id(number), plot.plan);
        }
        for (product, units) in PRODUCTS.iter().zip(&self.stock) {
            bag.stock(product, *units);
        }
        for action in &self.actions {
            let before = bag.clone();
            self.act(action, &mut bag);
            bag.assert_step(&before);
        }
        let before = bag.clone();
        bag.heal();
        bag.assert_step(&before);
        bag.assert_ended();
        bag
    }

    fn act(&self, action: &Action, bag: &mut Bag) {
        let id = |order: usize| order_id(u8::try_from(order).expect("few orders"));
        match *action {
            Action::Create { order, changed } => self.create(order, changed, bag),
            Action::Cancel { order } => bag.cancel(id(order)),
            Action::Retry { order } => bag.retry(id(order)),
            Action::Refund { order, minor } => bag.refund(id(order), minor),
            Action::Stock { product, delta } => bag.stock(PRODUCTS[product], delta),
            Action::WriteOff { product } => bag.write_off(PRODUCTS[product]),
            Action::Expire { order } => bag.expire(id(order)),
            Action::Call { order } => bag.call(id(order)),
            Action::Report { order } => bag.report(id(order)),
            Action::Timer { of, order } => bag.timer(of, id(order)),
            Action::Deliver { pick, fault } => bag.deliver(pick, fault, false),
            Action::Repeat { pick, fault } => bag.deliver(pick, fault, true),
            Action::Pass { ms } => bag.now_ms += ms,
            Action::JumpBack { ms } => bag.now_ms = bag.now_ms.saturating_sub(ms),
        }
    }

    fn create(&self, index: usize, changed: bool, bag: &mut Bag) {
        let plot = &self.plots[index];
        let lines: Vec<_> = plot
            .lines
            .iter()
            .map(|(product, quantity)| (PRODUCTS[*product], *quantity))
            .collect();
        let mut order = new_order(&lines);
        order.hints.hold_ms = plot.hold_ms.map(Millis::new);
        if plot.is_free {
            order.total = common::amount(0);
        }
        if changed {
            order.fingerprint = a4co_core::ids::Fingerprint::of(b"second");
        }
        let number = u8::try_from(index).expect("few orders");
        bag.create(order_id(number), &order);
    }
}

const HONEST: &[Plan] = &[
    Plan::Approve,
    Plan::Approve,
    Plan::Decline,
    Plan::SlowApprove,
    Plan::SlowDecline,
];
const ROGUE: &[Plan] = &[Plan::Approve, Plan::Rogue, Plan::Rogue];

proptest! {
    #[test]
    fn any_order_and_any_number_of_times(run in run(HONEST)) {
        run.play(Bag::new);
    }

    #[test]
    fn a_gateway_that_captures_what_it_cancelled(run in run(ROGUE)) {
        run.play(Bag::new);
    }

    #[test]
    fn what_has_ended_may_leave_memory(run in run(HONEST)) {
        run.play(Bag::forgetting);
    }
}

const EVENTS: [&str; 32] = [
    "OrderCreated",
    "PaymentRequested",
    "CommitRequested",
    "OrderConfirmed",
    "OrderFailed",
    "CompensationRequested",
    "UndoAcknowledged",
    "SagaParked",
    "RetryRequested",
    "OrderCancelled",
    "ProductDefined",
    "StockAdjusted",
    "InventoryReserved",
    "InventoryOutOfStock",
    "ReservationExtended",
    "InventoryCommitted",
    "InventoryCommitRefused",
    "InventoryReleased",
    "InventoryExpired",
    "PaymentProcessing",
    "PaymentAttempted",
    "PaymentSucceeded",
    "PaymentFailed",
    "PaymentCancelRequested",
    "PaymentUndoRequested",
    "PaymentCancelled",
    "PaymentCapturedLate",
    "RefundRequested",
    "PaymentRefunded",
    "RefundFailed",
    "PaymentParked",
    "PaymentRetried",
];

/// A run that reached nothing would prove nothing: together the runs decide every event
/// there is, except those that only a host decides.
#[test]
fn the_runs_reach_every_event() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..500 {
        let run = run(HONEST).new_tree(&mut runner).expect("a run").current();
        let bag = run.play(Bag::new);
        let order = bag.order.journal.iter().map(|it| it.event.name());
        let inventory = bag.inventory.journal.iter().map(|it| it.event.name());
        let payment = bag.payment.journal.iter().map(|it| it.event.name());
        for name in order.chain(inventory).chain(payment) {
            *reached.entry(name).or_default() += 1;
        }
    }
    let never: Vec<_> = EVENTS
        .iter()
        .filter(|name| !reached.contains_key(**name))
        .collect();
    assert!(
        never.is_empty(),
        "never decided: {never:?}, but {reached:#?}"
    );
}
