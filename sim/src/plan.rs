//! A run as data: its settings, what clients and operators do and when, and what breaks.
//!
//! A plan is generated from a seed ([`crate::swarm`]), written to a file, edited, shrunk,
//! and replayed. The file has one JSON object a line: first the knobs, then products,
//! actions and faults, in order of time. Taking a line out never changes what the other
//! lines decide.

use serde::{Deserialize, Serialize};

use crate::coverage::Strike;
use a4co_core::settings::Settings;
use a4co_core::shards::Shard;
use a4co_core::time::Millis;

use crate::cluster::plan::{ClusterBreaks, ClusterKnobs};

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Strengths and sizes.
    pub knobs: Knobs,
    /// Stock at the start.
    pub products: Vec<Stock>,
    /// What clients and operators do.
    pub actions: Vec<Action>,
    /// What breaks.
    pub faults: Vec<Fault>,
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $calm:expr,)*) => {
        /// Strengths and sizes. Ratios are per mille. The default is a calm world.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Knobs { $($(#[$doc])* pub $name: $type,)* }

        impl Default for Knobs {
            fn default() -> Self {
                Self { $($name: $calm,)* }
            }
        }
    };
}

knobs! {
    /// Of every fork of chance.
    seed: u64 = 0,
    /// Faults end here; from here on everything has to come to its end.
    heal_at_ms: u64 = 60_000,
    /// See [`Settings`].
    saga_timeout_ms: u64 = 300_000,
    /// See [`Settings`].
    hold_ms: u64 = 900_000,
    /// See [`Settings`].
    payment_timeout_ms: u64 = 120_000,
    /// See [`Settings`].
    retry_first_ms: u64 = 200,
    /// See [`Settings`].
    retry_cap_ms: u64 = 30_000,
    /// See [`Settings`].
    parked_retry_ms: u64 = 300_000,
    /// See [`Settings`].
    park_after_attempts: u32 = 8,
    /// See [`Settings`].
    charge_attempts: u32 = 3,
    /// See [`Settings`].
    max_active_orders: u32 = 1_000_000,
    /// Inputs that the driver hands in before it takes outputs.
    batch_max: u32 = 16,
    /// How long the driver lets inputs gather.
    linger_us: u64 = 50,
    /// An append takes from half of this to all of it.
    append_us: u64 = 200,
    /// A fetch takes up to this; 0 answers within the same step.
    fetch_us: u64 = 0,
    /// A message takes up to this.
    net_us: u64 = 2_000,
    /// Requests lost on the way in.
    request_lost: u32 = 0,
    /// Replies lost on the way out.
    reply_lost: u32 = 0,
    /// Requests with a key that arrive twice.
    request_twice: u32 = 0,
    /// A client gives up waiting after this.
    client_timeout_ms: u64 = 2_000,
    /// The caller of the gateway gives up waiting after this.
    call_timeout_ms: u64 = 5_000,
    /// A call to the gateway takes up to this.
    gateway_us: u64 = 150_000,
    /// Charges that the gateway declines.
    decline: u32 = 0,
    /// Charges that stay pending for a while.
    pending: u32 = 0,
    /// For how long, at most.
    pending_ms: u64 = 60_000,
    /// Pending charges that end as declined.
    pending_declined: u32 = 500,
    /// Pending charges that cannot be cancelled before they end.
    pending_sticky: u32 = 500,
    /// Calls that never arrive.
    call_lost: u32 = 0,
    /// Calls that arrive after their caller has given up.
    call_late: u32 = 0,
    /// Calls whose answer is lost.
    answer_lost: u32 = 0,
    /// Calls answered with an error that says nothing, without being carried out.
    call_fails: u32 = 0,
    /// Refunds that are refused.
    refund_refused: u32 = 0,
    /// Reports of the gateway that never arrive.
    webhook_lost: u32 = 0,
    /// Reports that arrive twice.
    webhook_twice: u32 = 0,
    /// How late a report may be.
    webhook_ms: u64 = 2_000,
    /// Cancelled or declined charges that succeed all the same, with a report.
    capture_after_all: u32 = 0,
    /// A charge is authorised only; taking the amount is a call of its own.
    manual_capture: bool = false,
    /// Charges for which the customer has to do something first (3-D Secure).
    action_required: u32 = 0,
    /// Those of them for which it is never done.
    action_never: u32 = 0,
    /// Refunds that stay pending for a while.
    refund_pending: u32 = 0,
    /// Authorisations that lapse, within `pending_ms`, unless they are taken before.
    authorisation_lapses: u32 = 0,
    /// Captures that are refused for good: what was set aside is gone.
    capture_refused: u32 = 0,
    /// Pending refunds that end as refused.
    refund_fails_late: u32 = 0,
    /// Refunds that the gateway reports by itself once they have ended.
    refund_reported: u32 = 0,
    /// Reports that come as a command, which is answered once what it says is durable, as
    /// those over HTTP do; the others come as the word of a gateway within the process.
    /// Reports of refunds are commands always.
    report_as_command: u32 = 0,
    /// Size of the log's segments.
    segment_bytes: u64 = 65_536,
    /// See the journal's options.
    milestones: u32 = 2,
    /// Segments that are made ahead.
    spare: u32 = 1000,
    /// Records between two snapshots; 0: none.
    snapshot_every: u32 = 40,
    /// Records of history to keep; 0: all of it.
    keep_records: u32 = 0,
    /// Records by which the store on disk may be behind.
    store_lag: u32 = 0,
    /// Crashes that take the store with them.
    store_lost: u32 = 0,
    /// Restarts that rebuild from the base as well and compare.
    rebuild: u32 = 200,
    /// A restart takes up to this.
    restart_ms: u64 = 500,
    /// Clock of a new process against that of the last one, at most.
    restart_skew_ms: u64 = 0,
    /// The engine is shown the wall clock itself, with its jumps.
    raw_clock: bool = false,
    /// The replicated host, over a cluster of such strengths; none: the embedded host.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Box<ClusterKnobs>> = None,
}

