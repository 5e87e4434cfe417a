//! Every input of the corpus through its target, on stable Rust, and then what a seeded
//! mutator makes of them for a few seconds: the same inputs in the same order each time,
//! more of them on a faster machine (`A4CO_FUZZ_SECONDS`: how long each target goes on).

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that an input may grow to.
const INPUT_BYTES_MAX: usize = 16_384;

/// Values at which parsers and arithmetic turn.
const EDGES: [&[u8]; 12] = [
    b"\0",
    b"\x7f",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"9223372036854775807",
    b"-0",
    b"1e999",
    b"\"\\ud800\"",
    b"null",
    b"{",
    b"[[[[[[[[",
];

/// SplitMix64: a seed, and a number from it each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) >> 33;
        usize::try_from(number).unwrap() % end.max(1)
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 if at < input.len() => drop(input.remove(at)),
            3 => input.truncate(at),
            4 => input.insert(at, self.below(256) as u8),
            5 => drop(input.splice(at..at, EDGES[self.below(EDGES.len())].iter().copied())),
            // A stretch of another input, in the place of or beside what was there.
            6 => {
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1).min(64);
                let end = (at + self.below(2) * (to - from)).min(input.len());
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
            _ => {
                let end = (at + self.below(32)).min(input.len());
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

#[track_caller]
fn holds(name: &str, target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let text = String::from_utf8_lossy(input);
        panic!("{name} fails on {input:?}\nas text: {text}\nkeep it in fuzz/corpus/{name}");
    }
}

#[track_caller]
fn replay(name: &str, target: fn(&[u8]), more: &[Vec<u8>]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus for {name}");
    let mut inputs: Vec<_> = files
        .iter()
        .map(|file| fs::read(file).expect("readable"))
        .collect();
    inputs.extend_from_slice(more);
    for input in &inputs {
        holds(name, target, input);
    }

    let seconds = std::env::var("A4CO_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(3, |text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(1);
    let mut count = 0_u64;
    while Instant::now() < end {
        let mut input = inputs[random.below(inputs.len())].clone();
        let other = &inputs[random.below(inputs.len())];
        for _ in 0..=random.below(4) {
            random.mutate(&mut input, other);
        }
        holds(name, target, &input);
        count += 1;
    }
    println!(
        "{name}: {} inputs of the corpus, {count} mutated",
        inputs.len()
    );
}

#[test]
fn record() {
    replay("record", a4co_fuzz::record, &[]);
}

#[test]
fn journal() {
    replay("journal", a4co_fuzz::journal, &[]);
}

#[test]
fn recovery() {
    replay("recovery", a4co_fuzz::recovery, &[a4co_fuzz::small_log()]);
}

#[test]
fn money() {
    replay("money", a4co_fuzz::money, &[]);
}

#[test]
fn saga() {
    replay("saga", a4co_fuzz::saga, &[]);
}

#[test]
fn events() {
    replay("events", a4co_fuzz::events, &[]);
}

#[test]
fn webhook() {
    replay("webhook", a4co_fuzz::webhook, &[]);
}

#[test]
fn http() {
    replay("http", a4co_fuzz::http, &[]);
}
