//! The search: every world once, depth first, each checked; and, once something is wrong,
//! the shortest way to it, breadth first.
//!
//! Depth first because that tells of cycles: without any, in a finite number of worlds,
//! every run comes to its end, and all that is left to ask is whether the end is proper.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use a4co_core::invariants::{Books, Invariant, Phase, World as View, check_all};
use a4co_core::order::SagaState;
use a4co_core::payment::PaymentPhase;
use a4co_core::settings::Settings;
use a4co_core::time::Timestamp;

use super::gateway::Gateway;
use super::model::{LINES, Message, Model, TOTAL_MINOR};
use super::world::{Bounds, Move, What, World};
use crate::verdict::{Checked, Failure, liveness, safety};

/// Units of the two products to begin with: enough, and not enough.
const STOCKS: [[u64; 2]; 2] = [[2, 1], [2, 0]];

/// Worlds that the search for a shortest way may look at.
const SHORTEST_WORLDS_MAX: usize = 4_000_000;

/// Every invariant that an exploration asks for, and what it asks beyond them.
pub(super) const ASKED: [&str; 16] = [
    Invariant::StockConserved.name(),
    Invariant::NeverOversold.name(),
    Invariant::ChargedAtMostOnce.name(),
    Invariant::MoneyAccounted.name(),
    Invariant::ConfirmedImpliesCommittedAndPaid.name(),
    Invariant::CancelledImpliesNothingHeld.name(),
    Invariant::NoHoldOutlivesItsEnd.name(),
    Invariant::SagaStepsLegal.name(),
    Invariant::TerminalIsFinal.name(),
    Invariant::ReplayEqualsState.name(),
    Invariant::EverySagaEnds.name(),
    "accepted_cancel_undoes",
    "refund_of_nothing",
    "one_key_one_refund",
    "proper_end",
    "no_run_without_end",
];

/// What an exploration came to.
#[derive(Debug, Default)]
pub struct Explored {
    /// Distinct worlds.
    pub states: u64,
    /// Steps between them.
    pub transitions: u64,
    /// Steps of the longest run.
    pub depth: usize,
    /// Distinct combinations of the participants' states and the gateway's books that were
    /// checked.
    pub cuts: u64,
    /// Distinct states of order, inventory and payment.
    pub nodes: [usize; 3],
    /// Decisions asked to show that undelivered messages would have decided nothing.
    pub unnoticed: usize,
    /// Worlds in which nothing is under way any more, by how the order ended.
    pub ends: BTreeMap<String, u64>,
    /// Names of all events that were decided.
    pub events: BTreeSet<&'static str>,
    /// What is wrong, with the steps that lead there.
    pub failure: Option<(Failure, Vec<String>)>,
}

/// Small numbers, so that a bounded fault reaches what needs many attempts elsewhere.
fn settings() -> Settings {
    Settings {
        charge_attempts: 1,
        park_after_attempts: 1,
        ..Settings::default()
    }
}

struct Frame {
    fingerprint: u128,
    moves: std::vec::IntoIter<Move>,
    what: Option<What>,
}

struct Search {
    model: Model,
    settings: Settings,
    verdicts: HashMap<(Vec<u8>, bool), Checked>,
    seen: HashSet<u128>,
    scratch: Vec<u8>,
    found: Explored,
}

/// Explores every world within these bounds.
#[must_use]
pub fn explore(bounds: Bounds) -> Explored {
    let settings = settings();
    let mut search = Search {
        model: Model::new(&settings),
        settings,
        verdicts: HashMap::new(),
        seen: HashSet::new(),
        scratch: Vec::new(),
        found: Explored::default(),
    };
    for stock in STOCKS {
        if let Err((failure, path)) = search.depth_first(bounds, stock) {
            let trace = search
                .shortest(bounds, stock, failure.check)
                .unwrap_or(path);
            search.found.failure = Some((failure, trace));
            break;
        }
    }
    search.finish()
}

impl Search {
    fn first(&mut self, bounds: Bounds, stock: [u64; 2]) -> Result<World, Failure> {
        let inventory = self.model.stocked(stock)?;
        let create = self.model.number(&Message::Create);
        Ok(World::new(inventory, create, bounds))
    }

