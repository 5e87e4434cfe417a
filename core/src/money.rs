//! Money as whole minor units of a currency, read and written exactly.
//!
//! Apart from everything that has a price, because the rules are the currency's and not
//! the order's: how many digits it has ([`Currency::digits`]), how large an amount may be
//! ([`limits::AMOUNT_MINOR_MAX`]), and that amounts of two currencies are never added.
//! There is no floating point in here, not even on the way in: a JSON number is read from
//! its text. No division either, so nothing is ever rounded.

mod currency;
mod decimal;
mod iso_4217;

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

pub use self::currency::Currency;
use crate::limits;

/// Why money could not be read or reckoned. Nothing has changed, and the same input fails
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The code is not that of an active currency of ISO 4217.
    #[error("there is no such currency, a code of ISO 4217 like EUR is needed")]
    UnknownCurrency,
    /// The text is not a number as JSON writes it.
    #[error("the amount is not a decimal number, it goes wrong at position {position}")]
    NotANumber {
        /// Bytes before the first that does not fit, or the text's length where it ends
        /// too early.
        position: usize,
    },
    /// The number has more digits after the point than the currency, zeros included.
    #[error("{currency} has {allowed} decimal digits, the amount has {given}", allowed = currency.digits())]
    TooManyDigits {
        /// The currency.
        currency: Currency,
        /// Digits after the point once the exponent is applied.
        given: u64,
    },
    /// The amount, or the result, is further from zero than [`limits::AMOUNT_MINOR_MAX`].
    #[error("the amount is out of range, at most {max} minor units are allowed", max = limits::AMOUNT_MINOR_MAX)]
    OutOfRange,
    /// Two amounts of different currencies met.
    #[error("{left} and {right} cannot be reckoned together")]
    CurrencyMismatch {
        /// The currency of the first.
        left: Currency,
        /// The currency of the other.
        right: Currency,
    },
}

/// A number of minor units (cents, yen, fils) of a currency that is known from elsewhere,
/// within ±[`limits::AMOUNT_MINOR_MAX`].
///
/// At rest an `i64` (a zigzag varint in postcard); decoding refuses what is out of range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(limits::AMOUNT_MINOR_MAX);
    /// The largest debt.
    pub const MIN: Self = Self(-limits::AMOUNT_MINOR_MAX);

    /// An amount of `minor` minor units.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub const fn from_minor(minor: i64) -> Result<Self, MoneyError> {
        if minor < Self::MIN.0 || minor > Self::MAX.0 {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self(minor))
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is below nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub const fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        match self.0.checked_add(other.0) {
            Some(minor) => Self::from_minor(minor),
            None => Err(MoneyError::OutOfRange),
        }
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub const fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        match self.0.checked_sub(other.0) {
            Some(minor) => Self::from_minor(minor),
            None => Err(MoneyError::OutOfRange),
        }
    }

    /// The price of `quantity` pieces of this price each.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn checked_mul(self, quantity: u64) -> Result<Self, MoneyError> {
        // Exact: the factors have 53 and 64 bits.
        Self::from_exact(i128::from(self.0) * i128::from(quantity))
    }

    /// The sum of all, whatever their order: only the result has to be in range.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        let add = |sum: i128, amount: Self| sum.saturating_add(i128::from(amount.0));
        Self::from_exact(amounts.into_iter().fold(0, add))
    }

    fn from_exact(minor: i128) -> Result<Self, MoneyError> {
        let minor = i64::try_from(minor).map_err(|_| MoneyError::OutOfRange)?;
        Self::from_minor(minor)
    }
}

impl TryFrom<i64> for Amount {
    type Error = MoneyError;

