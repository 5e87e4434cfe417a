//! What may be typed after `a4co`.
//!
//! Definitions only; the flags of the settings come from the table of the configuration.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use a4co_core::shards::{JournalId, SHARDS_MAX, ShardCount};

use crate::config::keys;

/// Printed after `a4co --help`.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused, failed, or differences found; 2 bad arguments or \
configuration; 3 no server answers; 4 no such order or product; 5 the server cannot do it now, try later.

Without a command, a4co serves; a new data folder then gets the products of a demo catalogue.";

/// An order engine whose orders either complete or are fully undone.
#[derive(Debug, Parser)]
#[command(name = "a4co", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file; otherwise ./a4co.toml where it exists [env: A4CO_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve orders over HTTP until told to stop
    Serve(ServeFlags),
    /// Show the settings in force and where each came from
    Config(ConfigFlags),
    /// Check journal, store, the sandbox's books and all invariants
    Verify(VerifyFlags),
    /// Compare the payment gateway's books with ours, for a period; exit code 1 where they differ
    Reconcile(ReconcileFlags),
    /// Copy the data folder consistently, also while it is in use
    Backup(BackupFlags),
    /// Make a data folder from a backup
    Restore(RestoreFlags),
    /// Move the journals from a data folder to NATS servers, or back, while nothing runs
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Load a running server and measure it
    Bench(crate::bench::BenchArgs),
    /// Place a mixed stream of orders and watch what becomes of them
    Demo(crate::demo::DemoArgs),
    /// Ask a running server whether it is ready; for probes
    Health(ClientFlags),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command
    Man {
        /// Folder that they go to; it must exist
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Look at orders, cancel them, retry them
    #[command(subcommand)]
    Order(OrderCommand),
    /// Make or check the streams on the NATS servers
    #[command(subcommand)]
    Nats(NatsCommand),
    /// Hand a participant of a cluster over to another process
    StepDown(StepDownFlags),
    /// Watch the public events on NATS
    #[command(subcommand)]
    Events(EventsCommand),
    /// Look at stock, describe products, adjust quantities
    #[command(subcommand)]
    Stock(StockCommand),
}

/// What to do with the NATS servers.
#[derive(Debug, Subcommand)]
pub enum NatsCommand {
    /// Make the streams that are missing, and compare the others with what they must be
    Setup {
        /// Change nothing: only compare
        #[arg(long)]
        check: bool,
        /// Flags of the settings.
        #[command(flatten)]
        settings: ConfigFlags,
    },
    /// Show who leads, how far the streams are and what their servers say of them; ends
    /// with 1 while a journal has no leader
    Status(StatusFlags),
}

/// Flags of `a4co nats status`.
#[derive(Debug, Args)]
pub struct StatusFlags {
    /// A server's monitoring port, such as http://nats-a:8222, which says whether it syncs
    /// before it acknowledges; may be given more than once
    #[arg(long, value_name = "URL")]
    pub monitor: Vec<String>,
    /// Which servers.
    #[command(flatten)]
    pub nats: NatsFlags,
}

/// Who is to hand over.
#[derive(Debug, Args)]
pub struct StepDownFlags {
    /// The participant whose leader hands over: order, inventory or payment; with several
    /// shards the shard too, such as order-0
    #[arg(value_name = "PARTICIPANT", value_parser = journal)]
    pub participant: String,
    /// Flags of the settings.
    #[command(flatten)]
    pub settings: ConfigFlags,
}

/// A journal's name, whether there are shards or not.
fn journal(text: &str) -> Result<String, String> {
    let counts = [ShardCount::ONE]
        .into_iter()
        .chain(ShardCount::new(SHARDS_MAX));
    let is_one = counts
        .into_iter()
        .any(|count| JournalId::parse(text, count).is_ok());
    match is_one {
        true => Ok(text.to_owned()),
        false => Err("it is order, inventory or payment, or one of their shards: order-0".into()),
    }
}

