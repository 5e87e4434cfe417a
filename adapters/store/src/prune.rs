//! Letting history go, in small steps.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use a4co_core::limits::IDEMPOTENCY_KEPT_MS_MIN;
use a4co_core::time::{Millis, Timestamp};

use crate::apply::{Edits, locate};
use crate::error::StoreError;
use crate::keys::{self, Position};
use crate::options::FaultPoint;
use crate::record;
use crate::runs::Edit;
use crate::view::Shared;

/// What one step let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ended orders, each with its reservation and payment.
    pub orders: usize,
    /// Kept answers.
    pub answers: usize,
    /// Whether the step came to its limit, so that another one may find more.
    pub more: bool,
}

pub(crate) fn prune(
    shared: &Shared,
    now: Timestamp,
    before: Timestamp,
    limit: usize,
) -> Result<Pruned, StoreError> {
    // The writer's lock: nothing is applied meanwhile.
    let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
    let mut pruned = Pruned::default();
    let mut edits = Edits::default();
    let from = writer.pruned_to.filter(|at| at.created_at < before);
    let from = match from {
        // Just past where the step before ended.
        Some(position) => [&keys::at(&[], position)[..], &[0]].concat(),
        None => keys::at(&[], Position::first_at(Timestamp::UNIX_EPOCH)),
    };
    let end = keys::at(&[], Position::first_at(before));
    let mut last = None;
    let mut examined = 0;
    shared.disk.with(FaultPoint::Read, |db| {
        keys::ORDERS.visit(db, &from, &end, |key, value| {
            if examined == limit {
                pruned.more = true;
                return Ok(ControlFlow::Break(()));
            }
            examined += 1;
            let Some(position) = Position::from_end(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            last = Some(position);
            // What is about to be written anew stays.
            if shared.overlay().has_order(position.order_id) {
                return Ok(ControlFlow::Continue(()));
            }
            let bundle = record::decode_bundle(key, value)?;
            // Where it is not, it was before it moved.
            let is_here = locate(db, position.order_id)? == Some(position);
            if bundle.is_done() || !is_here {
                edits.forget(position, &bundle, is_here);
                pruned.orders += usize::from(is_here && bundle.order.is_some());
            }
            Ok(ControlFlow::Continue(()))
        })
    })?;
    edits.write(&shared.disk)?;
    writer.pruned_to = last.filter(|_| pruned.more);
    let kept_for = Millis::new(IDEMPOTENCY_KEPT_MS_MIN);
    let answers_before = before.min(now.saturating_sub(kept_for));
    let mut rows = Vec::new();
    prune_answers(shared, answers_before, limit, &mut rows, &mut pruned)?;
    shared.disk.write(rows)?;
    Ok(pruned)
}

fn prune_answers(
    shared: &Shared,
    before: Timestamp,
    limit: usize,
    rows: &mut Vec<Edit>,
    pruned: &mut Pruned,
) -> Result<(), StoreError> {
    let end = [&[keys::ANSWER_BY_AGE][..], &keys::time_bytes(before)].concat();
    shared.disk.with(FaultPoint::Read, |db| {
        for (examined, key) in db.range(vec![keys::ANSWER_BY_AGE]..end).keys().enumerate() {
            if examined == limit {
                pruned.more = true;
                return Ok(());
            }
            let by_age = key?;
            let Some((at, key)) = keys::split_answer_by_age(&by_age) else {
                continue;
            };
            rows.push((by_age.to_vec(), None));
            // The key may have been used again since: then only this entry is old.
            if let Some(value) = db.get(&key)?
                && record::decode_answer(&key, &value)?.at == at
            {
                rows.push((key, None));
                pruned.answers += 1;
            }
        }
        Ok(())
    })
}
