//! The streams as they must be, and whether the servers have them so.
//!
//! A server ignores a setting that it does not know, so what it echoes is compared field
//! by field. Nothing that is there already is ever changed: it is named, with the fix.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use a4co_core::shards::{JournalId, ShardCount};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use serde::Serialize;

use super::connect::{Connected, NatsError};
use super::consume::DEAD_LETTER_PREFIX;
use super::migration::{MigrationMark, UNFINISHED};
use crate::events::PublicStream;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The code of JetStream for a stream that is not there.
const STREAM_NOT_FOUND: u64 = 10_059;

/// How long an id of a public event is remembered: a relay that starts again within it
/// repeats nothing.
const PUBLIC_DUPLICATES: Duration = Duration::from_secs(10 * 60);

/// The stream of what consumers gave up on.
pub const DEAD_LETTERS: &str = "A4CO_DEAD_LETTERS";

/// The stream of the key-value bucket that holds the leases.
pub const LEASES: &str = "KV_a4co_leases";

/// The bucket of the object store that holds a snapshot for new machines.
pub const SNAPSHOTS_BUCKET: &str = "a4co_snapshots";

/// The stream of the sandbox gateway's books, where processes share it.
pub const SANDBOX_BOOKS: &str = "A4CO_SANDBOX_BOOKS";

/// The subject of the sandbox gateway's books.
pub const SANDBOX_SUBJECT: &str = "a4co.sandbox.books";

/// The stream of a journal: `A4CO_JOURNAL_ORDER`, or of a shard `A4CO_JOURNAL_ORDER_0`.
#[must_use]
pub fn journal_stream(journal: impl Into<JournalId>) -> String {
    let name = journal.into().to_string();
    format!("A4CO_JOURNAL_{}", name.to_uppercase().replace('-', "_"))
}

/// The subject of a journal.
#[must_use]
pub fn journal_subject(journal: impl Into<JournalId>) -> String {
    format!("a4co.journal.{}", journal.into())
}

/// The subject of the key that holds a journal's lease.
#[must_use]
pub fn lease_subject(journal: impl Into<JournalId>) -> String {
    format!("$KV.a4co_leases.leader.{}", journal.into())
}

/// The subject of the key that says how far a journal's public events are published.
#[must_use]
pub fn relay_subject(journal: impl Into<JournalId>) -> String {
    format!("$KV.a4co_leases.relay.{}", journal.into())
}

/// In place of a setting: the stream itself is not there.
const MISSING: &str = "stream";

/// A stream as it must be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The settings.
    pub config: Config,
    /// What it is for, for people.
    pub purpose: &'static str,
}

/// A setting that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of which stream.
    pub stream: String,
    /// Which setting, by the server's name for it.
    pub setting: &'static str,
    /// What it must be.
    pub wanted: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            setting,
            wanted,
            found,
        } = self;
        if *setting == MISSING {
            return write!(f, "stream {stream} is missing; `a4co nats setup` makes it");
        }
        if *setting == UNFINISHED {
            return write!(
                f,
                "a move to stream {stream} has not finished: run `a4co migrate to-nats` again"
            );
        }
        if *setting == SHARDS_SETTING {
            return write!(
                f,
                "the journals here have {found} shards, and {wanted} are asked for: the count is fixed for the life of the journals; start with --shards {found}"
            );
        }
        write!(
            f,
            "stream {stream}: {setting} is {found} and must be {wanted}; set it with the NATS tools, or move the stream's messages and delete it so that `a4co nats setup` makes it anew"
        )
    }
}

/// What became of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReport {
    /// The stream.
    pub stream: String,
    /// What it is for.
    pub purpose: &'static str,
    /// It was not there, and has been made.
    pub created: bool,
    /// Messages in it.
    pub messages: u64,
    /// The last sequence.
    pub last_sequence: u64,
}

