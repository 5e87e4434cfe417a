//! The replicated host in the main layer: a bounded slice of its seeds, the seeds that once
//! found something, determinism, and a plan that survives its text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use sim::cluster::swarm;
use sim::plan::Plan;
use sim::{run, scenario};

#[track_caller]
fn passes(seed: u64) -> String {
    let outcome = run(&swarm::plan(seed), false);
    if let Some(failure) = outcome.failure {
        panic!("{failure}\nagain: cargo run --release -p sim -- --host replicated --seed {seed}");
    }
    outcome.trace.digest()
}

#[test]
fn a_slice_of_seeds_passes() {
    for seed in 0..60 {
        passes(seed);
    }
}

#[test]
fn shards_pass_and_one_shard_is_none() {
    for (shards, seeds) in [(Some(2), 0..30), (Some(16), 0..4), (None, 30..45)] {
        for seed in seeds {
            let plan = swarm::plan_of_shards(seed, shards);
            let text = plan.to_text();
            assert_eq!(Plan::parse(&text).unwrap().to_text(), text);
            if let Some(failure) = run(&plan, false).failure {
                panic!("{failure}\nseed {seed}, shards {shards:?}");
            }
        }
    }
    let calm = swarm::plan(7);
    let mut said = calm.clone();
    said.knobs.cluster.as_mut().unwrap().shards = 1;
    assert_eq!(
        run(&calm, false).trace.digest(),
        run(&said, false).trace.digest()
    );
}

#[test]
fn every_scenario_passes() {
    for scenario in scenario::ALL {
        let plan = scenario::of_the_cluster(scenario::plan(scenario.name).unwrap());
        let outcome = run(&plan, false);
        assert_eq!(outcome.failure, None, "{}", scenario.name);
        assert!(
            outcome.stats.claims >= 3,
            "{}: it has leaders",
            scenario.name
        );
        if scenario.name == "happy" {
            let orders = scenario::plan("happy").unwrap().actions.len() as u64;
            // And the one that is placed at the end.
            assert_eq!(outcome.stats.ended, [orders + 1, 0, 0], "happy is happy");
        }
    }
}

#[test]
fn what_was_found_once_stays_found() {
    for line in include_str!("../regressions-replicated.txt").lines() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            passes(line.parse().unwrap());
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..12 {
        let first = run(&swarm::plan(seed), true);
        let second = std::thread::spawn(move || run(&swarm::plan(seed), true).trace)
            .join()
            .unwrap();
        let lines = first.trace.lines.as_ref().unwrap();
        for (one, other) in lines.iter().zip(second.lines.as_ref().unwrap()) {
            assert_eq!(one.to_string(), other.to_string(), "seed {seed}");
        }
        assert_eq!(first.trace.digest(), second.digest(), "seed {seed}");
        // Keeping no lines changes nothing.
        assert_eq!(first.trace.digest(), passes(seed));
    }
}

#[test]
fn another_process_has_the_same_digest() {
    for (options, seed) in [("replicated", 3), ("any", 4)] {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--host", options, "--seed", &seed.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let plan = if options == "any" && !swarm::is_chosen(seed) {
            sim::swarm::plan(seed)
        } else {
            swarm::plan(seed)
        };
        let digest = run(&plan, false).trace.digest();
        assert_eq!(text.lines().last(), Some(&*format!("digest {digest}")));
    }
}

#[test]
fn a_plan_survives_its_text() {
    for seed in 0..50 {
        let plan = swarm::plan(seed);
        assert_eq!(Plan::parse(&plan.to_text()).unwrap(), plan);
    }
}
