//! The pure core of the order engine.
#![no_std]
extern crate alloc;
