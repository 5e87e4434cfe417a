//! What a process of a cluster keeps on its own disk: everything in it can be fetched again.
//!
//! ```text
//! In the data folder
//!  store/             sled: what readers see
//!  replica/streams    when each journal's stream was made, and the last message seen of it
//!  replica/snapshot   the participants' states, from where the streams are read on
//! ```
//! `streams` is what tells a stream that has lost its end, or was made anew, from one that
//! is as it was.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use a4co_core::replicated::{HostSnapshot, StreamSequence};
use a4co_driver::replicated::Positions;
use a4co_driver::replicated::ports::Snapshots;
use a4co_store::View;

const HEADER: &[u8; 16] = b"A4CO replica v1\n";

/// How long a snapshot waits for the store to have what it rests on.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// The folder within the data folder.
pub(super) fn replica_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("replica")
}

/// A snapshot, and how many messages' rows the store has to have for it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) published: u64,
    pub(super) snapshot: HostSnapshot,
}

/// Reads the snapshot of this folder. One that cannot be read is as good as none: the
/// streams have everything.
pub(super) fn read_snapshot(folder: &Path) -> Option<Kept> {
    let path = folder.join("snapshot");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the snapshot cannot be read; the journals are read from their beginning");
            return None;
        }
    };
    let kept = parse(&bytes);
    if kept.is_none() {
        tracing::warn!(path = %path.display(), "the snapshot is damaged or of another version; the journals are read from their beginning");
    }
    kept
}

fn parse(bytes: &[u8]) -> Option<Kept> {
    let rest = bytes.strip_prefix(HEADER)?;
    let (head, state) = rest.split_at_checked(12)?;
    let (published, sum) = head.split_at(8);
    if crc32c::crc32c(state).to_be_bytes() != *sum {
        return None;
    }
    Some(Kept {
        published: u64::from_be_bytes(published.try_into().ok()?),
        snapshot: HostSnapshot::decode(state).ok()?,
    })
}

fn write_snapshot(folder: &Path, published: u64, state: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(state.len() + 28);
    bytes.extend_from_slice(HEADER);
    bytes.extend_from_slice(&published.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(state).to_be_bytes());
    bytes.extend_from_slice(state);
    replace(folder, "snapshot", &bytes)
}

/// Writes a file anew, so that a crash leaves the old one or the new one.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// What this folder has seen of the journals' streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenStreams {
    /// When each was made, as the servers say it.
    pub(super) made: Vec<String>,
    /// The last message of each that was seen.
    pub(super) seen: Positions,
}

impl SeenStreams {
    /// What the folder says; `None` for a new one.
    ///
    /// # Errors
    /// What the file system said, or that the file is not one of ours.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(folder.join("streams")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let line = |line: &str| {
            let (seen, made) = line.split_once(' ')?;
            Some((StreamSequence::new(seen.parse().ok()?), made.to_owned()))
        };
        let lines: Option<Vec<_>> = text.lines().map(line).collect();
        // Three journals for each shard.
        let lines = lines.filter(|lines| !lines.is_empty() && lines.len() % 3 == 0);
        let Some(lines) = lines else {
            return Err(io::Error::other("it is not as this version writes it"));
        };
        let (seen, made) = lines.into_iter().unzip();
        Ok(Some(Self { made, seen }))
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let line = |(made, seen): (&String, &StreamSequence)| format!("{seen} {made}\n");
        let text: String = self.made.iter().zip(&self.seen).map(line).collect();
        replace(folder, "streams", text.as_bytes())
    }
}

/// Keeps snapshots, on a thread of its own.
pub(super) struct Keeper {
    folder: PathBuf,
    every_bytes: u64,
    /// Bytes of the journals that this process has seen.
    delivered: Arc<AtomicU64>,
    kept_at: u64,
    is_under_way: Arc<AtomicBool>,
    to_keep: Option<mpsc::Sender<(u64, Vec<u8>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        folder: PathBuf,
        view: View,
        every_bytes: u64,
        delivered: Arc<AtomicU64>,
        mut share: impl FnMut(&[u8]) + Send + 'static,
    ) -> io::Result<Self> {
        let (to_keep, inbox) = mpsc::channel::<(u64, Vec<u8>)>();
        let is_under_way = Arc::new(AtomicBool::new(false));
        let (done, into) = (is_under_way.clone(), folder.clone());
        let work = move || {
            for (published, state) in inbox {
                if view.wait_applied(published, STORE_WAIT) {
                    match write_snapshot(&into, published, &state) {
                        Ok(()) => {
                            tracing::debug!(published, bytes = state.len(), "snapshot");
                            share(&state);
                        }
                        Err(error) => tracing::warn!(%error, "the snapshot could not be written"),
                    }
                } else {
                    tracing::warn!("no snapshot was taken: the store is behind");
                }
                done.store(false, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(work)?;
        Ok(Self {
            folder,
            every_bytes,
            delivered,
            kept_at: 0,
            is_under_way,
            to_keep: Some(to_keep),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    /// Waits for what is being written.
    fn drop(&mut self) {
        self.to_keep = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("writing a snapshot panicked; the next start takes longer");
        }
    }
}

impl Snapshots for Keeper {
    fn is_due(&self) -> bool {
        let since = self.delivered.load(Ordering::Relaxed) - self.kept_at;
        since >= self.every_bytes && !self.is_under_way.load(Ordering::Acquire)
    }

    fn keep(&mut self, published: u64, snapshot: &HostSnapshot) {
        self.kept_at = self.delivered.load(Ordering::Relaxed);
        if let Some(to_keep) = &self.to_keep {
            self.is_under_way.store(true, Ordering::Release);
            let _ = to_keep.send((published, snapshot.encode()));
        }
    }

    fn newest(&self) -> HostSnapshot {
        read_snapshot(&self.folder).unwrap_or_default().snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_as_written_and_a_damaged_one_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read_snapshot(folder.path()).is_none());
        let snapshot = HostSnapshot {
            shards: vec![a4co_core::replicated::ShardSnapshot::default()],
        };
        write_snapshot(folder.path(), 17, &snapshot.encode()).expect("written");
        let kept = read_snapshot(folder.path()).expect("kept");
        assert_eq!((kept.published, kept.snapshot), (17, snapshot));
        let path = folder.path().join("snapshot");
        let whole = fs::read(&path).expect("read");
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_none(), "cut at {cut}");
        }
        let mut flipped = whole;
        *flipped.last_mut().expect("a byte") ^= 1;
        assert!(parse(&flipped).is_none());
    }

    #[test]
    fn what_was_seen_of_the_streams_is_read_as_written() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(SeenStreams::read(folder.path()).expect("read"), None);
        let seen = SeenStreams {
            made: ["a b", "c", "d"].map(str::to_owned).into(),
            seen: [1, 2, 3].map(StreamSequence::new).into(),
        };
        seen.write(folder.path()).expect("written");
        assert_eq!(SeenStreams::read(folder.path()).expect("read"), Some(seen));
        fs::write(folder.path().join("streams"), "1 a\n").expect("written");
        assert!(SeenStreams::read(folder.path()).is_err());
    }
}
