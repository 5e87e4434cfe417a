//! The gateway of the small world: every way in which it may answer one call.

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::GatewayReference;
use a4co_core::invariants::GatewayAccount;
use a4co_core::money::Amount;

use crate::verdict::{Failure, safety};

/// What became of the one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    None,
    Pending,
    Captured,
    Declined,
    Cancelled,
}

/// The gateway's books of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gateway {
    pub(super) charge: Charge,
    captures: u8,
    captured: i64,
    /// Number and amount of each refund that was made.
    refunds: Vec<(u32, i64)>,
}

/// One way in which a call may be carried out.
pub(super) struct Way {
    pub(super) after: Gateway,
    pub(super) answer: GatewayOutcome,
    /// Only as one of the bounded faults.
    pub(super) is_fault: bool,
}

fn reference(name: &str) -> GatewayReference {
    #[expect(clippy::expect_used, reason = "a constant")]
    GatewayReference::parse(name).expect("a valid reference")
}

impl Gateway {
    pub(super) const fn new() -> Self {
        Self {
            charge: Charge::None,
            captures: 0,
            captured: 0,
            refunds: Vec::new(),
        }
    }

    /// What the invariants compare with.
    pub(super) fn account(&self) -> GatewayAccount {
        let minor = |minor: i64| Amount::from_minor(minor).unwrap_or(Amount::MAX);
        GatewayAccount {
            captured: minor(self.captured),
            refunded: minor(self.refunds.iter().map(|(_, amount)| amount).sum()),
            captures: u32::from(self.captures),
        }
    }

    /// For the state's fingerprint.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.charge as u8, self.captures]);
        out.extend(self.captured.to_le_bytes());
        for (number, amount) in &self.refunds {
            out.extend(number.to_le_bytes());
            out.extend(amount.to_le_bytes());
        }
    }

    /// What it says of the charge.
    pub(super) fn report(&self) -> GatewayOutcome {
        match self.charge {
            Charge::None => GatewayOutcome::NotFound,
            Charge::Pending => GatewayOutcome::Pending,
            Charge::Captured => GatewayOutcome::Succeeded {
                reference: reference("charge"),
            },
            Charge::Declined => GatewayOutcome::Rejected {
                code: "card_declined".into(),
            },
            Charge::Cancelled => GatewayOutcome::Cancelled,
        }
    }

    /// Every way to carry this call out. Two calls under one key are one.
    pub(super) fn ways(&self, call: &GatewayCall) -> Result<Vec<Way>, Failure> {
        use Charge::{Cancelled, Captured, Declined, None, Pending};
        let next: &[(Charge, bool)] = match (call.operation, self.charge) {
            (GatewayOperation::Charge, None) => {
                &[(Captured, false), (Declined, false), (Pending, true)]
            }
            (GatewayOperation::Query, Pending) => &[(Captured, false), (Declined, false)],
            // What was never heard of leaves a tombstone: a late charge then finds it.
            (GatewayOperation::Cancel, None) => &[(Cancelled, false)],
            (GatewayOperation::Cancel, Pending) => &[(Captured, false), (Cancelled, false)],
            (GatewayOperation::Refund { number }, _) => return self.refund(call, number),
            (_, same) => &[(same, false)],
        };
        Ok(next
            .iter()
            .map(|(to, is_fault)| self.way(call, *to, *is_fault))
            .collect())
    }

    fn way(&self, call: &GatewayCall, to: Charge, is_fault: bool) -> Way {
        let mut after = self.clone();
        if to == Charge::Captured && self.charge != Charge::Captured {
            after.captures += 1;
            after.captured += call.amount.minor();
        }
        after.charge = to;
        Way {
            answer: after.report(),
            after,
            is_fault,
        }
    }

    fn refund(&self, call: &GatewayCall, number: u32) -> Result<Vec<Way>, Failure> {
        if self.charge != Charge::Captured {
            return Err(safety(
                "refund_of_nothing",
                "a refund of what was never captured",
            ));
        }
        let amount = call.amount.minor();
        let refunded = GatewayOutcome::Refunded {
            reference: reference("refund"),
        };
        let mut after = self.clone();
        match self.refunds.iter().find(|(known, _)| *known == number) {
            Some((_, before)) if *before != amount => {
                let detail = format!("refund {number} of {before}, then of {amount}");
                return Err(safety("one_key_one_refund", detail));
            }
            Some(_) => {}
            None => after.refunds.push((number, amount)),
        }
        let done = Way {
            is_fault: false,
            answer: refunded,
            after,
        };
        if done.after == *self {
            return Ok(vec![done]);
        }
        let refused = Way {
            is_fault: true,
            answer: GatewayOutcome::Rejected {
                code: "refund_refused".into(),
            },
            after: self.clone(),
        };
        Ok(vec![done, refused])
    }
}
