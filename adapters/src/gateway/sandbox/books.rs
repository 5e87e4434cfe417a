//! The file of the sandbox's books: written by the gateway, read by `a4co verify`.
//!
//! A header of 16 bytes, then records of 36. Apart from what is decided: here it is only
//! kept. Readers need no lock and may read while the gateway writes: they see what was
//! there when they began.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use a4co_core::ids::OrderId;
use a4co_core::money::Currency;

use super::record::{BookEntry, RECORD_BYTES};

/// The file's name in the data folder.
const FILE_NAME: &str = "sandbox-gateway.log";

/// What the file begins with.
const HEADER: &[u8; 16] = b"A4CO sandbox v1\n";

const HEADER_LEN: u64 = HEADER.len() as u64;
const RECORD_LEN: u64 = RECORD_BYTES as u64;

/// Records that a reader takes at a time: about 1 MiB.
const BLOCK_RECORDS: usize = 29_127;

/// Records before the latest of which only a trace is kept, so that a charge that is asked
/// for again after a crash is known as such: more than could ever be unanswered.
const TRACED_MAX: u64 = 2_000_000;

/// Orders whose sums a reader holds at a time, about 100 bytes each.
const ORDERS_PER_PASS: u64 = 500_000;

/// Why the sandbox's books cannot be used. Nothing in them was changed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The file system said no.
    #[error("the sandbox's books {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: io::Error,
    },
    /// Something else has that name.
    #[error(
        "{path} does not begin as the sandbox's books do: move it away, and new books are begun"
    )]
    NotBooks {
        /// The file.
        path: PathBuf,
    },
    /// A record is damaged, and good ones follow it.
    #[error(
        "the sandbox's books {path} are damaged at byte {offset}: restore them from a backup; or move them away, and new ones are begun, which lack the payments so far: `a4co verify` will name those"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first damaged record begins.
        offset: u64,
    },
}

/// The gateway's side of the file.
#[derive(Debug)]
pub(super) struct BooksFile {
    file: Arc<File>,
    path: PathBuf,
    /// Where the next record goes. There may be remains of a failed write behind it.
    len: u64,
    has_remains: bool,
}

/// The last entries of the file.
pub(super) struct Tail {
    pub(super) entries: Vec<BookEntry>,
    /// Of the payments in these and in the entries before them, in order.
    pub(super) traces: Vec<u32>,
    /// Whether `entries` are all.
    pub(super) is_whole: bool,
}

impl BooksFile {
    /// Opens or begins the file, cuts off what was written in part, and reads the last
    /// `tail_max` entries.
    pub(super) fn open(dir: &Path, tail_max: usize) -> Result<(Self, Tail), SandboxError> {
        let path = dir.join(FILE_NAME);
        let fail = |source| SandboxError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(fail)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        if is_unbegun(&file, len).map_err(fail)? {
            begin(&file, dir).map_err(fail)?;
        }
        check_header(&file, &path)?;
        let whole = len.saturating_sub(HEADER_LEN) / RECORD_LEN;
        let first_recent = whole.saturating_sub(tail_max as u64);
        let first = first_recent.saturating_sub(TRACED_MAX);
        let mut tail = Tail {
            entries: Vec::new(),
            traces: Vec::new(),
            is_whole: first_recent == 0,
        };
        let mut kept = first;
        let reader = Records {
            file: &file,
            path: &path,
            records: whole,
        };
        reader.each_from(
            first,
            |_| true,
            |number, entry| {
                kept = number + 1;
                tail.traces.push(trace(entry.order_id()));
                if number >= first_recent {
                    tail.entries.push(entry);
                }
            },
        )?;
        if kept == first && first > 0 {
            // All that was read is damaged: that is no write cut short.
            return Err(reader.damaged(first));
        }
        tail.traces.sort_unstable();
        tail.traces.dedup();
        let end = offset_of(kept);
        if len > end {
            tracing::warn!(
                bytes = len - end,
                "the end of the sandbox's books was written in part, and is removed"
            );
            file.set_len(end).map_err(fail)?;
        }
        let file = Arc::new(file);
        let books = Self {
            file,
            path,
            len: end,
            has_remains: false,
        };
        Ok((books, tail))
    }

    /// Adds records; returns their bytes. Where that fails, none of them is there.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<usize> {
        if records.is_empty() {
            return Ok(0);
        }
        if self.has_remains {
            self.file.set_len(self.len)?;
            self.has_remains = false;
        }
        if let Err(error) = self.file.write_all_at(records, self.len) {
            self.has_remains = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += records.len() as u64;
        Ok(records.len())
    }

    /// For syncing without this value at hand.
    pub(super) fn handle(&self) -> Arc<File> {
        self.file.clone()
    }

    /// A reader of what is in the file now.
    pub(super) fn reader(&self) -> SandboxBooks {
        SandboxBooks {
            path: self.path.clone(),
            records: (self.len - HEADER_LEN) / RECORD_LEN,
        }
    }
}

/// Nothing was ever written, or the header in part.
fn is_unbegun(file: &File, len: u64) -> io::Result<bool> {
    if len >= HEADER_LEN {
        return Ok(false);
    }
    let mut start = Vec::new();
    let mut reader = file;
    reader.read_to_end(&mut start)?;
    Ok(HEADER.starts_with(&start))
}

