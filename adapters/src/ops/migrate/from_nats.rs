//! From the servers into a data folder.
//!
//! The journal is written under another name and gets its own once it has been read back
//! and compared. What an interrupted move left there is written anew.

use std::fs;
use std::path::{Path, PathBuf};

use a4co_core::record::{self, Record};
use a4co_journal::{AppendError, Journal, Options, OsDisk};
use tokio::runtime::Runtime;

use super::to_nats::{append, side_of};
use super::{MIGRATION_VERSION, MigrateError, Migrated, Servers, Side, Way, compare, demand_clean};
use crate::embedded::journal_dir;
use crate::gateway::sandbox::SandboxBooks;
use crate::nats::{self, Connected, MigrationMark};
use crate::ops::cut::Cut;
use crate::ops::folder::{self, fail};
use crate::ops::progress::Progress;
use crate::ops::verify::{Contents, Findings, check_journal, journals, open_journal, replay_cut};

/// Bytes that a record of several is closed at.
const RECORD_BYTES: usize = 512 * 1024;

/// The folder in which an unfinished journal is, within the data folder.
const UNFINISHED: &str = "migrate-unfinished";

/// What may be in an empty folder.
const NO_CONTENTS: [&str; 2] = ["lost+found", UNFINISHED];

/// Moves the journals on the servers into a data folder, which is made where it is missing.
/// `segment_bytes` is the size of the journal's files.
///
/// # Errors
/// [`MigrateError`].
pub fn from_nats(
    runtime: &Runtime,
    nats: &Connected,
    servers: Servers,
    data_dir: &Path,
    segment_bytes: u64,
    progress: &dyn Progress,
) -> Result<Migrated, MigrateError> {
    demand_empty(data_dir)?;
    demand_quiet(runtime, nats, servers)?;
    let unfinished = data_dir.join(UNFINISHED);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(fail("remove", &unfinished))?;
    }
    folder::make(&unfinished)?;

    let mut findings = Findings::default();
    let mut writer = Writer::open(&unfinished, segment_bytes)?;
    let cut = runtime.block_on(Cut::open(nats))?;
    let (cut, replay) = replay_cut(runtime, cut, &mut findings, progress, |record| {
        writer.take(record).map_err(MigrateError::from)
    })?;
    demand_clean("the cluster", &findings)?;
    let records = writer.finish()?;
    demand_quiet(runtime, nats, servers)?;
    for reader in cut.readers() {
        if runtime.block_on(reader.present_end())? != reader.end() {
            let stream = reader.stream().to_owned();
            return Err(MigrateError::Moving { stream });
        }
    }
    let source = Side {
        state: replay.state(),
        contents: Contents::of(&replay),
    };
    drop(replay);

    let checked = {
        let disk = open_journal(&unfinished)?;
        let mut findings = Findings::default();
        let checked = check_journal(&disk, u64::MAX, &mut findings, progress)?;
        progress.end();
        demand_clean("what was written into the data folder", &findings)?;
        checked
    };
    compare(&source, &side_of(&checked))?;
    let sandbox_entries = runtime.block_on(SandboxBooks::move_from(nats, &unfinished))?;
    // The journal last: with it, a start goes on from there.
    let mut names = folder::names(&unfinished)?;
    names.sort_by_key(|name| name == "journal");
    for name in names {
        let from = unfinished.join(&name);
        fs::rename(&from, data_dir.join(&name)).map_err(fail("rename", &from))?;
    }
    fs::remove_dir_all(&unfinished).map_err(fail("remove", &unfinished))?;
    folder::sync(data_dir)?;
    Ok(Migrated {
        way: Way::FromNats,
        migration_version: MIGRATION_VERSION,
        format_version: record::FORMAT_VERSION,
        data_dir: data_dir.to_owned(),
        records,
        journals: journals(&cut),
        messages_found: 0,
        sandbox_entries,
        contents: source.contents,
    })
}

fn demand_empty(data_dir: &Path) -> Result<(), MigrateError> {
    let names = folder::names(data_dir)?;
    let first = names
        .into_iter()
        .find(|name| !NO_CONTENTS.contains(&name.as_str()));
    match first {
        None => Ok(()),
        Some(what) => Err(MigrateError::NotEmpty {
            target: data_dir.display().to_string(),
            what,
            advice: "name another folder",
        }),
    }
}

/// Nobody leads, and no move to the servers is unfinished.
fn demand_quiet(runtime: &Runtime, nats: &Connected, servers: Servers) -> Result<(), MigrateError> {
    runtime.block_on(async {
        if let MigrationMark::UnderWay(_) = nats::migration_mark(nats).await? {
            return Err(MigrateError::Unfinished);
        }
        match nats::somebody_leads(nats, servers.silent).await? {
            Some(lease) => Err(MigrateError::Led(lease)),
            None => Ok(()),
        }
    })
}

/// The new journal: several small records of the cluster become one.
struct Writer {
    journal: Journal<OsDisk>,
    group: Option<Record>,
    bytes: usize,
}

impl Writer {
    fn open(folder: &Path, segment_bytes: u64) -> Result<Self, MigrateError> {
        let folder: PathBuf = journal_dir(folder);
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let (journal, _) = Journal::open(OsDisk::create(folder)?, options)?;
        Ok(Self {
            journal,
            group: None,
            bytes: 0,
        })
    }

    fn take(&mut self, record: &Record) -> Result<(), AppendError> {
        self.bytes += record::encode(record).len();
        match &mut self.group {
            None => self.group = Some(record.clone()),
            Some(group) => append(group, record.clone()),
        }
        if self.bytes >= RECORD_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), AppendError> {
        if let Some(group) = self.group.take() {
            self.journal.append(&record::encode(&group))?;
            self.bytes = 0;
        }
        Ok(())
    }

    /// Writes what is left; says how many records there are.
    fn finish(mut self) -> Result<u64, AppendError> {
        self.close()?;
        Ok(self.journal.last_sequence())
    }
}
