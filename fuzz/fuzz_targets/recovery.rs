//! `cargo +nightly fuzz run recovery --features libfuzzer`: see [`a4co_fuzz::recovery`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::recovery(bytes));
