//! Where a list of orders goes on: a position and nothing else, so that it stays good
//! whatever is written meanwhile, and whatever filter it is used with.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::keys::{POSITION_BYTES, Position};

/// The first byte of every cursor: another layout gets another number.
const CURSOR_VERSION: u8 = 1;
const CURSOR_BYTES: usize = 1 + POSITION_BYTES;

/// Goes on after a page. As text: hexadecimal digits in lower case, safe in a URL, and
/// not for clients to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) Position);

/// A text that no list gave out. The same text fails again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CursorError {
    /// It is not the text of a cursor.
    #[error("this is not a cursor that a list of orders gave out")]
    Malformed,
    /// It was given out by another version of the program.
    #[error("this cursor is of version {0}; begin again at the first page")]
    Version(u8),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_VERSION:02x}")?;
        for byte in self.0.to_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * CURSOR_BYTES {
            return Err(CursorError::Malformed);
        }
        let mut bytes = [0; CURSOR_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0])?, digit(pair[1])?);
            *byte = high << 4 | low;
        }
        if bytes[0] != CURSOR_VERSION {
            return Err(CursorError::Version(bytes[0]));
        }
        Position::from_end(&bytes)
            .map(Self)
            .ok_or(CursorError::Malformed)
    }
}

/// One text for each cursor: capitals are refused.
const fn digit(character: u8) -> Result<u8, CursorError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(CursorError::Malformed),
    }
}
