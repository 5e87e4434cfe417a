//! Amounts as Stripe counts them.
//!
//! Apart because Stripe's unit is not always the currency's own: both count cents of a
//! euro, but Stripe has its own opinion of some currencies, and an amount that is off by a
//! factor of a hundred is the worst mistake that a payment can have.
//!
//! Source: Stripe's page on currencies, "zero-decimal", "three-decimal" and "special cases".

use a4co_core::money::{Amount, Currency};

/// How the unit of ISO 4217 and Stripe's relate.
enum Unit {
    /// They are the same.
    Same,
    /// Stripe writes this many of its own for one of ours.
    Finer(i64),
    /// Stripe writes one of its own for this many of ours.
    Coarser(i64),
    /// They are the same, and Stripe wants a multiple of this.
    Steps(i64),
}

fn unit(currency: Currency) -> Unit {
    match currency.as_str() {
        // No minor unit by ISO 4217; Stripe still writes two digits, for old clients.
        "ISK" | "UGX" => Unit::Finer(100),
        // Two digits by ISO 4217 (fifths, on paper); none with Stripe.
        "MGA" => Unit::Coarser(100),
        // Three digits; cards settle in tens of the smallest unit.
        _ if currency.digits() == 3 => Unit::Steps(10),
        _ => Unit::Same,
    }
}

/// The number to send; `None` for an amount that Stripe cannot charge exactly.
pub(super) fn to_stripe(amount: Amount, currency: Currency) -> Option<i64> {
    let minor = amount.minor();
    match unit(currency) {
        Unit::Same => Some(minor),
        Unit::Finer(factor) => minor.checked_mul(factor),
        Unit::Coarser(factor) => (minor % factor == 0).then_some(minor / factor),
        Unit::Steps(step) => (minor % step == 0).then_some(minor),
    }
}

/// The amount of a number that Stripe wrote, in minor units of the currency; `None` for
/// one that is no whole number of them.
pub(super) fn from_stripe(number: i64, currency: Currency) -> Option<i64> {
    match unit(currency) {
        Unit::Same | Unit::Steps(_) => Some(number),
        Unit::Finer(factor) => (number % factor == 0).then_some(number / factor),
        Unit::Coarser(factor) => number.checked_mul(factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(code: &str, minor: i64, wanted: Option<i64>) {
        let currency = Currency::parse(code).unwrap();
        let amount = Amount::from_minor(minor).unwrap();
        assert_eq!(to_stripe(amount, currency), wanted, "{code} {minor}");
    }

    #[test]
    fn stripes_own_units_are_known() {
        check("EUR", 2999, Some(2999));
        check("JPY", 500, Some(500));
        check("ISK", 500, Some(50_000));
        check("UGX", 1, Some(100));
        check("MGA", 500, Some(5));
        check("MGA", 550, None);
        check("KWD", 5120, Some(5120));
        check("KWD", 5124, None);
    }

    proptest! {
        #[test]
        fn what_is_sent_comes_back_as_it_was(minor in 0..=Amount::MAX.minor() / 100, n: usize) {
            let all: Vec<Currency> = Currency::all().collect();
            let currency = all[n % all.len()];
            let amount = Amount::from_minor(minor).unwrap();
            if let Some(number) = to_stripe(amount, currency) {
                prop_assert_eq!(from_stripe(number, currency), Some(minor));
            }
        }
    }
}