/// What to do with the public events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print events as they come, one JSON object a line
    Tail {
        /// Begin with the oldest event that is kept
        #[arg(long)]
        all: bool,
        /// End after this many events
        #[arg(long, value_name = "COUNT")]
        count: Option<u64>,
        /// Consume ORDERS, INVENTORY or PAYMENTS under a durable name: what was printed is
        /// acknowledged, what cannot be read goes to the dead letters after three deliveries
        #[arg(long, value_name = "NAME", requires = "stream")]
        durable: Option<String>,
        /// The stream to consume
        #[arg(long, value_name = "STREAM", requires = "durable", value_parser = ["ORDERS", "INVENTORY", "PAYMENTS"])]
        stream: Option<String>,
        /// Flags of the settings.
        #[command(flatten)]
        settings: ConfigFlags,
    },
    /// Print the messages that consumers gave up on, one JSON object a line
    DeadLetters {
        /// Flags of the settings.
        #[command(flatten)]
        settings: ConfigFlags,
    },
    /// Publish a message that a consumer gave up on again, and remove it from the dead
    /// letters; every consumer of its stream gets it
    Replay {
        /// Its `sequence`, as `a4co events dead-letters` has it
        #[arg(value_name = "SEQUENCE")]
        sequence: u64,
        /// Flags of the settings.
        #[command(flatten)]
        settings: ConfigFlags,
    },
}

/// Flags of `a4co serve`.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Give a new data folder the products of a demo catalogue
    #[arg(long)]
    pub demo_products: bool,
    /// Flags of the settings.
    #[command(flatten)]
    pub settings: ConfigFlags,
}

/// A flag for each setting that has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// Keys with the values that were typed.
    pub given: Vec<(&'static str, String)>,
}

/// The one setting that the commands on a data folder need.
#[derive(Debug, Clone, Args)]
pub struct DataDirFlag {
    /// The data folder; otherwise as configured
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
}

impl DataDirFlag {
    /// As flags of the settings.
    #[must_use]
    pub fn settings(&self) -> ConfigFlags {
        let given = self.data_dir.clone().map(|dir| (keys::DATA_DIR.name, dir));
        ConfigFlags {
            given: given.into_iter().collect(),
        }
    }

    /// As flags of the settings, with those of the servers.
    #[must_use]
    pub fn settings_with(&self, nats: &NatsFlags) -> ConfigFlags {
        let mut settings = self.settings();
        settings.given.extend(nats.given.iter().cloned());
        settings
    }
}

/// Flags of `a4co verify`.
#[derive(Debug, Args)]
pub struct VerifyFlags {
    /// Which data folder.
    #[command(flatten)]
    pub data: DataDirFlag,
    /// Where the running instance of this folder answers; its store is then compared by what
    /// it says
    #[arg(long)]
    pub url: Option<String>,
    /// Which servers: without --data-dir, nats_url says that the journals are there.
    #[command(flatten)]
    pub nats: NatsFlags,
}

/// The settings that say how the NATS servers are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsFlags {
    /// Keys with the values that were typed.
    pub given: Vec<(&'static str, String)>,
}

/// Which way to move.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// From a data folder to the servers, whose journals must be empty
    ToNats(MigrateFlags),
    /// From the servers into a data folder, which must be new or empty
    FromNats(MigrateFlags),
}

/// Flags of `a4co migrate`.
#[derive(Debug, Args)]
pub struct MigrateFlags {
    /// Which data folder.
    #[command(flatten)]
    pub data: DataDirFlag,
    /// Which servers.
    #[command(flatten)]
    pub nats: NatsFlags,
}

/// Flags of `a4co reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileFlags {
    /// Orders created at or after this, such as 2026-01-31 or 2026-01-31T08:00:00Z; a day
    /// before the end otherwise
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Orders created before this; now otherwise
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The server whose payments are compared.
    #[command(flatten)]
    pub client: ClientFlags,
    /// Flags of the settings: which gateway, and how to reach it.
    #[command(flatten)]
    pub settings: ConfigFlags,
}

/// Flags of `a4co backup`.
#[derive(Debug, Args)]
pub struct BackupFlags {
    /// Folder to make; where it exists it must be empty
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Which data folder.
    #[command(flatten)]
    pub data: DataDirFlag,
}

/// Flags of `a4co restore`.
#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// Folder that `a4co backup` made
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// Which data folder.
    #[command(flatten)]
    pub data: DataDirFlag,
    /// Move aside what the data folder holds; nothing is deleted
    #[arg(long)]
    pub force: bool,
}

