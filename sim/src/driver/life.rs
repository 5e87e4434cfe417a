//! The lives of the process: recovery, the loop, its end of whatever kind, and the end of
//! the run, when everything has to have ended.

use std::time::Duration;

use a4co_core::embedded::EmbeddedHost;
use a4co_core::invariants::Phase;
use a4co_core::order::OrderStatus;
use a4co_driver::driver::Reach;
use a4co_driver::{Driver, Stopped};
use a4co_journal::sim_disk::{SimDisk, SimFault};
use a4co_journal::{Journal, OpenError, Options};
use madsim::runtime::{Handle, NodeHandle};
use tokio::sync::oneshot;

use super::ports::{SimClock, SimGateway, SimLog, SimObserver, SimRows};
use super::swarm::Blow;
use super::world::{Life, World, with};
use super::{calls, clients, slots};
use crate::coverage::Strike;
use crate::finish::unended;
use crate::plan::{Action, Ask, Breaks};
use crate::recovery::{check_log, doubt, replay};
use crate::trace::Node;
use crate::verdict::{Checked, Failure, liveness, safety};

/// The product and the order that are asked for once all faults have ended.
const PROBE: u32 = crate::clients::PROBE;

/// How often the whole is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Where the tasks of the world around the process run.
pub(super) fn world_node() -> NodeHandle {
    let handle = Handle::current();
    #[expect(clippy::expect_used, reason = "made when the run began")]
    handle.get_node("world").expect("the world's node")
}

/// A record is durable: the auditor reads it.
pub(super) fn on_durable(world: &mut World, sequence: u64, bytes: &[u8]) -> Checked {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    world.note(Node::Journal, "durable", [sequence, hash], || {
        format!("record {sequence}: {}", crate::describe::record(bytes))
    });
    world.audit.on_record(bytes, &world.gateway)?;
    if sequence == world.audit.records.len() as u64 {
        return Ok(());
    }
    Err(safety("journal_contiguous", format!("record {sequence}")))
}

/// The whole run.
pub(super) async fn all() {
    let handle = Handle::current();
    handle.create_node().name("world").build();
    let answer = go(&handle).await;
    with(|world| {
        world.now_us();
        world.see(answer);
    });
}

fn failed() -> Checked {
    with(|world| world.failure.clone()).map_or(Ok(()), Err)
}

async fn go(handle: &Handle) -> Checked {
    let actions = with(|world| world.actions());
    for (number, action) in (0..).zip(actions) {
        with(|world| world.clients_at_work += 1);
        world_node().spawn(clients::run(number, action));
    }
    let (mut blows, heal_us) = with(|world| {
        let heal_us = world.plan.plan.knobs.heal_at_ms * 1_000;
        (world.plan.blows.clone(), heal_us)
    });
    blows.retain(|(at_us, _)| *at_us < heal_us);
    let mut blows = blows.into_iter().peekable();
    let mut running: Option<Running> = None;
    loop {
        failed()?;
        with(slots::check)?;
        let now_us = with(World::now_us);
        if now_us >= heal_us {
            break;
        }
        running = tend(handle, running).await?;
        let next_us = blows.peek().map_or(heal_us, |(at_us, _)| *at_us);
        if next_us <= with(World::now_us) {
            if let Some((_, blow)) = blows.next() {
                running = strike(handle, blow, running).await?;
            }
            continue;
        }
        let nap = Duration::from_micros((next_us - now_us).min(20_000));
        let news = with(|world| world.news.clone());
        tokio::select! {
            biased;
            () = news.notified() => {}
            () = madsim::time::sleep(nap) => {}
        }
    }
    end(handle, running).await
}

/// A loop that runs on its node.
struct Running {
    node: NodeHandle,
    stop: Option<oneshot::Sender<()>>,
    ended: madsim::task::JoinHandle<Option<Stopped<SimLog, SimRows>>>,
}

/// Sees to it that a process runs.
async fn tend(handle: &Handle, running: Option<Running>) -> Result<Option<Running>, Failure> {
    if let Some(running) = running {
        let is_dead = with(|world| world.alive().is_none());
        if !is_dead && !running.ended.is_finished() {
            return Ok(Some(running));
        }
        bury(handle, running).await?;
    }
    let restart = with(|world| {
        let most = world.plan.plan.knobs.restart_ms.max(1);
        world.threads.between(1, most)
    });
    if with(|world| world.lives) > 0 {
        madsim::time::sleep(Duration::from_millis(restart)).await;
    }
    begin(handle)
}

