//! The pure core of the order engine.
#![no_std]
extern crate alloc;

pub mod ids;
pub mod limits;
pub mod money;
pub mod time;
