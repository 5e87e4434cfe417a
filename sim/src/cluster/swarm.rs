//! From a seed to a plan of a cluster: clients, gateway and timers are those of the
//! embedded host's plan; processes, service and faults are drawn here.

use super::plan::{ClusterBreaks, ClusterKnobs, Intruder};
use crate::plan::{Action, Ask, Breaks, Fault, Knobs, Plan, Stock};
use crate::rng::{Rng, Stream};

/// Where the seed chooses the host: is it the replicated one?
#[must_use]
pub fn is_chosen(seed: u64) -> bool {
    Rng::fork(seed, Stream::Cluster, &[102]).chance(500)
}

/// The plan of a seed with so many shards; `None`: the seed chooses among those that are
/// worth it.
#[must_use]
pub fn plan_of_shards(seed: u64, shards: Option<u16>) -> Plan {
    let mut plan = plan(seed);
    let mut rng = Rng::fork(seed, Stream::Cluster, &[105]);
    let chosen = rng.pick(&[1, 2, 2, 3, 16]);
    let shards = shards.unwrap_or(chosen);
    if let Some(cluster) = &mut plan.knobs.cluster {
        cluster.shards = shards;
    }
    if rng.chance(150) {
        crossing(&mut plan, &mut rng);
    }
    // What was drawn for three journals is spread over all of them.
    for fault in &mut plan.faults {
        let Breaks::Cluster(breaks) = &mut fault.breaks else {
            continue;
        };
        let which = u32::try_from(rng.below(u64::from(shards))).unwrap_or(0);
        match breaks {
            ClusterBreaks::NoLeader { stream, .. } if *stream == 3 => {
                *stream = 3 * u32::from(shards);
            }
            ClusterBreaks::NoLeader {
                stream: journal, ..
            }
            | ClusterBreaks::HandOver { journal, .. }
            | ClusterBreaks::LeaseDeleted { journal }
            | ClusterBreaks::Lost { journal, .. }
            | ClusterBreaks::Intrusion { journal, .. }
            | ClusterBreaks::Purged { journal, .. } => *journal += 3 * which,
            ClusterBreaks::Crash { .. }
            | ClusterBreaks::Pause { .. }
            | ClusterBreaks::Cut { .. }
            | ClusterBreaks::Slow { .. }
            | ClusterBreaks::Trim => {}
        }
    }
    plan
}

/// The plan of a seed.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut plan = crate::swarm::plan(seed);
    let mut rng = Rng::fork(seed, Stream::Cluster, &[100]);
    let knobs = &mut plan.knobs;
    // Long enough for leases to run out, and for what comes after.
    let old_heal_ms = knobs.heal_at_ms;
    knobs.heal_at_ms = rng.between(5_000, rng.clone().pick(&[20_000, 60_000, 240_000]));
    knobs.restart_skew_ms = rng.pick(&[0, 0, 50, 2_000, 60_000]);
    knobs.raw_clock = false;
    knobs.linger_us = rng.pick(&[1, 50, 500]);
    knobs.store_lost = ratio(&mut rng, 700);
    if rng.chance(600) {
        // Timers that leave room for a change of leaders.
        knobs.payment_timeout_ms = knobs.payment_timeout_ms.max(30_000);
        knobs.saga_timeout_ms = knobs.payment_timeout_ms + 60_000;
        knobs.hold_ms = knobs.saga_timeout_ms + 60_000;
    }
    knobs.cluster = Some(Box::new(cluster(&mut rng)));
    // The same things happen, spread over the time that there is now.
    let spread = rng.chance(500);
    for action in &mut plan.actions {
        if spread {
            action.at_ms = action.at_ms * plan.knobs.heal_at_ms / old_heal_ms.max(1);
        }
        action.at_ms = action.at_ms.min(plan.knobs.heal_at_ms);
        action.retries = action.retries.max(2);
    }
    if rng.chance(250) {
        refunds(&mut plan.actions, plan.knobs.seed);
    }
    let mut late = Rng::fork(seed, Stream::Cluster, &[104]);
    if late.chance(80) {
        late_words(&mut plan, &mut late);
    }
    plan.actions.sort_by_key(|action| action.at_ms);
    plan.faults
        .retain(|fault| matches!(fault.breaks, Breaks::Outage { .. }));
    plan.faults.extend(faults(&plan.knobs));
    plan.faults.sort_by_key(|fault| fault.at_ms);
    plan
}

