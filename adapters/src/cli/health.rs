//! `a4co health`: one question to a running server, for probes where there is no curl.

use serde::Deserialize;

use super::Exit;
use super::args::ClientFlags;
use super::client::{Client, Failure, end};

#[derive(Deserialize)]
struct Health {
    status: String,
}

/// Asks whether the server is ready to take work.
#[must_use]
pub fn run(flags: &ClientFlags, as_json: bool) -> Exit {
    end(carry_out(flags, as_json), as_json)
}

fn carry_out(flags: &ClientFlags, as_json: bool) -> Result<(), Failure> {
    let answer = Client::new(&flags.url)?.ready()?;
    answer.print(as_json, |health: &Health| format!("{}\n", health.status))
}
