//! Calls to the gateway and its reports, as tasks of the world around the process: a call
//! that has left is on its way, whatever becomes of the process.

use std::future::{Future, poll_fn};
use std::time::Duration;

use a4co_core::command::Command;
use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::payment::PaymentCommand;
use a4co_core::rejection::Rejection;
use a4co_driver::ports::GatewayAnswer;

use super::slots::{self, Heard};
use super::world::with;
use crate::audit::Asked;
use crate::gateway::{Later, operation_number, order_number, outcome_number, unknown};
use crate::rng::Stream;
use crate::trace::Node;
use crate::verdict::safety;

/// A report that must be heard is repeated after this long.
const REPORT_AGAIN: Duration = Duration::from_secs(3);

/// A report over HTTP waits so long for its answer, and is sent so often.
const REPORT_PATIENCE: Duration = Duration::from_secs(20);
const REPORT_TRIES: u32 = 4;

/// A call on its way.
#[derive(Debug)]
pub(super) struct OpenCall {
    call: GatewayCall,
    life: u32,
    pub(super) is_open: bool,
    /// What the gateway said, on its way back.
    answer: Option<GatewayOutcome>,
}

async fn sleep_us(us: u64) {
    madsim::time::sleep(Duration::from_micros(us)).await;
}

/// Tasks that outlive the process run on a node of their own.
fn outside<F: Future<Output = ()> + Send + 'static>(task: F) {
    super::life::world_node().spawn(task);
}

/// How a call fares, in microseconds from now.
struct Fare {
    arrives: Option<u64>,
    fails: bool,
    answered: Option<u64>,
    timeout: u64,
}

/// The engine calls.
pub(super) fn make(life: u32, call: GatewayCall) {
    let (id, fare, is_sync) = with(|world| {
        let seen = world.audit.on_call(&call);
        world.see(seen);
        if !world.calling.insert(call.order_id) {
            let why = format!("order {} has a call under way", call.order_id);
            world.see(Err(safety("one_call_at_a_time", why)));
        }
        world.calls_made += 1;
        let id = world.calls_made;
        let order = order_number(call.order_id);
        let operation = operation_number(call.operation);
        world.note(Node::Engine, "calls", [order, operation], || {
            format!("call {id}: {:?} of {}", call.operation, call.order_id)
        });
        let names = [order, operation, u64::from(call.attempt), u64::from(life)];
        let mut rng = world.fork(Stream::Call, &names);
        let knobs = &world.plan.plan.knobs;
        let timeout = knobs.call_timeout_ms * 1_000;
        let is_out = world.now_us() < world.outage_until_us;
        let knobs = &world.plan.plan.knobs;
        let mut fare = Fare {
            arrives: Some(rng.below(knobs.gateway_us + 1)),
            fails: is_out || rng.chance(knobs.call_fails),
            answered: Some(rng.below(knobs.gateway_us / 4 + 1)),
            timeout,
        };
        if rng.chance(knobs.call_lost) {
            fare.arrives = None;
        } else if rng.chance(knobs.call_late) {
            fare.arrives = Some(rng.between(1, 4) * timeout);
        }
        if rng.chance(knobs.answer_lost) {
            fare.answered = None;
        }
        let mut is_sync = rng.chance(world.plan.sync_answers);
        if world.is_healed {
            fare = Fare {
                arrives: Some(1_000),
                fails: false,
                answered: Some(1_000),
                timeout: 10_000,
            };
        }
        is_sync &= fare.arrives.is_some();
        let open = OpenCall {
            call,
            life,
            is_open: true,
            answer: None,
        };
        world.calls.insert(id, open);
        (id, fare, is_sync)
    });
    if is_sync {
        // Known at once, as a sandbox does.
        arrive(id, fare.fails);
        answer(id);
        return;
    }
    outside(async move {
        sleep_us(fare.timeout).await;
        with(|world| {
            if let Some(call) = world.calls.get_mut(&id) {
                call.answer = Some(unknown("timed out"));
            }
        });
        answer(id);
    });
    outside(async move {
        let Some(arrives) = fare.arrives else { return };
        sleep_us(arrives).await;
        arrive(id, fare.fails);
        let Some(answered) = fare.answered else {
            return;
        };
        sleep_us(answered).await;
        answer(id);
    });
}

