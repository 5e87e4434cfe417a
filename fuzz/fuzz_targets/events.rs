//! `cargo +nightly fuzz run events --features libfuzzer`: see [`a4co_fuzz::events`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::events(bytes));