fn begin(file: &File, dir: &Path) -> io::Result<()> {
    file.write_all_at(HEADER, 0)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

fn check_header(file: &File, path: &Path) -> Result<(), SandboxError> {
    let mut header = [0; HEADER.len()];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) if &header == HEADER => Ok(()),
        Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => Err(SandboxError::Io {
            path: path.to_owned(),
            source,
        }),
        _ => Err(SandboxError::NotBooks {
            path: path.to_owned(),
        }),
    }
}

/// The whole records of a file, read one after the other.
struct Records<'f> {
    file: &'f File,
    path: &'f Path,
    records: u64,
}

impl Records<'_> {
    /// Visits the entries from number `first` on that are about the `wanted` orders. What is
    /// no record at the end was never answered, and is passed over.
    fn each_from(
        &self,
        first: u64,
        wanted: impl Fn(OrderId) -> bool,
        mut visit: impl FnMut(u64, BookEntry),
    ) -> Result<(), SandboxError> {
        let mut damaged_at = None;
        let mut number = first;
        let mut block = vec![0; BLOCK_RECORDS * RECORD_BYTES];
        while number < self.records {
            let left = usize::try_from(self.records - number).unwrap_or(usize::MAX);
            let bytes = &mut block[..left.min(BLOCK_RECORDS) * RECORD_BYTES];
            match self.file.read_exact_at(bytes, offset_of(number)) {
                Ok(()) => {}
                // Cut shorter meanwhile, which happens to a failed write only.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(source) => {
                    let path = self.path.to_owned();
                    return Err(SandboxError::Io { path, source });
                }
            }
            for bytes in bytes.chunks_exact(RECORD_BYTES) {
                match (BookEntry::peek(bytes), damaged_at) {
                    (Some(_), Some(number)) => return Err(self.damaged(number)),
                    (Some(order_id), None) if !wanted(order_id) => {}
                    (Some(_), None) => match BookEntry::decode(bytes) {
                        Some(entry) => visit(number, entry),
                        // Whole, and yet nothing that was ever written.
                        None => return Err(self.damaged(number)),
                    },
                    (None, _) => damaged_at = damaged_at.or(Some(number)),
                }
                number += 1;
            }
        }
        Ok(())
    }

    fn damaged(&self, number: u64) -> SandboxError {
        SandboxError::Damaged {
            path: self.path.to_owned(),
            offset: offset_of(number),
        }
    }
}

const fn offset_of(number: u64) -> u64 {
    HEADER_LEN + number * RECORD_LEN
}

/// The sandbox's books, to be read: by tests, and by `a4co verify`.
#[derive(Debug)]
pub struct SandboxBooks {
    path: PathBuf,
    records: u64,
}

/// What the sandbox did for one order. Amounts in minor units of `currency`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrderBooks {
    /// Of the charge, where there was one.
    pub currency: Option<Currency>,
    /// Charged in all.
    pub captured_minor: i64,
    /// Charges; more than one would be a double charge.
    pub captures: u32,
    /// Given back in all.
    pub refunded_minor: i64,
    /// Refunds.
    pub refunds: u32,
    /// Whether the charge was declined.
    pub is_declined: bool,
    /// Whether it was cancelled before it was charged.
    pub is_cancelled: bool,
}

impl SandboxBooks {
    /// Opens the books in a data folder as they are now; `None` where there are none.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn read(data_dir: &Path) -> Result<Option<Self>, SandboxError> {
        let path = data_dir.join(FILE_NAME);
        let fail = |source| SandboxError::Io {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let len = file.metadata().map_err(fail)?.len();
        if len == 0 {
            return Ok(None);
        }
        check_header(&file, &path)?;
        let records = (len - HEADER_LEN) / RECORD_LEN;
        Ok(Some(Self { path, records }))
    }

