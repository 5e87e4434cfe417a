//! A world between two steps, and every step that can be taken from it.

use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::ParticipantId;

use super::gateway::{Charge, Gateway};
use super::model::{Message, Model};
use crate::verdict::Failure;

/// How much may happen in one world. Each is a number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages delivered twice.
    pub duplicates: u8,
    /// Gateway calls or answers lost or late, answers "pending", refunds refused.
    pub losses: u8,
    /// Crashes of any one participant.
    pub crashes: u8,
    /// Timers that fire although something is under way. At rest, time passes for free.
    pub time_outs: u8,
    /// Cancels by the client.
    pub cancels: u8,
    /// Write-offs of what is available, by the operator: a hold that expires may then find
    /// its stock gone.
    pub write_offs: u8,
}

impl Bounds {
    /// Every fault once.
    pub const FULL: Self = Self {
        duplicates: 1,
        losses: 1,
        crashes: 1,
        time_outs: 1,
        cancels: 1,
        write_offs: 1,
    };
    /// A few seconds' worth.
    pub const SMALL: Self = Self {
        duplicates: 1,
        losses: 1,
        crashes: 0,
        time_outs: 1,
        cancels: 1,
        write_offs: 0,
    };
}

/// A world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    /// Numbers of the three nodes' states.
    pub(super) nodes: [u32; 3],
    /// Numbers of the messages under way, ascending.
    pub(super) bag: Vec<u16>,
    /// Payment waits for the answer to a call.
    pub(super) calling: bool,
    pub(super) gateway: Gateway,
    /// What may still happen.
    pub(super) left: Bounds,
}

/// A step: what happens, for people, and the world after it.
pub(super) struct Move {
    pub(super) what: What,
    pub(super) after: World,
}

/// What happens in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct What {
    message: Option<u16>,
    how: &'static str,
    answer: Option<GatewayOutcome>,
}

impl What {
    /// For people.
    pub(super) fn describe(&self, model: &Model) -> String {
        let mut text = self
            .message
            .map_or_else(String::new, |number| model.message(number).to_string());
        text.push_str(self.how);
        if let Some(answer) = &self.answer {
            text.push_str(&format!(": {answer:?}"));
        }
        text
    }
}

type Moves = Result<Vec<Move>, Failure>;

impl World {
    /// The move that leads to this world.
    fn by(self, message: Option<u16>, how: &'static str, answer: Option<GatewayOutcome>) -> Move {
        Move {
            what: What {
                message,
                how,
                answer,
            },
            after: self,
        }
    }

    /// Nothing has happened but that there is stock.
    pub(super) fn new(inventory: u32, create: u16, left: Bounds) -> Self {
        Self {
            nodes: [0, inventory, 0],
            bag: vec![create],
            calling: false,
            gateway: Gateway::new(),
            left,
        }
    }

