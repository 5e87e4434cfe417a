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
