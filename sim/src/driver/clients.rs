//! Clients as tasks: each asks, waits or hangs up, and asks again under the same key.

use std::future::poll_fn;
use std::time::Duration;

use a4co_core::rejection::Rejection;
use a4co_core::row::Answer;

use super::slots::{self, Heard};
use super::world::with;
use crate::clients::{NO_ORDER, Spelled, new_order_id, spell};
use crate::plan::{Action, Ask};
use crate::rng::Stream;

/// One client, to its end.
pub(super) async fn run(number: u32, action: Action) {
    madsim::time::sleep(Duration::from_millis(action.at_ms)).await;
    let mut attempt = 0;
    let mut about = None;
    loop {
        attempt += 1;
        let is_over = ask(number, attempt, &action, &mut about).await;
        let is_idempotent = action.key.is_some() || !matches!(action.ask, Ask::Adjust { .. });
        if is_over || attempt > action.retries || !is_idempotent {
            break;
        }
        let waits = with(|world| world.threads.below(200_000));
        madsim::time::sleep(Duration::from_micros(waits)).await;
    }
    with(|world| world.clients_at_work -= 1);
}

/// One try. True: there is nothing more to ask.
async fn ask(
    number: u32,
    attempt: u32,
    action: &Action,
    about: &mut Option<a4co_core::ids::OrderId>,
) -> bool {
    let order_id = with(|world| match &action.ask {
        Ask::Create { order, .. } => {
            let seed = world.plan.plan.knobs.seed;
            let order_id = new_order_id(seed, action, *order, attempt);
            world.order_ids.insert(*order, order_id);
            Some(order_id)
        }
        Ask::Cancel { order }
        | Ask::Nudge { order }
        | Ask::Refund { order, .. }
        | Ask::RetryPayment { order }
        | Ask::WriteOff { order } => {
            let known = world.order_ids.get(order).copied();
            Some(*about.get_or_insert(known.unwrap_or(NO_ORDER)))
        }
        Ask::Adjust { .. } | Ask::Define { .. } => None,
    });
    let mut spelled = Spelled::default();
    let (command, asked) = spell(action, number, order_id, &mut spelled);
    let key = spelled.key(action);
    let key = key.map(|key| (key, spelled.fingerprint(&action.ask, order_id)));
    let (watches, patience_us, lazily) = with(|world| {
        let names = [u64::from(number), u64::from(attempt)];
        let mut fate = world.fork(Stream::Network, &names);
        let is_short = !world.is_healed && fate.chance(world.plan.impatient);
        let patience = if is_short {
            fate.below(3_000)
        } else {
            60_000_000
        };
        (fate.chance(world.plan.watching), patience, fate.chance(500))
    });
    if watches && let Some(order_id) = order_id {
        slots::watch(order_id, matches!(action.ask, Ask::Refund { .. }));
    }
    let Some(id) = slots::submit(command, asked, key) else {
        return false;
    };
    if lazily {
        // Another thread may send it, from within the loop; or this one does, later.
        tokio::select! {
            biased;
            heard = poll_fn(|context| slots::poll(id, context, true)) => {
                return told(number, heard);
            }
            () = madsim::time::sleep(Duration::from_millis(2)) => {}
        }
    }
    let heard = tokio::select! {
        biased;
        heard = poll_fn(|context| slots::poll(id, context, false)) => heard,
        () = madsim::time::sleep(Duration::from_micros(patience_us)) => {
            slots::forget(id);
            Heard::Nothing
        }
    };
    told(number, heard)
}

fn told(number: u32, heard: Heard) -> bool {
    let Heard::Told(reply) = heard else {
        return false;
    };
    if let Ok(Answer::Order(order)) = &reply.result {
        with(|world| world.told.entry(number).or_default().push(order.order_id));
    }
    !matches!(
        reply.result,
        Err(Rejection::Overloaded | Rejection::JournalFull)
    )
}