/// Operators give parts of each charge back while its saga is still under way: what one
/// journal says of it is late in the others.
fn refunds(actions: &mut Vec<Action>, seed: u64) {
    let placed: Vec<(u32, u64)> = actions
        .iter()
        .filter_map(|action| match action.ask {
            Ask::Create { order, .. } => Some((order, action.at_ms)),
            _ => None,
        })
        .collect();
    for (order, at_ms) in placed {
        let mut rng = Rng::fork(seed, Stream::Cluster, &[103, u64::from(order)]);
        for _ in 0..rng.between(1, 4) {
            let amount = Some(i64::try_from(rng.between(1, 3)).unwrap_or(1));
            actions.push(Action {
                at_ms: at_ms + rng.below(rng.clone().pick(&[100, 1_000, 10_000])),
                key: None,
                retries: 2,
                ask: Ask::Refund { order, amount },
            });
        }
    }
}

/// What one journal says reaches the others late, and meanwhile parts of each charge are
/// given back and the order is cancelled: the undo meets refunds that it did not ask for.
fn late_words(plan: &mut Plan, rng: &mut Rng) {
    let late_ms = rng.pick(&[2_000, 8_000]);
    let knobs = &mut plan.knobs;
    knobs.heal_at_ms = knobs.heal_at_ms.max(3 * late_ms);
    knobs.gateway_us = knobs.gateway_us.min(20_000);
    knobs.net_us = knobs.net_us.min(100_000);
    knobs.decline = 0;
    knobs.manual_capture = false;
    if let Some(cluster) = &mut knobs.cluster {
        cluster.tail_stalls = rng.pick(&[100, 300, 600]);
        cluster.tail_stall_ms = late_ms;
    }
    let mut placed = Vec::new();
    for action in &mut plan.actions {
        if let Ask::Create { order, lines, .. } = &mut action.ask {
            for (_, _, price) in lines.iter_mut() {
                *price = (*price).max(5);
            }
            placed.push((*order, action.at_ms));
        }
    }
    for (order, at_ms) in placed {
        let refunds = (0..8).map(|_| Ask::Refund {
            order,
            amount: Some(1),
        });
        for ask in refunds.chain([Ask::Cancel { order }, Ask::Cancel { order }]) {
            plan.actions.push(Action {
                at_ms: at_ms + rng.below(late_ms),
                key: None,
                retries: 2,
                ask,
            });
        }
    }
}

/// Holds end while the commit is on its way, over stock that others want: one shard can
/// still sell its part of an order, and another cannot any more.
fn crossing(plan: &mut Plan, rng: &mut Rng) {
    let knobs = &mut plan.knobs;
    knobs.heal_at_ms = knobs.heal_at_ms.max(20_000);
    knobs.gateway_us = knobs.gateway_us.min(20_000);
    knobs.net_us = knobs.net_us.min(100_000);
    knobs.decline = 0;
    knobs.max_active_orders = knobs.max_active_orders.max(100);
    if let Some(cluster) = &mut knobs.cluster {
        cluster.tail_stalls = rng.pick(&[100, 300]);
        cluster.tail_stall_ms = 3_000;
    }
    for product in 0..6 {
        let on_hand = if product % 2 == 0 { 1 } else { 50 };
        match plan.products.iter_mut().find(|it| it.product == product) {
            Some(stock) => stock.on_hand = on_hand,
            None => plan.products.push(Stock { product, on_hand }),
        }
    }
    for order in 0..40 {
        let mut product = || u32::try_from(rng.below(3)).unwrap_or(0);
        let lines = vec![(2 * product(), 1, 1), (2 * product() + 1, 1, 1)];
        plan.actions.push(Action {
            at_ms: rng.below(15_000),
            key: None,
            retries: 2,
            // Beyond those of all others.
            ask: Ask::Create {
                order: 1_000 + order,
                lines,
                hold_ms: Some(rng.between(100, 2_000)),
            },
        });
    }
    plan.actions.sort_by_key(|action| action.at_ms);
}

/// Off in one half of all runs, else up to this strong.
fn ratio(rng: &mut Rng, most: u64) -> u32 {
    if rng.chance(500) {
        return 0;
    }
    u32::try_from(rng.between(1, most)).unwrap_or(0)
}

