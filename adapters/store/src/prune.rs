//! Letting history go, in small steps.

use std::sync::PoisonError;

use a4co_core::limits::IDEMPOTENCY_KEPT_MS_MIN;
use a4co_core::time::{Millis, Timestamp};

use crate::disk::Operation;
use crate::error::StoreError;
use crate::keys::{self, Position};
use crate::options::FaultPoint;
use crate::record;
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
    let mut operations = Vec::new();
    let from = writer.pruned_to.filter(|at| at.created_at < before);
    let from = from.unwrap_or(Position::first_at(Timestamp::UNIX_EPOCH));
    let mut last = None;
    let mut examined = 0;
    shared.disk.with(FaultPoint::Read, |db| {
        for entry in db.range(keys::order(from)..keys::order(Position::first_at(before))) {
            if examined == limit {
                pruned.more = true;
                return Ok(());
            }
            examined += 1;
            let (key, value) = entry?;
            let Some(position) = Position::from_end(&key) else {
                continue;
            };
            last = Some(position);
            // What is about to be written anew stays.
            if shared.overlay().has_order(position.order_id) {
                continue;
            }
            let bundle = record::decode_bundle(&key, &value)?;
            let time = db.get(keys::locator(position.order_id))?;
            let is_here = time.is_some_and(|time| *time == keys::time_bytes(position.created_at));
            let done = bundle.is_done();
            if is_here && !done {
                continue;
            }
            operations.push((key.to_vec(), None));
            if is_here {
                operations.push((keys::locator(position.order_id), None));
            }
            if let Some(order) = &bundle.order {
                operations.push((keys::by_status(order.status, position), None));
                let customer = &order.order.customer_id;
                operations.push((keys::by_customer(customer, position), None));
            }
            pruned.orders += 1;
        }
        last = None;
        Ok(())
    })?;
    let kept_for = Millis::new(IDEMPOTENCY_KEPT_MS_MIN);
    let answers_before = before.min(now.saturating_sub(kept_for));
    prune_answers(shared, answers_before, limit, &mut operations, &mut pruned)?;
    shared.disk.write(operations)?;
    writer.pruned_to = last;
    Ok(pruned)
}

fn prune_answers(
    shared: &Shared,
    before: Timestamp,
    limit: usize,
    operations: &mut Vec<Operation>,
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
            operations.push((by_age.to_vec(), None));
            // The key may have been used again since: then only this entry is old.
            if let Some(value) = db.get(&key)?
                && record::decode_answer(&key, &value)?.at == at
            {
                operations.push((key, None));
                pruned.answers += 1;
            }
        }
        Ok(())
    })
}
