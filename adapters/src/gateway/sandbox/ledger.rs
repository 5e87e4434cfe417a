//! What the sandbox knows of each payment, and what a call comes to.
//!
//! Apart from files, clocks and threads: a function of what was decided before. Every
//! decision is a [`BookEntry`]; what is known is the fold of those.
//!
//! Memory holds the latest payments only. What is not there is either new or old. A first
//! attempt at a charge is new, unless a crash came between it and its answer: then it is
//! asked for as a first attempt again after the restart, and the traces of what was in the
//! file at the start know it. Anything else has to be looked up in the file.

use std::collections::hash_map::{Entry as Slot, HashMap};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{GatewayReference, OrderId};
use a4co_core::money::{Amount, Currency};

use super::books::{Tail, trace};
use super::fate::{self, Fate};
use super::record::{BookEntry, RECORD_BYTES};
use crate::config::SandboxConfig;

/// Payments kept in memory, about 150 bytes each.
pub(super) const RECENT_MAX: usize = 100_000;

/// What a call comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This, after the usual latency.
    Answer(GatewayOutcome),
    /// This, after so long and the usual latency.
    AnswerAfter(Duration, GatewayOutcome),
    /// The charge ends after so long; [`Ledger::finish`] says how.
    AtWork(Duration),
    /// Nothing in memory says it: look into the file and ask again.
    LookUp,
}

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    Charged { amount: Amount, currency: Currency },
    Declined,
    Cancelled,
}

/// One payment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    charge: Charge,
    /// Number and amount of each refund.
    refunds: Vec<(u32, Amount)>,
}

/// The latest payments, and the decisions that are not in the file yet.
#[derive(Debug)]
pub(super) struct Ledger {
    recent: HashMap<OrderId, Account>,
    /// Those in `recent`, oldest first.
    order: VecDeque<OrderId>,
    recent_max: usize,
    /// Whether `recent` is all that there is.
    is_whole: bool,
    /// Of the payments that were in the file at the start, in order.
    traces: Vec<u32>,
    /// Charges that have begun and not ended.
    at_work: HashSet<OrderId>,
    /// Tries of undos that fail at first, of this process.
    undo_tries: HashMap<OrderId, u32>,
    unwritten: Vec<u8>,
    /// How each account that `unwritten` changed looked before, in order.
    before: Vec<(OrderId, Option<Account>)>,
}

/// Orders whose undos fail at first; those of further ones do not.
const UNDO_TRIES_MAX: usize = 10_000;

impl Ledger {
    /// The ledger of the end of the file.
    pub(super) fn from_tail(tail: Tail, recent_max: usize) -> Self {
        let mut ledger = Self {
            recent: HashMap::new(),
            order: VecDeque::new(),
            recent_max,
            is_whole: tail.is_whole,
            traces: tail.traces,
            at_work: HashSet::new(),
            undo_tries: HashMap::new(),
            unwritten: Vec::new(),
            before: Vec::new(),
        };
        for entry in &tail.entries {
            ledger.apply(entry);
        }
        ledger.evict();
        ledger
    }

    /// Decides a call, and notes what was decided among the unwritten. `looked_up`: what is
    /// not in memory is not in the file either.
    pub(super) fn decide(
        &mut self,
        call: &GatewayCall,
        config: &SandboxConfig,
        looked_up: bool,
    ) -> Verdict {
        let is_known = looked_up
            || self.is_whole
            || self.is_new(call)
            || self.recent.contains_key(&call.order_id)
            || self.at_work.contains(&call.order_id);
        if !is_known {
            return Verdict::LookUp;
        }
        if fate::may_fail_undo(call) && self.fails_undo(call.order_id) {
            return Verdict::Answer(unknown("the gateway did not take the undo"));
        }
        match call.operation {
            GatewayOperation::Charge => self.charge(call, config),
            // Nothing is authorised first here, so nobody asks for a capture.
            GatewayOperation::Query | GatewayOperation::Capture => {
                Verdict::Answer(self.query(call.order_id))
            }
            GatewayOperation::Cancel => Verdict::Answer(self.cancel(call.order_id)),
            GatewayOperation::Refund { number } => Verdict::Answer(self.refund(call, number)),
        }
    }