    /// Records in the books, a damaged end included.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.records
    }

    /// Whether nothing was decided yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Visits every entry, oldest first, holding one at a time.
    ///
    /// # Errors
    /// [`SandboxError`]; what was visited before it is as the books say.
    pub fn for_each_entry(&self, visit: impl FnMut(BookEntry)) -> Result<(), SandboxError> {
        self.each_of(|_| true, visit)
    }

    fn each_of(
        &self,
        wanted: impl Fn(OrderId) -> bool,
        mut visit: impl FnMut(BookEntry),
    ) -> Result<(), SandboxError> {
        let file = File::open(&self.path).map_err(|source| SandboxError::Io {
            path: self.path.clone(),
            source,
        })?;
        let (file, path, records) = (&file, self.path.as_path(), self.records);
        let records = Records {
            file,
            path,
            records,
        };
        records.each_from(0, wanted, |_, entry| visit(entry))
    }

    /// Visits every order with its sums, in no particular order. The books are read once
    /// for each 500,000 records, so that memory is bounded however long they are.
    ///
    /// # Errors
    /// [`SandboxError`]; what was visited before it is as the books say.
    pub fn for_each_order(
        &self,
        visit: impl FnMut(OrderId, &OrderBooks),
    ) -> Result<(), SandboxError> {
        self.in_passes(self.records / ORDERS_PER_PASS + 1, visit)
    }

    fn in_passes(
        &self,
        passes: u64,
        mut visit: impl FnMut(OrderId, &OrderBooks),
    ) -> Result<(), SandboxError> {
        for pass in 0..passes {
            let mut orders: HashMap<OrderId, OrderBooks> = HashMap::new();
            let is_in_pass = |order_id| passes == 1 || spread(order_id) % passes == pass;
            self.each_of(is_in_pass, |entry| {
                orders.entry(entry.order_id()).or_default().add(&entry);
            })?;
            orders
                .iter()
                .for_each(|(order_id, books)| visit(*order_id, books));
        }
        Ok(())
    }

    /// What the books say of one order; all zero where they say nothing.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn order(&self, order_id: OrderId) -> Result<OrderBooks, SandboxError> {
        let mut books = OrderBooks::default();
        self.entries_of(&[order_id])?
            .iter()
            .for_each(|entry| books.add(entry));
        Ok(books)
    }

    /// The entries of some orders, oldest first, in one reading.
    pub(super) fn entries_of(&self, wanted: &[OrderId]) -> Result<Vec<BookEntry>, SandboxError> {
        let wanted: HashSet<OrderId> = wanted.iter().copied().collect();
        let mut found = Vec::new();
        self.each_of(
            |order_id| wanted.contains(&order_id),
            |entry| found.push(entry),
        )?;
        Ok(found)
    }
}

impl OrderBooks {
    fn add(&mut self, entry: &BookEntry) {
        match entry {
            BookEntry::Charged {
                amount, currency, ..
            } => {
                self.currency = Some(*currency);
                self.captured_minor = self.captured_minor.saturating_add(amount.minor());
                self.captures += 1;
            }
            BookEntry::Declined { .. } => self.is_declined = true,
            BookEntry::Cancelled { .. } => self.is_cancelled = true,
            BookEntry::Refunded { amount, .. } => {
                self.refunded_minor = self.refunded_minor.saturating_add(amount.minor());
                self.refunds += 1;
            }
        }
    }
}

/// Four bytes of an order's id: where they differ, so do the orders.
pub(super) fn trace(order_id: OrderId) -> u32 {
    let spread = spread(order_id);
    u32::try_from(spread >> 32).unwrap_or_default()
}

/// A number that parts orders evenly, whatever version their ids have.
fn spread(order_id: OrderId) -> u64 {
    let (high, low) = order_id.uuid().as_u64_pair();
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
impl BooksFile {
    /// From here on every write fails.
    pub(super) fn break_writes(&mut self) {
        self.file = Arc::new(File::open(&self.path).expect("the file is there"));
    }

    pub(super) fn mend(&mut self) {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        self.file = Arc::new(options.open(&self.path).expect("the file is there"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use a4co_core::money::Amount;

    fn order(number: u128) -> OrderId {
        OrderId::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn sums_are_the_same_in_any_number_of_passes() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut file, _) = BooksFile::open(dir.path(), 10).expect("begun");
        let amount = |minor| Amount::from_minor(minor).expect("within range");
        let currency = Currency::EUR;
        for number in 0..50 {
            let order_id = order(number);
            let charged = BookEntry::Charged {
                order_id,
                amount: amount(100),
                currency,
            };
            let refunded = BookEntry::Refunded {
                order_id,
                number: 1,
                amount: amount(40),
            };
            file.append(&charged.encode()).expect("written");
            if number % 2 == 0 {
                file.append(&refunded.encode()).expect("written");
            }
        }
        let books = SandboxBooks::read(dir.path())
            .expect("readable")
            .expect("there");
        assert_eq!(books.len(), 75);
        for passes in [1, 2, 7] {
            let mut sums = Vec::new();
            let visit = |order_id, books: &OrderBooks| sums.push((order_id, *books));
            books.in_passes(passes, visit).expect("read");
            sums.sort_by_key(|(order_id, _)| *order_id);
            assert_eq!(sums.len(), 50);
            for (number, (order_id, books)) in (0..).zip(&sums) {
                assert_eq!(*order_id, order(number));
                let refunded = if number % 2 == 0 { 40 } else { 0 };
                assert_eq!(
                    (books.captured_minor, books.refunded_minor),
                    (100, refunded)
                );
                assert_eq!(books.captures, 1);
            }
        }
    }

    #[test]
    fn what_is_no_books_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(FILE_NAME);
        for text in [&b"not the books of a sandbox"[..], b"short"] {
            std::fs::write(&path, text).expect("written");
            let opened = BooksFile::open(dir.path(), 10);
            assert!(matches!(opened, Err(SandboxError::NotBooks { .. })));
            assert!(matches!(
                SandboxBooks::read(dir.path()),
                Err(SandboxError::NotBooks { .. })
            ));
            assert_eq!(std::fs::read(&path).expect("there"), text);
        }
    }

    #[test]
    fn no_books_are_no_error() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(SandboxBooks::read(dir.path()).expect("readable").is_none());
    }
}
