//! What a newcomer does with a failing run, over mistakes of different kinds: look at it,
//! shrink it, run what is left.
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sim::plan::Plan;

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("a4co-sim-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The arguments of a printed command.
fn arguments(command: &str) -> Vec<&str> {
    let (_, arguments) = command.split_once(" -- ").unwrap();
    arguments.split_whitespace().collect()
}

/// Fails, says so, is shrunk to so few actions and faults, and what is left fails the same
/// check by the very command that was printed.
#[track_caller]
fn is_shown_and_shrunk(bug: &str, seed: &str, check: &str, exit: i32, most: usize) {
    let folder = Folder::new(bug);
    let run = ["--bug", bug, "--seed", seed, "--shrink"];
    let output = sim(&folder.0, &run);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.contains(&format!(": {check} at ")), "{said}");
    assert!(said.contains("\nThat is: "), "{said}");
    let again = format!("-p sim --features planted -- --bug {bug} --seed {seed} --trace");
    assert!(said.contains(&again), "{said}");

    let written = said.lines().find(|it| it.starts_with("written to "));
    let (file, command) = written.unwrap()["written to ".len()..]
        .split_once(": ")
        .unwrap();
    let plan = std::fs::read_to_string(folder.0.join(file)).unwrap();
    assert!(
        plan.contains(command),
        "the file says how to run it: {plan}"
    );
    let plan = Plan::parse(&plan).unwrap();
    let left = plan.actions.len() + plan.faults.len();
    assert!(left <= most, "{left} are left: {}", plan.to_text());

    let mut replay = arguments(command);
    replay.extend(["--html", "run.html"]);
    let output = sim(&folder.0, &replay);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.contains(&format!(": {check} at ")), "{said}");
    let page = std::fs::read_to_string(folder.0.join("run.html")).unwrap();
    assert!(page.contains(&format!("\"check\":\"{check}\"")));
    assert!(page.contains(&format!("--bug {bug} --plan {file}")));
}

#[test]
fn the_canary() {
    is_shown_and_shrunk("canary", "0", "canary", 1, 0);
}

#[test]
fn a_step_of_the_saga_left_out() {
    is_shown_and_shrunk("decline_keeps_the_hold", "0", "model_saga", 1, 3);
}

#[test]
fn a_timer_lost_at_a_restart() {
    is_shown_and_shrunk("timers_lost_at_restart", "47", "deadline_is_served", 3, 8);
}

#[test]
fn a_reply_that_comes_too_early() {
    is_shown_and_shrunk("reply_before_fsync", "0", "output_after_commit", 1, 0);
}

#[test]
fn stock_read_as_it_was_before() {
    is_shown_and_shrunk("stale_read", "0", "read_is_linearizable", 1, 0);
}

#[test]
fn a_log_that_does_not_sync() {
    is_shown_and_shrunk("append_without_sync", "0", "durable_record_is_found", 1, 3);
}

#[test]
fn stock_sold_twice() {
    is_shown_and_shrunk("last_unit_sold_twice", "3", "model_stock", 1, 3);
}

#[test]
fn a_mistake_that_does_not_exist_is_bad_usage() {
    let folder = Folder::new("none");
    let output = sim(&folder.0, &["--bug", "none", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("recall_forgotten"), "{said}");
    // It is in code that the main layer does not run.
    let name = a4co_driver::planted::NAMES[0];
    let output = sim(&folder.0, &["--bug", name, "--seed", "1"]);
    assert_eq!(output.status.code(), Some(2));
}
