//! The command line: what is asked for, the first line and the last, and the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use a4co_core::shards::{SHARDS_MAX, ShardCount};

use crate::meaning::meaning;
use crate::plan::Plan;
use crate::run::{Outcome, run};
use crate::verdict::Failure;
use crate::{batch, cluster, exhaustive, html, scenario, scoreboard, shrink, swarm};

/// Bad usage.
pub(crate) const EXIT_USAGE: u8 = 2;

const HELP: &str = "\
The deterministic simulator of the order engine: one seed, one run, byte for byte.

usage: sim [--seed N | --seeds A..B | --minutes M | --scenario NAME | --plan FILE | --exhaustive]
           [options]

  --seed N          one run, of the plan that this seed makes (without any of these: seed 0)
  --seeds A..B      many runs: A and every seed up to B, B not included
  --minutes M       runs of ever new seeds, from --from S on (0), for M minutes
  --scenario NAME   a run written by hand; `--scenario list` names them
  --plan FILE       a run of a plan from a file, as --print-plan writes it

  --exhaustive      every interleaving of a small world to its end, instead of runs of seeds
                    (with --small: of a smaller one, in seconds)

  --scoreboard      mistakes planted in a build made for it: which check sees each, and after
                    how many seeds; one that is not seen is a failure (--bug NAME: only that one;
                    --small: without those that are seen rarely)
  --bug NAME        with anything else: a run of a build with this mistake planted, to see how it
                    fails (canary: every run does; --bug list names them all)

  --host NAME       embedded (the default), replicated: several processes over a simulated
                    journal service; or any: the seed chooses. With --seed, --seeds, --minutes
  --shards S        the replicated host with S shards of each participant, or any: the seed
                    chooses (1 unless said)
  --layer NAME      main (the default), or driver: the production loop on madsim's executor,
                    with --seed and --seeds only
  --jobs J          runs at once, for --seeds and --minutes (the machine's cores)
  --trace           one line an event: simulated time, where, what
  --html FILE       one run as a page that needs nothing else, for a browser
  --print-plan      the plan, on standard output, instead of a run
  --shrink          after a failure: the smallest plan found that fails the same check, written
                    to a file (shrunk-….plan) that --plan runs
  --coverage        after many seeds: which places (saga, event, fault) were reached, and which never
  --keep-going      do not stop at the first seed that fails
  --help            this text

exit codes: 0 passed; 1 something happened that must never happen (safety); 2 bad usage;
            3 something that must happen did not (liveness); 4 the code under test panicked
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// One seed.
    Seed(u64),
    /// Many seeds.
    Seeds(u64, u64),
    /// For so many minutes, from this seed on.
    Minutes(u64),
    /// By name.
    Scenario(String),
    /// From a file.
    Plan(String),
    /// The planted mistakes.
    Scoreboard,
    /// Every interleaving of a small world.
    Exhaustive,
}

/// Which host of the main layer, or the driver layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// One process with the embedded host.
    Embedded,
    /// Several processes with the replicated host.
    Replicated,
    /// The same, with so many shards of each participant; `None`: the seed chooses.
    Shards(Option<u16>),
    /// The embedded host, or the replicated one without shards; the seed chooses.
    Any,
    /// The production driver of the embedded host, on madsim's executor.
    Driver,
}

impl Side {
    /// The plan of a seed.
    pub(crate) fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Embedded | Self::Driver => swarm::plan(seed),
            Self::Replicated => cluster::swarm::plan(seed),
            Self::Shards(count) => cluster::swarm::plan_of_shards(seed, count),
            Self::Any if cluster::swarm::is_chosen(seed) => cluster::swarm::plan(seed),
            Self::Any => swarm::plan(seed),
        }
    }

    /// The options that choose it.
    pub(crate) fn options(self) -> String {
        match self {
            Self::Embedded => String::new(),
            Self::Replicated => "--host replicated ".into(),
            Self::Shards(None) => "--host replicated --shards any ".into(),
            Self::Shards(Some(count)) => format!("--host replicated --shards {count} "),
            Self::Any => "--host any ".into(),
            Self::Driver => "--layer driver ".into(),
        }
    }

    /// Is it the replicated host that seeds are of?
    pub(crate) const fn is_replicated(self) -> bool {
        matches!(self, Self::Replicated | Self::Shards(_))
    }
}

/// The command line, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What to run.
    pub runs: Runs,
    /// The first seed of `--minutes`.
    pub from: u64,
    /// What the seeds are of.
    pub side: Side,
    /// Threads.
    pub jobs: usize,
    /// Print every line.
    pub trace: bool,
    /// Write the run as a page to this file.
    pub html: Option<String>,
    /// Print the plan only.
    pub print_plan: bool,
    /// Shrink after a failure.
    pub shrink: bool,
    /// Go on after a failure.
    pub keep_going: bool,
    /// Print which cells were reached, and which were not.
    pub coverage: bool,
    /// One planted mistake.
    pub bug: Option<String>,
    /// The smaller world of `--exhaustive`, or the smaller scoreboard.
    pub small: bool,
}