/// What a loop left that has ended, or died.
async fn bury(handle: &Handle, running: Running) -> Checked {
    if with(|world| world.alive().is_none()) {
        handle.kill(running.node.id());
        drop(running.ended.await);
        with(|world| world.life = None);
        return failed();
    }
    let stopped = running.ended.await;
    let Ok(Some(mut stopped)) = stopped else {
        // The log failed: the process ends, and the next one finds out.
        handle.kill(running.node.id());
        with(|world| {
            let power = world.disk.power_is_off();
            world.after_death(power);
            world.life = None;
        });
        return failed();
    };
    let is_full = with(|world| world.life.as_ref().is_some_and(|life| life.is_full));
    let fetches = with(|world| world.life.as_ref().map_or(0, |life| life.fetches));
    let state = stopped.host.snapshot();
    let lost = if is_full {
        "a record found no room, and the stop is said to be in good order"
    } else if state.is_none() && fetches == 0 {
        "something was decided and not made durable"
    } else {
        ""
    };
    if !lost.is_empty() {
        return Err(safety("stop_finishes_what_it_took", lost));
    }
    if let Some(state) = state {
        with(|world| world.audit.same_state(&state, "the stopped engine"))?;
        stopped.log.finish(&state);
    }
    drop(stopped);
    handle.kill(running.node.id());
    // Whoever was answered reads that; whoever was not hears that nobody is there.
    for _ in 0..4 {
        madsim::time::sleep(Duration::from_micros(500)).await;
    }
    with(|world| {
        let power = world.threads.chance(500);
        world.note(Node::Engine, "stopped", [u64::from(power), 0], || {
            "in order".into()
        });
        if world.life.as_ref().is_some_and(|life| !life.is_dead) {
            world.after_death(power);
        }
        world.life = None;
    });
    failed()
}

fn options(world: &World) -> Options {
    let knobs = &world.plan.plan.knobs;
    Options {
        segment_bytes: knobs.segment_bytes,
        milestones: usize::try_from(knobs.milestones).unwrap_or(0),
    }
}

/// As production recovers. `None`: for a reason that passes, not now.
fn recover() -> Result<Option<(EmbeddedHost, Journal<SimDisk>)>, Failure> {
    with(|world| {
        let opened = Journal::open(world.disk.clone(), options(world));
        let (journal, found) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Full(_) | OpenError::Disk(_)) => {
                let power = world.disk.power_is_off();
                world.after_death(power);
                return Ok(None);
            }
            Err(error) => return Err(safety("journal_opens_after_crash", error.to_string())),
        };
        let (known, last) = (world.audit.records.len() as u64, found.last_sequence);
        world.note(Node::Journal, "opens", [last, found.base_sequence], || {
            format!("{last} records, torn {:?}", found.torn_tail)
        });
        if let Some(damage) = found.damaged_snapshots.first() {
            return Err(safety("journal_is_intact", damage.to_string()));
        }
        if let Some(bytes) = doubt(&journal, known, last, world.in_doubt.take())? {
            on_durable(world, last, &bytes)?;
        }
        world.audit.unpublished = None;
        let intact =
            |error: a4co_journal::ReadError| safety("journal_is_intact", error.to_string());
        let reader = journal.reader();
        let newest = reader.recover_from_newest().map_err(intact)?;
        let from = newest
            .snapshot
            .as_ref()
            .map_or(0, |it| it.position.sequence);
        let applied = world.store.saved_applied;
        let recovery = if applied < from {
            reader.recover_from_base().map_err(intact)?
        } else {
            newest
        };
        let (host, rows) = replay(&world.audit, &world.settings, recovery, applied)?;
        world.store.catch_up(world.audit.records.len() as u64, rows);
        if host.is_settled() {
            world.audit.same_state(&host, "the restarted host")?;
        }
        world
            .audit
            .same_rows(&world.store.shown, "the restarted store")?;
        Ok(Some((host, journal)))
    })
}

