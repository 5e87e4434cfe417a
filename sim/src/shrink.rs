//! The smallest plan that still fails the same check.
//!
//! Actions, faults and products are taken out in ever smaller pieces, knobs are set back to
//! those of a calm world, and what is left is made plainer and earlier, as long as the same
//! check fails. Since every decision draws from a fork of its own, what is left goes on as it
//! was.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cli::{Options, command};
use crate::cluster::plan::ClusterKnobs;
use crate::plan::{Action, Ask, Breaks, Fault, Knobs, Plan};
use crate::run::run;
use crate::verdict::Failure;

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 10_000;
/// Of so many actions each two are tried.
const PAIRED_MAX: usize = 24;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

struct Shrinker<'f> {
    failure: &'f Failure,
    runs: u32,
    shown: Option<Instant>,
}

impl Shrinker<'_> {
    fn still_fails(&mut self, plan: &Plan) -> bool {
        if self.runs == RUNS_MAX {
            return false;
        }
        self.runs += 1;
        self.show(plan);
        run(plan, false)
            .failure
            .is_some_and(|it| it.check == self.failure.check && it.kind == self.failure.kind)
    }

    /// How far it is, for whoever waits.
    fn show(&mut self, plan: &Plan) {
        let Some(shown) = &mut self.shown else {
            return;
        };
        if shown.elapsed() < SHOW_EVERY {
            return;
        }
        *shown = Instant::now();
        let end = if std::io::stderr().is_terminal() {
            "   \r"
        } else {
            "\n"
        };
        eprint!(
            "shrinking: {} runs; {} actions, {} faults, {} products{end}",
            self.runs,
            plan.actions.len(),
            plan.faults.len(),
            plan.products.len()
        );
        let _ = std::io::stderr().flush();
    }

    /// Takes the plan over if it is another one and fails all the same.
    fn takes(&mut self, plan: &mut Plan, other: Plan) -> bool {
        let is_taken = other != *plan && self.still_fails(&other);
        if is_taken {
            *plan = other;
        }
        is_taken
    }

    /// Takes out what can be taken out of one list of the plan.
    fn thin<T: Clone>(&mut self, plan: &mut Plan, list: fn(&mut Plan) -> &mut Vec<T>) -> bool {
        let mut has_shrunk = false;
        let mut piece = list(plan).len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < list(plan).len() {
                let mut smaller = plan.clone();
                let end = (at + piece).min(list(&mut smaller).len());
                list(&mut smaller).drain(at..end);
                if self.takes(plan, smaller) {
                    has_shrunk = true;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        has_shrunk
    }

    /// Takes out two actions at once, of a few: a question and what answers it.
    fn pairs(&mut self, plan: &mut Plan) -> bool {
        let actions = plan.actions.len().min(PAIRED_MAX);
        let pairs = (0..actions).flat_map(|one| (one + 1..actions).map(move |other| (one, other)));
        pairs.into_iter().any(|(one, other)| {
            let mut smaller = plan.clone();
            smaller.actions.remove(other);
            smaller.actions.remove(one);
            self.takes(plan, smaller)
        })
    }

    fn calm(&mut self, plan: &mut Plan) -> bool {
        let mut is_calmer = false;
        let Ok(serde_json::Value::Object(calm)) = serde_json::to_value(Knobs::default()) else {
            return false;
        };
        for (name, value) in calm {
            if name == "seed" {
                continue;
            }
            let Ok(mut knobs) = serde_json::to_value(&plan.knobs) else {
                return is_calmer;
            };
            knobs[&name] = value;
            let Ok(knobs) = serde_json::from_value::<Knobs>(knobs) else {
                continue;
            };
            if knobs.settings().validate().is_ok() {
                let calmer = Plan {
                    knobs,
                    ..plan.clone()
                };
                is_calmer |= self.takes(plan, calmer);
            }
        }
        is_calmer |= self.calm_cluster(plan);
        is_calmer
    }

    /// Of a cluster what a calm one has; how many processes there are stays.
    fn calm_cluster(&mut self, plan: &mut Plan) -> bool {
        let mut is_calmer = false;
        let calm = serde_json::to_value(ClusterKnobs::default());
        let Ok(serde_json::Value::Object(calm)) = calm else {
            return false;
        };
        for (name, value) in calm {
            let Some(cluster) = plan.knobs.cluster.as_ref().filter(|_| name != "roles") else {
                continue;
            };
            let Ok(mut knobs) = serde_json::to_value(cluster) else {
                continue;
            };
            knobs[&name] = value;
            let mut calmer = plan.clone();
            calmer.knobs.cluster = serde_json::from_value(knobs).ok();
            is_calmer |= calmer.knobs.cluster.is_some() && self.takes(plan, calmer);
        }
        is_calmer
    }

    /// Makes each line of one list plainer, one way after the other.
    fn plainer<T: Clone>(
        &mut self,
        plan: &mut Plan,
        list: fn(&mut Plan) -> &mut Vec<T>,
        ways: &[fn(&mut T)],
    ) -> bool {
        let mut is_plainer = false;
        for at in 0..list(plan).len() {
            for way in ways {
                let mut other = plan.clone();
                way(&mut list(&mut other)[at]);
                is_plainer |= self.takes(plan, other);
            }
        }
        is_plainer
    }
}

const PLAINER_ACTIONS: &[fn(&mut Action)] = &[
    |action| action.retries = 0,
    |action| action.key = None,
    |action| action.at_ms = 0,
    |action| action.at_ms /= 2,
    |action| action.at_ms -= action.at_ms % 1_000,
    |action| {
        if let Ask::Create { lines, hold_ms, .. } = &mut action.ask {
            lines.truncate(1);
            *hold_ms = None;
        }
    },
    |action| {
        if let Ask::Create { lines, .. } = &mut action.ask {
            for (_, quantity, price) in lines {
                (*quantity, *price) = (1, 1);
            }
        }
    },
    |action| {
        if let Ask::Refund { amount, .. } = &mut action.ask {
            *amount = None;
        }
    },
];

const PLAINER_FAULTS: &[fn(&mut Fault)] = &[
    |fault| fault.at_ms = 0,
    |fault| fault.at_ms /= 2,
    |fault| fault.at_ms -= fault.at_ms % 1_000,
    |fault| match &mut fault.breaks {
        Breaks::Crash { steps, .. } => *steps /= 2,
        Breaks::PowerCut { operations }
        | Breaks::DiskFails { operations, .. }
        | Breaks::PowerCutTending { operations } => *operations /= 2,
        Breaks::DiskFull { for_ms, .. } | Breaks::Outage { for_ms } => *for_ms /= 2,
        Breaks::ClockJump { by_ms } => *by_ms /= 2,
        Breaks::SyncFails | Breaks::BitFlip | Breaks::Cluster(_) => {}
    },
    |fault| {
        if let Breaks::Crash { power, .. } = &mut fault.breaks {
            *power = false;
        }
    },
];

/// Shrinks a plan that fails. `tells` shows how far it is, on standard error.
#[must_use]
pub fn shrink(plan: &Plan, failure: &Failure, tells: bool) -> Plan {
    let mut small = plan.clone();
    let mut shrinker = Shrinker {
        failure,
        runs: 0,
        shown: tells.then(Instant::now),
    };
    loop {
        let mut is_smaller = shrinker.thin(&mut small, |plan| &mut plan.actions);
        is_smaller |= shrinker.thin(&mut small, |plan| &mut plan.faults);
        is_smaller |= shrinker.thin(&mut small, |plan| &mut plan.products);
        is_smaller |= shrinker.calm(&mut small);
        is_smaller |= shrinker.plainer(&mut small, |plan| &mut plan.actions, PLAINER_ACTIONS);
        is_smaller |= shrinker.plainer(&mut small, |plan| &mut plan.faults, PLAINER_FAULTS);
        is_smaller = is_smaller || shrinker.pairs(&mut small);
        if !is_smaller || shrinker.runs == RUNS_MAX {
            break;
        }
    }
    // For whoever reads it; but an action's chance is of its place in the list too.
    let mut sorted = small.clone();
    sorted.actions.sort_by_key(|action| action.at_ms);
    sorted.faults.sort_by_key(|fault| fault.at_ms);
    shrinker.runs = 0;
    shrinker.takes(&mut small, sorted);
    small
}

/// Shrinks the plan of a run, writes what is left to a file, and says what it is and how to
/// run it.
pub(crate) fn to_file(plan: &Plan, failure: &Failure, how: &str, options: &Options) {
    // Panics of the code under test are what is looked for here, not what is to be read.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let small = shrink(plan, failure, true);
    let again = run(&small, true);
    std::panic::set_hook(hook);
    let name: String = (how.trim_start_matches('-').chars())
        .map(|it| if it.is_ascii_alphanumeric() { it } else { '-' })
        .collect();
    let name: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    let file = format!("shrunk-{}.plan", name.join("-"));
    let rerun = command(&options.how(&format!("--plan {file}")));
    let found = again.failure.as_ref().unwrap_or(failure);
    let text = format!(
        "# Shrunk from: {how}\n# It fails: {} at {} ms\n# Run it: {rerun} --trace\n{}",
        found.check,
        found.at_us / 1000,
        small.to_text()
    );
    crate::say!(
        "shrunk: {} of {} actions, {} of {} faults, {} of {} products are left; it fails: {found}",
        small.actions.len(),
        plan.actions.len(),
        small.faults.len(),
        plan.faults.len(),
        small.products.len(),
        plan.products.len()
    );
    match std::fs::write(&file, &text) {
        Ok(()) => crate::say!("written to {file}: {rerun} --trace"),
        Err(error) => crate::say!("{file} cannot be written ({error}); it would be:\n{text}"),
    }
}