    /// Counts a try of an undo; whether it is one of those that fail.
    fn fails_undo(&mut self, order_id: OrderId) -> bool {
        let has_room = self.undo_tries.len() < UNDO_TRIES_MAX;
        let tries = match self.undo_tries.entry(order_id) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) if has_room => slot.insert(0),
            Slot::Vacant(_) => return false,
        };
        *tries = tries.saturating_add(1);
        *tries <= fate::UNDO_FAILURES
    }

    /// The end of a charge that was at work; `None` where a cancel had ended the work.
    pub(super) fn finish(&mut self, call: &GatewayCall) -> Option<GatewayOutcome> {
        self.at_work.remove(&call.order_id).then(|| {
            self.note(charged(call));
            succeeded(call.order_id)
        })
    }

    /// Takes back into memory what the file says of some payments. Those that are in memory
    /// stay as they are, since memory is never behind.
    pub(super) fn recall(&mut self, entries: &[BookEntry]) {
        let known: HashSet<OrderId> = entries
            .iter()
            .map(BookEntry::order_id)
            .filter(|order_id| self.recent.contains_key(order_id))
            .collect();
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.order_id()))
        {
            self.apply(entry);
        }
    }

    /// The end of a charge was taken back: it is at work again.
    pub(super) fn resume(&mut self, order_id: OrderId) {
        self.at_work.insert(order_id);
    }

    /// Takes in what another process has decided.
    pub(super) fn learn(&mut self, entry: &BookEntry) {
        self.at_work.remove(&entry.order_id());
        self.apply(entry);
    }

    /// The records of what was decided and not written.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.unwritten
    }

    /// All that was decided is in the file.
    pub(super) fn written(&mut self) {
        self.unwritten.clear();
        self.before.clear();
        // Only now: what leaves memory must be in the file.
        self.evict();
    }

    /// Nothing that was not written was ever decided.
    pub(super) fn take_back(&mut self) {
        self.unwritten.clear();
        while let Some((order_id, account)) = self.before.pop() {
            match account {
                Some(account) => {
                    self.recent.insert(order_id, account);
                }
                None => {
                    self.recent.remove(&order_id);
                    let newest = self.order.pop_back();
                    debug_assert_eq!(newest, Some(order_id), "accounts are taken back in order");
                }
            }
        }
    }

    /// Nothing was ever asked of the sandbox for this payment.
    fn is_new(&self, call: &GatewayCall) -> bool {
        call.operation == GatewayOperation::Charge
            && call.attempt == 0
            && self.traces.binary_search(&trace(call.order_id)).is_err()
    }

    fn charge(&mut self, call: &GatewayCall, config: &SandboxConfig) -> Verdict {
        let order_id = call.order_id;
        if let Some(account) = self.recent.get(&order_id) {
            return Verdict::Answer(match account.charge {
                Charge::Charged { amount, currency }
                    if amount != call.amount || currency != call.currency =>
                {
                    unknown("this idempotency key was used for another amount before")
                }
                charge => outcome_of(order_id, charge),
            });
        }
        if self.at_work.contains(&order_id) {
            return Verdict::Answer(GatewayOutcome::Pending);
        }
        if call.amount <= Amount::ZERO {
            return Verdict::Answer(rejected("amount_too_small"));
        }
        match fate::of_charge(call, config.success_rate) {
            Fate::Succeeds => {
                self.note(charged(call));
                Verdict::Answer(succeeded(order_id))
            }
            Fate::Declined => {
                self.note(declined(call));
                Verdict::Answer(rejected(CARD_DECLINED))
            }
            Fate::TimesOut { charged: succeeds } => {
                self.note(if succeeds {
                    charged(call)
                } else {
                    declined(call)
                });
                Verdict::AnswerAfter(
                    config.timeout,
                    unknown("the gateway did not answer in time"),
                )
            }
            Fate::Slow => {
                self.at_work.insert(order_id);
                Verdict::AtWork(config.slow)
            }
        }
    }

    fn query(&self, order_id: OrderId) -> GatewayOutcome {
        match self.recent.get(&order_id) {
            Some(account) => outcome_of(order_id, account.charge),
            None if self.at_work.contains(&order_id) => GatewayOutcome::Pending,
            None => GatewayOutcome::NotFound,
        }
    }

    fn cancel(&mut self, order_id: OrderId) -> GatewayOutcome {
        match self.recent.get(&order_id).map(|account| account.charge) {
            Some(Charge::Charged { .. }) => succeeded(order_id),
            // Declined or cancelled: nothing was charged, and nothing will be.
            Some(_) => GatewayOutcome::Cancelled,
            None => {
                self.at_work.remove(&order_id);
                self.note(BookEntry::Cancelled { order_id });
                GatewayOutcome::Cancelled
            }
        }
    }

    fn refund(&mut self, call: &GatewayCall, number: u32) -> GatewayOutcome {
        let order_id = call.order_id;
        let Some(account) = self.recent.get(&order_id) else {
            return rejected("charge_not_found");
        };
        let Charge::Charged {
            amount: captured,
            currency,
        } = account.charge
        else {
            return rejected("charge_not_captured");
        };
        if let Some((_, amount)) = account.refunds.iter().find(|(known, _)| *known == number) {
            return if *amount == call.amount {
                refunded(order_id, number)
            } else {
                rejected("idempotency_key_reused")
            };
        }
        if currency != call.currency {
            return rejected("currency_mismatch");
        }
        if call.amount <= Amount::ZERO {
            return rejected("amount_too_small");
        }
        let before = account.refunds.iter().map(|(_, amount)| *amount);
        let total = Amount::sum(before.chain([call.amount]));
        if total.is_ok_and(|total| total <= captured) {
            let amount = call.amount;
            self.note(BookEntry::Refunded {
                order_id,
                number,
                amount,
            });
            return refunded(order_id, number);
        }
        rejected("refund_exceeds_charge")
    }

    /// Decides an entry: in memory now, in the file with the next write.
    fn note(&mut self, entry: BookEntry) {
        let order_id = entry.order_id();
        self.before
            .push((order_id, self.recent.get(&order_id).cloned()));
        self.unwritten.extend_from_slice(&entry.encode());
        debug_assert_eq!(self.unwritten.len() % RECORD_BYTES, 0);
        self.apply(&entry);
    }

    fn apply(&mut self, entry: &BookEntry) {
        let order_id = entry.order_id();
        let charge = match *entry {
            BookEntry::Charged {
                amount, currency, ..
            } => Charge::Charged { amount, currency },
            BookEntry::Declined { .. } => Charge::Declined,
            BookEntry::Cancelled { .. } => Charge::Cancelled,
            BookEntry::Refunded { number, amount, .. } => {
                // Of a charge that is further back than what was read: the payment stays
                // unknown to memory as a whole, and is looked up when it is named.
                if let Some(account) = self.recent.get_mut(&order_id) {
                    account.refunds.push((number, amount));
                }
                return;
            }
        };
        if let Slot::Vacant(slot) = self.recent.entry(order_id) {
            let refunds = Vec::new();
            slot.insert(Account { charge, refunds });
            self.order.push_back(order_id);
        }
    }

    fn evict(&mut self) {
        while self.order.len() > self.recent_max {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
                self.is_whole = false;
            }
        }
    }
}

