//! A log that is not what was written: damage is refused with all that an operator needs,
//! and a record that a crash interrupted is not damage.

use std::fs;
use std::path::{Path, PathBuf};

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Options, Order, Server};

/// Bytes before the first record of a segment, and before the payload of a record.
const SEGMENT_HEADER: usize = 4096;
const RECORD_HEADER: usize = 32;

/// The newest segment of the log.
fn segment(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("journal")).expect("the journal's folder");
    let mut segments: Vec<PathBuf> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            name.starts_with("segment-") && name.ends_with(".log")
        })
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

/// Where each record of a segment begins, and where the last one ends.
fn records(bytes: &[u8]) -> (Vec<usize>, usize) {
    let mut at = SEGMENT_HEADER;
    let mut records = Vec::new();
    loop {
        let length: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return (records, at);
        }
        records.push(at);
        at += (RECORD_HEADER + length).next_multiple_of(8);
    }
}

/// A data folder with a few orders, and the last one's id.
fn shop_with_orders() -> (Server, String) {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 100);
    let mut last = String::new();
    for _ in 0..20 {
        let order = client.order(&Order::of(&[("cup", 1)]));
        expect_end(&order, "CONFIRMED", "COMPLETED");
        shop::id(&order).clone_into(&mut last);
    }
    (server, last)
}

#[track_caller]
fn flip_a_byte_in_the_middle_and_expect_a_refusal(options: &Options) {
    let path = segment(options.data_dir());
    let mut bytes = fs::read(&path).expect("the segment");
    let (records, _) = records(&bytes);
    let damaged = records[records.len() / 2];
    bytes[damaged + RECORD_HEADER + 5] ^= 0x10;
    fs::write(&path, &bytes).expect("the damaged segment");
    let (status, said) = options.start_and_fail();
    assert!(!status.success(), "{status}: {said}");
    let file = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    for named in [
        file.as_str(),
        &format!("byte {damaged}"),
        "a4co verify",
        "a4co restore",
    ] {
        assert!(said.contains(named), "{named} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    let unchanged = fs::read(&path).expect("the segment");
    assert!(unchanged == bytes, "the refused start changed the log");
    // Put right, it starts.
    bytes[damaged + RECORD_HEADER + 5] ^= 0x10;
    fs::write(&path, &bytes).expect("the segment as it was");
    let server = options.start();
    server.client().expect_stock("cup", 80, 0, 20);
}

#[test]
fn a_flipped_byte_after_a_crash_is_refused() {
    let (server, _) = shop_with_orders();
    let options = server.options().clone();
    server.kill();
    flip_a_byte_in_the_middle_and_expect_a_refusal(&options);
}

#[test]
fn a_flipped_byte_after_an_orderly_stop_is_refused() {
    let (server, _) = shop_with_orders();
    let options = server.options().clone();
    assert!(server.stop().success());
    flip_a_byte_in_the_middle_and_expect_a_refusal(&options);
}

#[test]
fn a_record_that_a_crash_interrupted_is_cut_off() {
    let (server, last) = shop_with_orders();
    let options = server.options().clone();
    server.kill();
    let path = segment(options.data_dir());
    let mut bytes = fs::read(&path).expect("the segment");
    let (records, end) = records(&bytes);
    // The beginning of one more record, as a power cut leaves it.
    let begun = *records.last().expect("a record");
    let half = RECORD_HEADER + (end - begun - RECORD_HEADER) / 2;
    let mut torn = bytes[begun..begun + half].to_vec();
    let sequence: [u8; 8] = torn[8..16].try_into().expect("eight bytes");
    let next = u64::from_le_bytes(sequence) + 1;
    torn[8..16].copy_from_slice(&next.to_le_bytes());
    bytes[end..end + half].copy_from_slice(&torn);
    fs::write(&path, &bytes).expect("the torn segment");

    let server = options.start();
    assert!(server.logged().contains("cut off"), "{}", server.logged());
    let client = server.client();
    expect_end(&client.look(&last), "CONFIRMED", "COMPLETED");
    client.expect_stock("cup", 80, 0, 20);
    let order = client.order(&Order::of(&[("cup", 1)]));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    let server = server.restart();
    server.client().expect_stock("cup", 79, 0, 21);
}

#[test]
fn a_store_that_is_lost_or_damaged_is_rebuilt_from_the_log() {
    let (server, last) = shop_with_orders();
    let options = server.options().clone();
    assert!(server.stop().success());
    let store = options.data_dir().join("store");
    fs::remove_dir_all(&store).expect("the store is gone");
    let server = options.start();
    let client = server.client();
    expect_end(&client.look(&last), "CONFIRMED", "COMPLETED");
    assert_eq!(client.all_orders("status=CONFIRMED").len(), 20);
    client.expect_stock("cup", 80, 0, 20);
    assert!(server.stop().success());

    let nonsense = vec![0xa5; 4096];
    for file in fs::read_dir(&store).expect("the store's folder") {
        let path = file.expect("a file").path();
        if path.is_file() {
            fs::write(&path, &nonsense).expect("a damaged file");
        }
    }
    let server = options.start();
    let client = server.client();
    expect_end(&client.look(&last), "CONFIRMED", "COMPLETED");
    assert_eq!(client.all_orders("").len(), 20);
}
