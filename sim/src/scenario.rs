//! A few runs written by hand, each one story.

use crate::cluster::plan::{ClusterBreaks, ClusterKnobs};
use crate::plan::{Action, Ask, Breaks, Fault, Knobs, Plan, Stock};

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    make: fn() -> Plan,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "happy",
        about: "ten orders, nothing fails",
        make: happy,
    },
    Scenario {
        name: "decline",
        about: "every charge is declined: all stock comes back",
        make: decline,
    },
    Scenario {
        name: "timeout-late-success",
        about: "charges end in success long after the saga gave up: all are refunded",
        make: timeout_late_success,
    },
    Scenario {
        name: "expiry",
        about: "holds end before the payment does",
        make: expiry,
    },
    Scenario {
        name: "cancel-races",
        about: "three cancels an order, around the time of its payment",
        make: cancel_races,
    },
    Scenario {
        name: "crash-everywhere",
        about: "the process dies over and over, with and without the power",
        make: crash_everywhere,
    },
];

/// The plan of a scenario.
#[must_use]
pub fn plan(name: &str) -> Option<Plan> {
    ALL.iter()
        .find(|scenario| scenario.name == name)
        .map(|scenario| (scenario.make)())
}

/// By then a calm cluster has leaders, and the products that were asked for.
const LEADERS_BY_MS: u64 = 15_000;

/// The same story with the replicated host: two processes over a calm journal service, of
/// which now one dies and now the other.
#[must_use]
pub fn of_the_cluster(mut plan: Plan) -> Plan {
    plan.knobs.cluster = Some(Box::new(ClusterKnobs::default()));
    // Leases come first, then the products, which whoever does not lead yet refuses once; and
    // a leader that is gone is missed for as long as leases live.
    for action in &mut plan.actions {
        action.at_ms += LEADERS_BY_MS;
        action.retries = action.retries.max(20);
    }
    for (number, fault) in (0..).zip(&mut plan.faults) {
        if let Breaks::Crash { steps, .. } | Breaks::PowerCut { operations: steps } = fault.breaks {
            fault.at_ms += LEADERS_BY_MS;
            fault.breaks = Breaks::Cluster(ClusterBreaks::Crash {
                process: number,
                steps,
            });
        }
    }
    plan
}

fn orders(knobs: Knobs, count: u32) -> Plan {
    Plan {
        knobs,
        products: vec![
            Stock {
                product: 0,
                on_hand: 100,
            },
            Stock {
                product: 1,
                on_hand: 100,
            },
        ],
        actions: (0..count)
            .map(|order| Action {
                at_ms: 100 + u64::from(order) * 200,
                key: Some(order),
                retries: 5,
                ask: Ask::Create {
                    order,
                    lines: vec![(0, 1, 250), (1, 2, 100)],
                    hold_ms: None,
                },
            })
            .collect(),
        faults: Vec::new(),
    }
}

fn happy() -> Plan {
    orders(Knobs::default(), 10)
}

fn decline() -> Plan {
    let knobs = Knobs {
        decline: 1000,
        ..Knobs::default()
    };
    orders(knobs, 10)
}

fn timeout_late_success() -> Plan {
    let knobs = Knobs {
        heal_at_ms: 1_200_000,
        pending: 1000,
        pending_ms: 900_000,
        pending_declined: 0,
        pending_sticky: 1000,
        ..Knobs::default()
    };
    orders(knobs, 10)
}

fn expiry() -> Plan {
    let mut plan = timeout_late_success();
    for action in &mut plan.actions {
        if let Ask::Create { hold_ms, .. } = &mut action.ask {
            *hold_ms = Some(1_000);
        }
    }
    plan
}

fn cancel_races() -> Plan {
    let mut plan = orders(Knobs::default(), 30);
    for order in 0..30 {
        for nth in 0..3 {
            plan.actions.push(Action {
                at_ms: 100 + u64::from(order) * 200 + u64::from(nth * (order % 7) * 12),
                key: Some(1_000 + order * 3 + nth),
                retries: 3,
                ask: Ask::Cancel { order },
            });
        }
    }
    plan.actions.sort_by_key(|action| action.at_ms);
    plan
}

fn crash_everywhere() -> Plan {
    let knobs = Knobs {
        store_lag: 3,
        snapshot_every: 5,
        restart_ms: 50,
        pending: 300,
        answer_lost: 300,
        ..Knobs::default()
    };
    let mut plan = orders(knobs, 60);
    plan.faults = (0..60)
        .map(|nth| Fault {
            at_ms: 150 + u64::from(nth) * 210,
            breaks: if nth % 3 == 2 {
                Breaks::PowerCut {
                    operations: nth % 11,
                }
            } else {
                Breaks::Crash {
                    steps: nth % 17,
                    power: nth % 2 == 0,
                }
            },
        })
        .collect();
    plan
}
