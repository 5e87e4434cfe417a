//! NATS JetStream: the connection, the streams, and the public events on their way out.
//!
//! ```text
//! What lives on the servers
//!  A4CO_JOURNAL_ORDER, _INVENTORY, _PAYMENT   one journal each: the truth, never deleted from
//!  ORDERS, INVENTORY, PAYMENTS                the public events, seven days of them
//!  A4CO_DEAD_LETTERS                          what consumers gave up on, with the reason
//!  KV_a4co_leases                             who leads each journal
//! ```

mod append;
mod connect;
mod consume;
mod dead_letters;
mod journal;
mod leases;
mod merge;
mod migration;
pub(crate) mod ordered;
mod publish;
mod relay;
mod replay;
mod status;
mod streams;

pub use self::append::{JournalWriter, WriteError};
pub use self::connect::{Connected, NatsConfig, NatsError, connect, until_answered};
pub use self::consume::{Consumed, DEAD_LETTER_REASON, DELIVERIES_MAX, consume, follow};
pub use self::dead_letters::DeadLetters;
pub use self::journal::{Chain, JournalError, JournalReader};
pub use self::leases::{LeaseState, leases, silent_after, somebody_leads};
pub use self::merge::{Merge, Step};
pub use self::migration::{MigrationMark, mark_migration, migration_mark, set_up_for_migration};
pub use self::publish::RelayMetrics;
pub(crate) use self::publish::{pause, publish_all};
pub use self::relay::{RecordTap, Relay};
pub use self::replay::{DeadLetter, ReplayError, dead_letters, replay};
pub use self::status::{
    ClusterStatus, ParticipantStatus, ReplicaStatus, StreamStatus, SyncAlways, status,
};
pub use self::streams::{
    DEAD_LETTERS, Difference, LEASES, SANDBOX_BOOKS, SANDBOX_SUBJECT, SNAPSHOTS_BUCKET,
    StreamReport, Wanted, journal_stream, journal_subject, lease_subject, public, relay_subject,
    sandbox_books, set_up, shard_count, shards_or_found, wanted,
};
pub(crate) use self::streams::{is_by_leader, is_missing};
