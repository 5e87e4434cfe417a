//! `a4co verify --nats`: the three journals on the servers, replayed together, with every
//! invariant asked on the way.
//!
//! Processes may go on appending meanwhile; see `ops/cut.rs` for what is judged then.

use std::fmt;
use std::time::Duration;

use a4co_core::record::Record;
use a4co_core::replicated::Alarm;
use a4co_core::shards::ShardCount;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::contents::Contents;
use super::findings::Findings;
use super::replay::Replay;
use super::report::{Checked, checked, line, write_findings};
use super::shards::replay_shards;
use super::{Progress, note};
use crate::nats::{self, Connected, JournalError, JournalReader};
use crate::ops::cut::Cut;

/// A cluster of NATS servers that has lost one needs up to nine seconds for itself: so long no
/// stream of it may answer.
const ELECTION_MAX: Duration = Duration::from_secs(15);

/// What to do about findings.
const ADVICE: &str = "Stop the processes before anything is changed on the servers, and keep a copy of their \
                      folders; docs/NATS.md says what each finding means.";

/// What a check of a cluster's journals found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReport {
    /// Who answered.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// The three journals, and up to where they were looked at.
    pub journals: Vec<JournalCut>,
    /// What they replay to.
    #[serde(flatten)]
    pub contents: Contents,
    /// The processes' stores.
    pub store: Checked,
    /// The sandbox gateway's books.
    pub gateway_books: Checked,
    /// Everything that is wrong.
    pub findings: Findings,
}

/// One journal, and up to where it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalCut {
    /// Whose; with several shards, which.
    pub participant: String,
    /// Its stream.
    pub stream: String,
    /// The last message that was looked at; of a damaged journal, the last intact one.
    pub last_message: u64,
    /// The last event that was judged.
    pub last_event: u64,
    /// Bytes of the messages.
    pub bytes: u64,
    /// The latest leadership.
    pub epoch: u64,
    /// Whose that was.
    pub leader: Option<String>,
    /// How often somebody began to lead.
    pub claims: u64,
}

/// Checks the journals on the servers; see the module's page.
///
/// # Errors
/// [`JournalError`], where there is nothing to check. What is wrong is in the report.
pub fn verify_cluster(
    runtime: &Runtime,
    nats: &Connected,
    progress: &dyn Progress,
) -> Result<ClusterReport, JournalError> {
    let mut findings = Findings::default();
    let shards = runtime.block_on(async {
        let ask = async || nats::shards_or_found(nats, None).await;
        match tokio::time::timeout(ELECTION_MAX, nats::until_answered(ask)).await {
            Ok(ended) => ended,
            Err(_) => ask().await,
        }
    })?;
    let (journals, contents) = if shards == ShardCount::ONE {
        let (cut, replay) = replay_cluster(runtime, nats, &mut findings, progress)?;
        (journals(&cut), Contents::of(&replay))
    } else {
        runtime.block_on(replay_shards(nats, shards, &mut findings, progress))?
    };
    let info = nats.client.server_info();
    let why = |why: &str| Checked::NotChecked {
        why: why.to_owned(),
    };
    Ok(ClusterReport {
        server: info.server_name,
        server_version: info.version,
        journals,
        contents,
        store: why("each process has its own, and can build it from the journals"),
        gateway_books: why("they are in the data folder of the process that calls the gateway"),
        findings,
    })
}

