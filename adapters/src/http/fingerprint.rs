//! What a request means, as bytes of which each meaning has exactly one form.
//!
//! A retry may come with its fields in another order or with other white space, and must
//! still be known as the same request. The form is kept for at least a day beside the
//! idempotency key, so a change to it is a new name in [`Canonical::new`].

use a4co_core::ids::Fingerprint;

/// A request on its way to a fingerprint. Every part carries its length or its presence, so
/// that two requests never run into the same bytes.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    /// Begins a request of this kind, such as `orders.create/1`.
    pub(super) fn new(kind: &str) -> Self {
        Self(Vec::with_capacity(256)).text(kind)
    }

    /// A text.
    pub(super) fn text(self, text: &str) -> Self {
        let mut this = self.count(text.len());
        this.0.extend_from_slice(text.as_bytes());
        this
    }

    /// A number.
    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// How many parts follow.
    pub(super) fn count(mut self, count: usize) -> Self {
        self.0.extend_from_slice(&(count as u64).to_le_bytes());
        self
    }

    /// A part that may be absent.
    pub(super) fn option<T>(mut self, part: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        self.0.push(u8::from(part.is_some()));
        match part {
            Some(part) => add(self, part),
            None => self,
        }
    }

    /// The fingerprint of all that was added.
    pub(super) fn end(self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_meaning_differs_in_bytes() {
        let texts = |parts: &[&str]| {
            parts
                .iter()
                .fold(Canonical::new("k"), |canonical, part| canonical.text(part))
                .end()
        };
        assert_ne!(texts(&["ab", "c"]), texts(&["a", "bc"]));
        assert_ne!(texts(&["a", ""]), texts(&["", "a"]));
        let option = |part: Option<&str>| Canonical::new("k").option(part, Canonical::text).end();
        assert_ne!(option(None), option(Some("")));
        assert_eq!(texts(&["a"]), texts(&["a"]));
    }
}