fn begin(handle: &Handle) -> Result<Option<Running>, Failure> {
    let Some((host, journal)) = recover()? else {
        return Ok(None);
    };
    let (life, queue, started_at, started_us) = with(|world| {
        world.lives += 1;
        (world.lives, world.plan.queue, world.wall(), world.now_us())
    });
    let last = with(|world| world.audit.last_event_at());
    let log = SimLog {
        life,
        journal,
        since_snapshot: 0,
    };
    let (driver, reach) = Driver::new(
        host,
        log,
        SimRows { life },
        SimClock { life },
        SimObserver { life },
        std::sync::Arc::new(SimGateway { life }),
        queue,
    );
    let Reach {
        handle: submits,
        watches,
        answers,
        stop,
    } = reach;
    with(|world| {
        world.note(Node::Engine, "starts", [u64::from(life), 0], || {
            format!("process {life}")
        });
        world.life = Some(Life {
            number: life,
            handle: submits,
            watches,
            answers,
            started_at: started_at.max(last),
            started_us,
            is_dead: false,
            is_ending: false,
            has_stopped: false,
            is_full: false,
            fetches: 0,
        });
    });
    let node = handle.create_node().name("engine").build();
    let ended = node.spawn(async move {
        let ended = driver.run().await.ok();
        with(|world| {
            if let Some(life) = world.alive_as(life) {
                life.is_ending = true;
                life.has_stopped = ended.is_some();
            }
            world.news.notify_one();
        });
        ended
    });
    Ok(Some(Running {
        node,
        stop: Some(stop),
        ended,
    }))
}

/// Something befalls the process or what is around it.
async fn strike(
    handle: &Handle,
    blow: Blow,
    running: Option<Running>,
) -> Result<Option<Running>, Failure> {
    with(|world| world.note(Node::Fault, "strikes", [0, 0], || format!("{blow:?}")));
    match blow {
        Blow::Kill { steps, power } => with(|world| {
            world.dies_at = Some((world.steps + steps, power));
            if steps == 0 {
                world.die(power);
            }
        }),
        Blow::Stop { killed_after_us } => {
            if let Some(running) = running {
                return stop(handle, running, killed_after_us).await.map(|()| None);
            }
            return Ok(None);
        }
        Blow::Breaks(breaks) => with(|world| {
            // What strikes at an operation yet to come ends with a process; the rest ends.
            world.disk_is_armed |=
                !matches!(breaks, Breaks::DiskFull { .. } | Breaks::Outage { .. });
            let operations = |more: u32| world.disk.operations() + u64::from(more);
            match breaks {
                Breaks::PowerCut { operations: more } => world.disk.cut_power_at(operations(more)),
                Breaks::SyncFails => world.disk.fail_next_sync(),
                Breaks::DiskFails {
                    operations: more,
                    full,
                } => {
                    let fault = if full { SimFault::Full } else { SimFault::Io };
                    world.disk.fail_at(operations(more), fault);
                }
                Breaks::DiskFull { for_ms, left } => {
                    world.disk.set_capacity(world.disk.used_bytes() + left);
                    world_node().spawn(async move {
                        madsim::time::sleep(Duration::from_millis(for_ms)).await;
                        with(|world| world.disk.set_capacity(u64::MAX));
                    });
                }
                Breaks::Outage { for_ms } => {
                    world.outage_until_us = world.now_us() + for_ms * 1_000;
                }
                _ => {}
            }
        }),
    }
    Ok(running)
}

/// The production stop path, within a time; or killed in the middle of it.
async fn stop(handle: &Handle, mut running: Running, killed_after_us: Option<u64>) -> Checked {
    with(|world| {
        if let Some(life) = world.alive() {
            life.is_ending = true;
        }
    });
    drop(running.stop.take());
    if let Some(us) = killed_after_us {
        madsim::time::sleep(Duration::from_micros(us)).await;
        with(|world| world.die(us % 2 == 0));
        return bury(handle, running).await;
    }
    for _ in 0..1_000 {
        if running.ended.is_finished() || with(|world| world.alive().is_none()) {
            return bury(handle, running).await;
        }
        madsim::time::sleep(LOOK).await;
    }
    Err(liveness("stop_ends", "20 s after it was asked to stop"))
}