fn number(text: Option<&String>, name: &str) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{name} needs a number"))?;
    text.replace('_', "")
        .parse()
        .map_err(|_| format!("{name} needs a number, not {text:?}"))
}

fn shard_count(text: &str) -> Result<u16, String> {
    let count = text.parse().ok().and_then(ShardCount::new);
    let count = count.ok_or_else(|| format!("--shards needs 1 to {SHARDS_MAX}, not {text:?}"))?;
    Ok(count.get())
}

impl Options {
    /// A run as it is asked for, with what it is a run of.
    pub(crate) fn how(&self, what: &str) -> String {
        let bug = self.bug.as_ref();
        let bug = bug.map_or_else(String::new, |bug| format!("--bug {bug} "));
        let side = self.side.options();
        // A plan says itself which host it is of.
        let side = if what.starts_with("--plan ") {
            String::new()
        } else {
            side
        };
        format!("{bug}{side}{what}")
    }

    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            runs: Runs::Seed(0),
            from: 0,
            side: Side::Embedded,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            trace: false,
            html: None,
            print_plan: false,
            shrink: false,
            keep_going: false,
            coverage: false,
            bug: None,
            small: false,
        };
        let mut rest = arguments.iter();
        let mut shards = None;
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seed" => options.runs = Runs::Seed(number(rest.next(), "--seed")?),
                "--seeds" => {
                    let text = rest.next().map_or("", String::as_str);
                    let parts = text.split_once("..").map(|(from, to)| {
                        let clean = |text: &str| text.replace('_', "").parse::<u64>();
                        (clean(from), clean(to))
                    });
                    let Some((Ok(from), Ok(to))) = parts else {
                        return Err(format!("--seeds needs A..B, not {text:?}"));
                    };
                    options.runs = Runs::Seeds(from, to);
                }
                "--minutes" => options.runs = Runs::Minutes(number(rest.next(), "--minutes")?),
                "--from" => options.from = number(rest.next(), "--from")?,
                "--scenario" => {
                    let name = rest.next().ok_or("--scenario needs a name")?;
                    options.runs = Runs::Scenario(name.clone());
                }
                "--plan" => {
                    let file = rest.next().ok_or("--plan needs a file")?;
                    options.runs = Runs::Plan(file.clone());
                }
                "--layer" => match rest.next().map(String::as_str) {
                    Some("main") => {}
                    Some("driver") => options.side = Side::Driver,
                    _ => return Err("--layer needs main or driver".into()),
                },
                "--host" => {
                    options.side = match rest.next().map(String::as_str) {
                        Some("embedded") => Side::Embedded,
                        Some("replicated") => Side::Replicated,
                        Some("any") => Side::Any,
                        _ => return Err("--host needs embedded, replicated or any".into()),
                    };
                }
                "--shards" => {
                    let count = match rest.next().map(String::as_str) {
                        Some("any") => None,
                        Some(text) => Some(shard_count(text)?),
                        None => return Err("--shards needs a number, or any".into()),
                    };
                    shards = Some(count);
                }
                "--jobs" => {
                    let jobs = number(rest.next(), "--jobs")?;
                    options.jobs = usize::try_from(jobs).unwrap_or(1).max(1);
                }
                "--html" => {
                    let file = rest.next().ok_or("--html needs a file")?;
                    options.html = Some(file.clone());
                }
                "--trace" => options.trace = true,
                "--print-plan" => options.print_plan = true,
                "--coverage" => options.coverage = true,
                "--shrink" => options.shrink = true,
                "--scoreboard" => options.runs = Runs::Scoreboard,
                "--exhaustive" => options.runs = Runs::Exhaustive,
                "--small" => options.small = true,
                "--bug" => {
                    let name = rest.next().ok_or("--bug needs a name")?;
                    options.bug = Some(name.clone());
                }
                "--keep-going" => options.keep_going = true,
                other => return Err(format!("{other:?} is no option")),
            }
        }
        match (shards, options.side) {
            (None | Some(Some(1)), _) => {}
            (Some(count), Side::Replicated) => options.side = Side::Shards(count),
            (Some(_), _) => return Err("--shards needs --host replicated".into()),
        }
        let is_one = matches!(
            options.runs,
            Runs::Seed(_) | Runs::Scenario(_) | Runs::Plan(_)
        );
        let is_driver = options.side == Side::Driver;
        if options.html.is_some() && (!is_one || is_driver) {
            return Err("--html needs --seed, --scenario or --plan, of the main layer".into());
        }
        Ok(options)
    }
}