impl Knobs {
    /// Are the timers long enough for an order that nothing delays, beside what takes so long
    /// anyway?
    #[must_use]
    pub fn gives_orders_time(&self, beside_ms: u64) -> bool {
        let slowest_ms = (4 * self.append_us + 2 * self.fetch_us + self.linger_us) / 1000;
        let slowest_ms = slowest_ms + beside_ms;
        self.payment_timeout_ms > 100 + 2 * slowest_ms
    }

    /// The engine's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            saga_timeout_ms: Millis::new(self.saga_timeout_ms),
            hold_ms: Millis::new(self.hold_ms),
            payment_timeout_ms: Millis::new(self.payment_timeout_ms),
            retry_first_ms: Millis::new(self.retry_first_ms),
            retry_cap_ms: Millis::new(self.retry_cap_ms),
            parked_retry_ms: Millis::new(self.parked_retry_ms),
            park_after_attempts: self.park_after_attempts,
            charge_attempts: self.charge_attempts,
            max_active_orders: usize::try_from(self.max_active_orders).unwrap_or(usize::MAX),
            // So small that it is reached, and what is decided fits into a segment.
            frame_bytes_soft_max: usize::try_from(self.segment_bytes / 16).unwrap_or(usize::MAX),
            shard: Shard::ALONE,
        }
    }
}

/// A product at the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// Its number.
    pub product: u32,
    /// Units.
    pub on_hand: u64,
}

/// One thing that a client or an operator does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// When.
    pub at_ms: u64,
    /// Which idempotency key it has, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// How often it is tried again when no answer comes.
    #[serde(default)]
    pub retries: u32,
    /// What.
    pub ask: Ask,
}

/// What is asked. Orders and products go by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Place an order.
    Create {
        /// Which order.
        order: u32,
        /// Product, quantity, unit price.
        lines: Vec<(u32, u32, i64)>,
        /// A hold of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold_ms: Option<u64>,
    },
    /// Cancel an order.
    Cancel {
        /// Which order.
        order: u32,
    },
    /// Refund an order.
    Refund {
        /// Which order.
        order: u32,
        /// How much; all that is left where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<i64>,
    },
    /// An operator's retry of a parked saga.
    Nudge {
        /// Which order.
        order: u32,
    },
    /// An operator's retry of a parked payment whose order has ended.
    RetryPayment {
        /// Which order.
        order: u32,
    },
    /// An operator says that a payment whose capture was refused has been seen to.
    WriteOff {
        /// Which order.
        order: u32,
    },
    /// Receive or write off stock.
    Adjust {
        /// Which product.
        product: u32,
        /// Units.
        delta: i64,
    },
    /// Describe a product, with or without setting its stock.
    Define {
        /// Which product.
        product: u32,
        /// Units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_hand: Option<u64>,
    },
}

