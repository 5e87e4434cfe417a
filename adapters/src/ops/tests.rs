//! Data folders as an instance leaves them, and what the three commands make of them.

mod backups;
mod verified;
mod world;
