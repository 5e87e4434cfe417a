//! The payment gateway: another party, with authoritative books of its own.
//!
//! It is idempotent by order (charges) and by order and number (refunds), as the contract
//! of [`a4co_core::gateway`] demands. Everything else may go wrong: see
//! [`crate::plan::Knobs`]. It complains about calls that a correct engine never makes.

mod refunds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{GatewayReference, OrderId};
use a4co_core::invariants::{Books, GatewayAccount};
use a4co_core::money::{Amount, Currency};

use crate::plan::Knobs;
use crate::rng::{Rng, Stream};

/// Where a charge stands at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Nobody asked for it yet.
    None,
    /// The customer has to do something first (3-D Secure).
    NeedsAction {
        /// Done, and then it is declined.
        declines: bool,
        /// It is never done.
        never: bool,
    },
    /// It will end at its own time.
    Pending {
        /// It will be declined, not captured.
        declines: bool,
        /// It cannot be cancelled.
        sticky: bool,
    },
    /// The amount is set aside for us and not yet taken.
    Authorised,
    /// What was set aside for us is not any more: it lapsed, or was refused when it was to
    /// be taken.
    Gone,
    /// The money is here.
    Captured,
    /// Refused.
    Declined,
    /// Will never happen.
    Cancelled,
}

#[derive(Debug)]
struct Account {
    charge: Charge,
    amount: Amount,
    currency: Currency,
    refunds: BTreeMap<u32, Amount>,
    /// Refunds that are under way: they are done at their own time, or refused.
    refunds_pending: BTreeMap<u32, Amount>,
    /// Refunds that were refused after they had been under way.
    refunds_failed: BTreeSet<u32>,
    /// The last call of each refund that was refused: calls before it, which arrive late,
    /// are refused too, since they are the same call.
    refused: BTreeMap<u32, u64>,
    is_wild: bool,
    needed_action: bool,
    cells: u64,
}

/// What happens at the gateway later on.
#[derive(Debug, Clone)]
pub enum Later {
    /// A pending charge ends, or the customer does what was asked.
    Settle,
    /// What was set aside is let go.
    Lapse,
    /// A pending refund is done, or refused.
    SettleRefund {
        /// Which one.
        number: u32,
    },
    /// A charge that was over is captured all the same.
    CaptureAfterAll,
    /// The gateway reports by itself.
    Report {
        /// The refund that it is about; `None`: the charge.
        refund: Option<u32>,
        /// What it reports.
        outcome: Box<GatewayOutcome>,
        /// It reports until it has been heard.
        must: bool,
    },
}

/// The gateway.
#[derive(Debug, Default)]
pub struct Gateway {
    accounts: BTreeMap<OrderId, Account>,
    /// The books that checks compare with.
    pub books: Books,
    /// A call that no correct engine makes.
    pub complaint: Option<String>,
    /// No faults any more: every answer is definite.
    pub is_healed: bool,
}

/// The number that stands for an order in forks of chance.
#[must_use]
pub fn order_number(order_id: OrderId) -> u64 {
    let (high, low) = order_id.uuid().as_u64_pair();
    high ^ low.rotate_left(31)
}

/// The number that stands for an operation in forks of chance and in digests.
pub(crate) const fn operation_number(operation: GatewayOperation) -> u64 {
    match operation {
        GatewayOperation::Charge => 0,
        GatewayOperation::Query => 1,
        GatewayOperation::Cancel => 2,
        GatewayOperation::Refund { number } => 3 + number as u64,
        GatewayOperation::Capture => u64::MAX,
    }
}

/// The number that stands for an answer in digests.
pub(crate) const fn outcome_number(outcome: &GatewayOutcome) -> u64 {
    match outcome {
        GatewayOutcome::Succeeded { .. } => 1,
        GatewayOutcome::Rejected { .. } => 2,
        GatewayOutcome::Pending => 3,
        GatewayOutcome::NotFound => 4,
        GatewayOutcome::Cancelled => 5,
        GatewayOutcome::Refunded { .. } => 6,
        GatewayOutcome::Unknown { .. } => 7,
        GatewayOutcome::Authorised { .. } => 8,
        GatewayOutcome::ActionRequired { .. } => 9,
    }
}

