//! The payment gateway's books against our payments, charge by charge.
//!
//! Pure: what both sides say comes in, what differs comes out. Who asks the gateway, and
//! the engine, stands elsewhere (`cli/reconcile.rs`).
//!
//! ```text
//! While a payment is open the two may differ: the gateway is then ahead of us, or an answer
//! is on its way. What differs on an open payment is listed as open, until it is so old
//! that it should not be open any more.
//! ```

use std::collections::BTreeMap;
use std::fmt;

use a4co_core::ids::OrderId;
use a4co_core::money::{Amount, Currency};
use serde::Serialize;

use crate::gateway::stripe::Booked;

/// What we have for one order's payment. Amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The order.
    pub order_id: OrderId,
    /// As the API names it.
    pub status: String,
    /// Of the amounts.
    pub currency: Currency,
    /// Taken from the customer.
    pub captured_minor: i64,
    /// Given back.
    pub refunded_minor: i64,
    /// The gateway's name for the charge, where it is known.
    pub reference: Option<String>,
    /// A call to the gateway is owed, and it is not long since the payment began.
    pub is_open: bool,
}

/// One thing that is not the same in both books.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Whose payment, where the gateway says so.
    pub order_id: Option<String>,
    /// The gateway's name for the charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// A stable name.
    pub kind: &'static str,
    /// For people.
    pub detail: String,
}

/// What came of the comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// Which gateway.
    pub gateway: String,
    /// The period, as two times.
    pub from: String,
    /// Its end, which is not part of it.
    pub to: String,
    /// Payments of ours that were compared.
    pub payments: u64,
    /// Charges in the gateway's books that were compared.
    pub charges: u64,
    /// Charges there that name no order of ours: other users of the account.
    pub foreign: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What differs on payments that are still open, and so may yet come right.
    pub open: Vec<Difference>,
}

impl Reconciliation {
    /// Both books say the same.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} from {} to {}: {} payments here, {} charges there",
            self.gateway, self.from, self.to, self.payments, self.charges
        )?;
        if self.foreign > 0 {
            writeln!(f, "{} charges there name no order of ours", self.foreign)?;
        }
        for open in &self.open {
            writeln!(f, "open        {open}")?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERENCE  {difference}")?;
        }
        match self.differences.len() {
            0 => f.write_str("the books are the same"),
            1 => f.write_str("1 difference"),
            many => write!(f, "{many} differences"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.order_id.as_deref().unwrap_or("-");
        write!(f, "{order}  {}: {}", self.kind, self.detail)?;
        self.reference
            .iter()
            .try_for_each(|reference| write!(f, " [{reference}]"))
    }
}

/// Compares both sides; every payment and charge that is handed in is looked at.
pub fn compare(ours: &[Ours], theirs: &[Booked], report: &mut Reconciliation) {
    let mut charges: BTreeMap<OrderId, Vec<&Booked>> = BTreeMap::new();
    for booked in theirs {
        match booked.order_id {
            Some(order_id) => charges.entry(order_id).or_default().push(booked),
            None => report.foreign += 1,
        }
    }
    report.charges = theirs.len() as u64 - report.foreign;
    report.payments = ours.len() as u64;
    for payment in ours {
        let charges = charges.remove(&payment.order_id).unwrap_or_default();
        let found = of_payment(payment, &charges);
        if payment.is_open {
            report.open.extend(found);
        } else {
            report.differences.extend(found);
        }
    }
    for (order_id, charges) in charges {
        for booked in charges.into_iter().filter(|booked| holds_money(booked)) {
            let shown = money(
                booked.captured_minor + booked.authorised_minor,
                booked.currency,
            );
            let detail = format!("the gateway has {shown}, and there is no such payment here");
            report
                .differences
                .push(difference(order_id, Some(booked), "unknown_here", detail));
        }
    }
    report.differences.sort();
    report.open.sort();
}

