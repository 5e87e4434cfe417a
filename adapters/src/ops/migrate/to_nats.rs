//! From a data folder to the servers.
//!
//! Some records at a time become up to three frames, one for each journal. Those of one
//! record rest on each other both ways, since the embedded engines feed each other within
//! one commit; whoever reads them back takes them as one again (`nats/merge.rs`). Until all
//! is there and compared, the streams say so (`nats/streams.rs`), and no process leads them.

use std::path::Path;

use a4co_core::ids::{ParticipantId, Sequence};
use a4co_core::record::{self, Cursors, Frame, Record};
use a4co_core::replicated::HostId;
use a4co_core::shards::ShardCount;
use a4co_journal::{Disk as _, DiskError, OsDisk, ReadError, Reader};
use tokio::runtime::Runtime;

use super::{
    MIGRATION_VERSION, MigrateError, Migrated, Servers, Side, Way, compare, demand_clean, mover,
};
use crate::gateway::sandbox::{MoveError, SandboxBooks};
use crate::nats::{self, Connected, JournalWriter, MigrationMark, WriteError};
use crate::ops::cut::demand_one_shard;
use crate::ops::progress::Progress;
use crate::ops::verify::{
    CheckedJournal, Contents, Findings, VerifyError, check_journal, journals, open_journal,
    replay_cluster,
};

/// Bytes of records that become one group of frames. What one record takes comes on top.
const GROUP_BYTES: usize = 256 * 1024;

/// Moves a data folder's journal to the servers.
///
/// # Errors
/// [`MigrateError`].
pub fn to_nats(
    runtime: &Runtime,
    nats: &Connected,
    servers: Servers,
    data_dir: &Path,
    progress: &dyn Progress,
) -> Result<Migrated, MigrateError> {
    let disk = open_journal(data_dir)?;
    let _lock = disk.lock().map_err(|error| match error {
        DiskError::Locked { .. } => MigrateError::Running(error),
        error => MigrateError::Disk(error),
    })?;
    let mut findings = Findings::default();
    let checked = check_journal(&disk, u64::MAX, &mut findings, progress)?;
    progress.end();
    demand_clean(&data_dir.display().to_string(), &findings)?;
    let source = side_of(&checked);
    let (records, base, chain_hash) = checked.ends();
    if base > 0 {
        return Err(MigrateError::HistoryGone { base });
    }
    let host = mover(&chain_hash, records);

    let mark = runtime.block_on(async {
        demand_one_shard(nats).await?;
        nats::set_up_for_migration(nats, &nats::wanted(servers.replicas, ShardCount::ONE)).await?;
        match nats::somebody_leads(nats, servers.silent).await? {
            Some(lease) => Err(MigrateError::Led(lease)),
            None => Ok(nats::migration_mark(nats).await?),
        }
    })?;
    let messages_found = runtime.block_on(async {
        let writers = Writers::begin(nats, host, mark).await?;
        write_all(writers, &disk, records, progress).await
    })?;
    progress.end();

    let mut findings = Findings::default();
    let (cut, replay) = replay_cluster(runtime, nats, &mut findings, progress)?;
    demand_clean("what was written to the servers", &findings)?;
    let target = Side {
        state: replay.state(),
        contents: Contents::of(&replay),
    };
    compare(&source, &target)?;
    let sandbox_entries = match SandboxBooks::read(data_dir).map_err(MoveError::from)? {
        Some(books) => Some(runtime.block_on(async {
            let wanted = nats::sandbox_books(servers.replicas);
            nats::set_up(nats, &[wanted], true).await?;
            books.move_to(nats).await
        })?),
        None => None,
    };
    runtime.block_on(nats::mark_migration(nats, MigrationMark::Done(host)))?;
    Ok(Migrated {
        way: Way::ToNats,
        migration_version: MIGRATION_VERSION,
        format_version: record::FORMAT_VERSION,
        data_dir: data_dir.to_owned(),
        records,
        journals: journals(&cut),
        messages_found,
        sandbox_entries,
        contents: target.contents,
    })
}

/// What a data folder's journal replays to.
pub(super) fn side_of(checked: &CheckedJournal) -> Side {
    Side {
        state: checked.state(),
        contents: checked.contents(),
    }
}

/// Three journals that are being written.
struct Writers<'n> {
    order: JournalWriter<'n>,
    inventory: JournalWriter<'n>,
    payment: JournalWriter<'n>,
    /// How far each participant had read the others, in what was written.
    cursors: [Cursors; 3],
}

/// Writes every record, and says how many messages were there already.
async fn write_all(
    mut writers: Writers<'_>,
    disk: &OsDisk,
    records: u64,
    progress: &dyn Progress,
) -> Result<u64, MigrateError> {
    let found = writers.all().map(|it| it.found().0);
    progress.begin("writing to the servers", Some(records));
    let mut all = Reader::open(disk.clone())
        .and_then(|reader| reader.read_from(1))
        .map_err(read_error)?;
    let mut group: Option<Record> = None;
    let mut bytes = 0;
    while let Some(sequence) = all.advance().map_err(read_error)? {
        let payload = all.payload();
        bytes += payload.len();
        let next: Record = record::decode(payload).map_err(|error| MigrateError::NotClean {
            from: format!("record {sequence}"),
            findings: 1,
            first: error.to_string(),
        })?;
        match &mut group {
            None => group = Some(next),
            Some(group) => append(group, next),
        }
        if bytes >= GROUP_BYTES
            && let Some(group) = group.take()
        {
            writers.write(group, false).await.map_err(not_ours)?;
            bytes = 0;
            progress.at(sequence);
        }
    }
    let last = group.unwrap_or_else(|| writers.nothing());
    writers.write(last, true).await.map_err(not_ours)?;
    if let Some(it) = writers.all().into_iter().find(|it| it.found().1 > 0) {
        return Err(not_empty(it.found().0, it.written()));
    }
    Ok(found.iter().sum())
}