/// The three public streams and the dead letters: all that publishing needs.
#[must_use]
pub fn public(replicas: usize) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = PublicStream::ALL
        .iter()
        .map(|stream| Wanted {
            purpose: "public events, seven days",
            config: Config {
                subjects: vec![stream.subjects().to_owned()],
                max_age: 7 * DAY,
                duplicate_window: PUBLIC_DUPLICATES,
                ..base(stream.name(), replicas)
            },
        })
        .collect();
    all.push(Wanted {
        purpose: "what consumers gave up on, thirty days",
        config: Config {
            subjects: vec![format!("{DEAD_LETTER_PREFIX}>")],
            max_age: 30 * DAY,
            ..base(DEAD_LETTERS, replicas)
        },
    });
    all
}

/// Every stream: journals, leases, public events and dead letters.
#[must_use]
pub fn wanted(replicas: usize, shards: ShardCount) -> Vec<Wanted> {
    let journal = |journal: JournalId| Wanted {
        purpose: "journal: the truth",
        config: Config {
            subjects: vec![journal_subject(journal)],
            discard: DiscardPolicy::New,
            deny_delete: true,
            deny_purge: true,
            ..base(&journal_stream(journal), replicas)
        },
    };
    let mut all: Vec<Wanted> = JournalId::all(shards).map(journal).collect();
    all.push(Wanted {
        purpose: "leases: who leads each journal",
        config: Config {
            // What a key-value bucket is made of; none of its values ends by itself.
            subjects: vec!["$KV.a4co_leases.>".to_owned()],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            deny_delete: true,
            allow_rollup: true,
            allow_direct: true,
            metadata: shards_as_metadata(shards),
            ..base(LEASES, replicas)
        },
    });
    all.push(Wanted {
        purpose: "a snapshot, for new machines",
        config: Config {
            // What an object store is made of.
            subjects: vec![
                format!("$O.{SNAPSHOTS_BUCKET}.C.>"),
                format!("$O.{SNAPSHOTS_BUCKET}.M.>"),
            ],
            discard: DiscardPolicy::New,
            allow_rollup: true,
            allow_direct: true,
            ..base(&format!("OBJ_{SNAPSHOTS_BUCKET}"), replicas)
        },
    });
    all.extend(public(replicas));
    if shards != ShardCount::ONE {
        // They say how many shards there are, so that nobody makes others meanwhile.
        let leases = all.iter().position(|it| it.config.name == LEASES);
        all[..=leases.unwrap_or(0)].rotate_right(1);
    }
    all
}

/// The books that processes share that use the sandbox gateway.
#[must_use]
pub fn sandbox_books(replicas: usize) -> Wanted {
    Wanted {
        purpose: "the sandbox gateway's books",
        config: Config {
            subjects: vec![SANDBOX_SUBJECT.to_owned()],
            discard: DiscardPolicy::New,
            deny_delete: true,
            deny_purge: true,
            ..base(SANDBOX_BOOKS, replicas)
        },
    }
}

/// The key of the metadata that says how many shards there are.
const SHARDS: &str = "a4co-shards";

/// The setting that a [`Difference`] names for another count of shards.
pub(super) const SHARDS_SETTING: &str = "metadata a4co-shards";

/// Said of the leases' stream, which is made first. Nothing where there is
/// one shard, as before there were any.
fn shards_as_metadata(shards: ShardCount) -> HashMap<String, String> {
    let count = (shards != ShardCount::ONE).then(|| (SHARDS.to_owned(), shards.get().to_string()));
    count.into_iter().collect()
}

/// The count of shards that a stream's settings say; the text where that is none.
fn shards_of(config: &Config) -> String {
    let said = config.metadata.get(SHARDS);
    said.cloned().unwrap_or_else(|| "1".to_owned())
}

