//! The smallest plan that still fails the same check.
//!
//! Actions and faults are taken out in ever smaller pieces, then knobs are set back to
//! those of a calm world, as long as the same check fails. Since every decision draws from
//! a fork of its own, what is left goes on as it was.

use crate::plan::{Knobs, Plan};
use crate::run::run;
use crate::verdict::Failure;

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 2_000;

struct Shrinker<'f> {
    failure: &'f Failure,
    runs: u32,
}

impl Shrinker<'_> {
    fn still_fails(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        self.runs <= RUNS_MAX
            && run(plan, false)
                .failure
                .is_some_and(|it| it.check == self.failure.check && it.kind == self.failure.kind)
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
                if self.still_fails(&smaller) {
                    *plan = smaller;
                    has_shrunk = true;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        has_shrunk
    }

    fn calm(&mut self, plan: &mut Plan) {
        let Ok(serde_json::Value::Object(calm)) = serde_json::to_value(Knobs::default()) else {
            return;
        };
        for (name, value) in calm {
            if name == "seed" {
                continue;
            }
            let Ok(mut knobs) = serde_json::to_value(&plan.knobs) else {
                return;
            };
            if knobs.get(&name) == Some(&value) {
                continue;
            }
            knobs[&name] = value;
            let Ok(knobs) = serde_json::from_value(knobs) else {
                continue;
            };
            let mut calmer = plan.clone();
            calmer.knobs = knobs;
            if calmer.knobs.settings().validate().is_ok() && self.still_fails(&calmer) {
                *plan = calmer;
            }
        }
    }
}

/// Shrinks a plan that fails. `tells` prints what was reached.
#[must_use]
pub fn shrink(plan: &Plan, failure: &Failure, tells: bool) -> Plan {
    let mut small = plan.clone();
    let mut shrinker = Shrinker { failure, runs: 0 };
    loop {
        let actions = shrinker.thin(&mut small, |plan| &mut plan.actions);
        let faults = shrinker.thin(&mut small, |plan| &mut plan.faults);
        if !actions && !faults {
            break;
        }
    }
    shrinker.thin(&mut small, |plan| &mut plan.products);
    shrinker.calm(&mut small);
    if tells {
        crate::say!(
            "shrunk in {} runs: {} of {} actions, {} of {} faults are left",
            shrinker.runs,
            small.actions.len(),
            plan.actions.len(),
            small.faults.len(),
            plan.faults.len()
        );
    }
    small
}
