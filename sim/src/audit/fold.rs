//! The auditor's fold of one shard's three journals: engines that only replay.

use a4co_core::decider::Participant;
use a4co_core::engine::Engine;
use a4co_core::ids::{ParticipantId, Sequence};
use a4co_core::inventory::InventoryParticipant;
use a4co_core::order::OrderParticipant;
use a4co_core::payment::PaymentParticipant;
use a4co_core::record::{Frame, Record};
use a4co_core::row::Row;
use a4co_core::settings::Settings;
use a4co_core::shards::Shard;

use super::States;
use crate::verdict::{Failure, safety};

/// One shard.
#[derive(Debug)]
pub(super) struct Fold {
    order: Engine<OrderParticipant>,
    inventory: Engine<InventoryParticipant>,
    payment: Engine<PaymentParticipant>,
}

fn nothing<P: Participant>(engine: &Engine<P>) -> Frame<P::Event> {
    Frame {
        after: engine.decided(),
        cursors: engine.cursors().clone(),
        events: Vec::new(),
    }
}

fn replay<P: Participant>(
    engine: &mut Engine<P>,
    frame: &Frame<P::Event>,
) -> Result<Vec<Row>, Failure> {
    engine.replay(frame, true).map_err(|have: Sequence| {
        let participant: ParticipantId = P::ID;
        let why = format!(
            "the {participant} journal stands at {have}, but the record continues after {}",
            frame.after
        );
        safety("replay_equals_state", why)
    })
}

impl Fold {
    pub(super) fn new(settings: &Settings, shard: Shard) -> Self {
        let settings = Settings {
            shard,
            ..settings.clone()
        };
        Self {
            order: Engine::new(settings.clone()),
            inventory: Engine::new(settings.clone()),
            payment: Engine::new(settings),
        }
    }

    pub(super) fn empty_record(&self) -> Record {
        Record {
            order: nothing(&self.order),
            inventory: nothing(&self.inventory),
            payment: nothing(&self.payment),
        }
    }

    /// Applies a record, and gives the rows that it changed.
    pub(super) fn replay(&mut self, record: &Record) -> Result<Vec<Row>, Failure> {
        let mut rows = replay(&mut self.order, &record.order)?;
        rows.extend(replay(&mut self.inventory, &record.inventory)?);
        rows.extend(replay(&mut self.payment, &record.payment)?);
        Ok(rows)
    }

    pub(super) fn states(&self) -> Result<States<'_>, Failure> {
        let is_settled =
            self.order.is_settled() && self.inventory.is_settled() && self.payment.is_settled();
        if !is_settled {
            return Err(safety("replay_equals_state", "the replica is not settled"));
        }
        Ok(States {
            order: (self.order.state(), self.order.decided()),
            inventory: (self.inventory.state(), self.inventory.decided()),
            payment: (self.payment.state(), self.payment.decided()),
        })
    }
}
