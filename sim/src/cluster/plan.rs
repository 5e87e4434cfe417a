//! What a plan says of a cluster: how many processes, how the journal service behaves, and
//! what breaks that only several processes have.

use a4co_core::shards::ShardCount;
use serde::{Deserialize, Serialize};

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $calm:expr,)*) => {
        /// Strengths and sizes of a run of the replicated host. Ratios are per mille. The
        /// default is a calm world of two processes.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct ClusterKnobs { $($(#[$doc])* pub $name: $type,)* }

        impl Default for ClusterKnobs {
            fn default() -> Self {
                Self { $($name: $calm,)* }
            }
        }
    };
}

knobs! {
    /// Which journals each process may lead, one bit for each (1 order, 2 inventory,
    /// 4 payment). As many processes as numbers.
    roles: Vec<u8> = vec![7, 7],
    /// The leases' time to live.
    lease_ttl_ms: u64 = 10_000,
    /// How long an adapter waits for an answer of the service.
    ack_timeout_ms: u64 = 1_000,
    /// Each way to the service and back takes up to this.
    service_us: u64 = 1_000,
    /// A message of a journal's tail takes up to this.
    tail_us: u64 = 1_000,
    /// Requests that never reach the service.
    ask_lost: u32 = 0,
    /// Requests that reach it after their sender has given up.
    ask_late: u32 = 0,
    /// Appends that reach it twice.
    append_twice: u32 = 0,
    /// Answers that never come back.
    answer_lost: u32 = 0,
    /// Answers that come after their receiver has given up, and are handed in all the same.
    answer_late: u32 = 0,
    /// Messages of a tail that are delivered twice.
    tail_twice: u32 = 0,
    /// Messages of a tail that are left out.
    tail_gap: u32 = 0,
    /// Deliveries after which a tail stands still for a while.
    tail_stalls: u32 = 0,
    /// For how long, at most.
    tail_stall_ms: u64 = 2_000,
    /// Changes of a lease that are shown to a process unasked.
    watched: u32 = 500,
    /// Forwarded commands that never arrive.
    forward_lost: u32 = 0,
    /// Forwarded commands that arrive twice, where that is the same as once.
    forward_twice: u32 = 0,
    /// A forwarded command takes up to this.
    forward_us: u64 = 1_000,
    /// Snapshots that also go to the object store.
    object_store: u32 = 0,
    /// How much faster or slower a process's clock runs than time, at most, per mille.
    drift: u32 = 0,
    /// How many shards each participant has.
    shards: u16 = 1,
}

impl ClusterKnobs {
    /// How many shards each participant has; one where the plan says what cannot be.
    #[must_use]
    pub fn shard_count(&self) -> ShardCount {
        ShardCount::new(self.shards).unwrap_or(ShardCount::ONE)
    }

    /// How many processes there are.
    #[must_use]
    pub const fn processes(&self) -> usize {
        self.roles.len()
    }
}

/// A message that has no business in a journal's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intruder {
    /// Bytes that cannot be read.
    Unreadable,
    /// An entry of another journal.
    Foreign,
    /// An earlier entry of this very journal, once more.
    Repeated,
}

/// What breaks in a cluster. A process is meant by number, modulo their count; a journal
/// too (0 order, 1 inventory, 2 payment, and with several shards three for each).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClusterBreaks {
    /// A process dies after so many more of its steps.
    Crash {
        /// Which process.
        process: u32,
        /// Steps of its driver.
        steps: u32,
    },
    /// A process stands still, as under SIGSTOP, after so many more of its steps.
    Pause {
        /// Which process.
        process: u32,
        /// Steps of its driver.
        steps: u32,
        /// For how long.
        for_ms: u64,
    },
    /// A process and the service do not reach each other.
    Cut {
        /// Which process.
        process: u32,
        /// What it sends is lost.
        to: bool,
        /// What it is sent is lost.
        from: bool,
        /// For how long.
        for_ms: u64,
    },
    /// A stream has no leader, or the leases' bucket.
    NoLeader {
        /// Whose stream: by number as a journal, and one above that the bucket.
        stream: u32,
        /// For how long.
        for_ms: u64,
    },
    /// Everything at the service takes longer.
    Slow {
        /// By how much, at most.
        by_ms: u64,
        /// For how long.
        for_ms: u64,
    },
    /// A process is asked to hand a journal over.
    HandOver {
        /// Which process.
        process: u32,
        /// Whose journal.
        journal: u32,
    },
    /// Somebody deletes a lease's key.
    LeaseDeleted {
        /// Whose.
        journal: u32,
    },
    /// Retention: history that the object store's snapshot covers is let go.
    Trim,
    /// The stream loses its last messages for good, as in a power loss. The run ends with
    /// the alarm.
    Lost {
        /// Whose stream.
        journal: u32,
        /// How many messages.
        messages: u32,
    },
    /// A message is in a journal's stream that no leader appended. The run ends with the
    /// alarm.
    Intrusion {
        /// Whose stream.
        journal: u32,
        /// What it is.
        message: Intruder,
    },
    /// All of a stream is let go, and a process comes back with nothing. The run ends with
    /// the alarm.
    Purged {
        /// Whose stream.
        journal: u32,
        /// Which process.
        process: u32,
    },
}
