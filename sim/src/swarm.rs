//! From a seed to a plan: the seed chooses which faults there are and how strong, so that
//! runs differ in kind and not only in detail.

use crate::plan::{Action, Ask, Breaks, Fault, Knobs, Plan, Stock};
use crate::rng::{Rng, Stream};

/// The plan of a seed.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut rng = Rng::fork(seed, Stream::Swarm, &[]);
    let mut knobs = Knobs {
        seed,
        ..Knobs::default()
    };
    timers(&mut knobs);
    driver(&mut knobs, &mut rng);
    network(&mut knobs, &mut rng);
    gateway(&mut knobs, &mut rng);
    payments(&mut knobs);
    let orders_most = if rng.chance(150) { 60 } else { 16 };
    let orders = rng.between(3, orders_most);
    let products = rng.between(1, 6);
    if orders <= 8 {
        // Small ones, so that whole segments are let go; a record has to fit all the same.
        knobs.segment_bytes = 16_384;
    }
    let faults_until_ms = rng.pick(&[5_000, 60_000, 400_000]);
    knobs.heal_at_ms = rng.between(2_000, faults_until_ms);
    if rng.chance(150) {
        knobs.max_active_orders = u32::try_from(rng.between(1, 4)).unwrap_or(1);
    }
    let mut actions = actions(&knobs, orders, products);
    if knobs.capture_refused + knobs.authorisation_lapses > 0 {
        see_to_payments(&knobs, orders, &mut actions);
    }
    let mut rng = Rng::fork(seed, Stream::Actions, &[6]);
    if rng.chance(120) {
        give_back_in_parts(&mut knobs, &mut actions, &mut rng);
    }
    let faults = faults(&knobs);
    try_seldom(&mut knobs, &faults);
    let mut stocks = Rng::fork(seed, Stream::Actions, &[1]);
    let most = stocks.pick(&[3, 30, 1000]);
    Plan {
        products: (0..u32::try_from(products).unwrap_or(1))
            .map(|product| Stock {
                product,
                on_hand: stocks.between(0, most),
            })
            .collect(),
        knobs,
        actions,
        faults,
    }
}

/// A gateway that is out for minutes, tried every millisecond, is a long run that shows nothing
/// which a short one does not. So is a deadline that a clock put off by hours.
fn try_seldom(knobs: &mut Knobs, faults: &[Fault]) {
    let put_off_ms = faults.iter().map(|fault| match fault.breaks {
        // Forward too: the next process may be back where the clock was.
        Breaks::ClockJump { by_ms } => by_ms.unsigned_abs(),
        _ => 0,
    });
    let put_off_ms = put_off_ms.sum::<u64>() + 2 * knobs.restart_skew_ms;
    let shortest_ms = (knobs.heal_at_ms + put_off_ms) / 2_000;
    knobs.retry_cap_ms = knobs.retry_cap_ms.max(shortest_ms);
    knobs.parked_retry_ms = knobs.parked_retry_ms.max(shortest_ms);
}

/// Off in one half of all runs, else up to this strong.
fn ratio(rng: &mut Rng, most: u64) -> u32 {
    if rng.chance(500) {
        return 0;
    }
    u32::try_from(rng.between(1, most)).unwrap_or(0)
}

fn timers(knobs: &mut Knobs) {
    let mut rng = Rng::fork(knobs.seed, Stream::Settings, &[]);
    let payment_ms = match rng.below(4) {
        0 => rng.between(1, 50),
        1 => rng.between(100, 3_000),
        2 => rng.between(3_000, 30_000),
        _ => 120_000,
    };
    knobs.payment_timeout_ms = payment_ms;
    knobs.saga_timeout_ms = payment_ms + rng.pick(&[1, 50, 5_000, 180_000]);
    knobs.hold_ms = knobs.saga_timeout_ms + rng.pick(&[1, 10, 1_000, 600_000]);
    knobs.retry_first_ms = rng.pick(&[1, 50, 200, 2_000]);
    knobs.retry_cap_ms = rng.pick(&[1, 500, 5_000, 30_000]);
    knobs.parked_retry_ms = rng.pick(&[10, 1_000, 20_000, 300_000]);
    knobs.park_after_attempts = rng.pick(&[1, 2, 3, 8]);
    knobs.charge_attempts = rng.pick(&[1, 1, 2, 3]);
}

