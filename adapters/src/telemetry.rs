//! Logs: pretty on a terminal, JSON otherwise, always on standard error.
//!
//! Apart from everything that logs, so that where log lines go is decided once. Secrets
//! never get here: they are of a type that prints as `[REDACTED]`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// The words for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why logs could not be set up. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// A word that is neither a level nor a directive.
    #[error("'{0}' is no log level")]
    UnknownLevel(String),
    /// Not a filter.
    #[error("is no log filter: {0}")]
    BadFilter(String),
    /// Logs were set up before.
    #[error("logs were set up twice in one process")]
    SetUpTwice,
}

/// Sets up the process's logs. Once in a process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.directives)
        .map_err(|error| TelemetryError::BadFilter(error.to_string()))?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = if is_pretty(config.format, is_terminal) {
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        lines.with_ansi(colours).compact().finish().try_init()
    } else {
        lines.json().flatten_event(true).finish().try_init()
    };
    result.map_err(|_| TelemetryError::SetUpTwice)
}

/// The filter that a value of `log_level` stands for.
///
/// A single level means our own code: at `debug` and `trace` the libraries below stay at
/// `info`, since their detail drowns ours. Directives are taken as they are.
///
/// # Errors
/// [`TelemetryError`]: also for a bare word that is no level. The filter would take it
/// for the name of a module, and log nothing else.
pub fn directives(text: &str) -> Result<String, TelemetryError> {
    let text = text.trim();
    let level = text.to_ascii_lowercase();
    match level.as_str() {
        "debug" | "trace" => return Ok(format!("info,a4co={level},sled=warn")),
        "off" | "error" | "warn" | "info" => return Ok(level),
        _ => {}
    }
    for directive in text.split(',').map(str::trim) {
        let is_level = LEVELS
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level));
        if !is_level && !directive.contains(['=', '[', ']']) {
            return Err(TelemetryError::UnknownLevel(directive.to_owned()));
        }
    }
    EnvFilter::try_new(text).map_err(|error| TelemetryError::BadFilter(error.to_string()))?;
    Ok(text.to_owned())
}

const fn is_pretty(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_filter() {
        for (text, filter) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("debug", "info,a4co=debug,sled=warn"),
            ("warn,a4co=debug", "warn,a4co=debug"),
            ("a4co_journal[append]=trace", "a4co_journal[append]=trace"),
        ] {
            assert_eq!(directives(text).as_deref(), Ok(filter), "{text}");
            assert!(EnvFilter::try_new(filter).is_ok());
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for text in ["verbose", "", "info,chatty", "3x"] {
            assert!(
                matches!(directives(text), Err(TelemetryError::UnknownLevel(_))),
                "{text}"
            );
        }
        assert!(matches!(
            directives("a4co=loud"),
            Err(TelemetryError::BadFilter(_))
        ));
    }

    #[test]
    fn the_format_follows_the_terminal_unless_told() {
        assert!(is_pretty(LogFormat::Auto, true));
        assert!(!is_pretty(LogFormat::Auto, false));
        assert!(is_pretty(LogFormat::Pretty, false));
        assert!(!is_pretty(LogFormat::Json, true));
    }
}
