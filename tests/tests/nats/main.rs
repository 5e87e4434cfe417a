//! End-to-end tests against real NATS servers: each test has one of its own.

mod access;
mod cluster;
mod events;
mod faults;
mod migrate;
mod servers;
mod setup;
mod shards;
mod status;
mod traces;
mod verify;
