//! The mark on the servers of a move that has not finished: half a history is not a
//! history, and no process may lead it.
//!
//! It is in the metadata of the order journal's stream, so that whoever checks the streams
//! sees it, and nobody can lose the one without the other.

use a4co_core::ids::ParticipantId;
use a4co_core::replicated::HostId;
use async_nats::jetstream::stream::Config;

use super::connect::{Connected, NatsError};
use super::streams::{Difference, StreamReport, Wanted, journal_stream, set_up};

/// The key of the metadata.
const MARK: &str = "a4co-migration";

/// The setting that a [`Difference`] names for a move that has not finished.
pub(super) const UNFINISHED: &str = "metadata a4co-migration";

/// Whether a data folder was moved to these servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationMark {
    /// None was.
    None,
    /// One is being moved, under this name.
    UnderWay(HostId),
    /// One was moved.
    Done(HostId),
}

impl MigrationMark {
    /// As the stream's settings have it. What cannot be read is under way: it is not ours
    /// to say that it has finished.
    pub(super) fn of(config: &Config) -> Self {
        let Some(text) = config.metadata.get(MARK) else {
            return Self::None;
        };
        let mut words = text.split(' ').rev();
        let host = words
            .next()
            .and_then(|it| u128::from_str_radix(it, 16).ok());
        let host = HostId::from_bytes(host.unwrap_or_default().to_be_bytes());
        match words.next() {
            Some("done") => Self::Done(host),
            _ => Self::UnderWay(host),
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::UnderWay(host) => Some(format!("1 under-way {host}")),
            Self::Done(host) => Some(format!("1 done {host}")),
        }
    }

    /// As a difference, where processes must not use the streams.
    pub(super) fn difference(config: &Config) -> Option<Difference> {
        matches!(Self::of(config), Self::UnderWay(_)).then(|| Difference {
            stream: config.name.clone(),
            setting: UNFINISHED,
            wanted: "done, or none".to_owned(),
            found: "under way".to_owned(),
        })
    }
}

/// The mark.
///
/// # Errors
/// [`NatsError`].
pub async fn migration_mark(nats: &Connected) -> Result<MigrationMark, NatsError> {
    let name = journal_stream(ParticipantId::Order);
    let stream = nats.admin.get_stream(&name).await;
    let stream = stream.map_err(|error| NatsError::jetstream(&name, error))?;
    Ok(MigrationMark::of(&stream.cached_info().config))
}

/// Sets the mark, and changes nothing else of the stream.
///
/// # Errors
/// [`NatsError`].
pub async fn mark_migration(nats: &Connected, mark: MigrationMark) -> Result<(), NatsError> {
    let name = journal_stream(ParticipantId::Order);
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(&name, error);
    let stream = nats.admin.get_stream(&name).await;
    let mut config = stream
        .map_err(|error| failed(&error))?
        .cached_info()
        .config
        .clone();
    match mark.text() {
        Some(text) => config.metadata.insert(MARK.to_owned(), text),
        None => config.metadata.remove(MARK),
    };
    let updated = nats.admin.update_stream(config).await;
    updated.map(|_| ()).map_err(|error| failed(&error))
}

/// Makes the streams that are missing and checks the others, as [`set_up`] does, but for a
/// move that has not finished: that is what is to be gone on with.
///
/// # Errors
/// As [`set_up`].
pub async fn set_up_for_migration(
    nats: &Connected,
    wanted: &[Wanted],
) -> Result<Vec<StreamReport>, NatsError> {
    match set_up(nats, wanted, true).await {
        Err(NatsError::Different(mut all)) => {
            all.retain(|it| it.setting != UNFINISHED);
            if all.is_empty() {
                Ok(Vec::new())
            } else {
                Err(NatsError::Different(all))
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_set_and_what_cannot_be_read_forbids() {
        let host = HostId::from_bytes([0xab; 16]);
        for mark in [
            MigrationMark::None,
            MigrationMark::UnderWay(host),
            MigrationMark::Done(host),
        ] {
            let mut config = Config::default();
            if let Some(text) = mark.text() {
                config.metadata.insert(MARK.to_owned(), text);
            }
            assert_eq!(MigrationMark::of(&config), mark);
            let forbids = MigrationMark::difference(&config).is_some();
            assert_eq!(forbids, mark == MigrationMark::UnderWay(host));
        }
        let mut config = Config::default();
        config.metadata.insert(MARK.to_owned(), "2".to_owned());
        assert!(MigrationMark::difference(&config).is_some());
    }
}