/// How many shards the cluster's journals have: what its leases' stream says. `None` where
/// there is no cluster yet.
///
/// # Errors
/// [`NatsError`].
pub async fn shard_count(nats: &Connected) -> Result<Option<ShardCount>, NatsError> {
    match nats.admin.get_stream(LEASES).await {
        Ok(stream) => {
            let text = shards_of(&stream.cached_info().config);
            let count = text.parse().ok().and_then(ShardCount::new);
            let unknown = || NatsError::jetstream(LEASES, format!("{SHARDS} is {text:?}"));
            count.map(Some).ok_or_else(unknown)
        }
        Err(error) if is_missing(&error.kind()) => Ok(None),
        Err(error) => Err(NatsError::jetstream(format!("to show {LEASES}"), error)),
    }
}

/// The count that was asked for, else that of the journals that are there, else one.
///
/// # Errors
/// [`NatsError`].
pub async fn shards_or_found(
    nats: &Connected,
    asked: Option<ShardCount>,
) -> Result<ShardCount, NatsError> {
    match asked {
        Some(asked) => Ok(asked),
        None => Ok(shard_count(nats).await?.unwrap_or(ShardCount::ONE)),
    }
}

/// Another count of shards than the journals have: then nothing is made.
async fn check_shards(nats: &Connected, wanted: &[Wanted]) -> Result<(), NatsError> {
    let Some(leases) = wanted.iter().find(|it| it.config.name == LEASES) else {
        return Ok(());
    };
    match nats.admin.get_stream(LEASES).await {
        Ok(stream) => {
            let found = compare_shards(&leases.config, &stream.cached_info().config);
            found.map_or(Ok(()), |it| Err(NatsError::Different(vec![it])))
        }
        Err(error) if is_missing(&error.kind()) => Ok(()),
        Err(error) => Err(NatsError::jetstream(format!("to show {LEASES}"), error)),
    }
}

fn compare_shards(wanted: &Config, found: &Config) -> Option<Difference> {
    let (wanted_count, found_count) = (shards_of(wanted), shards_of(found));
    (wanted_count != found_count).then(|| Difference {
        stream: wanted.name.clone(),
        setting: SHARDS_SETTING,
        wanted: wanted_count,
        found: found_count,
    })
}

fn base(name: &str, replicas: usize) -> Config {
    Config {
        name: name.to_owned(),
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        num_replicas: replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        ..Config::default()
    }
}

/// Makes what is missing (unless only checking), and compares all with what it must be.
///
/// # Errors
/// [`NatsError::Different`] with every difference at once, or the server's refusal.
pub async fn set_up(
    nats: &Connected,
    wanted: &[Wanted],
    create: bool,
) -> Result<Vec<StreamReport>, NatsError> {
    check_shards(nats, wanted).await?;
    let mut reports = Vec::new();
    let mut differences = Vec::new();
    for Wanted { config, purpose } in wanted {
        let name = &config.name;
        let (info, created) = match nats.admin.get_stream(name).await {
            Ok(stream) => (stream.cached_info().clone(), false),
            Err(error) if is_missing(&error.kind()) && create => {
                let made = nats.admin.create_stream(config.clone()).await;
                let made =
                    made.map_err(|error| NatsError::jetstream(format!("to make {name}"), error))?;
                (made.cached_info().clone(), true)
            }
            Err(error) if is_missing(&error.kind()) => {
                differences.push(Difference {
                    stream: name.clone(),
                    setting: MISSING,
                    wanted: "there".to_owned(),
                    found: "missing".to_owned(),
                });
                continue;
            }
            Err(error) => return Err(NatsError::jetstream(format!("to show {name}"), error)),
        };
        differences.extend(compare(config, &info.config));
        differences.extend(MigrationMark::difference(&info.config));
        reports.push(StreamReport {
            stream: name.clone(),
            purpose,
            created,
            messages: info.state.messages,
            last_sequence: info.state.last_sequence,
        });
    }
    if differences.is_empty() {
        Ok(reports)
    } else {
        Err(NatsError::Different(differences))
    }
}

pub(crate) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code().0 == STREAM_NOT_FOUND)
}

/// Whether it was the stream's leader that answered. Without a quorum some copy answers,
/// which may be behind: how the stream stands is not known then.
pub(crate) fn is_by_leader(info: &Info) -> bool {
    let cluster = info.cluster.as_ref();
    cluster.is_none_or(|it| it.leader.as_ref().is_some_and(|leader| !leader.is_empty()))
}

