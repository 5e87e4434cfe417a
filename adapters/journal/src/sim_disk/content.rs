//! A simulated file's bytes, in pages that all copies of it share, and which of its sectors
//! are dirty: a crash and a second disk with the same content copy no bytes, and a segment
//! of zeros is one page.

use std::sync::{Arc, LazyLock};

use super::SECTOR_BYTES;
use crate::format::is_zero;

/// What is copied when one byte of it changes while somebody else has it too.
const PAGE_BYTES: usize = 8 * SECTOR_BYTES;

type Page = Arc<[u8; PAGE_BYTES]>;

static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE_BYTES]));

/// A file's bytes. Those of the last page beyond the length are zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pages: Vec<Page>,
    length: usize,
}

/// The pieces of a range that lie in one page each: which page, where in it, how long.
fn pieces(at: usize, end: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut from = at;
    std::iter::from_fn(move || {
        let (page, within) = (from / PAGE_BYTES, from % PAGE_BYTES);
        let count = end.checked_sub(from)?.min(PAGE_BYTES - within);
        from += count;
        (count > 0).then_some((page, within, count))
    })
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.resize(bytes.len());
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// What comes new is zeros.
    pub(super) fn resize(&mut self, length: usize) {
        let pages = length.div_ceil(PAGE_BYTES);
        if length < self.length {
            self.pages.truncate(pages);
            let within = length % PAGE_BYTES;
            if let Some(last) = self.pages.last_mut()
                && within > 0
            {
                Arc::make_mut(last)[within..].fill(0);
            }
        } else {
            self.pages.resize_with(pages, || Arc::clone(&ZEROS));
        }
        self.length = length;
    }

    /// Copies what there is from `at` on; returns how much.
    pub(super) fn read(&self, at: usize, buffer: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(at).min(buffer.len());
        let mut done = 0;
        for (page, within, count) in pieces(at, at + count) {
            buffer[done..done + count].copy_from_slice(&self.pages[page][within..within + count]);
            done += count;
        }
        count
    }

    /// Whether what there is of a range is zeros.
    pub(super) fn is_zero(&self, at: usize, end: usize) -> bool {
        pieces(at, end.min(self.length)).all(|(page, within, count)| {
            let page = &self.pages[page];
            Arc::ptr_eq(page, &ZEROS) || is_zero(&page[within..within + count])
        })
    }

    /// Writes within the length.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut done = 0;
        for (page, within, count) in pieces(at, at + bytes.len()) {
            let piece = &bytes[done..done + count];
            let page = &mut self.pages[page];
            if count == PAGE_BYTES && is_zero(piece) {
                *page = Arc::clone(&ZEROS);
            } else {
                Arc::make_mut(page)[within..within + count].copy_from_slice(piece);
            }
            done += count;
        }
    }

    /// Takes over a range of another content; both have it.
    pub(super) fn copy(&mut self, from: &Self, at: usize, end: usize) {
        for (page, within, count) in pieces(at, end) {
            let (ours, theirs) = (&mut self.pages[page], &from.pages[page]);
            if Arc::ptr_eq(ours, theirs) {
                continue;
            }
            Arc::make_mut(ours)[within..within + count]
                .copy_from_slice(&theirs[within..within + count]);
        }
    }

    pub(super) fn byte_mut(&mut self, at: usize) -> Option<&mut u8> {
        if at >= self.length {
            return None;
        }
        let page = self.pages.get_mut(at / PAGE_BYTES)?;
        Arc::make_mut(page).get_mut(at % PAGE_BYTES)
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.pages.len() * PAGE_BYTES);
        for page in &self.pages {
            bytes.extend_from_slice(&page[..]);
        }
        bytes.truncate(self.length);
        bytes
    }
}

/// A set of sectors, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Sectors(Vec<u64>);

impl Sectors {
    /// Adds those from `first` to `last`, both included.
    pub(super) fn add(&mut self, first: usize, last: usize) {
        if self.0.len() <= last / 64 {
            self.0.resize(last / 64 + 1, 0);
        }
        for sector in first..=last {
            self.0[sector / 64] |= 1 << (sector % 64);
        }
    }

    /// Takes those before `end` that are at least `start`, in order.
    pub(super) fn take(&mut self, start: usize, end: usize) -> Vec<usize> {
        let words = self.0.len();
        let mut taken = Vec::new();
        for word in (start / 64).min(words)..end.div_ceil(64).min(words) {
            let mut left = self.0[word];
            while left != 0 {
                let sector = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                if (start..end).contains(&sector) {
                    self.0[word] &= !(1 << (sector % 64));
                    taken.push(sector);
                }
            }
        }
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<usize> {
        self.take(0, self.0.len() * 64)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against plain bytes: writes, resizes and copies at odd places.
    #[test]
    fn a_content_is_what_plain_bytes_would_be() {
        let mut random = 7_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 0x55;
            usize::try_from(random % (below as u64)).unwrap_or(0)
        };
        let (mut content, mut plain) = (Content::default(), Vec::<u8>::new());
        let (mut other, mut other_plain) = (Content::default(), Vec::<u8>::new());
        for step in 0..2_000_u32 {
            match next(5) {
                0 => {
                    let length = next(5 * PAGE_BYTES);
                    content.resize(length);
                    plain.resize(length, 0);
                }
                1 => (other, other_plain) = (content.clone(), plain.clone()),
                2 if !plain.is_empty() && !other_plain.is_empty() => {
                    let end = next(plain.len().min(other_plain.len()) + 1);
                    let at = next(end + 1);
                    content.copy(&other, at, end);
                    plain[at..end].copy_from_slice(&other_plain[at..end]);
                }
                kind => {
                    let at = next(plain.len() + 1);
                    let length = next(plain.len() - at + 1);
                    let byte = if kind == 3 { 0 } else { step.to_le_bytes()[0] };
                    content.write(at, &vec![byte; length]);
                    plain[at..at + length].fill(byte);
                }
            }
            assert_eq!(content.to_vec(), plain, "step {step}");
            assert_eq!(other.to_vec(), other_plain, "step {step}");
            let at = next(plain.len() + 2);
            let mut read = vec![1; next(2 * PAGE_BYTES)];
            let count = content.read(at, &mut read);
            let expected = plain.get(at..).unwrap_or_default();
            assert_eq!(read[..count], expected[..expected.len().min(read.len())]);
            let end = at + next(2 * PAGE_BYTES);
            let range = &plain[at.min(plain.len())..end.min(plain.len())];
            assert_eq!(
                content.is_zero(at, end),
                range.iter().all(|byte| *byte == 0)
            );
        }
    }

    #[test]
    fn sectors_come_in_order_and_once() {
        let mut sectors = Sectors::default();
        sectors.add(3, 3);
        sectors.add(60, 130);
        sectors.add(64, 70);
        assert_eq!(sectors.take(61, 66), [61, 62, 63, 64, 65]);
        assert_eq!(sectors.take(0, 61), [3, 60]);
        assert_eq!(sectors.take_all(), (66..=130).collect::<Vec<_>>());
        assert_eq!(sectors.take_all(), [0; 0]);
    }
}
