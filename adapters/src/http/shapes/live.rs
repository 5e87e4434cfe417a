//! The live feed's events: what `GET /api/v1/events` sends as data.

use a4co_core::ids::OrderId;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::At;
use crate::http::health::Health;
use crate::http::live::{Change, Sample};

/// `hello`: who this is, and the last minutes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Hello<'s> {
    /// The service's name.
    pub(in crate::http) service: &'static str,
    /// The program's version.
    pub(in crate::http) version: &'static str,
    /// How the engine is hosted.
    pub(in crate::http) mode: &'static str,
    /// The payment gateway's name.
    pub(in crate::http) gateway: &'static str,
    /// Hints for the sandbox have an effect.
    pub(in crate::http) sandbox: bool,
    /// The last minutes, oldest first.
    #[serde(serialize_with = "samples")]
    pub(in crate::http) samples: &'s [Sample],
}

fn samples<S: Serializer>(samples: &[Sample], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(samples.iter().map(SampleShape))
}

/// `overview`: the second that has just ended.
#[derive(Serialize)]
pub(in crate::http) struct Overview<'s> {
    /// The second.
    #[serde(flatten)]
    pub(in crate::http) sample: SampleShape<'s>,
    /// As `/health` says it.
    pub(in crate::http) health: Health,
}

/// One second, in numbers.
pub(in crate::http) struct SampleShape<'s>(pub(in crate::http) &'s Sample);

impl Serialize for SampleShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Latency {
            p50: u64,
            p95: u64,
            p99: u64,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'s> {
            uptime_ms: u64,
            took_ms: u64,
            started: u64,
            ended: u64,
            success_permille: Option<u64>,
            compensation_permille: Option<u64>,
            latency_ms: Option<Latency>,
            active: u64,
            parked: u64,
            /// Those whose saga is not parked itself: it has ended.
            parked_payments: u64,
            sagas: Counts<'s>,
            orders: Counts<'s>,
        }
        let Sample { reading, .. } = self.0;
        Body {
            uptime_ms: self.0.uptime_ms,
            took_ms: self.0.took_ms,
            started: self.0.started,
            ended: self.0.ended,
            success_permille: self.0.success_permille,
            compensation_permille: self.0.compensation_permille,
            latency_ms: (self.0.latency_ms).map(|[p50, p95, p99]| Latency { p50, p95, p99 }),
            active: reading.active,
            parked: reading.parked,
            parked_payments: reading.parked_payments.saturating_sub(reading.parked),
            sagas: Counts(&reading.by_saga),
            orders: Counts(&reading.by_status),
        }
        .serialize(serializer)
    }
}

/// How many of each name.
struct Counts<'s>(&'s [(String, u64)]);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// `orders`: which have changed, each with its newest state.
#[derive(Serialize)]
pub(in crate::http) struct Changes {
    /// In the order of their changes.
    pub(in crate::http) orders: Vec<ChangeShape>,
    /// Further changes that are not listed.
    pub(in crate::http) omitted: usize,
}

/// An order that has changed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ChangeShape {
    order_id: OrderId,
    status: &'static str,
    saga_state: &'static str,
    parked: bool,
    updated_at: At,
    version: u64,
}

impl From<&Change> for ChangeShape {
    fn from(change: &Change) -> Self {
        Self {
            order_id: change.order_id,
            status: change.status.name(),
            saga_state: change.saga.name(),
            parked: change.parked,
            updated_at: At(change.updated_at),
            version: change.version,
        }
    }
}