/// The call arrives at the gateway, which carries it out or not.
fn arrive(id: u64, fails: bool) {
    let lasts = with(|world| {
        let call = world.calls.get(&id)?.call.clone();
        let mut lasts = Vec::new();
        let outcome = if fails && !world.is_healed {
            unknown("503")
        } else {
            let plan = world.plan.clone();
            world
                .gateway
                .carry_out(&plan.plan.knobs, (id, &call), &mut lasts)
        };
        world.note(
            Node::Gateway,
            "does",
            [id, outcome_number(&outcome)],
            || {
                format!(
                    "call {id}, {:?} of {}: {outcome:?}",
                    call.operation, call.order_id
                )
            },
        );
        if let Some(complaint) = world.gateway.complaint.take() {
            world.see(Err(safety("gateway_accepts_call", complaint)));
        }
        if let Some(open) = world.calls.get_mut(&id) {
            open.answer = Some(outcome);
        }
        Some((call.order_id, lasts))
    });
    if let Some((order_id, lasts)) = lasts {
        later(order_id, lasts);
    }
}

/// The answer reaches the engine, unless the call was answered before or its process is
/// gone.
fn answer(id: u64) {
    let answered = with(|world| {
        let open = world.calls.get_mut(&id)?;
        if !open.is_open {
            return None;
        }
        let outcome = open.answer.take()?;
        open.is_open = false;
        let (life, order_id) = (open.life, open.call.order_id);
        let operation = open.call.operation;
        let sink = world.alive_as(life)?.answers.clone();
        world.calling.remove(&order_id);
        world.note(Node::Net, "answers", [id, outcome_number(&outcome)], || {
            format!("call {id}, {operation:?} of {order_id}: {outcome:?}")
        });
        let answer = GatewayAnswer {
            order_id,
            operation: Some(operation),
            outcome,
        };
        Some((sink, answer))
    });
    if let Some((sink, answer)) = answered {
        sink.deliver(answer);
    }
}

/// An answer that is on its way comes now, on another thread than the loop's.
pub(super) fn answer_any() {
    let id = with(|world| {
        let under_way: Vec<u64> = world
            .calls
            .iter()
            .filter(|(_, call)| call.is_open && call.answer.is_some())
            .map(|(id, _)| *id)
            .collect();
        (!under_way.is_empty()).then(|| world.threads.pick(&under_way))
    });
    if let Some(id) = id {
        answer(id);
    }
}

fn later(order_id: OrderId, lasts: Vec<(u64, Later)>) {
    for (delay_us, later) in lasts {
        outside(async move {
            sleep_us(delay_us).await;
            at_gateway(order_id, later).await;
        });
    }
}

async fn at_gateway(order_id: OrderId, what: Later) {
    let lasts = match what {
        Later::Report {
            refund,
            outcome,
            must,
        } => {
            let names = [order_number(order_id), outcome_number(&outcome), 2, 2];
            let is_command = refund.is_some()
                || with(|world| {
                    let is_command = world.plan.plan.knobs.report_as_command;
                    world.fork(Stream::Webhook, &names).chance(is_command)
                });
            // What must be heard is said until it is.
            if must || !is_command {
                return report(order_id, *outcome, must).await;
            }
            return send_report(order_id, refund, *outcome).await;
        }
        Later::Settle => settle(order_id),
        Later::Lapse => with(|world| {
            let mut lasts = Vec::new();
            let plan = world.plan.clone();
            world.gateway.lapse(&plan.plan.knobs, order_id, &mut lasts);
            lasts
        }),
        Later::SettleRefund { number } => with(|world| {
            let mut lasts = Vec::new();
            let plan = world.plan.clone();
            let knobs = &plan.plan.knobs;
            let gateway = &mut world.gateway;
            gateway.settle_refund(knobs, order_id, number, &mut lasts);
            lasts
        }),
        Later::CaptureAfterAll => with(|world| {
            let mut lasts = Vec::new();
            if !world.is_healed {
                let plan = world.plan.clone();
                let knobs = &plan.plan.knobs;
                world.gateway.capture_after_all(knobs, order_id, &mut lasts);
            }
            lasts
        }),
    };
    later(order_id, lasts);
}