    fn depth_first(
        &mut self,
        bounds: Bounds,
        stock: [u64; 2],
    ) -> Result<(), (Failure, Vec<String>)> {
        let mut stack: Vec<Frame> = Vec::new();
        let mut on_stack: HashSet<u128> = HashSet::new();
        let first = self.first(bounds, stock).map_err(|it| (it, Vec::new()))?;
        let mut entered = Some((first, None));
        loop {
            if let Some((world, what)) = entered.take() {
                let fingerprint = world.fingerprint(&mut self.scratch);
                if self.seen.insert(fingerprint) {
                    let moves = self.enter(&world);
                    let moves =
                        moves.map_err(|failure| (failure, self.path(&stack, what.as_ref())))?;
                    let moves = moves.into_iter();
                    stack.push(Frame {
                        fingerprint,
                        moves,
                        what,
                    });
                    on_stack.insert(fingerprint);
                    self.found.depth = self.found.depth.max(stack.len() - 1);
                } else if on_stack.contains(&fingerprint) {
                    let detail = "the world is as it was before: this can go on for ever";
                    let failure = liveness("no_run_without_end", detail);
                    return Err((failure, self.path(&stack, what.as_ref())));
                }
            }
            let Some(frame) = stack.last_mut() else {
                return Ok(());
            };
            if let Some(Move { what, after }) = frame.moves.next() {
                self.found.transitions += 1;
                entered = Some((after, Some(what)));
            } else {
                on_stack.remove(&frame.fingerprint);
                stack.pop();
            }
        }
    }

    fn path(&self, stack: &[Frame], last: Option<&What>) -> Vec<String> {
        let steps = stack.iter().filter_map(|frame| frame.what.as_ref());
        steps
            .chain(last)
            .map(|what| what.describe(&self.model))
            .collect()
    }

    /// Checks a world that was not seen before, and gives the steps from it.
    fn enter(&mut self, world: &World) -> Result<Vec<Move>, Failure> {
        self.found.states += 1;
        let has_ended = world.has_ended(&self.model);
        self.check(world, has_ended)?;
        if has_ended {
            let end = self.end(world)?;
            *self.found.ends.entry(end).or_default() += 1;
        }
        let moves = world.moves(&mut self.model)?;
        if moves.is_empty() && !has_ended {
            return Err(liveness(
                "proper_end",
                "nothing can happen, and it has not ended",
            ));
        }
        Ok(moves)
    }

    /// Asks the invariants; once for each combination of what they look at.
    fn check(&mut self, world: &World, has_ended: bool) -> Checked {
        let mut key = Vec::with_capacity(32);
        for node in world.nodes {
            key.extend(node.to_le_bytes());
        }
        world.gateway.write(&mut key);
        if let Some(verdict) = self.verdicts.get(&(key.clone(), has_ended)) {
            return verdict.clone();
        }
        let verdict = judge(&self.model, world.nodes, &world.gateway, has_ended);
        self.verdicts.insert((key, has_ended), verdict.clone());
        verdict
    }

    /// Completed or fully undone, in plain numbers and without asking the invariants; and
    /// how it ended, for the table.
    fn end(&self, world: &World) -> Result<String, Failure> {
        let wrong = |detail: String| Err(liveness("proper_end", detail));
        let [order, inventory, payment] = world.nodes;
        let inventory = &self.model.inventory.node(inventory).state;
        let account = world.gateway.account();
        let kept = account.captured.minor() - account.refunded.minor();
        let Some(order) = self
            .model
            .order
            .node(order)
            .state
            .order(self.model.order_id)
        else {
            return wrong("no order, though its client asked for it".into());
        };
        let is_complete = order.saga == SagaState::Completed;
        if !order.saga.is_terminal() {
            return wrong(format!("the saga stays {}", order.saga));
        }
        if kept != if is_complete { TOTAL_MINOR } else { 0 } {
            return wrong(format!(
                "the order is {}, {kept} of its money was kept",
                order.saga
            ));
        }
        for (product, (_, quantity)) in inventory.products.values().zip(LINES) {
            let sold = if is_complete { u64::from(quantity) } else { 0 };
            if product.reserved != 0 || product.sold != sold {
                return wrong(format!(
                    "the order is {}, and its stock {product:?}",
                    order.saga
                ));
            }
        }
        let charge = match self
            .model
            .payment
            .node(payment)
            .state
            .payment(self.model.order_id)
        {
            None => "never charged",
            Some(payment) => match payment.phase {
                PaymentPhase::Captured if kept == 0 => "refunded",
                PaymentPhase::Captured => "paid",
                PaymentPhase::Failed => "declined",
                _ => "not charged",
            },
        };
        let reason = order
            .cancel_reason
            .as_ref()
            .map(|reason| format!(" ({reason})"));
        Ok(format!(
            "{}{}, {charge}",
            order.status,
            reason.unwrap_or_default()
        ))
    }

