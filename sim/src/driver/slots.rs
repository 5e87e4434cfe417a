//! Those who wait for the engine, kept where another thread's step can be taken for them.
//!
//! The loop blocks in its ports, and in production the other threads go on meanwhile: an
//! answer is read, a client hangs up, somebody begins to wait. The executor has one thread,
//! so [`interleave`] takes such steps from within the ports.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use a4co_core::command::{Command, Reply};
use a4co_core::ids::{Fingerprint, IdempotencyKey, OrderId};
use a4co_core::order::Order;
use a4co_core::payment::{Payment, RefundStatus};
use a4co_core::row::{Row, RowKey};
use a4co_driver::SubmitError;
use tokio::sync::oneshot;

use super::calls;
use super::world::{World, with};
use crate::audit::Asked;
use crate::trace::Node;
use crate::verdict::{Checked, safety};

type Waits = Pin<Box<dyn Future<Output = Result<Reply, SubmitError>>>>;

/// What a client heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer.
    Told(Reply),
    /// The queue was full.
    Full,
    /// The engine stopped.
    Stopped,
    /// Nothing: the process died, or the client hung up.
    Nothing,
}

/// A submission.
pub(super) struct Slot {
    pub(super) life: u32,
    pub(super) sent_us: u64,
    pub(super) asked: Asked,
    was_known: bool,
    key: Option<(IdempotencyKey, Fingerprint)>,
    waits: Option<Waits>,
    /// It was polled, so that the command is in the queue.
    is_sent: bool,
    /// It was in the queue before the engine was asked to stop.
    is_early: bool,
    waker: Option<Waker>,
    heard: Option<Heard>,
}

impl Slot {
    /// Does the handle count it?
    pub(super) fn is_counted(&self) -> bool {
        self.is_sent && self.waits.is_some()
    }
}

/// Makes a submission, which is sent when it is first polled. `None`: nobody is there.
pub(super) fn submit(
    command: Command,
    asked: Asked,
    key: Option<(IdempotencyKey, Fingerprint)>,
) -> Option<u64> {
    with(|world| {
        let sent_us = world.now_us();
        let was_known = world.audit.knows(&asked);
        world.audit.expect(&asked);
        let life = world.alive()?;
        let (handle, life) = (life.handle.clone(), life.number);
        world.slots_made += 1;
        let slot = Slot {
            life,
            sent_us,
            asked,
            was_known,
            key,
            waits: Some(Box::pin(async move { handle.submit(command).await })),
            is_sent: false,
            is_early: false,
            waker: None,
            heard: None,
        };
        world.slots.insert(world.slots_made, slot);
        Some(world.slots_made)
    })
}

/// What the submission came to. `lazily`: another thread may be the first to poll.
pub(super) fn poll(id: u64, context: &mut Context<'_>, lazily: bool) -> Poll<Heard> {
    let waits = with(|world| {
        let slot = world.slots.get_mut(&id)?;
        slot.waker = Some(context.waker().clone());
        slot.heard.is_none().then_some(slot.is_sent)
    });
    match waits {
        Some(false) if lazily => return Poll::Pending,
        Some(_) => advance(id),
        None => {}
    }
    let heard = with(|world| {
        let slot = world.slots.get_mut(&id)?;
        let heard = slot.heard.take()?;
        world.slots.remove(&id);
        Some(heard)
    });
    heard.map_or(Poll::Pending, Poll::Ready)
}