/// Runs the program on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        crate::say!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let asked = arguments.join(" ");
    let version = env!("CARGO_PKG_VERSION");
    match Options::parse(&arguments).and_then(|options| {
        #[cfg(not(feature = "planted"))]
        if options.bug.is_some() || options.runs == Runs::Scoreboard {
            return Ok(scoreboard::rebuilt());
        }
        crate::say!("sim {version}: {asked}");
        execute(&options)
    }) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn execute(options: &Options) -> Result<ExitCode, String> {
    let side = options.side;
    #[cfg(feature = "planted")]
    if let Some(bug) = &options.bug
        && options.runs != Runs::Scoreboard
    {
        scoreboard::switch_on(bug, side)?;
    }
    if side == Side::Driver {
        if !cfg!(madsim) {
            return Err(
                "the driver layer is off: this build has no `--cfg madsim`, \
                        which a RUSTFLAGS in the environment takes away"
                    .into(),
            );
        }
        if options.print_plan || options.shrink {
            return Err("the driver layer has no plan to print or to shrink".into());
        }
        return match &options.runs {
            Runs::Seed(seed) => Ok(told(
                &run_seed(*seed, options.trace, side),
                &options.how(&format!("--seed {seed}")),
                None,
                options,
            )),
            Runs::Seeds(from, to) => Ok(batch::run(*from, Some(*to), None, options)),
            _ => Err("the driver layer takes --seed or --seeds".into()),
        };
    }
    match &options.runs {
        Runs::Seed(seed) => {
            let how = options.how(&format!("--seed {seed}"));
            one(&side.plan(*seed), &how, options)
        }
        Runs::Scenario(name) if name == "list" => {
            for scenario in scenario::ALL {
                crate::say!("{:<22} {}", scenario.name, scenario.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Runs::Scenario(name) => {
            let mut plan = scenario::plan(name)
                .ok_or_else(|| format!("no scenario {name:?}; see --scenario list"))?;
            if side.is_replicated() {
                plan = scenario::of_the_cluster(plan);
            }
            if let (Side::Shards(Some(count)), Some(cluster)) = (side, &mut plan.knobs.cluster) {
                cluster.shards = count;
            }
            one(&plan, &options.how(&format!("--scenario {name}")), options)
        }
        Runs::Plan(file) => {
            let text = std::fs::read_to_string(file).map_err(|it| format!("{file}: {it}"))?;
            let plan = Plan::parse(&text).map_err(|it| format!("{file}, {it}"))?;
            one(&plan, &options.how(&format!("--plan {file}")), options)
        }
        Runs::Seeds(from, to) => Ok(batch::run(*from, Some(*to), None, options)),
        Runs::Exhaustive => Ok(exhaustive::run(if options.small {
            exhaustive::Bounds::SMALL
        } else {
            exhaustive::Bounds::FULL
        })),
        #[cfg(feature = "planted")]
        Runs::Scoreboard => Ok(scoreboard::run(options)),
        #[cfg(not(feature = "planted"))]
        Runs::Scoreboard => Err("the scoreboard needs the feature planted".into()),
        Runs::Minutes(minutes) => Ok(batch::run(options.from, None, Some(*minutes), options)),
    }
}

fn one(plan: &Plan, how: &str, options: &Options) -> Result<ExitCode, String> {
    if options.print_plan {
        crate::say!("{}", plan.to_text().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = run(plan, options.trace || options.html.is_some());
    if let Some(file) = &options.html {
        let summary = summary(&outcome);
        let page = html::page(&outcome, how, &summary, &command(how), &plan.to_text());
        std::fs::write(file, page).map_err(|it| format!("{file}: {it}"))?;
    }
    Ok(told(&outcome, how, Some(plan), options))
}

/// One run of a seed, of either layer.
pub(crate) fn run_seed(seed: u64, keep_lines: bool, side: Side) -> Outcome {
    #[cfg(madsim)]
    if side == Side::Driver {
        return crate::driver::run(seed, keep_lines);
    }
    debug_assert!(side != Side::Driver, "refused before");
    run(&side.plan(seed), keep_lines)
}

fn told(outcome: &Outcome, how: &str, plan: Option<&Plan>, options: &Options) -> ExitCode {
    if let Some(lines) = outcome.trace.lines.as_ref().filter(|_| options.trace) {
        let mut text = String::new();
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        crate::say!("{}", text.trim_end());
    }
    crate::say!("{}", summary(outcome));
    let code = match &outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            report(failure, how);
            if options.shrink
                && let Some(plan) = plan
            {
                shrink::to_file(plan, failure, how, options);
            }
            ExitCode::from(failure.kind.exit_code())
        }
    };
    crate::say!("digest {}", outcome.trace.digest());
    code
}

/// A run in one line.
fn summary(outcome: &Outcome) -> String {
    let stats = &outcome.stats;
    let [confirmed, failed, cancelled] = stats.ended;
    format!(
        "{} events, {} journal events in {} records, {} crashes, {} snapshots, {} s simulated; \
         orders: {confirmed} confirmed, {failed} failed, {cancelled} cancelled",
        stats.events,
        stats.journal_events,
        stats.records,
        stats.crashes,
        stats.snapshots,
        stats.simulated_us / 1_000_000
    )
}

/// The command that runs something again.
pub(crate) fn command(how: &str) -> String {
    let features = if how.contains("--bug ") {
        "--features planted "
    } else {
        ""
    };
    format!("cargo run --release -p sim {features}-- {how}")
}

pub(crate) fn report(failure: &Failure, how: &str) {
    crate::say!("FAILED {failure}");
    let meaning = meaning(failure.check);
    if !meaning.is_empty() {
        crate::say!("That is: {meaning}.");
    }
    crate::say!("again: {}", command(&format!("{how} --trace")));
}