fn of_payment(ours: &Ours, charges: &[&Booked]) -> Vec<Difference> {
    let order_id = ours.order_id;
    let mut found = Vec::new();
    let taken: Vec<&&Booked> = charges.iter().filter(|it| it.captured_minor != 0).collect();
    if let [_, second, ..] = taken.as_slice() {
        let detail = format!("the gateway took it {} times", taken.len());
        found.push(difference(order_id, Some(second), "charged_twice", detail));
    }
    let captured: i64 = taken.iter().map(|it| it.captured_minor).sum();
    let refunded: i64 = charges.iter().map(|it| it.refunded_minor).sum();
    let first = taken.first().copied().copied().or(charges.first().copied());
    let here = money(ours.captured_minor, Some(ours.currency));
    let there = |minor| money(minor, first.map_or(Some(ours.currency), |it| it.currency));
    let kind = match (ours.captured_minor, captured) {
        (0, 0) => None,
        (0, _) => Some("taken_and_not_booked"),
        (_, 0) => Some("booked_and_not_taken"),
        (ours, theirs) if ours != theirs => Some("amount_differs"),
        _ => None,
    };
    if let Some(kind) = kind {
        let status = &ours.status;
        let there = there(captured);
        let detail = format!("{here} captured here ({status}), {there} there");
        found.push(difference(order_id, first, kind, detail));
    }
    if let Some(booked) = taken.first()
        && booked.currency != Some(ours.currency)
    {
        let detail = format!("{here} here, {} there", there(captured));
        found.push(difference(order_id, first, "currency_differs", detail));
    }
    // Money that goes back in another currency is in the line before.
    if ours.refunded_minor != refunded {
        let here = money(ours.refunded_minor, Some(ours.currency));
        let detail = format!("{here} given back here, {} there", there(refunded));
        found.push(difference(order_id, first, "refund_differs", detail));
    }
    let is_over = ours.captured_minor != 0 || matches!(&*ours.status, "FAILED" | "CANCELLED");
    for booked in charges
        .iter()
        .filter(|it| it.authorised_minor != 0 && is_over)
    {
        let left = money(booked.authorised_minor, booked.currency);
        let detail = format!("{left} is set aside there, and the payment is over here");
        found.push(difference(
            order_id,
            Some(booked),
            "authorised_and_left",
            detail,
        ));
    }
    if let (Some(reference), Some(booked)) = (&ours.reference, first)
        && ours.captured_minor != 0
        && captured != 0
        && !charges.iter().any(|it| it.reference == *reference)
    {
        let detail = format!("{reference} here, {} there", booked.reference);
        found.push(difference(order_id, first, "reference_differs", detail));
    }
    found
}

const fn holds_money(booked: &Booked) -> bool {
    booked.captured_minor != 0 || booked.authorised_minor != 0
}

fn difference(
    order_id: OrderId,
    booked: Option<&Booked>,
    kind: &'static str,
    detail: String,
) -> Difference {
    Difference {
        order_id: Some(order_id.to_string()),
        reference: booked.map(|booked| booked.reference.clone()),
        kind,
        detail,
    }
}

