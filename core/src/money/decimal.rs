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

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use proptest::prelude::*;

    use super::*;

    /// `text` in `code`'s currency is `minor` minor units, or what went wrong.
    #[track_caller]
    fn check(code: &str, text: &str, minor: Result<i64, MoneyError>) {
        let currency = Currency::parse(code).expect("a listed currency");
        let read = currency.parse_amount(text).map(Amount::minor);
        assert_eq!(read, minor, "{text:?} {code}");
    }

    #[track_caller]
    fn check_too_many(code: &str, text: &str, given: u64) {
        let currency = Currency::parse(code).expect("a listed currency");
        check(
            code,
            text,
            Err(MoneyError::TooManyDigits { currency, given }),
        );
    }

    #[track_caller]
    fn check_written(code: &str, minor: i64, text: &str) {
        let currency = Currency::parse(code).expect("a listed currency");
        let amount = Amount::from_minor(minor).expect("in range");
        assert_eq!(currency.format_amount(amount), text);
        assert_eq!(currency.parse_amount(text), Ok(amount));
    }

    #[test]
    fn amounts_are_read_exactly() {
        check("EUR", "29.99", Ok(2999));
        check("EUR", "29.9", Ok(2990));
        check("EUR", "30", Ok(3000));
        check("EUR", "0", Ok(0));
        check("EUR", "-0", Ok(0));
        check("EUR", "-0.00", Ok(0));
        check("EUR", "-0.01", Ok(-1));
        check("EUR", "1e2", Ok(10_000));
        check("EUR", "1E+2", Ok(10_000));
        check("EUR", "1E-2", Ok(1));
        check("EUR", "2999e-2", Ok(2999));
        check("EUR", "0.02999e3", Ok(2999));
        check("EUR", "1e0002", Ok(10_000));
        check("EUR", "1e-0", Ok(100));
        check("JPY", "500", Ok(500));
        check("JPY", "1.5e1", Ok(15));
        check("KWD", "1.25", Ok(1250));
        check("KWD", "1.250", Ok(1250));
        check("CLF", "0.0001", Ok(1));
    }

    #[test]
    fn more_digits_than_the_currency_has_are_refused() {
        check_too_many("EUR", "29.990", 3);
        check_too_many("EUR", "29.999", 3);
        check_too_many("EUR", "0.000", 3);
        check_too_many("EUR", "1e-3", 3);
        check_too_many("EUR", "2999.0e-2", 3);
        check_too_many("JPY", "500.0", 1);
        check_too_many("JPY", "1E-2", 2);
        check_too_many("KWD", "1.2500", 4);
        check_too_many("EUR", "1e-400", 400);
        check_too_many("EUR", "0.1e-99999999999999999999", i64::MAX.unsigned_abs());
    }

    #[test]
    fn only_json_numbers_are_read() {
        for (text, position) in [
            ("", 0),
            ("-", 1),
            ("+1", 0),
            (" 1", 0),
            ("1 ", 1),
            ("01", 1),
            ("-01", 2),
            (".5", 0),
            ("5.", 2),
            ("5.e1", 2),
            ("1e", 2),
            ("1e+", 3),
            ("1e1.5", 3),
            ("--1", 1),
            ("1,5", 1),
            ("0x10", 1),
            ("NaN", 0),
            ("Infinity", 0),
            ("1\0", 1),
            ("١", 0),
            ("\"1\"", 0),
        ] {
            check("EUR", text, Err(MoneyError::NotANumber { position }));
        }
    }

    #[test]
    fn the_range_is_two_to_the_53_on_both_sides() {
        check("JPY", "9007199254740992", Ok(1 << 53));
        check("JPY", "-9007199254740992", Ok(-(1 << 53)));
        check("JPY", "9007199254740993", Err(MoneyError::OutOfRange));
        check("JPY", "-9007199254740993", Err(MoneyError::OutOfRange));
        check("EUR", "90071992547409.92", Ok(1 << 53));
        check("EUR", "90071992547409.93", Err(MoneyError::OutOfRange));
        check("EUR", "9007199254740992", Err(MoneyError::OutOfRange));
        check("JPY", "1e15", Ok(1_000_000_000_000_000));
        check("JPY", "1e16", Err(MoneyError::OutOfRange));
    }

    #[test]
    fn huge_numbers_are_errors_and_huge_zeros_are_zero() {
        check("EUR", "1e400", Err(MoneyError::OutOfRange));
        check("EUR", "-1e400", Err(MoneyError::OutOfRange));
        let exponent = "9".repeat(400);
        check("EUR", &format!("1e{exponent}"), Err(MoneyError::OutOfRange));
        check("EUR", &"9".repeat(400), Err(MoneyError::OutOfRange));
        check("EUR", &"9".repeat(1 << 20), Err(MoneyError::OutOfRange));
        check("EUR", &format!("0e{exponent}"), Ok(0));
        // The exponent takes the digits back that the fraction has.
        let zeros = "0".repeat(400);
        check("EUR", &format!("0.{zeros}1e401"), Ok(100));
        // The other way round it is 1 with 400 zeros after the point.
        check_too_many("EUR", &format!("1{zeros}e-400"), 400);
    }

    #[test]
    fn amounts_are_written_with_the_currencys_digits() {
        check_written("EUR", 2990, "29.90");
        check_written("EUR", 0, "0.00");
        check_written("EUR", 5, "0.05");
        check_written("EUR", -5, "-0.05");
        check_written("EUR", -12_345, "-123.45");
        check_written("JPY", 500, "500");
        check_written("JPY", -500, "-500");
        check_written("KWD", 1250, "1.250");
        check_written("CLF", 1, "0.0001");
        check_written("EUR", 1 << 53, "90071992547409.92");
        check_written("EUR", -(1 << 53), "-90071992547409.92");
    }

    fn any_minor() -> impl Strategy<Value = i64> {
        Amount::MIN.minor()..=Amount::MAX.minor()
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_in_every_currency(minor in any_minor()) {
            let amount = Amount::from_minor(minor).expect("in range");
            for currency in Currency::all() {
                let text = currency.format_amount(amount);
                let (_, fraction) = text.split_once('.').unwrap_or((&text, ""));
                prop_assert_eq!(fraction.len(), usize::from(currency.digits()));
                prop_assert_eq!(currency.parse_amount(&text), Ok(amount));
            }
        }

        #[test]
        fn an_exponent_moves_the_point(minor in any_minor(), shift in 0_i32..20) {
            let amount = Amount::from_minor(minor).expect("in range");
            for currency in [Currency::JPY, Currency::EUR, Currency::KWD] {
                let exponent = i32::from(currency.digits());
                let text = format!("{minor}e-{exponent}");
                prop_assert_eq!(currency.parse_amount(&text), Ok(amount));
                let model = i128::from(minor) * 10_i128.pow(shift.unsigned_abs());
                let text = format!("{minor}E{}", shift - exponent);
                let read = currency.parse_amount(&text);
                if model.abs() > i128::from(Amount::MAX.minor()) {
                    prop_assert_eq!(read, Err(MoneyError::OutOfRange));
                } else {
                    prop_assert_eq!(read.map(|read| i128::from(read.minor())), Ok(model));
                }
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Currency::EUR.parse_amount(&text);
        }

        /// Texts that nearly are numbers; what is read survives being written.
        #[test]
        fn any_near_number_is_read_or_refused(text in "-?[0-9]{0,20}\\.?[0-9]{0,5}([eE][+-]?[0-9]{0,4})?") {
            for currency in [Currency::JPY, Currency::EUR, Currency::KWD] {
                if let Ok(amount) = currency.parse_amount(&text) {
                    let written = currency.format_amount(amount);
                    prop_assert_eq!(currency.parse_amount(&written), Ok(amount));
                }
            }
        }
    }
}
