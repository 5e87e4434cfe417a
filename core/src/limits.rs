//! Every limit that the contract promises, in one place, and how they relate.
//!
//! A limit is apart from the code that enforces it so that its number can be read,
//! quoted in an error and compared with the others without following a decoder. The
//! `const` assertions at the end are the comparisons: a changed number that breaks one
//! of them does not compile.
//!
//! "Characters" are Unicode scalar values unless a limit says otherwise.

/// Lines that one order may have, at least one.
pub const ORDER_LINES_MAX: usize = 100;

/// Smallest quantity of one order line, in pieces.
pub const QUANTITY_MIN: u32 = 1;

/// Largest quantity of one order line, in pieces.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// Characters that an id given from outside must have at least.
pub const ID_CHARS_MIN: usize = 1;

/// Characters that an id given from outside may have at most. Ids are ASCII, so these
/// are bytes as well.
pub const ID_CHARS_MAX: usize = 128;

/// Bytes of a request's body, as received.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Largest magnitude of an amount, in minor units of its currency: 2^53, the range in
/// which a client that reads JSON numbers as binary floating point still counts exactly.
/// The bound itself is allowed, on both sides of zero.
pub const AMOUNT_MINOR_MAX: i64 = 1 << 53;

/// Entries of an order's metadata.
pub const METADATA_KEYS_MAX: usize = 50;

/// Characters of one metadata key.
pub const METADATA_KEY_CHARS_MAX: usize = 40;

/// Characters of one metadata value.
pub const METADATA_VALUE_CHARS_MAX: usize = 500;

/// Smallest page that a list may be asked for, in rows.
pub const PAGE_ROWS_MIN: usize = 1;

/// Largest page that a list may be asked for, in rows.
pub const PAGE_ROWS_MAX: usize = 100;

/// Longest time that `Prefer: wait=N` may hold an answer back, in milliseconds.
pub const PREFER_WAIT_MS_MAX: u64 = 30 * 1000;

/// Refunds that one payment may have, whatever their amounts.
pub const REFUNDS_PER_PAYMENT_MAX: u32 = 100;

/// Shortest time that an answer is kept under its idempotency key, in milliseconds.
pub const IDEMPOTENCY_KEPT_MS_MIN: u64 = 24 * 60 * 60 * 1000;

/// Characters of a reason: of a cancellation, a stock adjustment or a failure.
pub const REASON_CHARS_MAX: usize = 500;

/// Characters of a product's name.
pub const PRODUCT_NAME_CHARS_MAX: usize = 200;

/// Units of one product that may be on hand: far above any warehouse, and far enough
/// below 2^63 that sums over all products stay exact.
pub const STOCK_UNITS_MAX: u64 = 1_000_000_000_000;

/// Deadlines served at once: after a long stop a million may be due, and one commit must
/// not have to hold them all.
pub const DEADLINES_PER_INPUT_MAX: usize = 1_024;

/// Bytes that a participant lets what it has decided grow to before it is committed: as a
/// message of its own, or with the two others' as one record of the log. A single input may
/// pass this by what it decides, and still has to fit.
pub const FRAME_BYTES_SOFT_MAX: usize = 512 * 1024;

/// Bytes that one message of a journal's stream may have: the default of a NATS server.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Events of one other journal that a replica keeps because its own journal does not say
/// yet that they were read.
pub const FACTS_KEPT_MAX: usize = 65_536;

/// Events of another journal that a leader reads without deciding anything before it
/// appends how far it has come: a follower keeps no more than these, and a restart reads
/// no more again.
pub const CURSORS_UNRECORDED_MAX: u64 = 1_024;

/// Gateway reports that wait for room in a frame.
pub const GATEWAY_REPORTS_DEFERRED_MAX: usize = 4_096;

/// First wait before an append without an answer is sent again, in milliseconds; it doubles.
pub const RESEND_FIRST_MS: u64 = 20;

/// Longest wait before an append without an answer is sent again, in milliseconds.
pub const RESEND_CAP_MS: u64 = 1_000;

/// Entries of an order's history: a saga has at most twelve steps, and parking and
/// retrying may repeat. Past this, only the last step of all is still noted.
pub const HISTORY_ENTRIES_MAX: usize = 64;

/// Most bytes that one character takes in UTF-8.
const UTF8_BYTES_PER_CHAR: usize = 4;