impl<'n> Writers<'n> {
    /// Looks whether the streams are empty or ours, and only then marks them.
    async fn begin(
        nats: &'n Connected,
        host: HostId,
        mark: MigrationMark,
    ) -> Result<Self, MigrateError> {
        let mut writers = Self {
            order: JournalWriter::open(nats, ParticipantId::Order, host).await?,
            inventory: JournalWriter::open(nats, ParticipantId::Inventory, host).await?,
            payment: JournalWriter::open(nats, ParticipantId::Payment, host).await?,
            cursors: Default::default(),
        };
        let found = writers.all().map(|it| it.found().0);
        let most = found.into_iter().max().unwrap_or_default();
        match mark {
            // A claim alone may be of a move that was interrupted before the mark.
            MigrationMark::None if most > 1 => return Err(not_empty(most, 0)),
            MigrationMark::UnderWay(other) | MigrationMark::Done(other) if other != host => {
                return Err(not_empty(most, 0));
            }
            _ => {}
        }
        writers.claim().await.map_err(not_ours)?;
        if mark == MigrationMark::None {
            nats::mark_migration(nats, MigrationMark::UnderWay(host)).await?;
        }
        Ok(writers)
    }

    /// A record that decides nothing, and says how far the others were read.
    fn nothing(&self) -> Record {
        fn of<E>(cursors: Cursors) -> Frame<E> {
            Frame {
                after: Sequence::NONE,
                cursors,
                events: Vec::new(),
            }
        }
        Record {
            order: of(self.cursors[0].clone()),
            inventory: of(self.cursors[1].clone()),
            payment: of(self.cursors[2].clone()),
        }
    }

    fn all(&self) -> [&JournalWriter<'n>; 3] {
        [&self.order, &self.inventory, &self.payment]
    }

    async fn claim(&mut self) -> Result<(), WriteError> {
        tokio::try_join!(
            self.order.claim(),
            self.inventory.claim(),
            self.payment.claim()
        )?;
        Ok(())
    }

    /// Each journal has one append under way. A frame without events is written where it
    /// is the last one and says that more was read.
    async fn write(&mut self, group: Record, is_last: bool) -> Result<(), WriteError> {
        let Self {
            order,
            inventory,
            payment,
            cursors,
        } = self;
        let now = [
            group.order.cursors.clone(),
            group.inventory.cursors.clone(),
            group.payment.cursors.clone(),
        ];
        let before = std::mem::replace(cursors, now);
        let says = |journal: ParticipantId, events: usize| {
            let place = journal.index();
            events > 0 || (is_last && before[place] != cursors[place])
        };
        let [says_order, says_inventory, says_payment] = [
            says(ParticipantId::Order, group.order.events.len()),
            says(ParticipantId::Inventory, group.inventory.events.len()),
            says(ParticipantId::Payment, group.payment.events.len()),
        ];
        let said = [says_order, says_inventory, says_payment];
        for ((cursors, before), is_said) in cursors.iter_mut().zip(before).zip(said) {
            if !is_said {
                *cursors = before;
            }
        }
        tokio::try_join!(
            async {
                match says_order {
                    true => order.frame(group.order).await,
                    false => Ok(()),
                }
            },
            async {
                match says_inventory {
                    true => inventory.frame(group.inventory).await,
                    false => Ok(()),
                }
            },
            async {
                match says_payment {
                    true => payment.frame(group.payment).await,
                    false => Ok(()),
                }
            },
        )?;
        Ok(())
    }
}

/// Puts a record behind those before it.
pub(super) fn append(group: &mut Record, next: Record) {
    fn of<E>(group: &mut Frame<E>, next: Frame<E>) {
        group.cursors = next.cursors;
        group.events.extend(next.events);
    }
    of(&mut group.order, next.order);
    of(&mut group.inventory, next.inventory);
    of(&mut group.payment, next.payment);
}

fn read_error(error: ReadError) -> MigrateError {
    MigrateError::Folder(match error {
        ReadError::Disk(error) => VerifyError::Disk(error),
        error => VerifyError::Moving(error),
    })
}

/// Another message than ours means that the streams are somebody else's.
fn not_ours(error: WriteError) -> MigrateError {
    match error {
        WriteError::Other { at, .. } => not_empty(at, at.saturating_sub(1)),
        error => error.into(),
    }
}

fn not_empty(messages: u64, ours: u64) -> MigrateError {
    MigrateError::NotEmpty {
        target: "the cluster".to_owned(),
        what: format!("{messages} messages or more in a journal, {ours} of them of this move"),
        advice: "name other servers, or delete the A4CO_JOURNAL streams with the NATS tools once you are certain that nobody needs them",
    }
}