fn reference(kind: &str, order_id: OrderId, number: u32) -> GatewayReference {
    let text = format!("{kind}_{:016x}_{number}", order_number(order_id));
    #[expect(clippy::expect_used, reason = "printable and short")]
    GatewayReference::parse(&text).expect("a valid reference")
}

fn rejected(code: &str) -> GatewayOutcome {
    GatewayOutcome::Rejected {
        code: Arc::from(code),
    }
}

/// An answer that says nothing.
#[must_use]
pub fn unknown(detail: &str) -> GatewayOutcome {
    GatewayOutcome::Unknown {
        detail: Arc::from(detail),
    }
}

fn captured(order_id: OrderId) -> GatewayOutcome {
    GatewayOutcome::Succeeded {
        reference: reference("ch", order_id, 0),
    }
}

/// What whoever asks is told of a charge.
fn answer(charge: Charge, order_id: OrderId) -> GatewayOutcome {
    let reference = || reference("ch", order_id, 0);
    match charge {
        Charge::None => GatewayOutcome::NotFound,
        Charge::NeedsAction { .. } => GatewayOutcome::ActionRequired {
            reference: reference(),
        },
        Charge::Pending { .. } => GatewayOutcome::Pending,
        Charge::Authorised => GatewayOutcome::Authorised {
            reference: reference(),
        },
        Charge::Captured => captured(order_id),
        Charge::Declined => rejected("card_declined"),
        Charge::Cancelled | Charge::Gone => GatewayOutcome::Cancelled,
    }
}

impl Gateway {
    /// Where the charge of this order stands.
    #[must_use]
    pub fn charge(&self, order_id: OrderId) -> Charge {
        self.accounts
            .get(&order_id)
            .map_or(Charge::None, |account| account.charge)
    }

    /// Whether this order's charge may be captured after it was over.
    #[must_use]
    pub fn is_wild(&self, order_id: OrderId) -> bool {
        self.accounts
            .get(&order_id)
            .is_some_and(|account| account.is_wild)
    }

    /// Whether this order's charge ever waited for the customer.
    #[must_use]
    pub fn needed_action(&self, order_id: OrderId) -> bool {
        self.accounts
            .get(&order_id)
            .is_some_and(|account| account.needed_action)
    }

    /// What the books say.
    #[must_use]
    pub fn account(&self, order_id: OrderId) -> GatewayAccount {
        self.books.get(&order_id).copied().unwrap_or_default()
    }

    fn complain(&mut self, call: &GatewayCall, why: &str) {
        self.complaint
            .get_or_insert_with(|| format!("order {}: {why}", call.order_id));
    }

    /// Carries out a call. `lasts` are things that happen later, with their delays in
    /// microseconds.
    pub fn carry_out(
        &mut self,
        knobs: &Knobs,
        (id, call): (u64, &GatewayCall),
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        let mut fate = Rng::fork(knobs.seed, Stream::Charge, &[order_number(order_id)]);
        let wild = fate.chance(knobs.capture_after_all);
        let account = self.accounts.entry(order_id).or_insert_with(|| Account {
            charge: Charge::None,
            amount: call.amount,
            currency: call.currency,
            refunds: BTreeMap::new(),
            refunds_pending: BTreeMap::new(),
            refunds_failed: BTreeSet::new(),
            refused: BTreeMap::new(),
            is_wild: wild,
            needed_action: false,
            cells: 0,
        });
        account.cells += 1;
        let is_refund = matches!(call.operation, GatewayOperation::Refund { .. });
        if account.currency != call.currency || (!is_refund && account.amount != call.amount) {
            self.complain(call, "another amount or currency under the same key");
            return rejected("parameters_changed");
        }
        match call.operation {
            GatewayOperation::Charge => self.on_charge(knobs, call, &mut fate, lasts),
            GatewayOperation::Query => answer(account.charge, order_id),
            GatewayOperation::Capture => self.on_capture(knobs, call, lasts),
            GatewayOperation::Cancel => self.on_cancel(knobs, call, &mut fate, lasts),
            GatewayOperation::Refund { number } => self.on_refund(knobs, (id, call), number, lasts),
        }
    }