/// Most bytes that one character takes in JSON: two `\uXXXX` escapes, a surrogate pair.
const JSON_BYTES_PER_CHAR: usize = 12;

/// Most bytes that one ASCII character takes in JSON: one `\uXXXX` escape.
const JSON_BYTES_PER_ASCII_CHAR: usize = 6;

/// Allowance for what surrounds a line or a metadata entry in JSON: names, quotes,
/// numbers, indentation.
const JSON_BYTES_AROUND_ENTRY: usize = 256;

/// Most bytes of a postcard varint of 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// Bytes of the largest order's lines and metadata at rest, in postcard.
pub const ORDER_ENCODED_BYTES_MAX: usize = {
    // Product id with its length; quantity; price.
    let line = VARINT_BYTES_MAX + ID_CHARS_MAX + 2 * VARINT_BYTES_MAX;
    let entry = 2 * VARINT_BYTES_MAX
        + UTF8_BYTES_PER_CHAR * (METADATA_KEY_CHARS_MAX + METADATA_VALUE_CHARS_MAX);
    // Order id, customer, payment method, idempotency key, currency, total and the counts.
    let head = 16 + 3 * (VARINT_BYTES_MAX + ID_CHARS_MAX) + 4 * VARINT_BYTES_MAX;
    head + ORDER_LINES_MAX * line + METADATA_KEYS_MAX * entry
};

/// Bytes of the largest order's lines and metadata as a client may write them in JSON
/// with every character escaped.
const ORDER_JSON_BYTES_MAX: usize = {
    let id = JSON_BYTES_PER_ASCII_CHAR * ID_CHARS_MAX;
    let line = id + JSON_BYTES_AROUND_ENTRY;
    let entry = JSON_BYTES_PER_CHAR * (METADATA_KEY_CHARS_MAX + METADATA_VALUE_CHARS_MAX)
        + JSON_BYTES_AROUND_ENTRY;
    4 * (id + JSON_BYTES_AROUND_ENTRY) + ORDER_LINES_MAX * line + METADATA_KEYS_MAX * entry
};

// A limit that forbids everything is a mistake.
const _: () = assert!(ORDER_LINES_MAX >= 1);
const _: () = assert!(QUANTITY_MIN >= 1);
const _: () = assert!(QUANTITY_MIN <= QUANTITY_MAX);
const _: () = assert!(ID_CHARS_MIN >= 1);
const _: () = assert!(ID_CHARS_MIN <= ID_CHARS_MAX);
const _: () = assert!(PAGE_ROWS_MIN >= 1);
const _: () = assert!(PAGE_ROWS_MIN <= PAGE_ROWS_MAX);

// A price times a quantity, and the sum over all lines, are exact in i128: an order that
// is too expensive is seen as such, and never wraps into one that is cheap.
const _: () =
    assert!(AMOUNT_MINOR_MAX as i128 <= i128::MAX / QUANTITY_MAX as i128 / ORDER_LINES_MAX as i128);
// The difference of two amounts is exact in i64.
const _: () = assert!(AMOUNT_MINOR_MAX <= i64::MAX / 2);
// All refunds of a payment together are exact in i64 before they are compared with it.
const _: () = assert!(AMOUNT_MINOR_MAX <= i64::MAX / REFUNDS_PER_PAYMENT_MAX as i64);

// An order within its own limits is not refused for the size of its body, unless somebody
// pads it with white space; and at rest it takes less than its body may.
const _: () = assert!(ORDER_JSON_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(ORDER_ENCODED_BYTES_MAX <= BODY_BYTES_MAX);

// An input that recalls an order, changes it and keeps its answer takes three times the
// largest order beyond the soft bound, and still fits into a message.
const _: () = assert!(FRAME_BYTES_SOFT_MAX + 3 * ORDER_ENCODED_BYTES_MAX < MESSAGE_BYTES_MAX);
// What may have been read without being recorded fits into what a follower keeps.
const _: () = assert!(CURSORS_UNRECORDED_MAX < FACTS_KEPT_MAX as u64 / 2);
const _: () = assert!(RESEND_FIRST_MS <= RESEND_CAP_MS);

// A client that waits as long as it may, and then asks again with the same key, still
// finds its first answer.
const _: () = assert!(PREFER_WAIT_MS_MAX < IDEMPOTENCY_KEPT_MS_MIN);
