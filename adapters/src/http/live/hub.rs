//! The hub: one task that looks at what the engine left for it, and tells the clients.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use a4co_core::ids::OrderId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::sample::{Reading, Sample};
use super::tap::Change;
use crate::http::{HttpState, health, shapes};

/// Between two looks: an eye sees no more, and a browser draws no more.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks to a second.
const LOOKS_A_SAMPLE: u32 = 4;

/// Samples that are kept: five minutes of them.
const SAMPLES_MAX: usize = 300;

/// Runs the feed until the process is about to stop. The first call counts.
pub(in crate::http) async fn run(state: Arc<HttpState>) {
    let collected = &state.feed.0.collected;
    let collected = { collected.lock().unwrap_or_else(PoisonError::into_inner) }.take();
    let Some(mut collected) = collected else {
        return;
    };
    let began = Instant::now();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    let mut first = None;
    loop {
        tokio::select! {
            biased;
            () = state.readiness.drained() => return,
            _ = ticks.tick() => {}
        }
        tell_changes(&state, &mut collected);
        looks += 1;
        if looks == LOOKS_A_SAMPLE {
            looks = 0;
            let reading = Reading::of(&state.registry);
            // Recovery counts what it finds under way, which is not of this second.
            let first = first.get_or_insert_with(|| reading.clone());
            let uptime_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tell_sample(&state, first, reading, uptime_ms);
        }
    }
}

fn tell_changes(state: &HttpState, collected: &mut mpsc::Receiver<Change>) {
    let mut changes: HashMap<OrderId, Change> = HashMap::new();
    while let Ok(change) = collected.try_recv() {
        // The later one is the newer one.
        changes.insert(change.order_id, change);
    }
    let omitted = state.feed.0.omitted.swap(0, Ordering::Relaxed);
    if changes.is_empty() && omitted == 0 {
        return;
    }
    let mut changes: Vec<Change> = changes.into_values().collect();
    changes.sort_unstable_by_key(|change| change.version);
    let body = shapes::Changes {
        orders: changes.iter().map(Into::into).collect(),
        omitted,
    };
    state.feed.send("orders", &json(&body));
}

fn tell_sample(state: &HttpState, first: &Reading, reading: Reading, uptime_ms: u64) {
    let latency_ms = state.feed.0.latencies.take();
    let sample = {
        let mut kept = state.feed.kept();
        let sample = Sample::next(&kept.samples, first, reading, uptime_ms, latency_ms);
        kept.samples.push_back(sample.clone());
        if kept.samples.len() > SAMPLES_MAX {
            kept.samples.pop_front();
        }
        // In one piece for those who ask for all of them.
        kept.samples.make_contiguous();
        sample
    };
    let overview = shapes::Overview {
        sample: shapes::SampleShape(&sample),
        health: health::describe(&state.readiness),
    };
    state.feed.send("overview", &json(&overview));
}

fn json(body: &impl serde::Serialize) -> String {
    // Numbers and names always have a JSON form.
    serde_json::to_string(body).unwrap_or_default()
}
