//! What a packager wants of the command line: completions and manual pages, made from its
//! definition, so that they never differ from it.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use super::{Exit, complain, show};

/// Prints the completions for a shell.
#[must_use]
pub fn print_completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "a4co", &mut script);
    show(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Writes `a4co.1` and a page for each command into a folder.
#[must_use]
pub fn write_manual(to: &Path) -> Exit {
    match clap_mangen::generate_to(Cli::command(), to) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&format!(
                "a4co: the manual pages cannot be written to {}: {error}",
                to.display()
            ));
            Exit::Failed
        }
    }
}