    fn on_charge(
        &mut self,
        knobs: &Knobs,
        call: &GatewayCall,
        fate: &mut Rng,
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        if call.amount <= Amount::ZERO {
            self.complain(call, "a charge of nothing");
        }
        match self.charge(order_id) {
            Charge::None => {}
            present => return answer(present, order_id),
        }
        // A fork of its own, so that without such charges every other one is as it was.
        let mut action = Rng::fork(knobs.seed, Stream::Charge, &[order_number(order_id), 1]);
        if !self.is_healed && action.chance(knobs.action_required) {
            let charge = Charge::NeedsAction {
                declines: action.chance(knobs.pending_declined),
                never: action.chance(knobs.action_never),
            };
            self.set(order_id, charge);
            if let Some(account) = self.accounts.get_mut(&order_id) {
                account.needed_action = true;
            }
            let ends_us = action.between(1, knobs.pending_ms) * 1000;
            if matches!(charge, Charge::NeedsAction { never: false, .. }) {
                lasts.push((ends_us, Later::Settle));
            }
            let asks = answer(charge, order_id);
            self.report(knobs, order_id, asks.clone(), false, lasts);
            return asks;
        }
        if !self.is_healed && fate.chance(knobs.pending) {
            let charge = Charge::Pending {
                declines: fate.chance(knobs.pending_declined),
                sticky: fate.chance(knobs.pending_sticky),
            };
            self.set(order_id, charge);
            let ends_us = fate.between(1, knobs.pending_ms) * 1000;
            lasts.push((ends_us, Later::Settle));
            return GatewayOutcome::Pending;
        }
        if !self.is_healed && fate.chance(knobs.decline) {
            self.set(order_id, Charge::Declined);
            self.report(knobs, order_id, rejected("card_declined"), false, lasts);
            self.go_wild(order_id, fate, lasts);
            return rejected("card_declined");
        }
        self.goes_through(knobs, order_id, lasts)
    }

    /// A charge has succeeded: its amount is taken, or set aside where we take it ourselves.
    fn goes_through(
        &mut self,
        knobs: &Knobs,
        order_id: OrderId,
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        if knobs.manual_capture {
            self.set(order_id, Charge::Authorised);
            let mut fate = Rng::fork(knobs.seed, Stream::Charge, &[order_number(order_id), 2]);
            if !self.is_healed && fate.chance(knobs.authorisation_lapses) {
                let ends_us = fate.between(1, knobs.pending_ms) * 1000;
                lasts.push((ends_us, Later::Lapse));
            }
        } else {
            self.capture(order_id);
        }
        let outcome = answer(self.charge(order_id), order_id);
        self.report(knobs, order_id, outcome.clone(), false, lasts);
        outcome
    }

    fn on_capture(
        &mut self,
        knobs: &Knobs,
        call: &GatewayCall,
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        let mut fate = Rng::fork(knobs.seed, Stream::Charge, &[order_number(order_id), 3]);
        match self.charge(order_id) {
            Charge::Authorised if !self.is_healed && fate.chance(knobs.capture_refused) => {
                self.let_go(knobs, order_id, lasts);
                rejected("authorisation_expired")
            }
            Charge::Gone => rejected("authorisation_expired"),
            Charge::Authorised => {
                self.capture(order_id);
                self.report(knobs, order_id, captured(order_id), false, lasts);
                captured(order_id)
            }
            Charge::Captured => captured(order_id),
            charge => {
                self.complain(call, "a capture of what was never authorised");
                answer(charge, order_id)
            }
        }
    }

    /// What was set aside is so no more.
    fn let_go(&mut self, knobs: &Knobs, order_id: OrderId, lasts: &mut Vec<(u64, Later)>) {
        self.set(order_id, Charge::Gone);
        self.report(knobs, order_id, GatewayOutcome::Cancelled, false, lasts);
        let mut fate = Rng::fork(knobs.seed, Stream::Charge, &[order_number(order_id), 4]);
        self.go_wild(order_id, &mut fate, lasts);
    }

    /// An authorisation lapses, unless its amount was taken or let go before.
    pub fn lapse(&mut self, knobs: &Knobs, order_id: OrderId, lasts: &mut Vec<(u64, Later)>) {
        if !self.is_healed && self.charge(order_id) == Charge::Authorised {
            self.let_go(knobs, order_id, lasts);
        }
    }

    fn on_cancel(
        &mut self,
        knobs: &Knobs,
        call: &GatewayCall,
        fate: &mut Rng,
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        match self.charge(order_id) {
            Charge::None
            | Charge::NeedsAction { .. }
            | Charge::Authorised
            | Charge::Pending { sticky: false, .. } => {
                self.set(order_id, Charge::Cancelled);
                self.report(knobs, order_id, GatewayOutcome::Cancelled, false, lasts);
                self.go_wild(order_id, fate, lasts);
                GatewayOutcome::Cancelled
            }
            over => answer(over, order_id),
        }
    }

