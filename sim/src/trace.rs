//! What happened, as text for people and as a digest for comparison.
//!
//! The digest is taken of numbers and not of the text, so that a run without `--trace`
//! formats nothing and still has the digest of a run with it.

use std::fmt::Write as _;

use a4co_core::ids::OrderId;

use crate::detail::{Change, Noted};

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Node {
    Client,
    Operator,
    Net,
    Engine,
    Journal,
    Store,
    Gateway,
    Disk,
    Clock,
    Fault,
    Checker,
    Service,
}

impl Node {
    /// The name in a trace.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Operator => "operator",
            Self::Net => "net",
            Self::Engine => "engine",
            Self::Journal => "journal",
            Self::Store => "store",
            Self::Gateway => "gateway",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Fault => "fault",
            Self::Checker => "checker",
            Self::Service => "service",
        }
    }
}

/// One line of a trace.
#[derive(Debug, Clone)]
pub struct Line {
    /// Simulated time in microseconds.
    pub at_us: u64,
    /// Where.
    pub node: Node,
    /// At which machine of a cluster, where it is at one.
    pub machine: Option<usize>,
    /// What kind of thing.
    pub what: &'static str,
    /// All of it.
    pub text: String,
    /// The orders that it is about.
    pub about: Vec<OrderId>,
    /// The journals' events, of a record that has become durable.
    pub events: Vec<Noted>,
    /// What is otherwise after it than before.
    pub changes: Vec<Change>,
}

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    high: u64,
    low: u64,
    /// Lines noted.
    pub count: u64,
    /// The machine of a cluster at which things happen now.
    pub machine: Option<usize>,
    /// The lines, where they are wanted.
    pub lines: Option<Vec<Line>>,
}

impl Trace {
    /// A trace that keeps its lines, or only their digest.
    #[must_use]
    pub fn new(keep_lines: bool) -> Self {
        Self {
            high: 0x6a09_e667_f3bc_c908,
            low: 0xbb67_ae85_84ca_a73b,
            count: 0,
            machine: None,
            lines: keep_lines.then(Vec::new),
        }
    }

    fn take_in(&mut self, value: u64) {
        self.low = (self.low ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.high = (self.high.rotate_left(29) ^ self.low).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.low ^= self.low >> 32;
    }

    /// Notes one thing. `text` runs only where lines are kept.
    pub fn note(
        &mut self,
        at_us: u64,
        node: Node,
        what: &'static str,
        numbers: [u64; 2],
        text: impl FnOnce() -> String,
    ) {
        self.count += 1;
        self.take_in(at_us);
        self.take_in((node as u64) << 56 ^ short(what));
        self.take_in(numbers[0]);
        self.take_in(numbers[1]);
        self.aside(at_us, node, what, text);
    }

    /// A line that only explains others: the digest does not know of it.
    pub fn aside(
        &mut self,
        at_us: u64,
        node: Node,
        what: &'static str,
        text: impl FnOnce() -> String,
    ) {
        let machine = self.machine;
        if let Some(lines) = &mut self.lines {
            lines.push(Line {
                at_us,
                node,
                machine,
                what,
                text: text(),
                about: Vec::new(),
                events: Vec::new(),
                changes: Vec::new(),
            });
        }
    }

    /// Adds to the last line, where lines are kept.
    pub fn add(&mut self, more: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.as_mut().and_then(|lines| lines.last_mut()) {
            more(line);
        }
    }

    /// The digest so far.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut text = String::with_capacity(32);
        let _ = write!(
            text,
            "{:016x}{:016x}",
            self.high,
            self.low ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        );
        text
    }
}

/// The first bytes of a name, as a number.
fn short(name: &str) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    u64::from_le_bytes(bytes) ^ ((name.len() as u64) << 48)
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (secs, us) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        write!(
            f,
            "{secs:>7}.{us:06} {:<8} {:<12} {}",
            self.node.name(),
            self.what,
            self.text
        )
    }
}