/// Every setting on which a promise rests.
fn compare(wanted: &Config, found: &Config) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut check = |setting, wanted_value: String, found_value: String| {
        if wanted_value != found_value {
            all.push(Difference {
                stream: wanted.name.clone(),
                setting,
                wanted: wanted_value,
                found: found_value,
            });
        }
    };
    macro_rules! same {
        ($($field:ident as $name:literal),+ $(,)?) => {
            $(check($name, format!("{:?}", wanted.$field), format!("{:?}", found.$field));)+
        };
    }
    same! {
        subjects as "subjects",
        storage as "storage",
        retention as "retention",
        discard as "discard",
        num_replicas as "num_replicas",
        max_bytes as "max_bytes",
        max_messages as "max_msgs",
        max_messages_per_subject as "max_msgs_per_subject",
        max_age as "max_age",
        max_message_size as "max_msg_size",
        discard_new_per_subject as "discard_new_per_subject",
        no_ack as "no_ack",
        sealed as "sealed",
        deny_delete as "deny_delete",
        deny_purge as "deny_purge",
        allow_rollup as "allow_rollup_hdrs",
        mirror as "mirror",
        sources as "sources",
        subject_transform as "subject_transform",
        allow_message_ttl as "allow_msg_ttl",
        allow_atomic_publish as "allow_atomic",
        allow_message_schedules as "allow_msg_schedules",
        allow_message_counter as "allow_msg_counter",
        persist_mode as "persist_mode",
    }
    if !wanted.duplicate_window.is_zero() {
        check(
            "duplicate_window",
            format!("{:?}", wanted.duplicate_window),
            format!("{:?}", found.duplicate_window),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named() {
        let journal = wanted(3, ShardCount::ONE).remove(0).config;
        assert_eq!(compare(&journal, &journal), []);
        let other = Config {
            max_age: DAY,
            deny_purge: false,
            num_replicas: 1,
            ..journal.clone()
        };
        let found = compare(&journal, &other);
        let settings: Vec<&str> = found.iter().map(|it| it.setting).collect();
        assert_eq!(settings, ["num_replicas", "max_age", "deny_purge"]);
        assert!(found[0].to_string().contains("is 1 and must be 3"));
    }

    #[test]
    fn no_journal_forgets_and_no_two_streams_share_a_subject() {
        for shards in [1, 2, 16] {
            each_stream_is_apart(&wanted(1, ShardCount::new(shards).unwrap()));
        }
    }

    fn each_stream_is_apart(all: &[Wanted]) {
        for it in all.iter().filter(|it| it.config.name.contains("JOURNAL")) {
            assert!(it.config.max_age.is_zero() && it.config.max_messages == -1);
            assert!(it.config.deny_delete && it.config.deny_purge);
            assert_eq!(it.config.discard, DiscardPolicy::New);
            assert_eq!(it.config.subjects.len(), 1);
        }
        let mut subjects: Vec<_> = all.iter().flat_map(|it| &it.config.subjects).collect();
        subjects.sort();
        let count = subjects.len();
        subjects.dedup();
        assert_eq!(subjects.len(), count);
    }
    #[test]
    fn another_count_of_shards_is_named_and_without_shards_nothing_is_said() {
        let leases = |count| {
            let all = wanted(1, ShardCount::new(count).unwrap());
            let leases = all.into_iter().find(|it| it.config.name == LEASES);
            leases.unwrap().config
        };
        assert!(leases(1).metadata.is_empty());
        assert_eq!(compare_shards(&leases(2), &leases(2)), None);
        let found = compare_shards(&leases(4), &leases(2)).unwrap().to_string();
        assert!(
            found.contains("have 2 shards, and 4 are asked for"),
            "{found}"
        );
        assert!(compare_shards(&leases(2), &leases(1)).is_some());
    }
}
