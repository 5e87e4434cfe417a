//! A bounded slice of seeds, the seeds that once found something, and determinism: the
//! same seed is the same run, in another thread and in another process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use sim::plan::Plan;
use sim::{run, scenario, shrink, swarm};

#[track_caller]
fn passes(plan: &Plan, how: &str) -> String {
    let outcome = run(plan, false);
    if let Some(failure) = outcome.failure {
        panic!("{how}: {failure}\nagain: cargo run --release -p sim -- {how} --trace");
    }
    outcome.trace.digest()
}

#[test]
fn a_slice_of_seeds_passes() {
    for seed in 0..150 {
        passes(&swarm::plan(seed), &format!("--seed {seed}"));
    }
}

#[test]
fn every_scenario_passes() {
    for scenario in scenario::ALL {
        let plan = scenario::plan(scenario.name).unwrap();
        passes(&plan, &format!("--scenario {}", scenario.name));
    }
}

#[test]
fn what_was_found_once_stays_found() {
    let seeds = include_str!("../regressions.txt");
    for line in seeds.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let seed: u64 = line.parse().unwrap();
        passes(&swarm::plan(seed), &format!("--seed {seed}"));
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
        assert_eq!(
            first.trace.digest(),
            run(&swarm::plan(seed), false).trace.digest()
        );
    }
}

#[test]
fn another_process_has_the_same_digest() {
    for seed in [3, 5] {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--seed", &seed.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let digest = run(&swarm::plan(seed), false).trace.digest();
        assert!(output.status.success());
        assert!(
            text.starts_with(&format!("sim 0.1.0: --seed {seed}\n")),
            "{text}"
        );
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

#[test]
fn bad_usage_is_two() {
    for arguments in [&["--seed"][..], &["--sed", "1"], &["--scenario", "none"]] {
        let status = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(arguments)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

/// Nothing may be taken out of a plan when what is left does not fail the same check.
#[test]
fn shrinking_keeps_the_check() {
    let plan = scenario::plan("happy").unwrap();
    let failure = sim::verdict::safety("never", "");
    let small = shrink::shrink(&plan, &failure, false);
    assert_eq!(small, plan);
}
