//! End-to-end tests against real NATS servers: each test has one of its own.

mod events;
mod setup;