/// Flags of every command that talks to a server.
#[derive(Debug, Clone, Args)]
pub struct ClientFlags {
    /// The server
    #[arg(long, env = keys::URL_ENV, default_value = "http://127.0.0.1:3004")]
    pub url: String,
}

/// The key of a request that may be repeated.
#[derive(Debug, Clone, Args)]
pub struct KeyFlag {
    /// Name of this request: repeated under the same name, it happens once. A random one
    /// otherwise
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// What to do with orders.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Show an order with its history
    Get {
        /// The order's id
        order_id: String,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// List orders, newest first
    List {
        /// PENDING, INVENTORY_RESERVED, CONFIRMED, FAILED or CANCELLED
        #[arg(long)]
        status: Option<String>,
        /// Of this customer
        #[arg(long, value_name = "CUSTOMER")]
        customer: Option<String>,
        /// Created at or after this, such as 2026-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        created_from: Option<String>,
        /// Created before this
        #[arg(long, value_name = "TIME")]
        created_to: Option<String>,
        /// Orders of a page
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Where the last page ended
        #[arg(long)]
        cursor: Option<String>,
        /// Every page; with --json, one line for each
        #[arg(long)]
        all: bool,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Undo an order, where that is still possible
    Cancel {
        /// The order's id
        order_id: String,
        /// Why, for people
        #[arg(long, default_value = "cancelled by an operator")]
        reason: String,
        /// Seconds to wait until everything is undone, at most 30
        #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=30))]
        wait: u32,
        /// The request's name.
        #[command(flatten)]
        key: KeyFlag,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Try a parked order again now
    Retry {
        /// The order's id
        order_id: String,
        /// The request's name.
        #[command(flatten)]
        key: KeyFlag,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Say that a confirmed order whose money could not be captured has been seen to
    WriteOff {
        /// The order's id
        order_id: String,
        /// The request's name.
        #[command(flatten)]
        key: KeyFlag,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
}

/// What to do with stock.
#[derive(Debug, Subcommand)]
pub enum StockCommand {
    /// Show a product, or all of them
    Get {
        /// The product's id
        product_id: Option<String>,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Create or describe a product
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The product's id
        product_id: String,
        /// Name, for people
        #[arg(long, group = "what")]
        name: Option<String>,
        /// Price of one unit, such as 29.99
        #[arg(long, group = "what")]
        price: Option<String>,
        /// Currency of the price, such as EUR
        #[arg(long, group = "what")]
        currency: Option<String>,
        /// Units on hand
        #[arg(long, value_name = "UNITS", group = "what")]
        on_hand: Option<u64>,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Receive units (5) or write them off (-5)
    Adjust {
        /// The product's id
        product_id: String,
        /// Units to add, or with a minus to take off
        #[arg(allow_negative_numbers = true)]
        delta: i64,
        /// Why, for people
        #[arg(long)]
        reason: String,
        /// The request's name.
        #[command(flatten)]
        key: KeyFlag,
        /// The server.
        #[command(flatten)]
        client: ClientFlags,
    },
}

/// The flag of a setting, if it has one.
fn flag(key: &keys::Key) -> Option<Arg> {
    let mut help = format!("{} [env: {}]", key.help, key.env);
    if let Some(default) = key.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    let arg = Arg::new(key.name)
        .long(key.flag?)
        .value_name(key.value_name);
    Some(arg.help(help).help_heading("Settings"))
}

/// What was typed for these settings.
fn typed<'k>(
    keys: impl Iterator<Item = &'k keys::Key>,
    matches: &ArgMatches,
) -> Vec<(&'static str, String)> {
    let with_flag = keys.filter(|key| key.flag.is_some());
    let value = |key: &keys::Key| Some((key.name, matches.get_one::<String>(key.name)?.clone()));
    with_flag.filter_map(value).collect()
}

impl Args for ConfigFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(keys::ALL.iter().filter_map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given.extend(typed(keys::ALL.iter(), matches));
        Ok(())
    }
}

/// The settings whose names say so.
fn nats_keys() -> impl Iterator<Item = &'static keys::Key> {
    keys::ALL.iter().filter(|key| key.name.starts_with("nats_"))
}

impl Args for NatsFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(nats_keys().filter_map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NatsFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given.extend(typed(nats_keys(), matches));
        Ok(())
    }
}
