//! The binary: wiring only.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use a4co::bench::{self, BenchArgs};
use a4co::cli::{self, Cli, Command, ConfigFlags, Exit};
use a4co::demo::{self, DemoArgs};
use a4co::{serve, telemetry};
use clap::Parser as _;

// The engine makes and drops many small things on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli {
        json,
        config,
        command,
    } = Cli::parse();
    let file = config.as_deref();
    match command {
        None => run_serve(&ConfigFlags::default(), file, true),
        Some(Command::Serve(flags)) => run_serve(&flags.settings, file, flags.demo_products),
        Some(Command::Config(flags)) => cli::print_config(&flags, file, json).into(),
        Some(Command::Verify(flags)) => cli::run_verify(&flags, file, json).into(),
        Some(Command::Reconcile(flags)) => cli::run_reconcile(&flags, file, json).into(),
        Some(Command::Backup(flags)) => cli::run_backup(&flags, file, json).into(),
        Some(Command::Restore(flags)) => cli::run_restore(&flags, file, json).into(),
        Some(Command::Migrate(command)) => cli::run_migrate(&command, file, json).into(),
        Some(Command::Health(flags)) => cli::run_health(&flags, json).into(),
        Some(Command::Completions { shell }) => cli::print_completions(shell).into(),
        Some(Command::Man { to }) => cli::write_manual(&to).into(),
        Some(Command::Nats(command)) => cli::run_nats(&command, file, json).into(),
        Some(Command::StepDown(flags)) => cli::run_step_down(&flags, file, json).into(),
        Some(Command::Events(command)) => cli::run_events(&command, file).into(),
        Some(Command::Order(command)) => cli::run_order(&command, json).into(),
        Some(Command::Stock(command)) => cli::run_stock(&command, json).into(),
        Some(Command::Bench(args)) => ended(bench::run(&BenchArgs { json, ..args })),
        Some(Command::Demo(args)) => ended(demo::run(&DemoArgs { json, ..args })),
    }
}

fn run_serve(flags: &ConfigFlags, file: Option<&Path>, with_demo: bool) -> ExitCode {
    let effective = match cli::load(flags, file) {
        Ok(effective) => effective,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage.into();
        }
    };
    if let Err(error) = telemetry::init(&effective.config.log) {
        eprintln!("a4co: {error}");
        return Exit::Usage.into();
    }
    for note in &effective.notes {
        tracing::info!("{note}");
    }
    ended(serve::serve(&effective.config, with_demo))
}

fn ended<E: Error>(outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("a4co: {error}");
        Exit::Failed.into()
    })
}
