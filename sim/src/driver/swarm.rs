//! From a seed to a plan of this layer: the main layer's, closer in time, with what only a
//! driver can meet.

use crate::plan::{Breaks, Plan};
use crate::rng::{Rng, Stream};

/// What befalls a life.
#[derive(Debug, Clone)]
pub(super) enum Blow {
    /// The process dies after so many more calls of its ports.
    Kill { steps: u64, power: bool },
    /// It is asked to stop, and killed so many microseconds later if it has not.
    Stop { killed_after_us: Option<u64> },
    /// Something around it breaks.
    Breaks(Breaks),
}

/// Everything that a run depends on.
#[derive(Debug, Clone)]
pub(super) struct DriverPlan {
    /// The main layer's part: settings, stock, what clients ask, the gateway's strengths.
    pub(super) plan: Plan,
    /// Commands that may wait to be taken.
    pub(super) queue: usize,
    /// Steps of other threads within one call of a port, at most.
    pub(super) threads: u64,
    /// Clients that give up at any moment, per mille of tries.
    pub(super) impatient: u32,
    /// Clients that wait for the end, per mille of actions.
    pub(super) watching: u32,
    /// Calls that are answered before they return, per mille.
    pub(super) sync_answers: u32,
    /// Look-ups that fail at first, per mille.
    pub(super) unreadable: u32,
    /// When, in microseconds, and what.
    pub(super) blows: Vec<(u64, Blow)>,
}

/// The plan of a seed.
pub(super) fn plan(seed: u64) -> DriverPlan {
    let mut plan = crate::swarm::plan(seed);
    let mut rng = Rng::fork(seed, Stream::Driver, &[]);
    let knobs = &mut plan.knobs;
    knobs.heal_at_ms = rng.pick(&[200, 2_000, 10_000, 60_000]);
    knobs.restart_ms = knobs.restart_ms.min(rng.pick(&[5, 500, 5_000]));
    knobs.append_us = knobs.append_us.min(10_000);
    // Everybody at once, or one after the other.
    let span_ms = (knobs.heal_at_ms / rng.pick(&[1, 4, 50])).max(1);
    for action in &mut plan.actions {
        action.at_ms %= span_ms;
    }
    let heal_us = plan.knobs.heal_at_ms * 1_000;
    DriverPlan {
        queue: rng.pick(&[1, 2, 8, 256]),
        threads: rng.pick(&[0, 1, 3, 6]),
        impatient: rng.pick(&[0, 0, 200, 600]),
        watching: rng.pick(&[0, 300, 1_000]),
        sync_answers: rng.pick(&[0, 0, 300, 1_000]),
        unreadable: rng.pick(&[0, 0, 300]),
        blows: blows(seed, heal_us),
        plan,
    }
}

fn blows(seed: u64, span_us: u64) -> Vec<(u64, Blow)> {
    let mut rng = Rng::fork(seed, Stream::Driver, &[1]);
    let mut blows = Vec::new();
    let mut add = |rng: &mut Rng, often: u64, make: &dyn Fn(&mut Rng) -> Blow| {
        if rng.chance(500) {
            for _ in 0..rng.between(1, often) {
                let span_us = rng.pick(&[span_us, span_us / 4, span_us / 40]);
                blows.push((rng.below(span_us.max(1)), make(rng)));
            }
        }
    };
    let small = |rng: &mut Rng, most| u32::try_from(rng.below(most)).unwrap_or(0);
    add(&mut rng, 6, &|rng| Blow::Kill {
        steps: rng.below(40),
        power: rng.chance(500),
    });
    add(&mut rng, 4, &|rng| Blow::Stop {
        killed_after_us: rng.chance(300).then(|| rng.below(20_000)),
    });
    add(&mut rng, 4, &|rng| {
        Blow::Breaks(Breaks::PowerCut {
            operations: small(rng, 12),
        })
    });
    add(&mut rng, 2, &|_| Blow::Breaks(Breaks::SyncFails));
    add(&mut rng, 3, &|rng| {
        Blow::Breaks(Breaks::DiskFails {
            operations: small(rng, 12),
            full: rng.chance(700),
        })
    });
    add(&mut rng, 3, &|rng| {
        Blow::Breaks(Breaks::DiskFull {
            for_ms: rng.between(1, span_us / 1_000),
            left: rng.pick(&[0, 0, 8_192]),
        })
    });
    add(&mut rng, 2, &|rng| {
        Blow::Breaks(Breaks::Outage {
            for_ms: rng.between(1, span_us / 1_000),
        })
    });
    // Asked to stop while a record has no room.
    for (at_us, blow) in blows.clone() {
        if let Blow::Breaks(Breaks::DiskFull { for_ms, .. }) = blow
            && rng.chance(500)
        {
            let killed_after_us = None;
            let later_us = rng.below(rng.clone().pick(&[1_000, for_ms * 1_000]));
            blows.push((at_us + later_us, Blow::Stop { killed_after_us }));
        }
    }
    blows.sort_by_key(|(at_us, _)| *at_us);
    blows
}
