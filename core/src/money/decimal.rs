//! Amounts as decimal text in major units, which is what a JSON number is.
//!
//! Apart from the arithmetic because this is the only place where text and money meet.
//! Reading takes one pass over the text and memory of a fixed size, whatever the text
//! claims: a number of 400 digits and an exponent of 400 cost as much as their letters.

use core::fmt;

use super::{Amount, Currency, MoneyError};

/// Reads a JSON number in major units of `currency`; see [`Currency::parse_amount`].
pub(super) fn read_amount(text: &str, currency: Currency) -> Result<Amount, MoneyError> {
    let number = Number::read(text.as_bytes())?;
    let given = number.decimal_digits();
    if given > i64::from(currency.digits()) {
        return Err(MoneyError::TooManyDigits {
            currency,
            given: given.unsigned_abs(),
        });
    }
    let magnitude = number.shifted(i64::from(currency.digits()).saturating_sub(given))?;
    Amount::from_minor(if number.negative {
        -magnitude
    } else {
        magnitude
    })
}

/// Writes an amount in major units with exactly the digits that the currency has.
pub(super) fn write_amount(
    out: &mut impl fmt::Write,
    amount: Amount,
    currency: Currency,
) -> fmt::Result {
    let magnitude = amount.minor().unsigned_abs();
    let sign = if amount.is_negative() { "-" } else { "" };
    let digits = currency.digits();
    if digits == 0 {
        return write!(out, "{sign}{magnitude}");
    }
    let unit = 10_u64.pow(u32::from(digits));
    let (major, minor) = (magnitude / unit, magnitude % unit);
    write!(
        out,
        "{sign}{major}.{minor:0width$}",
        width = usize::from(digits)
    )
}

/// A JSON number taken apart, before a currency gives it a meaning: its value is
/// `±significand * 10^(exponent - fraction_digits)`.
struct Number {
    negative: bool,
    /// All digits before and after the point, as one number; stays at
    /// [`Number::TOO_LARGE`] once it has got there.
    significand: i64,
    fraction_digits: i64,
    exponent: i64,
}

impl Number {
    /// More than any amount. Ten times it still fits an `i64`.
    const TOO_LARGE: i64 = Amount::MAX.minor() + 1;

    /// Follows the grammar of RFC 8259, section 6.
    fn read(text: &[u8]) -> Result<Self, MoneyError> {
        let mut rest = Cursor { text, position: 0 };
        let negative = rest.take(b'-');
        let mut significand = 0;
        if !rest.take(b'0') {
            rest.digits(|digit| significand = Self::append(significand, digit))?;
        }
        let mut fraction_digits = 0;
        if rest.take(b'.') {
            let mark = rest.position;
            rest.digits(|digit| significand = Self::append(significand, digit))?;
            fraction_digits = i64::try_from(rest.position - mark).unwrap_or(i64::MAX);
        }
        let mut exponent: i64 = 0;
        if rest.take(b'e') || rest.take(b'E') {
            let minus = rest.take(b'-');
            if !minus {
                rest.take(b'+');
            }
            rest.digits(|digit| exponent = exponent.saturating_mul(10).saturating_add(digit))?;
            exponent = if minus { -exponent } else { exponent };
        }
        if rest.position < text.len() {
            return Err(rest.not_a_number());
        }
        Ok(Self {
            negative,
            significand,
            fraction_digits,
            exponent,
        })
    }

    fn append(significand: i64, digit: i64) -> i64 {
        if significand >= Self::TOO_LARGE {
            return Self::TOO_LARGE;
        }
        (significand * 10 + digit).min(Self::TOO_LARGE)
    }

    /// Digits after the point once the exponent is applied; negative where zeros are to
    /// be appended.
    fn decimal_digits(&self) -> i64 {
        self.fraction_digits.saturating_sub(self.exponent)
    }

    /// The significand with `zeros` zeros appended.
    fn shifted(&self, zeros: i64) -> Result<i64, MoneyError> {
        let mut magnitude = self.significand;
        let mut left = zeros;
        // Ends soon: each round multiplies by ten what is neither zero nor too large.
        while left > 0 && magnitude != 0 && magnitude < Self::TOO_LARGE {
            magnitude = Self::append(magnitude, 0);
            left -= 1;
        }
        if magnitude >= Self::TOO_LARGE {
            return Err(MoneyError::OutOfRange);
        }
        Ok(magnitude)
    }
}

/// The text and how far it has been read.
struct Cursor<'t> {
    text: &'t [u8],
    position: usize,
}

impl Cursor<'_> {
    /// Moves past `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.position) == Some(&byte);
        if found {
            self.position += 1;
        }
        found
    }

    /// Moves past at least one digit, giving each to `each`.
    fn digits(&mut self, mut each: impl FnMut(i64)) -> Result<(), MoneyError> {
        let mark = self.position;
        while let Some(byte @ b'0'..=b'9') = self.text.get(self.position) {
            each(i64::from(byte - b'0'));
            self.position += 1;
        }
        if self.position == mark {
            return Err(self.not_a_number());
        }
        Ok(())
    }

    fn not_a_number(&self) -> MoneyError {
        MoneyError::NotANumber {
            position: self.position,
        }
    }
}