/// All faults have ended, and everything comes to its end.
async fn end(handle: &Handle, mut running: Option<Running>) -> Checked {
    let bound = with(|world| {
        world.is_healed = true;
        world.audit.ledger.strike(Strike::Healed);
        world.gateway.is_healed = true;
        crate::finish::allow_refunds(&world.audit, &mut world.gateway);
        world.outage_until_us = 0;
        world.dies_at = None;
        world.disk.set_capacity(u64::MAX);
        if world.disk_is_armed {
            world.die(false);
            world.disk.kill();
            world.disk_is_armed = false;
        }
        let knobs = &world.plan.plan.knobs;
        let timers = knobs.saga_timeout_ms + knobs.hold_ms + knobs.payment_timeout_ms;
        let retries = 20 * knobs.retry_cap_ms + 4 * knobs.parked_retry_ms;
        2 * timers + retries + 4 * knobs.webhook_ms + 900_000
    });
    calls::settle_all();
    let define = Ask::Define {
        product: PROBE,
        on_hand: Some(10),
    };
    let create = Ask::Create {
        order: PROBE,
        lines: vec![(PROBE, 1, 100)],
        hold_ms: None,
    };
    let action = |key, ask| Action {
        at_ms: 0,
        key,
        retries: 10_000,
        ask,
    };
    let (define, create) = (action(None, define), action(Some(PROBE), create));
    with(|world| world.clients_at_work += 2);
    world_node().spawn(async move {
        clients::run(PROBE, define).await;
        clients::run(PROBE + 1, create).await;
    });
    let began_us = with(World::now_us);
    let mut nap = LOOK;
    loop {
        failed()?;
        with(slots::check)?;
        running = tend(handle, running).await?;
        let Some((check, why)) = with(still_open) else {
            break;
        };
        if with(World::now_us) > began_us + bound * 1_000 {
            return Err(liveness(check, why));
        }
        nudge();
        madsim::time::sleep(nap).await;
        nap = (nap * 5 / 4).min(Duration::from_secs(20));
    }
    rest()?;
    with(last_order_is_confirmed)?;
    let Some(running) = running else {
        return Err(liveness("every_saga_ends", "no process runs"));
    };
    stop(handle, running, None).await?;
    with(|world| check_log(&world.disk, &world.audit))?;
    with(|world| world.disk.crash(&mut 7));
    recover()?.map_or_else(
        || Err(safety("journal_opens_after_crash", "at the end")),
        |_| rest(),
    )
}

/// Nothing was in its way any more.
fn last_order_is_confirmed(world: &mut World) -> Checked {
    let placed = world.order_ids.get(&PROBE).copied();
    let status = placed.and_then(|order_id| Some(world.audit.order(order_id)?.status));
    if status == Some(OrderStatus::Confirmed) || !world.plan.plan.knobs.gives_orders_time(0) {
        return Ok(());
    }
    let why = format!("the last order, {placed:?}, is {status:?}");
    Err(liveness("healthy_order_completes", why))
}

/// A capture that nobody knows of is reported again.
fn nudge() {
    let behind: Vec<_> = with(|world| {
        let is_behind = |order_id, captured| {
            let ours = world.audit.payment(order_id);
            world.gateway.is_wild(order_id) && ours.is_none_or(|ours| ours.captured < captured)
        };
        let books = world.gateway.books.iter();
        let behind = books.filter(|(order_id, books)| is_behind(**order_id, books.captured));
        let report =
            |order_id: a4co_core::ids::OrderId| (order_id, world.gateway.captured_report(order_id));
        behind.map(|(order_id, _)| report(*order_id)).collect()
    });
    for (order_id, outcome) in behind {
        world_node().spawn(calls::report(order_id, outcome, false));
    }
}

/// What has not come to its end, and the check that would fail by it.
fn still_open(world: &mut World) -> Option<(&'static str, String)> {
    if world.alive().is_none() {
        return Some(("every_saga_ends", "no process runs".into()));
    }
    if let Some(slot) = world.slots.values().next() {
        let why = format!("{:?}, asked at {} us, waits", slot.asked, slot.sent_us);
        return Some(("taken_is_answered", why));
    }
    if world.clients_at_work > 0 {
        let why = format!("{} clients are at work", world.clients_at_work);
        return Some(("taken_is_answered", why));
    }
    unended(&world.audit, &world.gateway, &world.settings).map(|why| ("every_saga_ends", why))
}

/// Everything has come to its end: is it all as it should be?
fn rest() -> Checked {
    with(|world| {
        let now = world.engine_now();
        world
            .audit
            .at_rest(Phase::Quiescent { now }, &world.gateway)?;
        world.audit.same_rows(&world.store.shown, "the store")?;
        let told: Vec<_> = world.told.values().flatten().copied().collect();
        for order_id in told {
            if world.audit.order(order_id).is_none() {
                let why = format!("order {order_id} was acknowledged and is gone");
                return Err(safety("acknowledged_is_found", why));
            }
        }
        slots::check(world)
    })
}