fn driver(knobs: &mut Knobs, rng: &mut Rng) {
    knobs.batch_max = rng.pick(&[1, 4, 16, 64]);
    knobs.linger_us = rng.pick(&[1, 50, 2_000]);
    knobs.append_us = rng.pick(&[1, 200, 5_000, 200_000]);
    knobs.fetch_us = rng.pick(&[0, 0, 100, 5_000, 400_000]);
    knobs.segment_bytes = rng.pick(&[32_768, 65_536]);
    knobs.spare = rng.pick(&[0, 500, 1000]);
    knobs.milestones = rng.pick(&[0, 1, 3]);
    knobs.snapshot_every = rng.pick(&[0, 3, 10, 40]);
    knobs.keep_records = if rng.chance(400) {
        rng.pick(&[1, 10, 40])
    } else {
        0
    };
    knobs.store_lag = rng.pick(&[0, 2, 20]);
    // What retention has let go, only the store can tell.
    knobs.store_lost = if knobs.keep_records == 0 {
        ratio(rng, 600)
    } else {
        0
    };
    knobs.restart_ms = rng.pick(&[1, 500, 20_000]);
    knobs.restart_skew_ms = rng.pick(&[0, 0, 100, 10_000, 3_600_000]);
    knobs.raw_clock = rng.chance(300);
}

fn network(knobs: &mut Knobs, rng: &mut Rng) {
    knobs.net_us = rng.pick(&[10, 2_000, 100_000, 3_000_000]);
    knobs.request_lost = ratio(rng, 300);
    knobs.reply_lost = ratio(rng, 300);
    knobs.request_twice = ratio(rng, 300);
    knobs.client_timeout_ms = rng.pick(&[20, 2_000, 10_000]);
}

fn gateway(knobs: &mut Knobs, rng: &mut Rng) {
    knobs.call_timeout_ms = rng.pick(&[20, 1_000, 5_000]);
    knobs.gateway_us = rng.pick(&[100, 20_000, 150_000, 3_000_000]);
    knobs.decline = ratio(rng, 500);
    knobs.pending = ratio(rng, 700);
    knobs.pending_ms = rng.pick(&[50, 5_000, 600_000]);
    knobs.pending_declined = rng.pick(&[0, 300, 500, 1000]);
    knobs.pending_sticky = rng.pick(&[0, 500, 1000]);
    knobs.call_lost = ratio(rng, 500);
    knobs.call_late = ratio(rng, 500);
    knobs.answer_lost = ratio(rng, 600);
    knobs.call_fails = ratio(rng, 700);
    knobs.refund_refused = ratio(rng, 900);
    knobs.webhook_lost = ratio(rng, 1000);
    knobs.webhook_twice = ratio(rng, 700);
    knobs.webhook_ms = rng.pick(&[1, 2_000, 120_000]);
    knobs.capture_after_all = if rng.chance(250) { ratio(rng, 700) } else { 0 };
}

/// How the gateway takes money, and how it tells of it.
fn payments(knobs: &mut Knobs) {
    let mut rng = Rng::fork(knobs.seed, Stream::Settings, &[1]);
    knobs.report_as_command = rng.pick(&[0, 500, 1000]);
    knobs.manual_capture = rng.chance(300);
    if rng.chance(300) {
        knobs.action_required = ratio(&mut rng, 1000);
        knobs.action_never = rng.pick(&[0, 300, 1000]);
    }
    if rng.chance(400) {
        knobs.refund_pending = ratio(&mut rng, 1000);
    }
    knobs.refund_reported = rng.pick(&[0, 0, 500, 1000]);
    // A fork of its own, so that every other seed is as it was.
    let mut rng = Rng::fork(knobs.seed, Stream::Settings, &[2]);
    if knobs.manual_capture && rng.chance(600) {
        knobs.authorisation_lapses = ratio(&mut rng, 1000);
        knobs.capture_refused = ratio(&mut rng, 500);
    }
    if knobs.refund_pending > 0 {
        knobs.refund_fails_late = ratio(&mut rng, 700);
    }
}

/// Operators look at some payments whose capture may have been refused, and try again or
/// write them off; also at some where there is nothing to see to.
fn see_to_payments(knobs: &Knobs, orders: u64, actions: &mut Vec<Action>) {
    let mut rng = Rng::fork(knobs.seed, Stream::Actions, &[7]);
    let often = rng.pick(&[0, 300, 900]);
    for order in 0..u32::try_from(orders).unwrap_or(0) {
        while rng.chance(often) {
            let is_retry = rng.chance(500);
            actions.push(Action {
                at_ms: rng.below(knobs.heal_at_ms),
                // Beyond those of all other requests.
                key: rng.chance(500).then_some(1_000_000 + order),
                retries: u32::try_from(rng.below(3)).unwrap_or(0),
                ask: if is_retry {
                    Ask::RetryPayment { order }
                } else {
                    Ask::WriteOff { order }
                },
            });
        }
    }
    actions.sort_by_key(|action| action.at_ms);
}