fn settle(order_id: OrderId) -> Vec<(u64, Later)> {
    with(|world| {
        let mut lasts = Vec::new();
        let plan = world.plan.clone();
        world.gateway.settle(&plan.plan.knobs, order_id, &mut lasts);
        let charge = world.gateway.charge(order_id);
        let order = order_number(order_id);
        world.note(Node::Gateway, "settles", [order, 0], || {
            format!("order {order_id}: {charge:?}")
        });
        lasts
    })
}

/// Every charge that is still pending ends a second from now.
pub(super) fn settle_all() {
    for order_id in with(|world| world.gateway.pending()) {
        later(order_id, vec![(1_000_000, Later::Settle)]);
    }
    let refunds: Vec<_> = with(|world| world.gateway.pending_refunds().collect());
    for (order_id, number) in refunds {
        later(order_id, vec![(1_000_000, Later::SettleRefund { number })]);
    }
}

/// The gateway reports as it does over HTTP: as a command, which is sent again until it is
/// answered, for a while.
async fn send_report(order_id: OrderId, refund: Option<u32>, outcome: GatewayOutcome) {
    for _ in 0..REPORT_TRIES {
        let command = Command::Payment(PaymentCommand::Report {
            order_id,
            refund,
            outcome: outcome.clone(),
        });
        let sent = slots::submit(command, Asked::Report(order_id), None);
        with(|world| {
            let (order, number) = (order_number(order_id), outcome_number(&outcome));
            let is_there = sent.is_some();
            world.note(Node::Gateway, "reports", [order, number], || {
                format!("refund {refund:?} of order {order_id}: {outcome:?}, sent: {is_there}")
            });
        });
        if let Some(id) = sent {
            let heard = tokio::select! {
                biased;
                heard = poll_fn(|context| slots::poll(id, context, false)) => heard,
                () = madsim::time::sleep(REPORT_PATIENCE) => {
                    slots::forget(id);
                    Heard::Nothing
                }
            };
            if let Heard::Told(reply) = heard
                && matches!(reply.result, Ok(_) | Err(Rejection::PaymentNotFound(_)))
            {
                return;
            }
        }
        madsim::time::sleep(REPORT_AGAIN).await;
    }
}

/// The gateway reports by itself. What must be heard is repeated until the engine's books
/// say so.
pub(super) async fn report(order_id: OrderId, outcome: GatewayOutcome, must: bool) {
    loop {
        let sink = with(|world| {
            let sink = world.alive().map(|life| life.answers.clone());
            let (order, number) = (order_number(order_id), outcome_number(&outcome));
            let is_heard = sink.is_some();
            world.note(Node::Gateway, "reports", [order, number], || {
                format!("order {order_id}: {outcome:?}, heard: {is_heard}")
            });
            sink
        });
        let is_heard = sink.is_some();
        if let Some(sink) = sink {
            sink.deliver(GatewayAnswer {
                order_id,
                operation: None,
                outcome: outcome.clone(),
            });
        }
        madsim::time::sleep(REPORT_AGAIN).await;
        let is_done = with(|world| {
            let ours = world.audit.payment(order_id);
            ours.is_some_and(|payment| !payment.captured.is_zero())
        });
        if is_done || (!must && is_heard) {
            return;
        }
    }
}