    /// The shortest way to a world that fails this check.
    fn shortest(&mut self, bounds: Bounds, stock: [u64; 2], check: &str) -> Option<Vec<String>> {
        let first = self.first(bounds, stock).ok()?;
        let mut seen = HashSet::from([first.fingerprint(&mut self.scratch)]);
        let mut steps: Vec<(usize, Option<What>)> = vec![(0, None)];
        let mut queue = std::collections::VecDeque::from([(first, 0)]);
        while let Some((world, place)) = queue.pop_front() {
            let has_ended = world.has_ended(&self.model);
            let mut failed = self.check(&world, has_ended);
            if failed.is_ok() && has_ended {
                failed = self.end(&world).map(|_| ());
            }
            let moves = failed.and_then(|()| world.moves(&mut self.model));
            let moves = match moves {
                Err(failure) if failure.check == check => {
                    return Some(self.back(&steps, place));
                }
                other => other.unwrap_or_default(),
            };
            for Move { what, after } in moves {
                if seen.len() < SHORTEST_WORLDS_MAX
                    && seen.insert(after.fingerprint(&mut self.scratch))
                {
                    steps.push((place, Some(what)));
                    queue.push_back((after, steps.len() - 1));
                }
            }
        }
        None
    }

    fn back(&self, steps: &[(usize, Option<What>)], mut place: usize) -> Vec<String> {
        let mut path = Vec::new();
        while let (from, Some(what)) = &steps[place] {
            path.push(what.describe(&self.model));
            place = *from;
        }
        path.reverse();
        path
    }

    fn finish(mut self) -> Explored {
        let model = &self.model;
        if self.found.failure.is_none() {
            match model.unnoticed_decide_nothing(&self.settings) {
                Ok(asked) => self.found.unnoticed = asked,
                Err(failure) => self.found.failure = Some((failure, Vec::new())),
            }
        }
        let found = &mut self.found;
        found.cuts = self.verdicts.len() as u64;
        found.nodes = [
            model.order.nodes.len(),
            model.inventory.nodes.len(),
            model.payment.nodes.len(),
        ];
        let order = model.order.nodes.iter().flat_map(|node| &node.journal);
        found.events.extend(order.map(|it| it.event.name()));
        let inventory = model.inventory.nodes.iter().flat_map(|node| &node.journal);
        found.events.extend(inventory.map(|it| it.event.name()));
        let payment = model.payment.nodes.iter().flat_map(|node| &node.journal);
        found.events.extend(payment.map(|it| it.event.name()));
        self.found
    }
}

fn judge(model: &Model, nodes: [u32; 3], gateway: &Gateway, has_ended: bool) -> Checked {
    let order = model.order.node(nodes[0]);
    let inventory = model.inventory.node(nodes[1]);
    let payment = model.payment.node(nodes[2]);
    let mut books = Books::new();
    books.insert(model.order_id, gateway.account());
    let view = View::of_states(&order.state, &inventory.state, &payment.state);
    let view = view.complete().with_books(&books);
    let phase = if has_ended {
        let now: Timestamp = order.now.max(inventory.now).max(payment.now);
        Phase::Quiescent { now }
    } else {
        Phase::Commit
    };
    match check_all(&view, phase).first() {
        None => Ok(()),
        Some(found) if found.invariant == Invariant::EverySagaEnds => Err(liveness(
            found.invariant.name(),
            format!("{}: {}", found.subject, found.detail),
        )),
        Some(found) => Err(safety(
            found.invariant.name(),
            format!("{}: {}", found.subject, found.detail),
        )),
    }
}