fn actions(knobs: &Knobs, orders: u64, products: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut keys = 0;
    let mut style = Rng::fork(knobs.seed, Stream::Actions, &[2]);
    let cancels = ratio(&mut style, 700);
    let refunds = ratio(&mut style, 700);
    let others = ratio(&mut style, 300);
    let keyed = style.pick(&[0, 500, 1000]);
    let price_most = style.pick(&[0, 5, 1_000]);
    // Orders come close together in some runs, and far apart in others.
    let span_ms = knobs.heal_at_ms / style.pick(&[1, 4, 40]);
    for order in 0..orders {
        let mut rng = Rng::fork(knobs.seed, Stream::Actions, &[3, order]);
        let order = u32::try_from(order).unwrap_or(0);
        let at_ms = rng.below(span_ms.max(1));
        let mut key = |wanted: bool| {
            keys += 1;
            wanted.then_some(keys)
        };
        let lines = (0..rng.between(1, 4))
            .map(|_| {
                let product =
                    u32::try_from(rng.below(products + u64::from(rng.clone().chance(60))));
                let quantity = u32::try_from(rng.between(1, rng.clone().pick(&[1, 3, 20])));
                let price = i64::try_from(rng.below(price_most + 1)).unwrap_or(0);
                (product.unwrap_or(0), quantity.unwrap_or(1), price)
            })
            .collect::<Vec<_>>();
        let hold_ms = rng.chance(120).then(|| rng.between(1, knobs.hold_ms));
        let create_key = key(rng.chance(keyed));
        let retries = u32::try_from(rng.below(5)).unwrap_or(0);
        let create = |lines: &[(u32, u32, i64)]| Ask::Create {
            order,
            lines: lines.to_vec(),
            hold_ms,
        };
        actions.push(Action {
            at_ms,
            key: create_key,
            retries,
            ask: create(&lines),
        });
        if create_key.is_some() && rng.chance(others) {
            let mut other = lines.clone();
            other[0].1 += 1;
            actions.push(Action {
                at_ms: at_ms + rng.below(rng.clone().pick(&[2, 3_000])),
                key: create_key,
                retries: 1,
                ask: create(&other),
            });
        }
        let later = |rng: &mut Rng| {
            at_ms + rng.below(rng.clone().pick(&[3, 300, 300, 1_000, 5_000, 200_000]))
        };
        if rng.chance(cancels) {
            for _ in 0..rng.between(1, 3) {
                actions.push(Action {
                    at_ms: later(&mut rng),
                    key: key(rng.chance(keyed)),
                    retries: u32::try_from(rng.below(4)).unwrap_or(0),
                    ask: Ask::Cancel { order },
                });
            }
        }
        if rng.chance(refunds) {
            for _ in 0..rng.between(1, 3) {
                let amount = rng
                    .chance(600)
                    .then(|| i64::try_from(rng.between(1, 1 + price_most * 2)).unwrap_or(1));
                actions.push(Action {
                    at_ms: later(&mut rng),
                    key: key(rng.chance(keyed)),
                    retries: u32::try_from(rng.below(4)).unwrap_or(0),
                    ask: Ask::Refund { order, amount },
                });
            }
        }
        if rng.chance(300) {
            actions.push(Action {
                at_ms: later(&mut rng),
                key: key(rng.chance(keyed)),
                retries: u32::try_from(rng.below(2)).unwrap_or(0),
                ask: Ask::Nudge { order },
            });
        }
    }
    stock_actions(knobs, products, &mut keys, &mut actions);
    if style.chance(300) {
        reuse_keys(knobs, &mut actions);
    }
    actions.sort_by_key(|action| action.at_ms);
    actions
}

