//! Every input of the corpus through its target, on stable Rust.

use std::fs;
use std::path::Path;

#[track_caller]
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no corpus for {name}");
    for input in inputs {
        target(&fs::read(&input).expect("readable"));
    }
}

#[test]
fn record() {
    replay("record", a4co_fuzz::record);
}

#[test]
fn journal() {
    replay("journal", a4co_fuzz::journal);
}

#[test]
fn money() {
    replay("money", a4co_fuzz::money);
}

#[test]
fn saga() {
    replay("saga", a4co_fuzz::saga);
}