fn cluster(rng: &mut Rng) -> ClusterKnobs {
    let processes = rng.pick(&[2, 2, 3]);
    let mut roles = vec![7; processes];
    if rng.chance(400) {
        // Each process leads some journals only; each journal may be led by one at least.
        for role in &mut roles {
            *role = u8::try_from(rng.below(8)).unwrap_or(7);
        }
        for bit in [1, 2, 4] {
            let chosen = usize::try_from(rng.below(processes as u64)).unwrap_or(0);
            roles[chosen] |= bit;
        }
    }
    ClusterKnobs {
        roles,
        lease_ttl_ms: rng.pick(&[1_000, 3_000, 10_000, 10_000]),
        ack_timeout_ms: rng.pick(&[50, 1_000, 1_000, 5_000]),
        service_us: rng.pick(&[100, 1_000, 20_000]),
        tail_us: rng.pick(&[100, 1_000, 100_000]),
        ask_lost: ratio(rng, 300),
        ask_late: ratio(rng, 300),
        append_twice: ratio(rng, 500),
        answer_lost: ratio(rng, 300),
        answer_late: ratio(rng, 300),
        tail_twice: ratio(rng, 300),
        tail_gap: ratio(rng, 200),
        tail_stalls: ratio(rng, 100),
        tail_stall_ms: rng.pick(&[100, 2_000, 15_000]),
        watched: rng.pick(&[0, 500, 1000]),
        forward_lost: ratio(rng, 300),
        forward_twice: ratio(rng, 500),
        forward_us: rng.pick(&[100, 1_000, 50_000]),
        object_store: rng.pick(&[0, 500, 1000]),
        drift: rng.pick(&[0, 0, 10]),
        shards: 1,
    }
}

fn faults(knobs: &Knobs) -> Vec<Fault> {
    let mut rng = Rng::fork(knobs.seed, Stream::Cluster, &[101]);
    let mut faults = Vec::new();
    let span_ms = knobs.heal_at_ms;
    let ttl_ms = knobs.cluster.as_ref().map_or(10_000, |it| it.lease_ttl_ms);
    let mut add = |rng: &mut Rng, per_mille, often, make: &dyn Fn(&mut Rng) -> ClusterBreaks| {
        if rng.chance(per_mille) {
            for _ in 0..rng.between(1, often) {
                let span_ms = rng.clone().pick(&[span_ms, span_ms, span_ms / 4]);
                faults.push(Fault {
                    at_ms: rng.below(span_ms.max(1)),
                    breaks: Breaks::Cluster(make(rng)),
                });
            }
        }
    };
    let small = |rng: &mut Rng, most| u32::try_from(rng.below(most)).unwrap_or(0);
    add(&mut rng, 500, 10, &|rng| ClusterBreaks::Crash {
        process: small(rng, 3),
        steps: small(rng, 40),
    });
    add(&mut rng, 600, 8, &|rng| ClusterBreaks::Pause {
        process: small(rng, 3),
        steps: small(rng, 40),
        // Shorter and longer than the lease.
        for_ms: rng.between(1, rng.clone().pick(&[ttl_ms, 2 * ttl_ms, 6 * ttl_ms])),
    });
    add(&mut rng, 500, 6, &|rng| {
        let sides = rng.pick(&[(true, true), (true, false), (false, true)]);
        ClusterBreaks::Cut {
            process: small(rng, 3),
            to: sides.0,
            from: sides.1,
            for_ms: rng.between(1, rng.clone().pick(&[1_000, 2 * ttl_ms, 6 * ttl_ms])),
        }
    });
    add(&mut rng, 500, 6, &|rng| ClusterBreaks::NoLeader {
        stream: small(rng, 4),
        for_ms: rng.between(500, 9_300),
    });
    add(&mut rng, 300, 3, &|rng| ClusterBreaks::Slow {
        by_ms: rng.pick(&[50, 900, 4_000]),
        for_ms: rng.between(1, span_ms),
    });
    add(&mut rng, 400, 8, &|rng| ClusterBreaks::HandOver {
        process: small(rng, 3),
        journal: small(rng, 3),
    });
    add(&mut rng, 150, 2, &|rng| ClusterBreaks::LeaseDeleted {
        journal: small(rng, 3),
    });
    add(&mut rng, 500, 4, &|_| ClusterBreaks::Trim);
    // A run ends with one of these, so there are few.
    add(&mut rng, 40, 1, &|rng| ClusterBreaks::Lost {
        journal: small(rng, 3),
        messages: 1 + small(rng, 4),
    });
    add(&mut rng, 60, 1, &|rng| ClusterBreaks::Intrusion {
        journal: small(rng, 3),
        message: rng.pick(&[Intruder::Unreadable, Intruder::Foreign, Intruder::Repeated]),
    });
    add(&mut rng, 30, 1, &|rng| ClusterBreaks::Purged {
        journal: small(rng, 3),
        process: small(rng, 3),
    });
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}