/// Each charge is given back in several parts of different sizes, and the gateway tells of
/// each part: late, twice, and while another part is on its way.
fn give_back_in_parts(knobs: &mut Knobs, actions: &mut Vec<Action>, rng: &mut Rng) {
    knobs.refund_reported = 1000;
    knobs.refund_pending = rng.pick(&[0, 300, 800]);
    knobs.webhook_twice = rng.pick(&[300, 1000]);
    knobs.webhook_ms = rng.pick(&[50, 2_000, 20_000]);
    let mut placed = Vec::new();
    for action in actions.iter_mut() {
        if let Ask::Create { order, lines, .. } = &mut action.ask {
            for (_, _, price) in lines.iter_mut() {
                *price = (*price).max(9);
            }
            placed.push((*order, action.at_ms));
        }
    }
    let span_ms = rng.pick(&[2_000, 20_000]);
    for (order, at_ms) in placed {
        for amount in [1, 2, 1, 3] {
            actions.push(Action {
                at_ms: at_ms + rng.below(span_ms),
                key: None,
                retries: 1,
                ask: Ask::Refund {
                    order,
                    amount: Some(amount),
                },
            });
        }
    }
    actions.sort_by_key(|action| action.at_ms);
}

/// Some requests come under the key of another one.
fn reuse_keys(knobs: &Knobs, actions: &mut [Action]) {
    let mut rng = Rng::fork(knobs.seed, Stream::Actions, &[5]);
    let keyed = |action: &Action| {
        action
            .key
            .filter(|_| !matches!(action.ask, Ask::Create { .. }))
    };
    let keys: Vec<u32> = actions.iter().filter_map(keyed).collect();
    for action in actions {
        if keyed(action).is_some() && rng.chance(200) {
            action.key = Some(rng.pick(&keys));
        }
    }
}

fn stock_actions(knobs: &Knobs, products: u64, keys: &mut u32, actions: &mut Vec<Action>) {
    let mut rng = Rng::fork(knobs.seed, Stream::Actions, &[4]);
    for _ in 0..rng.pick(&[0, 2, 12]) {
        let product = u32::try_from(rng.below(products)).unwrap_or(0);
        let ask = if rng.chance(200) {
            Ask::Define {
                product,
                on_hand: rng.chance(500).then(|| rng.below(30)),
            }
        } else {
            let delta = i64::try_from(rng.below(21)).unwrap_or(0) - 10;
            Ask::Adjust { product, delta }
        };
        *keys += 1;
        let can_have_key = matches!(ask, Ask::Adjust { .. });
        actions.push(Action {
            at_ms: rng.below(knobs.heal_at_ms),
            key: (can_have_key && rng.chance(500)).then_some(*keys),
            retries: u32::try_from(rng.below(3)).unwrap_or(0),
            ask,
        });
    }
}

fn faults(knobs: &Knobs) -> Vec<Fault> {
    let mut rng = Rng::fork(knobs.seed, Stream::Faults, &[]);
    let mut faults = Vec::new();
    let span_ms = knobs.heal_at_ms;
    let mut add = |rng: &mut Rng, often: u64, make: &dyn Fn(&mut Rng) -> Breaks| {
        if rng.chance(500) {
            for _ in 0..rng.between(1, often) {
                // Half of them early, where the orders are.
                let span_ms = rng.clone().pick(&[span_ms, span_ms / 4, span_ms / 40]);
                faults.push(Fault {
                    at_ms: rng.below(span_ms.max(1)),
                    breaks: make(rng),
                });
            }
        }
    };
    let small = |rng: &mut Rng, most| u32::try_from(rng.below(most)).unwrap_or(0);
    add(&mut rng, 12, &|rng| Breaks::Crash {
        steps: small(rng, 30),
        power: rng.chance(500),
    });
    add(&mut rng, 6, &|rng| Breaks::PowerCut {
        operations: small(rng, 12),
    });
    add(&mut rng, 3, &|_| Breaks::SyncFails);
    add(&mut rng, 3, &|rng| Breaks::DiskFails {
        operations: small(rng, 12),
        full: rng.chance(500),
    });
    add(&mut rng, 8, &|rng| Breaks::PowerCutTending {
        operations: small(rng, 12),
    });
    add(&mut rng, 2, &|rng| Breaks::DiskFull {
        for_ms: rng.between(1, span_ms),
        left: rng.pick(&[0, 0, 8_192]),
    });
    add(&mut rng, 3, &|rng| Breaks::Outage {
        for_ms: rng.between(1, span_ms),
    });
    add(&mut rng, 4, &|rng| Breaks::ClockJump {
        by_ms: rng.pick(&[-3_600_000, -1_000, -1, 1, 1_000, 3_600_000]),
    });
    add(&mut rng, 4, &|_| Breaks::BitFlip);
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}
