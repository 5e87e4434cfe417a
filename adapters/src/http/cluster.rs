//! `GET /api/v1/cluster`: which processes there are, and who leads what.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::problem::Problem;
use super::{HttpState, answer};
use crate::cluster::Member;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    mode: &'static str,
    /// This process, among the members.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    members: Vec<Member>,
    /// Where there is NATS. `None` within: its stream was not asked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<Option<u64>>,
}

/// `GET /api/v1/cluster`: asks every process that reaches the same servers.
pub(super) async fn show(State(state): State<Arc<HttpState>>) -> Result<Response, Problem> {
    let ports = state.ports()?;
    let dead_letters = ports.dead_letters.as_ref().map(|them| them.kept());
    let cluster = match &ports.cluster {
        None => Cluster {
            mode: super::EMBEDDED,
            host: None,
            members: Vec::new(),
            dead_letters,
        },
        Some(cluster) => {
            let mut members = cluster.members().await;
            members.sort_by(|a, b| a.listen.cmp(&b.listen).then_with(|| a.host.cmp(&b.host)));
            Cluster {
                mode: super::ON_NATS,
                host: Some(cluster.host()),
                members,
                dead_letters,
            }
        }
    };
    answer::json(StatusCode::OK, &cluster)
}