/// Polls a submission, from whichever thread.
fn advance(id: u64) {
    let taken = with(|world| {
        let slot = world.slots.get_mut(&id)?;
        let taken = (slot.waits.take()?, slot.waker.clone()?);
        let (is_new, life) = (!slot.is_sent, slot.life);
        if is_new {
            let is_early = world.alive_as(life).is_some_and(|life| !life.is_ending);
            let slot = world.slots.get_mut(&id)?;
            slot.is_sent = true;
            slot.is_early = is_early;
        }
        Some((taken, is_new))
    });
    let Some(((mut waits, waker), is_new)) = taken else {
        return;
    };
    let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
    match polled {
        Poll::Pending => with(|world| {
            if let Some(slot) = world.slots.get_mut(&id) {
                slot.waits = Some(waits);
            }
        }),
        Poll::Ready(answer) => {
            drop(waits);
            with(|world| {
                let heard = judge(world, id, answer, is_new);
                if let Some(slot) = world.slots.get_mut(&id) {
                    slot.heard = Some(heard);
                }
            });
            waker.wake();
        }
    }
}

/// A client hangs up: its future is dropped where it is.
pub(super) fn hang_up(id: u64) {
    let waits = with(|world| {
        let slot = world.slots.get_mut(&id)?;
        slot.heard.get_or_insert(Heard::Nothing);
        let waker = slot.waker.take();
        Some((slot.waits.take(), waker))
    });
    if let Some((waits, waker)) = waits {
        drop(waits);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The client is gone altogether.
pub(super) fn forget(id: u64) {
    let slot = with(|world| world.slots.remove(&id));
    drop(slot);
}

/// Is what was answered right, at this moment?
fn judge(world: &mut World, id: u64, answer: Result<Reply, SubmitError>, is_new: bool) -> Heard {
    let Some(slot) = world.slots.get(&id) else {
        return Heard::Nothing;
    };
    let (life, asked, was_known) = (slot.life, slot.asked.clone(), slot.was_known);
    let (is_early, key) = (slot.is_early, slot.key.clone());
    // What a dead process still says does not reach anybody.
    let is_dead = |life: &super::world::Life| life.is_dead;
    let current = world.life.as_ref().filter(|it| it.number == life);
    let has_ended = current.is_none_or(|life| life.is_ending);
    let owes = current.is_some_and(|it| it.has_stopped && !it.is_full && it.fetches == 0);
    let is_void = current.is_some_and(is_dead);
    match answer {
        Ok(reply) if is_void || current.is_none() => {
            drop(reply);
            Heard::Nothing
        }
        Ok(reply) => {
            let is_ok = u64::from(reply.result.is_ok());
            world.note(Node::Client, "told", [id, is_ok], || {
                format!("{id}, {asked:?}: {:?}", reply.result)
            });
            let shown = std::mem::take(&mut world.store.shown);
            let seen = world
                .audit
                .on_reply(&asked, was_known, key.as_ref(), &reply, &shown);
            world.store.shown = shown;
            world.see(seen);
            Heard::Told(reply)
        }
        Err(error @ (SubmitError::NoLeader | SubmitError::OutcomeUnknown)) => {
            let why = format!("{asked:?}: {error}, and this host has no leader to lose");
            world.see(Err(safety("taken_is_answered", why)));
            Heard::Nothing
        }
        Err(SubmitError::QueueFull) => {
            world.note(Node::Client, "refused", [id, 0], || format!("{id}: full"));
            if !is_new {
                let why = format!("{asked:?} was in the queue, which is then full");
                world.see(Err(safety("taken_is_answered", why)));
            }
            Heard::Full
        }
        Err(SubmitError::Stopped) => {
            world.note(Node::Client, "refused", [id, 1], || {
                format!("{id}: stopped")
            });
            if !has_ended {
                let why = format!("{asked:?} is told that the engine stops, and it does not");
                world.see(Err(safety("taken_is_answered", why)));
            }
            if owes && is_early {
                let why = format!("{asked:?} was taken, and the stop left it unanswered");
                world.see(Err(safety("stop_answers_what_it_took", why)));
            }
            Heard::Stopped
        }
    }
}

/// What is waited for.
#[derive(Debug)]
enum Awaited {
    Order(oneshot::Receiver<Box<Order>>),
    Refund(usize, oneshot::Receiver<Box<Payment>>),
}

/// Somebody who waits for an end.
#[derive(Debug)]
pub(super) struct Watching {
    order_id: OrderId,
    awaited: Awaited,
}

/// Refunds of a payment that have ended.
fn ended(payment: &Payment) -> usize {
    let ended = |status: &RefundStatus| *status != RefundStatus::Pending;
    let refunds = payment.refunds.iter();
    refunds.filter(|refund| ended(&refund.status)).count()
}

/// What readers see of an order's end, or of its refunds' number.
fn shown_end(world: &World, order_id: OrderId) -> (bool, usize) {
    let shown = &world.store.shown;
    let order = shown.get(&RowKey::Order(order_id)).map(AsRef::as_ref);
    let payment = shown.get(&RowKey::Payment(order_id)).map(AsRef::as_ref);
    let has_ended = matches!(order, Some(Row::Order(order)) if order.saga.is_terminal());
    let refunds = match payment {
        Some(Row::Payment(payment)) => ended(payment),
        _ => 0,
    };
    (has_ended, refunds)
}

impl Watching {
    /// Begins to wait, and then looks whether that is still to come: `None` where it has
    /// ended, as for anybody who asks.
    pub(super) fn begin(order_id: OrderId, refund: bool) -> Option<Self> {
        let (watches, before) = with(|world| {
            let before = shown_end(world, order_id).1;
            Some((world.alive()?.watches.clone(), before))
        })?;
        let awaited = if refund {
            Awaited::Refund(before, watches.refund_end(order_id, before))
        } else {
            Awaited::Order(watches.order_end(order_id))
        };
        let (has_ended, refunds) = with(|world| shown_end(world, order_id));
        let is_over = if refund { refunds > before } else { has_ended };
        let watching = Self { order_id, awaited };
        if is_over {
            watching.give_up();
            return None;
        }
        Some(watching)
    }

    /// Has it been told? What it was told must be so, and visible.
    fn look(&mut self, world: &mut World) -> Result<bool, crate::verdict::Failure> {
        let order_id = self.order_id;
        let (has_ended, refunds) = shown_end(world, order_id);
        match &mut self.awaited {
            Awaited::Order(end) => match end.try_recv() {
                Ok(order) if !order.saga.is_terminal() || order.order_id != order_id => {
                    let why = format!("order {order_id}: told of {}", order.saga);
                    Err(safety("reply_is_true", why))
                }
                Ok(_) if !has_ended => {
                    let why = format!("order {order_id}: told of an end that readers miss");
                    Err(safety("read_your_writes", why))
                }
                Ok(_) => Ok(true),
                Err(oneshot::error::TryRecvError::Closed) => Self::closed(world, order_id),
                Err(oneshot::error::TryRecvError::Empty) => Ok(false),
            },
            Awaited::Refund(before, end) => match end.try_recv() {
                Ok(payment) if ended(&payment) <= *before => {
                    let why = format!("order {order_id}: told of a refund that is under way");
                    Err(safety("reply_is_true", why))
                }
                Ok(payment) if refunds < ended(&payment) => {
                    let why = format!("order {order_id}: told of a refund that readers miss");
                    Err(safety("read_your_writes", why))
                }
                Ok(_) => Ok(true),
                Err(oneshot::error::TryRecvError::Closed) => Self::closed(world, order_id),
                Err(oneshot::error::TryRecvError::Empty) => Ok(false),
            },
        }
    }

    /// Only an engine that ends lets go of those who wait.
    fn closed(world: &mut World, order_id: OrderId) -> Result<bool, crate::verdict::Failure> {
        if world.alive().is_some_and(|life| !life.is_ending) {
            let why = format!("order {order_id}: one who waits for its end was forgotten");
            return Err(safety("watch_misses_no_end", why));
        }
        Ok(true)
    }

    /// Hangs up.
    pub(super) fn give_up(self) {
        let Self { order_id, awaited } = self;
        drop(awaited);
        let watches = with(|world| Some(world.alive()?.watches.clone()));
        if let Some(watches) = watches {
            watches.forget(order_id);
        }
    }
}

/// Outside of the loop's ports: everybody who waits for what readers already see has been
/// told, and the handle counts those who wait and nobody else.
pub(super) fn check(world: &mut World) -> Checked {
    let mut watching = std::mem::take(&mut world.watching);
    let mut still = Vec::new();
    let is_alive = world.alive().is_some_and(|life| !life.is_ending);
    while let Some(mut one) = watching.pop() {
        if one.look(world)? {
            continue;
        }
        let (has_ended, refunds) = shown_end(world, one.order_id);
        let is_over = match &one.awaited {
            Awaited::Order(_) => has_ended,
            Awaited::Refund(before, _) => refunds > *before,
        };
        if is_over && is_alive {
            let why = format!("order {} has ended, and one waits for that", one.order_id);
            return Err(safety("watch_misses_no_end", why));
        }
        still.push(one);
    }
    still.reverse();
    world.watching = still;
    let Some(life) = world.alive() else {
        return Ok(());
    };
    let (depth, number) = (life.handle.depth(), life.number);
    let mine = |slot: &&Slot| slot.life == number && slot.is_counted();
    let waiting = world.slots.values().filter(mine).count();
    if depth != waiting {
        let why = format!("{waiting} commands wait, and {depth} are counted");
        return Err(safety("queue_count_is_true", why));
    }
    Ok(())
}

/// What other threads do while the loop is inside a port: a few steps, chosen by the seed.
pub(super) fn interleave() {
    let steps = with(|world| {
        let most = world.plan.threads;
        world.threads.below(most + 1)
    });
    for _ in 0..steps {
        one_step();
    }
}

fn one_step() {
    let what = with(|world| world.threads.below(10));
    match what {
        // Somebody reads an answer, or sends a command.
        0..=4 => {
            let id = with(|world| {
                let ids: Vec<u64> = world.slots.keys().copied().collect();
                (!ids.is_empty()).then(|| world.threads.pick(&ids))
            });
            if let Some(id) = id {
                advance(id);
            }
        }
        // Somebody hangs up.
        5 => {
            let id = with(|world| {
                let ids: Vec<u64> = world.slots.keys().copied().collect();
                let may = world.threads.chance(world.plan.impatient);
                (may && !world.is_healed && !ids.is_empty()).then(|| world.threads.pick(&ids))
            });
            if let Some(id) = id {
                hang_up(id);
            }
        }
        // Somebody begins to wait for an end.
        6 | 7 => {
            let wanted = with(|world| {
                let ids: Vec<OrderId> = world.order_ids.values().copied().collect();
                let id = (!ids.is_empty()).then(|| world.threads.pick(&ids))?;
                Some((id, world.threads.chance(300)))
            });
            if let Some((order_id, refund)) = wanted {
                watch(order_id, refund);
            }
        }
        // Somebody looks whether it has come, or gives up waiting.
        8 => {
            let looked = with(|world| {
                if world.watching.is_empty() {
                    return None;
                }
                let at = world.threads.below(world.watching.len() as u64);
                let mut one = world.watching.swap_remove(usize::try_from(at).unwrap_or(0));
                let gives_up = world.threads.chance(world.plan.impatient);
                match one.look(world) {
                    Ok(true) => None,
                    Ok(false) if gives_up => Some(one),
                    Ok(false) => {
                        world.watching.push(one);
                        None
                    }
                    Err(failure) => {
                        world.see(Err(failure));
                        None
                    }
                }
            });
            if let Some(one) = looked {
                one.give_up();
            }
        }
        _ => calls::answer_any(),
    }
}

/// Somebody waits from here on.
pub(super) fn watch(order_id: OrderId, refund: bool) {
    if let Some(watching) = Watching::begin(order_id, refund) {
        with(|world| world.watching.push(watching));
    }
}
