//! What the gateway gives back. Apart from the charges because a refund has an end of its
//! own, long after that of its charge.

use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::money::Amount;

use super::{Charge, Gateway, Later, order_number, reference, rejected, send};
use crate::plan::Knobs;
use crate::rng::{Rng, Stream};

impl Gateway {
    /// What this refund gave back.
    #[must_use]
    pub fn refund(&self, order_id: OrderId, number: u32) -> Option<Amount> {
        self.accounts.get(&order_id)?.refunds.get(&number).copied()
    }

    /// Every refund that is still pending, for the end of all faults.
    pub fn pending_refunds(&self) -> impl Iterator<Item = (OrderId, u32)> + '_ {
        self.accounts.iter().flat_map(|(order_id, account)| {
            let numbers = account.refunds_pending.keys();
            numbers.map(|number| (*order_id, *number))
        })
    }

    /// Whether this refund is under way.
    #[must_use]
    pub fn is_refund_pending(&self, order_id: OrderId, number: u32) -> bool {
        let account = self.accounts.get(&order_id);
        account.is_some_and(|account| account.refunds_pending.contains_key(&number))
    }

    /// Every refund that was refused after it had been under way.
    pub fn failed_refunds(&self) -> impl Iterator<Item = (OrderId, u32)> + '_ {
        self.accounts.iter().flat_map(|(order_id, account)| {
            let numbers = account.refunds_failed.iter();
            numbers.map(|number| (*order_id, *number))
        })
    }

    /// What stood in the way of a refund is gone: asked for again, it is carried out anew.
    pub fn allow_refund(&mut self, order_id: OrderId, number: u32) {
        if let Some(account) = self.accounts.get_mut(&order_id) {
            account.refunds_failed.remove(&number);
        }
    }

    /// A pending refund is done, or refused.
    pub fn settle_refund(
        &mut self,
        knobs: &Knobs,
        order_id: OrderId,
        number: u32,
        lasts: &mut Vec<(u64, Later)>,
    ) {
        let Some(account) = self.accounts.get_mut(&order_id) else {
            return;
        };
        let Some(amount) = account.refunds_pending.remove(&number) else {
            return;
        };
        let names = [order_number(order_id), u64::from(number)];
        let mut fate = Rng::fork(knobs.seed, Stream::Refund, &names);
        if !self.is_healed && fate.chance(knobs.refund_fails_late) {
            account.refunds_failed.insert(number);
            self.report_refund(knobs, order_id, number, rejected("refund_failed"), lasts);
        } else {
            self.give_back(knobs, order_id, (number, amount), lasts);
        }
    }

    pub(super) fn on_refund(
        &mut self,
        knobs: &Knobs,
        (id, call): (u64, &GatewayCall),
        number: u32,
        lasts: &mut Vec<(u64, Later)>,
    ) -> GatewayOutcome {
        let order_id = call.order_id;
        if call.amount <= Amount::ZERO {
            self.complain(call, "a refund of nothing");
        }
        if self.charge(order_id) != Charge::Captured {
            self.complain(call, "a refund of a charge that was never captured");
            return rejected("not_captured");
        }
        if let Some(before) = self.refund(order_id, number) {
            if before != call.amount {
                self.complain(call, "another amount under the same refund's number");
            }
            return refunded(order_id, number);
        }
        let pending = self.accounts.get(&order_id).map(|it| &it.refunds_pending);
        if let Some(before) = pending.and_then(|pending| pending.get(&number)) {
            if *before != call.amount {
                self.complain(call, "another amount under the same refund's number");
            }
            return GatewayOutcome::Pending;
        }
        let accounts = &self.accounts;
        if accounts
            .get(&order_id)
            .is_some_and(|it| it.refunds_failed.contains(&number))
        {
            return rejected("refund_failed");
        }
        let on_its_way: i64 = pending.map_or(0, |pending| {
            pending.values().map(|amount| amount.minor()).sum()
        });
        // The same call as one that was refused later: no mistake of whoever made it, even
        // if the money has gone back under another number since.
        let accounts = &self.accounts;
        let refused = accounts.get(&order_id).map(|it| &it.refused);
        let is_late =
            refused.is_some_and(|refused| refused.get(&number).is_some_and(|last| id < *last));
        if is_late {
            return rejected("refund_refused");
        }
        let account = self.account(order_id);
        let given = account.refunded.minor() + on_its_way + call.amount.minor();
        if given > account.captured.minor() {
            self.complain(call, "more refunded than captured");
            return rejected("exceeds_charge");
        }
        let names = [
            order_number(order_id),
            u64::from(number),
            u64::from(call.attempt),
        ];
        let mut fate = Rng::fork(knobs.seed, Stream::Refund, &names);
        let Some(account) = self.accounts.get_mut(&order_id) else {
            return rejected("not_captured");
        };
        if !self.is_healed && fate.chance(knobs.refund_refused) {
            let last = account.refused.entry(number).or_default();
            *last = id.max(*last);
            return rejected("refund_refused");
        }
        if !self.is_healed && fate.chance(knobs.refund_pending) {
            account.refunds_pending.insert(number, call.amount);
            let ends_us = fate.between(1, knobs.pending_ms) * 1000;
            lasts.push((ends_us, Later::SettleRefund { number }));
            return GatewayOutcome::Pending;
        }
        self.give_back(knobs, order_id, (number, call.amount), lasts);
        refunded(order_id, number)
    }

    fn give_back(
        &mut self,
        knobs: &Knobs,
        order_id: OrderId,
        (number, amount): (u32, Amount),
        lasts: &mut Vec<(u64, Later)>,
    ) {
        if let Some(account) = self.accounts.get_mut(&order_id) {
            account.refunds.insert(number, amount);
        }
        if let Some(books) = self.books.get_mut(&order_id)
            && let Ok(given) = books.refunded.checked_add(amount)
        {
            books.refunded = given;
        }
        let done = refunded(order_id, number);
        self.report_refund(knobs, order_id, number, done, lasts);
    }

    fn report_refund(
        &self,
        knobs: &Knobs,
        order_id: OrderId,
        number: u32,
        outcome: GatewayOutcome,
        lasts: &mut Vec<(u64, Later)>,
    ) {
        let names = [order_number(order_id), 0, u64::from(number)];
        let mut fate = Rng::fork(knobs.seed, Stream::Webhook, &names);
        if fate.chance(knobs.refund_reported) {
            let report = Later::Report {
                refund: Some(number),
                outcome: Box::new(outcome),
                must: false,
            };
            send(knobs, fate, report, lasts);
        }
    }
}

fn refunded(order_id: OrderId, number: u32) -> GatewayOutcome {
    GatewayOutcome::Refunded {
        reference: reference("re", order_id, number),
    }
}
