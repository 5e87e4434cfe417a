//! The trace that an order belongs to: W3C trace context, as data.
//!
//! The core neither makes nor looks at one. It is given with the order and kept with it, so
//! that whatever happens later, after a restart or in another process, can be told as part of
//! the request that led to it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A request's place in its trace: what the header `traceparent` says.
///
/// As text 55 characters, `00-<trace id>-<span id>-<flags>`, in lower case. At rest 25 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

/// Not a `traceparent`. Nothing was changed by reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no traceparent of 55 characters, as W3C Trace Context has it")]
pub struct TraceContextError;

/// Of the flags: whoever began the trace keeps it.
const SAMPLED: u8 = 1;

/// Length of the text.
const TEXT_LEN: usize = 55;

impl TraceContext {
    /// Of these parts; `None` where an id is all zeros, which names nothing.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Option<Self> {
        let is_there = trace_id != [0; 16] && span_id != [0; 8];
        is_there.then_some(Self {
            trace_id,
            span_id,
            flags: u8::from(is_sampled),
        })
    }

    /// Reads the header's text. A version after 00 may say more behind the part that is
    /// known, which is read alone; of the flags only "sampled" is kept.
    ///
    /// # Errors
    /// [`TraceContextError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, TraceContextError> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(TEXT_LEN).ok_or(TraceContextError)?;
        let [version] = hex(&known[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !is_whole || !has_dashes {
            return Err(TraceContextError);
        }
        let [flags] = hex(&known[53..])?;
        Self::new(
            hex(&known[3..35])?,
            hex(&known[36..52])?,
            flags & SAMPLED != 0,
        )
        .ok_or(TraceContextError)
    }

    /// Of the trace as a whole.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Of the span that caused what carries this.
    #[must_use]
    pub const fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Is the trace kept by whoever began it?
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace_id {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span_id {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", self.flags)
    }
}

/// Reads lower-case digits, two a byte.
fn hex<const N: usize>(text: &[u8]) -> Result<[u8; N], TraceContextError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceContextError),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) {
            if let Some(context) = TraceContext::new(trace_id, span_id, is_sampled) {
                prop_assert_eq!(TraceContext::parse(&context.to_string()), Ok(context));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }
    }

    #[test]
    fn the_example_of_the_standard() {
        let context = TraceContext::parse(EXAMPLE).expect("the standard's own");
        assert!(context.is_sampled());
        assert_eq!(
            context.span_id(),
            [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
        );
        assert_eq!(context.trace_id()[0], 0x4b);
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn a_later_version_may_say_more_and_unknown_flags_are_dropped() {
        for (text, is_sampled) in [
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more",
                true,
            ),
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe",
                false,
            ),
        ] {
            let read = TraceContext::parse(text).map(|context| context.is_sampled());
            assert_eq!(read, Ok(is_sampled), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\u{e9}",
        ] {
            assert_eq!(TraceContext::parse(text), Err(TraceContextError), "{text}");
        }
    }
}
