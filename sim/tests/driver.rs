//! The driver layer: a slice of its seeds, and determinism in one process and in another.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use sim::driver::run;

#[test]
fn a_slice_of_driver_seeds_passes() {
    for seed in 0..40 {
        if let Some(failure) = run(seed, false).failure {
            panic!(
                "{failure}\nagain: cargo run --release -p sim -- --layer driver --seed {seed} --trace"
            );
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..8 {
        let (first, second) = (run(seed, true), run(seed, true));
        let (lines, others) = (first.trace.lines.as_ref(), second.trace.lines.as_ref());
        for (one, other) in lines.unwrap().iter().zip(others.unwrap()) {
            assert_eq!(one.to_string(), other.to_string(), "seed {seed}");
        }
        assert_eq!(first.trace.digest(), second.trace.digest(), "seed {seed}");
        assert_eq!(first.trace.digest(), run(seed, false).trace.digest());
    }
}

#[test]
fn another_process_has_the_same_digest() {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--layer", "driver", "--seed", "3"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let digest = run(3, false).trace.digest();
    assert!(output.status.success());
    assert_eq!(text.lines().last(), Some(&*format!("digest {digest}")));
}

#[test]
fn what_the_layer_does_not_have_is_bad_usage() {
    for arguments in [
        &["--scenario", "happy"][..],
        &["--seed", "1", "--print-plan"],
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--layer", "driver"])
            .args(arguments)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
