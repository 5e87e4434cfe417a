//! `cargo +nightly fuzz run record --features libfuzzer`: see [`a4co_fuzz::record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::record(bytes));
