//! `cargo +nightly fuzz run money --features libfuzzer`: see [`a4co_fuzz::money`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::money(bytes));