    /// Sixteen bytes that stand for the world: a hash that no two of them share.
    pub(super) fn fingerprint(&self, scratch: &mut Vec<u8>) -> u128 {
        scratch.clear();
        for node in self.nodes {
            scratch.extend(node.to_le_bytes());
        }
        let left = self.left;
        scratch.extend([
            u8::from(self.calling),
            left.duplicates,
            left.losses,
            left.crashes,
            left.time_outs,
            left.cancels,
            left.write_offs,
        ]);
        scratch.extend((self.bag.len() as u64).to_le_bytes());
        for message in &self.bag {
            scratch.extend(message.to_le_bytes());
        }
        self.gateway.write(scratch);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(scratch).as_bytes()[..16]);
        u128::from_le_bytes(bytes)
    }

    /// Nothing is under way, and no timer is set: what is now is how it ended.
    pub(super) fn has_ended(&self, model: &Model) -> bool {
        let [order, inventory, payment] = self.nodes;
        self.bag.is_empty()
            && model.order.node(order).deadline.is_none()
            && model.inventory.node(inventory).deadline.is_none()
            && model.payment.node(payment).deadline.is_none()
            && model.payment.node(payment).owed.is_none()
    }

    /// Every step that can be taken.
    pub(super) fn moves(&self, model: &mut Model) -> Moves {
        let mut moves = Vec::new();
        let mut before = None;
        for (place, number) in self.bag.iter().enumerate() {
            if before.replace(*number) == Some(*number) {
                continue; // two that are alike are one choice
            }
            match model.message(*number).clone() {
                Message::Call { call, is_stray } => {
                    self.arrive(model, &mut moves, place, &call, is_stray)?;
                }
                message => self.deliver(model, &mut moves, place, &message)?,
            }
        }
        self.crash_with_call(model, &mut moves)?;
        self.retry(model, &mut moves)?;
        let is_at_rest = self.bag.is_empty() && moves.is_empty();
        self.timers(model, &mut moves, is_at_rest)?;
        self.people(model, &mut moves)?;
        Ok(moves)
    }

    fn without(&self, place: usize) -> Self {
        let mut world = self.clone();
        world.bag.remove(place);
        world
    }

    fn put(&mut self, number: u16) {
        let place = self.bag.partition_point(|known| *known < number);
        self.bag.insert(place, number);
    }

    /// Gives a message to its reader, and puts what that tells into the bag.
    fn give(mut self, model: &mut Model, number: u16) -> Result<(Self, bool), Failure> {
        let reader = model
            .message(number)
            .reader()
            .unwrap_or(ParticipantId::Payment);
        let slot = reader.index();
        let step = model.step(self.nodes[slot], number)?;
        self.nodes[slot] = step.node;
        for told in step.told {
            self.put(told);
        }
        if reader == ParticipantId::Payment {
            self.call_if_due(model);
        }
        Ok((self, step.accepted))
    }

    /// Makes the call that payment owes, once it is due; one at a time.
    fn call_if_due(&mut self, model: &mut Model) {
        let node = model.payment.node(self.nodes[2]);
        if self.calling || node.owed.as_ref().is_none_or(|(due, _)| *due > node.now) {
            return;
        }
        if let Some((_, call)) = node.owed.clone() {
            let number = model.number(&Message::Call {
                call,
                is_stray: false,
            });
            self.put(number);
            self.calling = true;
        }
    }

    fn deliver(
        &self,
        model: &mut Model,
        moves: &mut Vec<Move>,
        place: usize,
        message: &Message,
    ) -> Result<(), Failure> {
        let number = self.bag[place];
        let is_answer = matches!(message, Message::Outcome(Some(_), _));
        let mut world = self.without(place);
        world.calling &= !is_answer;
        let (after, _) = world.give(model, number)?;
        moves.push(after.by(Some(number), "", None));
        // An answer comes once: that is the gateway port's contract.
        if is_answer {
            return Ok(());
        }
        if self.left.duplicates > 0 {
            let mut world = self.clone();
            world.left.duplicates -= 1;
            let (after, _) = world.give(model, number)?;
            let how = ", and will again";
            moves.push(after.by(Some(number), how, None));
        }
        if self.left.crashes > 0 {
            let reader = message.reader().unwrap_or(ParticipantId::Payment);
            for mut world in self.forgotten_calls(model, reader) {
                world.left.crashes -= 1;
                let (after, _) = world.give(model, number)?;
                let how = ", appends, and crashes before it says so";
                moves.push(after.by(Some(number), how, None));
            }
        }
        Ok(())
    }

    /// The worlds after a crash of this participant: its call under way is forgotten, and
    /// may still arrive or not.
    fn forgotten_calls(&self, model: &mut Model, crashed: ParticipantId) -> Vec<Self> {
        if crashed != ParticipantId::Payment || !self.calling {
            return vec![self.clone()];
        }
        let mut world = self.clone();
        world.calling = false;
        let mut stray = None;
        world.bag.retain(|number| match model.message(*number) {
            Message::Outcome(Some(_), _) => false,
            Message::Call {
                call,
                is_stray: false,
            } => {
                stray = Some(call.clone());
                false
            }
            _ => true,
        });
        let mut worlds = vec![world];
        if let Some(call) = stray {
            let mut later = worlds[0].clone();
            later.put(model.number(&Message::Call {
                call,
                is_stray: true,
            }));
            worlds.push(later);
        }
        worlds
    }

    /// A crash while nothing is being read. It matters where something is forgotten: that
    /// the state comes back is checked of every state by itself.
    fn crash_with_call(&self, model: &mut Model, moves: &mut Vec<Move>) -> Result<(), Failure> {
        if self.left.crashes == 0 || !self.calling {
            return Ok(());
        }
        for mut after in self.forgotten_calls(model, ParticipantId::Payment) {
            after.left.crashes -= 1;
            after.call_if_due(model);
            let how = "payment crashes with a call under way";
            moves.push(after.by(None, how, None));
        }
        Ok(())
    }

    fn arrive(
        &self,
        model: &mut Model,
        moves: &mut Vec<Move>,
        place: usize,
        call: &a4co_core::gateway::GatewayCall,
        is_stray: bool,
    ) -> Result<(), Failure> {
        let message = Some(self.bag[place]);
        let unknown = GatewayOutcome::Unknown {
            detail: "time-out".into(),
        };
        let operation = Some(call.operation);
        let can_fail = self.left.losses > 0 && !is_stray;
        for way in self.gateway.ways(call)? {
            if way.is_fault && self.left.losses == 0 {
                continue;
            }
            let mut after = self.without(place);
            after.left.losses -= u8::from(way.is_fault);
            let newly =
                way.after.charge == Charge::Captured && self.gateway.charge != Charge::Captured;
            after.gateway = way.after;
            let mut unheard = after.clone();
            // What was captured while nobody listened is reported.
            if newly {
                unheard.put(model.number(&Message::Outcome(None, unheard.gateway.report())));
            }
            if is_stray {
                moves.push(unheard.by(message, "", Some(way.answer)));
                continue;
            }
            if can_fail && !way.is_fault {
                unheard.left.losses -= 1;
                unheard.put(model.number(&Message::Outcome(operation, unknown.clone())));
                moves.push(unheard.by(message, ", its answer is lost", Some(way.answer.clone())));
            }
            after.put(model.number(&Message::Outcome(operation, way.answer.clone())));
            moves.push(after.by(message, "", Some(way.answer)));
        }
        if can_fail {
            let mut lost = self.without(place);
            lost.left.losses -= 1;
            lost.put(model.number(&Message::Outcome(operation, unknown)));
            let mut late = lost.clone();
            let call = call.clone();
            late.put(model.number(&Message::Call {
                call,
                is_stray: true,
            }));
            moves.push(lost.by(message, " not: it is lost", None));
            moves.push(late.by(message, " not: it is late", None));
        }
        Ok(())
    }

    /// The wait before the next call is over.
    fn retry(&self, model: &mut Model, moves: &mut Vec<Move>) -> Result<(), Failure> {
        let node = model.payment.node(self.nodes[2]);
        if self.calling || node.owed.is_none() {
            return Ok(());
        }
        let number = model.number(&Message::Retry);
        let (after, _) = self.clone().give(model, number)?;
        moves.push(after.by(Some(number), "", None));
        Ok(())
    }

    fn timers(
        &self,
        model: &mut Model,
        moves: &mut Vec<Move>,
        is_at_rest: bool,
    ) -> Result<(), Failure> {
        if self.left.time_outs == 0 && !is_at_rest {
            return Ok(());
        }
        let [order, inventory, payment] = self.nodes;
        let due = [
            (ParticipantId::Order, model.order.node(order).deadline),
            (
                ParticipantId::Inventory,
                model.inventory.node(inventory).deadline,
            ),
            (ParticipantId::Payment, model.payment.node(payment).deadline),
        ];
        for (participant, _) in due.into_iter().filter(|(_, at)| at.is_some()) {
            let number = model.number(&Message::Timer(participant));
            let mut world = self.clone();
            world.left.time_outs -= u8::from(!is_at_rest);
            let (after, _) = world.give(model, number)?;
            moves.push(after.by(Some(number), "", None));
        }
        Ok(())
    }

    /// What the client and the operator may do.
    fn people(&self, model: &mut Model, moves: &mut Vec<Move>) -> Result<(), Failure> {
        let may = [
            (Message::Cancel, self.left.cancels > 0),
            (Message::WriteOff, self.left.write_offs > 0),
        ];
        for (message, _) in may.into_iter().filter(|(_, may)| *may) {
            let is_cancel = message == Message::Cancel;
            let number = model.number(&message);
            let mut world = self.clone();
            world.left.cancels -= u8::from(is_cancel);
            world.left.write_offs -= u8::from(!is_cancel);
            let (after, accepted) = world.give(model, number)?;
            if accepted {
                moves.push(after.by(Some(number), "", None));
            }
        }
        Ok(())
    }
}