const CARD_DECLINED: &str = "card_declined";

fn outcome_of(order_id: OrderId, charge: Charge) -> GatewayOutcome {
    match charge {
        Charge::Charged { .. } => succeeded(order_id),
        Charge::Declined => rejected(CARD_DECLINED),
        Charge::Cancelled => GatewayOutcome::Cancelled,
    }
}

const fn charged(call: &GatewayCall) -> BookEntry {
    BookEntry::Charged {
        order_id: call.order_id,
        amount: call.amount,
        currency: call.currency,
    }
}

const fn declined(call: &GatewayCall) -> BookEntry {
    BookEntry::Declined {
        order_id: call.order_id,
        amount: call.amount,
        currency: call.currency,
    }
}

fn succeeded(order_id: OrderId) -> GatewayOutcome {
    let reference = reference(&reference_of(order_id));
    GatewayOutcome::Succeeded { reference }
}

fn refunded(order_id: OrderId, number: u32) -> GatewayOutcome {
    let reference = reference(&format!("sandbox_re_{order_id}_{number}"));
    GatewayOutcome::Refunded { reference }
}

/// The sandbox's name for an order's charge.
#[must_use]
pub fn reference_of(order_id: OrderId) -> String {
    format!("sandbox_ch_{order_id}")
}

fn reference(text: &str) -> GatewayReference {
    GatewayReference::parse(text).expect("a label, a UUID and a number are short and printable")
}

fn rejected(code: &str) -> GatewayOutcome {
    let code = Arc::from(code);
    GatewayOutcome::Rejected { code }
}

fn unknown(detail: &str) -> GatewayOutcome {
    let detail = Arc::from(detail);
    GatewayOutcome::Unknown { detail }
}
