//! `cargo +nightly fuzz run journal --features libfuzzer`: see [`a4co_fuzz::journal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::journal(bytes));