impl Ask {
    /// The number of the order that it is about.
    #[must_use]
    pub const fn order(&self) -> Option<u32> {
        match self {
            Self::Create { order, .. }
            | Self::Cancel { order }
            | Self::Refund { order, .. }
            | Self::Nudge { order }
            | Self::RetryPayment { order }
            | Self::WriteOff { order } => Some(*order),
            Self::Adjust { .. } | Self::Define { .. } => None,
        }
    }
}

/// One thing that breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at_ms: u64,
    /// What.
    pub breaks: Breaks,
}

/// What breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Breaks {
    /// The process dies after so many more of its steps.
    Crash {
        /// Steps of the driver.
        steps: u32,
        /// The power goes too: what was not synced is lost or torn.
        power: bool,
    },
    /// The power goes in the middle of a disk operation.
    PowerCut {
        /// After so many more operations.
        operations: u32,
    },
    /// The next sync fails.
    SyncFails,
    /// A disk operation fails.
    DiskFails {
        /// After so many more operations.
        operations: u32,
        /// For want of room.
        #[serde(default)]
        full: bool,
    },
    /// The power goes while a snapshot is written or history let go.
    PowerCutTending {
        /// After so many operations of that.
        operations: u32,
    },
    /// The disk is full.
    DiskFull {
        /// For how long.
        for_ms: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// The gateway answers nothing but errors.
    Outage {
        /// For how long.
        for_ms: u64,
    },
    /// The wall clock jumps.
    ClockJump {
        /// By how much.
        by_ms: i64,
    },
    /// A byte of the log changes, in a copy of the disk that is then opened.
    BitFlip,
    /// What only a cluster has.
    Cluster(ClusterBreaks),
}

impl Breaks {
    /// What this is where it strikes, unless it is noticed later or not at all.
    pub(crate) const fn strike(&self) -> Option<Strike> {
        match self {
            Self::SyncFails => Some(Strike::SyncFails),
            Self::DiskFails { .. } => Some(Strike::DiskFails),
            Self::DiskFull { .. } => Some(Strike::DiskFull),
            Self::Outage { .. } => Some(Strike::Outage),
            Self::ClockJump { .. } => Some(Strike::ClockJump),
            Self::Cluster(ClusterBreaks::Pause { .. } | ClusterBreaks::Cut { .. }) => {
                Some(Strike::Apart)
            }
            Self::Cluster(ClusterBreaks::NoLeader { .. } | ClusterBreaks::Slow { .. }) => {
                Some(Strike::Service)
            }
            Self::Crash { .. }
            | Self::PowerCut { .. }
            | Self::PowerCutTending { .. }
            | Self::Cluster(_)
            | Self::BitFlip => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlanLine {
    Knobs(Box<Knobs>),
    Stock(Stock),
    Action(Action),
    Fault(Fault),
}

/// A plan's text that is not one.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {source}")]
pub struct PlanError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong.
    pub source: serde_json::Error,
}

impl Plan {
    /// The text, one object a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut push = |line: &PlanLine| {
            if let Ok(json) = serde_json::to_string(line) {
                text.push_str(&json);
                text.push('\n');
            }
        };
        push(&PlanLine::Knobs(Box::new(self.knobs.clone())));
        for stock in &self.products {
            push(&PlanLine::Stock(stock.clone()));
        }
        for action in &self.actions {
            push(&PlanLine::Action(action.clone()));
        }
        for fault in &self.faults {
            push(&PlanLine::Fault(fault.clone()));
        }
        text
    }

    /// Reads what [`Plan::to_text`] wrote. Empty lines and lines that begin with `#` are
    /// left out.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self {
            knobs: Knobs::default(),
            products: Vec::new(),
            actions: Vec::new(),
            faults: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match serde_json::from_str(line).map_err(|source| PlanError {
                line: index + 1,
                source,
            })? {
                PlanLine::Knobs(knobs) => plan.knobs = *knobs,
                PlanLine::Stock(stock) => plan.products.push(stock),
                PlanLine::Action(action) => plan.actions.push(action),
                PlanLine::Fault(fault) => plan.faults.push(fault),
            }
        }
        Ok(plan)
    }
}