    /// A pending charge ends, or its customer does what was asked, unless it was cancelled
    /// meanwhile.
    pub fn settle(&mut self, knobs: &Knobs, order_id: OrderId, lasts: &mut Vec<(u64, Later)>) {
        let (Charge::Pending { declines, .. }
        | Charge::NeedsAction {
            declines,
            never: false,
        }) = self.charge(order_id)
        else {
            return;
        };
        if declines {
            self.set(order_id, Charge::Declined);
            self.report(knobs, order_id, rejected("card_declined"), false, lasts);
        } else {
            self.goes_through(knobs, order_id, lasts);
        }
    }

    /// A charge that was over is captured all the same.
    pub fn capture_after_all(
        &mut self,
        knobs: &Knobs,
        order_id: OrderId,
        lasts: &mut Vec<(u64, Later)>,
    ) {
        if matches!(
            self.charge(order_id),
            Charge::Declined | Charge::Cancelled | Charge::Gone
        ) {
            self.capture(order_id);
            self.report(knobs, order_id, captured(order_id), true, lasts);
        }
    }

    /// Every charge that is still pending, for the end of all faults. One whose customer
    /// never comes is not among them: it is for us to end it.
    #[must_use]
    pub fn pending(&self) -> Vec<OrderId> {
        let pending = |account: &Account| {
            matches!(
                account.charge,
                Charge::Pending { .. } | Charge::NeedsAction { never: false, .. }
            )
        };
        self.accounts
            .iter()
            .filter(|(_, account)| pending(account))
            .map(|(order_id, _)| *order_id)
            .collect()
    }

    /// The report that a charge has been captured, once more.
    #[must_use]
    pub fn captured_report(&self, order_id: OrderId) -> GatewayOutcome {
        captured(order_id)
    }

    fn go_wild(&self, order_id: OrderId, fate: &mut Rng, lasts: &mut Vec<(u64, Later)>) {
        let delay_us = fate.between(1, 20_000) * 1000;
        if self.is_wild(order_id) && !self.is_healed {
            lasts.push((delay_us, Later::CaptureAfterAll));
        }
    }

    fn report(
        &self,
        knobs: &Knobs,
        order_id: OrderId,
        outcome: GatewayOutcome,
        must: bool,
        lasts: &mut Vec<(u64, Later)>,
    ) {
        let cells = self
            .accounts
            .get(&order_id)
            .map_or(0, |account| account.cells);
        let names = [order_number(order_id), cells];
        let fate = Rng::fork(knobs.seed, Stream::Webhook, &names);
        let report = Later::Report {
            refund: None,
            outcome: Box::new(outcome),
            must,
        };
        send(knobs, fate, report, lasts);
    }

    fn set(&mut self, order_id: OrderId, charge: Charge) {
        if let Some(account) = self.accounts.get_mut(&order_id) {
            account.charge = charge;
        }
    }

    fn capture(&mut self, order_id: OrderId) {
        self.set(order_id, Charge::Captured);
        let amount = self
            .accounts
            .get(&order_id)
            .map_or(Amount::ZERO, |account| account.amount);
        let books = self.books.entry(order_id).or_default();
        books.captured = amount;
        books.captures += 1;
    }
}

/// A report leaves: lost or late, once or twice, and the second time later still.
fn send(knobs: &Knobs, mut fate: Rng, report: Later, lasts: &mut Vec<(u64, Later)>) {
    let Later::Report {
        refund,
        outcome,
        must,
    } = report
    else {
        return;
    };
    if must || !fate.chance(knobs.webhook_lost) {
        let delay_us = fate.between(1, knobs.webhook_ms.max(1)) * 1000;
        let outcome = outcome.clone();
        let report = Later::Report {
            refund,
            outcome,
            must,
        };
        lasts.push((delay_us, report));
    }
    if fate.chance(knobs.webhook_twice) {
        let delay_us = fate.between(1, knobs.webhook_ms.max(1) * 4) * 1000;
        let must = false;
        let report = Later::Report {
            refund,
            outcome,
            must,
        };
        lasts.push((delay_us, report));
    }
}