/// Reads and replays everything up to the ends.
pub(in crate::ops) fn replay_cluster(
    runtime: &Runtime,
    nats: &Connected,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(Cut, Replay), JournalError> {
    let cut = runtime.block_on(Cut::open(nats))?;
    replay_cut(runtime, cut, findings, progress, |_| Ok(()))
}

/// The same, and hands each record on.
pub(in crate::ops) fn replay_cut<E: From<JournalError>>(
    runtime: &Runtime,
    mut cut: Cut,
    findings: &mut Findings,
    progress: &dyn Progress,
    mut each: impl FnMut(&Record) -> Result<(), E>,
) -> Result<(Cut, Replay), E> {
    progress.begin("replaying the journals", None);
    let mut replay = Replay::new(None, u64::MAX);
    let mut records = 0;
    while let Some(record) = runtime.block_on(cut.next())? {
        records += 1;
        if let Err(error) = replay.apply(records, &record, findings) {
            // The chain was checked, so this is our mistake and not the journal's.
            let subject = format!("record {records} of the three journals");
            findings.damage("journal_contiguous", subject, error.to_string());
            break;
        }
        each(&record)?;
        note(progress, records);
    }
    replay.finish(findings);
    for (_, error) in cut.broken() {
        let (check, subject) = name(error);
        findings.damage(check, subject, error.to_string());
    }
    if let Some(lost) = cut.lost() {
        findings.damage(
            "journal_contiguous",
            format!("event {} of the {} journal", lost.event.get(), lost.of),
            format!(
                "the {} journal has read it, and its own journal does not have it: acknowledged \
                 messages are lost",
                lost.wanted_by
            ),
        );
    }
    progress.end();
    Ok((cut, replay))
}

/// Which check found it, and where.
pub(super) fn name(error: &JournalError) -> (&'static str, String) {
    match error {
        JournalError::Broken { stream, alarm } => {
            let (check, at) = match alarm {
                Alarm::NoEntry {
                    stream_sequence, ..
                } => ("entry_decodable", *stream_sequence),
                Alarm::NotTheLeader {
                    stream_sequence, ..
                } => ("one_committer", *stream_sequence),
                Alarm::DoesNotFit {
                    stream_sequence, ..
                } => ("journal_contiguous", *stream_sequence),
                Alarm::Rewritten {
                    stream_sequence, ..
                } => ("journal_intact", *stream_sequence),
                _ => return ("journal_intact", stream.clone()),
            };
            (check, format!("message {at} of {stream}"))
        }
        JournalError::Missing { stream, from, .. } => {
            ("journal_intact", format!("message {from} of {stream}"))
        }
        JournalError::Silent { stream, .. } => ("journal_readable", stream.clone()),
        JournalError::Nats(_) => ("journal_readable", "the servers".to_owned()),
    }
}

/// How far each journal was looked at.
pub(in crate::ops) fn journals(cut: &Cut) -> Vec<JournalCut> {
    let journal = |reader: &JournalReader| JournalCut {
        last_event: cut.taken(reader.journal().participant).get(),
        ..JournalCut::of(reader)
    };
    cut.readers().iter().map(journal).collect()
}

impl JournalCut {
    /// Where a journal was read to.
    pub(super) fn of(reader: &JournalReader) -> Self {
        let chain = reader.chain();
        Self {
            participant: reader.journal().to_string(),
            stream: reader.stream().to_owned(),
            last_message: chain.at.get(),
            last_event: chain.last.get(),
            bytes: reader.bytes(),
            epoch: chain.epoch.get(),
            leader: chain.leader.map(|host| host.to_string()),
            claims: chain.claims,
        }
    }
}

impl ClusterReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for JournalCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{} journal", self.participant);
        let leader = match &self.leader {
            Some(leader) => format!("epoch {} by {leader}", self.epoch),
            None => "nobody has led it".to_owned(),
        };
        line(
            f,
            &name,
            format_args!(
                "{} to message {}, event {}; {} bytes; {leader}",
                self.stream, self.last_message, self.last_event, self.bytes
            ),
        )
    }
}

/// A table for people.
impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = format_args!("{} (nats-server {})", self.server, self.server_version);
        line(f, "cluster", server)?;
        for journal in &self.journals {
            write!(f, "{journal}")?;
        }
        write!(f, "{}", self.contents)?;
        checked(f, "store", "rows", &self.store)?;
        checked(f, "gateway books", "orders", &self.gateway_books)?;
        write_findings(f, &self.findings, ADVICE)
    }
}
