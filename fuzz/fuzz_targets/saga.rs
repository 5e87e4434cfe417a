//! `cargo +nightly fuzz run saga --features libfuzzer`: see [`a4co_fuzz::saga`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| a4co_fuzz::saga(bytes));
