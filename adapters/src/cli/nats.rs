//! `a4co nats` and `a4co events`: the streams on the servers, and what goes through them.

use std::path::Path;

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{ConfigFlags, EventsCommand, Exit, NatsCommand, StatusFlags, complain, load, show};
use crate::config::{Config, GatewayChoice};
use crate::events::{Body, PublicEvent, PublicStream};
use crate::nats::{self, Connected, Consumed, JournalError, NatsConfig, NatsError, ReplayError};

/// What is said where no servers are named.
pub(super) const NAME_THE_SERVERS: &str =
    "a4co: name the NATS servers: --nats nats://HOST:4222, or NATS_URL";

/// Runs `a4co nats`.
#[must_use]
pub fn run_nats(command: &NatsCommand, file: Option<&Path>, as_json: bool) -> Exit {
    let (check, settings) = match command {
        NatsCommand::Setup { check, settings } => (check, settings),
        NatsCommand::Status(flags) => return status(flags, file, as_json),
    };
    with_nats(settings, file, async |nats, config| {
        let replicas = config.nats.access.replicas;
        let shards = nats::shards_or_found(nats, config.nats.shards).await?;
        let mut wanted = nats::wanted(replicas, shards);
        if config.gateway == GatewayChoice::Sandbox {
            wanted.push(nats::sandbox_books(replicas));
        }
        let reports = nats::set_up(nats, &wanted, !check).await?;
        if as_json {
            let text = serde_json::to_string(&reports).unwrap_or_default();
            show(&format!("{text}\n"));
            return Ok(());
        }
        for it in &reports {
            let made = if it.created { "made" } else { "as it must be" };
            show(&format!(
                "{:<24} {made:<14} {:>10} messages  {}\n",
                it.stream, it.messages, it.purpose
            ));
        }
        Ok(())
    })
}

fn status(flags: &StatusFlags, file: Option<&Path>, as_json: bool) -> Exit {
    let settings = ConfigFlags {
        given: flags.nats.given.clone(),
    };
    let mut exit = Exit::Failed;
    let ran = with_nats(&settings, file, async |nats, config| {
        let silent = nats::silent_after(config.nats.lease);
        let status = nats::status(nats, silent, &flags.monitor).await;
        if status.is_led() {
            exit = Exit::Done;
        }
        if as_json {
            let text = serde_json::to_string(&status).unwrap_or_default();
            show(&format!("{text}\n"));
        } else {
            show(&format!("{status}\n"));
        }
        Ok(())
    });
    match ran {
        Exit::Done => exit,
        other => other,
    }
}

/// Runs `a4co events`.
#[must_use]
pub fn run_events(command: &EventsCommand, file: Option<&Path>) -> Exit {
    let (all, count, durable, stream, settings) = match command {
        EventsCommand::Tail {
            all,
            count,
            durable,
            stream,
            settings,
        } => (all, count, durable, stream, settings),
        EventsCommand::DeadLetters { settings } => {
            return with_nats(settings, file, async |nats, _| {
                nats::dead_letters(nats, |letter| show_line(&letter)).await
            });
        }
        EventsCommand::Replay { sequence, settings } => return replay(settings, file, *sequence),
    };
    let count = count.unwrap_or(u64::MAX);
    with_nats(settings, file, async |nats, _| {
        let stream = PublicStream::ALL
            .into_iter()
            .find(|it| stream.as_deref() == Some(it.name()));
        match (durable, stream) {
            (Some(durable), Some(stream)) => consume(nats, stream, durable, count).await,
            _ => tail(nats, *all, count).await,
        }
    })
}

fn replay(settings: &ConfigFlags, file: Option<&Path>, sequence: u64) -> Exit {
    let mut is_there = true;
    let ran = with_nats(settings, file, async |nats, _| {
        match nats::replay(nats, sequence).await {
            Ok(letter) => show_line(&letter),
            Err(ReplayError::Nats(error)) => return Err(error),
            Err(error @ ReplayError::NotFound(_)) => {
                complain(&format!("a4co: {error}"));
                is_there = false;
            }
        }
        Ok(())
    });
    if is_there { ran } else { Exit::Failed }
}

fn show_line(value: &impl Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    show(&format!("{text}\n"));
}

async fn tail(nats: &Connected, all: bool, count: u64) -> Result<(), NatsError> {
    let mut events = nats::follow(nats, all).await?;
    let mut seen = 0;
    while seen < count {
        match events.next().await {
            None => break,
            Some(Ok(Ok(event))) => print(&event),
            Some(Ok(Err(error))) => complain(&format!("a4co: a message is no event: {error}")),
            Some(Err(error)) => return Err(error),
        }
        seen += 1;
    }
    Ok(())
}

/// Ends once so many messages have come to an end: handled, or given up on.
async fn consume(
    nats: &Connected,
    stream: PublicStream,
    durable: &str,
    count: u64,
) -> Result<(), NatsError> {
    let mut ended = 0;
    nats::consume(
        nats,
        stream,
        durable,
        |event| {
            print(&event);
            Ok(())
        },
        |consumed| {
            match consumed {
                Consumed::Handled => {}
                Consumed::Again(reason) => {
                    complain(&format!("a4co: to be delivered again: {reason}"));
                    return true;
                }
                Consumed::DeadLetter(reason) => complain(&format!("a4co: dead letter: {reason}")),
            }
            ended += 1;
            ended < count
        },
    )
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'e> {
    id: &'e str,
    r#type: &'static str,
    subject: &'static str,
    source: String,
    time: String,
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'e str>,
    data: &'e Body,
}

fn print(event: &PublicEvent) {
    let printed = Printed {
        id: &event.id,
        r#type: event.kind.name(),
        subject: event.kind.subject(),
        source: event.source(),
        time: event.at.to_string(),
        order_id: event.order_id.to_string(),
        traceparent: event.traceparent.as_deref(),
        data: &event.data,
    };
    show_line(&printed);
}

pub(super) fn with_nats(
    flags: &ConfigFlags,
    file: Option<&Path>,
    run: impl AsyncFnOnce(&Connected, &Config) -> Result<(), NatsError>,
) -> Exit {
    let config = match load(flags, file) {
        Ok(effective) => effective.config,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let Some(servers) = config.nats.any() else {
        complain(NAME_THE_SERVERS);
        return Exit::Usage;
    };
    on_servers(&servers, |runtime, nats| {
        match runtime.block_on(run(nats, &config)) {
            Ok(()) => Exit::Done,
            Err(error) => failed(&error.into()),
        }
    })
}

/// Connects and runs.
pub(super) fn on_servers(
    config: &NatsConfig,
    run: impl FnOnce(&Runtime, &Connected) -> Exit,
) -> Exit {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("a4co: no threads could be started: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(nats::connect(config, "a4co command line")) {
        Ok(nats) => run(&runtime, &nats),
        Err(error) => failed(&error.into()),
    }
}

/// Says what is wrong with the servers or their streams.
pub(super) fn failed(error: &JournalError) -> Exit {
    complain(&format!("a4co: {error}"));
    match error {
        JournalError::Nats(NatsError::Connect(_)) => Exit::Unreachable,
        _ => Exit::Failed,
    }
}