fn money(minor: i64, currency: Option<Currency>) -> String {
    let Some(currency) = currency else {
        return format!("{minor} of a currency that is not known here");
    };
    match Amount::from_minor(minor) {
        Ok(amount) => format!("{} {currency}", currency.format_amount(amount)),
        Err(_) => format!("{minor} minor units of {currency}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u8) -> OrderId {
        OrderId::from_bytes([number; 16])
    }

    fn ours(number: u8, captured_minor: i64, refunded_minor: i64) -> Ours {
        let status = if captured_minor == 0 {
            "FAILED"
        } else {
            "SUCCEEDED"
        };
        Ours {
            order_id: order(number),
            status: status.to_owned(),
            currency: Currency::EUR,
            captured_minor,
            refunded_minor,
            reference: Some(format!("pi_{number}")),
            is_open: false,
        }
    }

    fn theirs(number: u8, captured_minor: i64, refunded_minor: i64) -> Booked {
        Booked {
            order_id: Some(order(number)),
            reference: format!("pi_{number}"),
            currency: Some(Currency::EUR),
            captured_minor,
            authorised_minor: 0,
            refunded_minor,
        }
    }

    #[track_caller]
    fn check(ours: &[Ours], theirs: &[Booked], kinds: &[&str]) -> Reconciliation {
        let mut report = Reconciliation::default();
        compare(ours, theirs, &mut report);
        let found: Vec<_> = report.differences.iter().map(|it| it.kind).collect();
        assert_eq!(found, kinds, "{report}");
        assert_eq!(report.is_clean(), kinds.is_empty());
        report
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        check(&[], &[], &[]);
        check(&[ours(1, 1000, 0)], &[theirs(1, 1000, 0)], &[]);
        check(&[ours(1, 1000, 250)], &[theirs(1, 1000, 250)], &[]);
        check(&[ours(1, 0, 0)], &[theirs(1, 0, 0)], &[]);
        check(&[ours(1, 0, 0)], &[], &[]);
        // Nothing was taken for an order that is not known: nobody is out of pocket.
        check(&[], &[theirs(1, 0, 0)], &[]);
    }

    #[test]
    fn every_difference_has_its_name() {
        check(&[], &[theirs(1, 1000, 0)], &["unknown_here"]);
        check(
            &[ours(1, 0, 0)],
            &[theirs(1, 1000, 0)],
            &["taken_and_not_booked"],
        );
        check(
            &[ours(1, 1000, 0)],
            &[theirs(1, 0, 0)],
            &["booked_and_not_taken"],
        );
        check(&[ours(1, 1000, 0)], &[], &["booked_and_not_taken"]);
        check(
            &[ours(1, 1000, 0)],
            &[theirs(1, 999, 0)],
            &["amount_differs"],
        );
        check(
            &[ours(1, 1000, 0)],
            &[theirs(1, 1000, 1)],
            &["refund_differs"],
        );
        check(
            &[ours(1, 1000, 1)],
            &[theirs(1, 1000, 0)],
            &["refund_differs"],
        );
        let dollars = Booked {
            currency: Some(Currency::USD),
            ..theirs(1, 1000, 0)
        };
        check(&[ours(1, 1000, 0)], &[dollars], &["currency_differs"]);
        let other = Booked {
            reference: "pi_x".to_owned(),
            ..theirs(1, 1000, 0)
        };
        check(
            &[ours(1, 1000, 0)],
            std::slice::from_ref(&other),
            &["reference_differs"],
        );
        let twice = [theirs(1, 1000, 0), other];
        check(
            &[ours(1, 1000, 0)],
            &twice,
            &["amount_differs", "charged_twice"],
        );
        let left = Booked {
            authorised_minor: 1000,
            ..theirs(1, 0, 0)
        };
        check(
            &[ours(1, 0, 0)],
            std::slice::from_ref(&left),
            &["authorised_and_left"],
        );
        check(&[], &[left], &["unknown_here"]);
    }

    #[test]
    fn what_is_open_may_yet_come_right() {
        let open = Ours {
            status: "PROCESSING".to_owned(),
            is_open: true,
            ..ours(1, 0, 0)
        };
        let report = check(&[open], &[theirs(1, 1000, 0)], &[]);
        assert_eq!(report.open.len(), 1);
        let foreign = Booked {
            order_id: None,
            ..theirs(1, 1000, 0)
        };
        assert_eq!(check(&[], &[foreign], &[]).foreign, 1);
    }

    #[test]
    fn people_read_amounts_in_the_currencys_own_digits() {
        let report = check(
            &[ours(1, 1000, 0)],
            &[theirs(1, 950, 0)],
            &["amount_differs"],
        );
        let text = report.to_string();
        assert!(
            text.contains("10.00 EUR captured here (SUCCEEDED), 9.50 EUR there [pi_1]"),
            "{text}"
        );
        assert!(text.ends_with("1 difference"), "{text}");
    }
}
