//! `cargo +nightly fuzz run webhook --features libfuzzer`: see [`a4co_fuzz::webhook`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::webhook(bytes));
