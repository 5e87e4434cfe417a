//! The simulator's command line: wiring only.
use std::process::ExitCode;

fn main() -> ExitCode {
    sim::cli::main()
}