    fn try_from(minor: i64) -> Result<Self, MoneyError> {
        Self::from_minor(minor)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_minor(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An amount together with its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// How much, in minor units of `currency`.
    pub amount_minor: Amount,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// `amount_minor` minor units of `currency`.
    #[must_use]
    pub const fn new(amount_minor: Amount, currency: Currency) -> Self {
        Self {
            amount_minor,
            currency,
        }
    }

    /// Nothing, in this currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(Amount::ZERO, currency)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::OutOfRange`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        let other_minor = other.amount_in(self.currency)?;
        Ok(Self::new(
            self.amount_minor.checked_add(other_minor)?,
            self.currency,
        ))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::OutOfRange`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        let other_minor = other.amount_in(self.currency)?;
        Ok(Self::new(
            self.amount_minor.checked_sub(other_minor)?,
            self.currency,
        ))
    }

    /// The price of `quantity` pieces of this price each.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn checked_mul(self, quantity: u64) -> Result<Self, MoneyError> {
        Ok(Self::new(
            self.amount_minor.checked_mul(quantity)?,
            self.currency,
        ))
    }

    /// The sum of all, in `currency`, which says what an empty sum is of. Only the result
    /// has to be in range.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] or [`MoneyError::OutOfRange`].
    pub fn sum(
        currency: Currency,
        items: impl IntoIterator<Item = Self>,
    ) -> Result<Self, MoneyError> {
        let mut sum: i128 = 0;
        for item in items {
            sum = sum.saturating_add(i128::from(item.amount_in(currency)?.minor()));
        }
        Ok(Self::new(Amount::from_exact(sum)?, currency))
    }

    fn amount_in(self, currency: Currency) -> Result<Amount, MoneyError> {
        if self.currency != currency {
            return Err(MoneyError::CurrencyMismatch {
                left: currency,
                right: self.currency,
            });
        }
        Ok(self.amount_minor)
    }
}

/// The amount in major units and the currency's code: `29.90 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal::write_amount(f, self.amount_minor, self.currency)?;
        write!(f, " {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn any_amount() -> impl Strategy<Value = Amount> {
        let edges = prop_oneof![
            Just(Amount::MIN),
            Just(Amount::ZERO),
            Just(Amount(1)),
            Just(Amount::MAX)
        ];
        prop_oneof![1 => edges, 4 => (Amount::MIN.0..=Amount::MAX.0).prop_map(Amount)]
    }

    /// What arithmetic without bounds says, put into the bounds.
    fn model(minor: i128) -> Result<Amount, MoneyError> {
        let limit = i128::from(limits::AMOUNT_MINOR_MAX);
        if !(-limit..=limit).contains(&minor) {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Amount(i64::try_from(minor).expect("within 2^53")))
    }

    #[test]
    fn amounts_stay_in_range() {
        assert_eq!(
            Amount::from_minor(limits::AMOUNT_MINOR_MAX),
            Ok(Amount::MAX)
        );
        assert_eq!(
            Amount::from_minor(-limits::AMOUNT_MINOR_MAX),
            Ok(Amount::MIN)
        );
        for minor in [
            limits::AMOUNT_MINOR_MAX + 1,
            -limits::AMOUNT_MINOR_MAX - 1,
            i64::MIN,
            i64::MAX,
        ] {
            assert_eq!(Amount::from_minor(minor), Err(MoneyError::OutOfRange));
            let encoded = postcard::to_allocvec(&minor).expect("memory suffices");
            assert!(postcard::from_bytes::<Amount>(&encoded).is_err());
        }
    }

    #[test]
    fn the_largest_order_is_seen_as_too_expensive() {
        let most = u64::from(limits::QUANTITY_MAX);
        assert_eq!(Amount::MAX.checked_mul(most), Err(MoneyError::OutOfRange));
        assert_eq!(
            Amount::MAX.checked_mul(u64::MAX),
            Err(MoneyError::OutOfRange)
        );
        let lines = core::iter::repeat_n(Amount::MAX, limits::ORDER_LINES_MAX);
        assert_eq!(Amount::sum(lines), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn a_sum_does_not_depend_on_its_order() {
        let there_and_back = [Amount::MAX, Amount::MAX, Amount::MIN, Amount::MIN];
        assert_eq!(Amount::sum(there_and_back), Ok(Amount::ZERO));
        assert_eq!(Amount::sum([]), Ok(Amount::ZERO));
    }

    #[test]
    fn currencies_do_not_mix() {
        let euros = Money::new(Amount(2990), Currency::EUR);
        let yen = Money::zero(Currency::JPY);
        let mismatch = MoneyError::CurrencyMismatch {
            left: Currency::EUR,
            right: Currency::JPY,
        };
        assert_eq!(euros.checked_add(yen), Err(mismatch));
        assert_eq!(euros.checked_sub(yen), Err(mismatch));
        assert_eq!(Money::sum(Currency::EUR, [euros, yen]), Err(mismatch));
        let double = Money::new(Amount(5980), Currency::EUR);
        assert_eq!(euros.checked_add(euros), Ok(double));
        assert_eq!(euros.checked_mul(2), Ok(double));
        assert_eq!(double.checked_sub(euros), Ok(euros));
        assert_eq!(Money::sum(Currency::EUR, [euros, euros]), Ok(double));
        assert_eq!(Money::sum(Currency::JPY, []), Ok(yen));
    }

    #[test]
    fn money_is_written_with_its_currency_and_kept_small() {
        let money = Money::new(Amount(2990), Currency::EUR);
        assert_eq!(money.to_string(), "29.90 EUR");
        assert_eq!(
            Money::new(Amount(-5), Currency::KWD).to_string(),
            "-0.005 KWD"
        );
        let encoded = postcard::to_allocvec(&money).expect("memory suffices");
        assert_eq!(encoded.len(), 2 + 3);
        assert_eq!(postcard::from_bytes(&encoded), Ok(money));
    }

    #[test]
    fn errors_say_what_a_person_needs() {
        let error = MoneyError::TooManyDigits {
            currency: Currency::EUR,
            given: 3,
        };
        assert_eq!(
            error.to_string(),
            "EUR has 2 decimal digits, the amount has 3"
        );
    }

    proptest! {
        #[test]
        fn arithmetic_is_exact_or_out_of_range(
            left in any_amount(),
            right in any_amount(),
            quantity in prop_oneof![0..10_u64, 0..=u64::from(limits::QUANTITY_MAX), any::<u64>()],
        ) {
            let (l, r) = (i128::from(left.minor()), i128::from(right.minor()));
            prop_assert_eq!(left.checked_add(right), model(l + r));
            prop_assert_eq!(left.checked_sub(right), model(l - r));
            prop_assert_eq!(left.checked_mul(quantity), model(l * i128::from(quantity)));
        }

        #[test]
        fn sums_are_exact_or_out_of_range(amounts in prop::collection::vec(any_amount(), 0..100)) {
            let exact = amounts.iter().map(|amount| i128::from(amount.minor())).sum();
            prop_assert_eq!(Amount::sum(amounts), model(exact));
        }

        #[test]
        fn decoding_any_bytes_gives_valid_money_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(money) = postcard::from_bytes::<Money>(&bytes) {
                prop_assert_eq!(model(i128::from(money.amount_minor.minor())), Ok(money.amount_minor));
            }
        }
    }
}
