//! The currency: a code of ISO 4217 that is known to be valid, and its digits.
//!
//! Apart from the table so that the table is data alone.

use alloc::string::String;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Amount, MoneyError, decimal, iso_4217};

/// An active currency of ISO 4217.
///
/// At rest the three letters of its code, three bytes; as text the code. Decoding refuses
/// a code that is not in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

impl Currency {
    /// The euro, which is meant where a request names no currency.
    pub const EUR: Self = Self {
        code: *b"EUR",
        digits: 2,
    };
    /// The dollar of the United States.
    pub const USD: Self = Self {
        code: *b"USD",
        digits: 2,
    };
    /// The yen, which has no minor unit.
    pub const JPY: Self = Self {
        code: *b"JPY",
        digits: 0,
    };
    /// The dinar of Kuwait, which has a thousand fils.
    pub const KWD: Self = Self {
        code: *b"KWD",
        digits: 3,
    };

    /// The currency of a code, in either case: `EUR` or `eur`.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let code = <[u8; 3]>::try_from(text.as_bytes());
        let code = code.map_err(|_| MoneyError::UnknownCurrency)?;
        Self::from_code(code.map(|byte| byte.to_ascii_uppercase()))
    }

    /// The currency of a code in capitals; the reverse of [`Currency::code`].
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`].
    pub fn from_code(code: [u8; 3]) -> Result<Self, MoneyError> {
        let digits = iso_4217::digits(code).ok_or(MoneyError::UnknownCurrency)?;
        Ok(Self { code, digits })
    }

    /// All of them, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        iso_4217::TABLE.iter().map(|&(code, digits)| Self {
            code: *code,
            digits,
        })
    }

    /// The code, three capitals.
    #[must_use]
    pub const fn code(self) -> [u8; 3] {
        self.code
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The table holds capital letters only, as it asserts when compiled.
        core::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// Digits after the decimal point, 0 to 4: one major unit is 10^digits minor units.
    #[must_use]
    pub const fn digits(self) -> u8 {
        self.digits
    }

    /// Reads an amount in major units from the text of a JSON number, exactly.
    ///
    /// An exponent is applied first: `1e2` is 100 and `2999E-2` is 29.99. Fewer digits
    /// after the point than the currency has are fine (`29.9`, `30`), more are an error
    /// even where they are zeros (`29.990`): whoever writes them means another currency.
    /// `-0` is zero. Nothing but a JSON number is read: no space, no `+`, no leading zero.
    ///
    /// # Errors
    /// In this order: [`MoneyError::NotANumber`], [`MoneyError::TooManyDigits`],
    /// [`MoneyError::OutOfRange`].
    pub fn parse_amount(self, text: &str) -> Result<Amount, MoneyError> {
        decimal::read_amount(text, self)
    }

    /// Writes an amount in major units as a JSON number with exactly the digits that the
    /// currency has: `29.90`, `500`, `1.250`. [`Currency::parse_amount`] reads it back.
    #[must_use]
    pub fn format_amount(self, amount: Amount) -> String {
        let mut text = String::new();
        // A `String` takes all that is written to it.
        let _ = decimal::write_amount(&mut text, amount, self);
        text
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::parse(text)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(self.as_str());
        }
        self.code.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(CodeVisitor);
        }
        Self::from_code(<[u8; 3]>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

struct CodeVisitor;

impl de::Visitor<'_> for CodeVisitor {
    type Value = Currency;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a currency code of ISO 4217")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Currency, E> {
        Currency::parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, digits: Option<u8>) {
        let found = Currency::parse(text).map(Currency::digits);
        assert_eq!(found, digits.ok_or(MoneyError::UnknownCurrency), "{text:?}");
    }

    #[test]
    fn listed_codes_have_their_digits() {
        check("EUR", Some(2));
        check("eur", Some(2));
        check("USD", Some(2));
        check("MGA", Some(2));
        check("JPY", Some(0));
        check("KRW", Some(0));
        check("ISK", Some(0));
        check("UGX", Some(0));
        check("KWD", Some(3));
        check("TND", Some(3));
        check("CLF", Some(4));
        check("UYW", Some(4));
        check("AED", Some(2));
        check("ZWG", Some(2));
    }

    #[test]
    fn other_codes_are_refused() {
        for text in [
            "", "E", "EU", "EURO", "XAU", "XXX", "XTS", "HRK", "BGN", "ZWL", "É1", "€", "E R",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_named_ones_are_those_of_the_table() {
        for named in [Currency::EUR, Currency::USD, Currency::JPY, Currency::KWD] {
            assert_eq!(Currency::from_code(named.code()), Ok(named));
        }
    }

    #[test]
    fn every_currency_is_three_bytes_at_rest() {
        for currency in Currency::all() {
            let encoded = postcard::to_allocvec(&currency).expect("memory suffices");
            assert_eq!(encoded, currency.as_str().as_bytes());
            assert_eq!(postcard::from_bytes(&encoded), Ok(currency));
            assert_eq!(currency.to_string().parse(), Ok(currency));
        }
    }

    #[test]
    fn the_text_of_a_currency_is_read_where_people_read() {
        use serde::de::{IntoDeserializer, value};
        let read = |text: &'static str| {
            let text: value::StrDeserializer<'_, value::Error> = text.into_deserializer();
            Currency::deserialize(text)
        };
        assert_eq!(read("JPY"), Ok(Currency::JPY));
        assert!(read("ABC").is_err());
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_gives_a_listed_currency_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(currency) = postcard::from_bytes::<Currency>(&bytes) {
                prop_assert_eq!(Currency::from_code(currency.code()), Ok(currency));
            }
        }
    }
}
