//! `cargo +nightly fuzz run http --features libfuzzer`: see [`a4co_fuzz::http`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::http(bytes));
