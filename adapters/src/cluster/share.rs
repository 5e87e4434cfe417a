//! A process's view and snapshot on the servers' object store, from which a new machine
//! starts without reading all of history.
//!
//! ```text
//! The object
//!  header        16 bytes
//!  frame         when each stream was made, and the participants' states
//!  frame ...     rows, some hundred each
//!  frame         empty: the end
//! A frame is its length and its CRC-32C, each 4 bytes big-endian, and so many bytes.
//! ```
//! The rows are as of the states or later; what is later comes again with the journals.
//! Whoever leads the order journal writes it, after a snapshot of its own, and again once
//! the journals have grown by as much as it was large. Nothing rests on it: without it, or
//! where it does not fit, the journals are read from their beginning.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use a4co_core::record;
use a4co_core::replicated::HostSnapshot;
use a4co_core::row::Row;
use a4co_store::View;

use crate::nats::{Connected, NatsError, SNAPSHOTS_BUCKET};

const HEADER: &[u8; 16] = b"A4CO shared v1 \n";

/// The object's name in its bucket.
const OBJECT: &str = "newest";

/// Rows of one frame.
const FRAME_ROWS: usize = 256;

/// No frame is longer.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Writes the object's file. Returns its bytes.
pub(super) fn write(path: &Path, made: &[String], state: &[u8], view: &View) -> io::Result<u64> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(HEADER)?;
    frame(&mut out, &record::encode(&(by_participant(made), state)))?;
    let mut rows = Vec::with_capacity(FRAME_ROWS);
    let mut failed = Ok(());
    let seen = view.each_row(|row| {
        rows.push(row);
        if rows.len() == FRAME_ROWS && failed.is_ok() {
            failed = frame(&mut out, &record::encode(&rows));
            rows.clear();
        }
    });
    seen.map_err(io::Error::other)?;
    failed?;
    if !rows.is_empty() {
        frame(&mut out, &record::encode(&rows))?;
    }
    frame(&mut out, &[])?;
    let file = out.into_inner().map_err(|error| error.into_error())?;
    Ok(file.metadata()?.len())
}

/// When the streams of each participant were made: with several shards, theirs together.
fn by_participant(made: &[String]) -> [String; 3] {
    let shards = made.len() / 3;
    std::array::from_fn(|participant| {
        let of_shards = made.iter().skip(participant * shards).take(shards);
        of_shards.map(String::as_str).collect::<Vec<_>>().join(" ")
    })
}

fn frame(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&crc32c::crc32c(bytes).to_be_bytes())?;
    out.write_all(bytes)
}

/// Reads the object's file, hands its rows over, and returns the states. What was handed
/// over before something was found wrong is from the same journals all the same.
pub(super) fn read(
    path: &Path,
    made: &[String],
    mut take: impl FnMut(Vec<Row>),
) -> io::Result<HostSnapshot> {
    let mut file = BufReader::new(File::open(path)?);
    let mut header = [0; HEADER.len()];
    file.read_exact(&mut header)?;
    if header != *HEADER {
        return Err(io::Error::other("it is of another version"));
    }
    let (of, state): ([String; 3], Vec<u8>) = decode(&next(&mut file)?)?;
    if of != by_participant(made) {
        return Err(io::Error::other("it is of other journals"));
    }
    let snapshot = HostSnapshot::decode(&state).map_err(io::Error::other)?;
    loop {
        let bytes = next(&mut file)?;
        if bytes.is_empty() {
            return Ok(snapshot);
        }
        take(decode(&bytes)?);
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    record::decode(bytes).map_err(io::Error::other)
}

fn next(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [[0; 4]; 2];
    for part in &mut head {
        file.read_exact(part)?;
    }
    let [length, sum] = head.map(u32::from_be_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    if crc32c::crc32c(&bytes) != sum {
        return Err(io::Error::other("a frame is damaged"));
    }
    Ok(bytes)
}

/// Puts the file on the servers, in place of the one that is there.
pub(super) async fn upload(nats: &Connected, path: &Path) -> Result<(), NatsError> {
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(SNAPSHOTS_BUCKET, error);
    let mut file = tokio::fs::File::open(path)
        .await
        .map_err(|error| failed(&error))?;
    let bucket = nats.admin.get_object_store(SNAPSHOTS_BUCKET).await;
    let bucket = bucket.map_err(|error| failed(&error))?;
    let put = bucket.put(OBJECT, &mut file).await;
    put.map_err(|error| failed(&error))?;
    Ok(())
}

/// Fetches the object into a file. False: there is none.
pub(super) async fn download(nats: &Connected, path: &Path) -> Result<bool, NatsError> {
    use async_nats::jetstream::object_store::GetErrorKind;
    let failed = |error: &dyn std::fmt::Display| NatsError::jetstream(SNAPSHOTS_BUCKET, error);
    let bucket = nats.admin.get_object_store(SNAPSHOTS_BUCKET).await;
    let bucket = bucket.map_err(|error| failed(&error))?;
    let mut object = match bucket.get(OBJECT).await {
        Ok(object) => object,
        Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(&error)),
    };
    let file = tokio::fs::File::create(path).await;
    let mut file = file.map_err(|error| failed(&error))?;
    // Its digest is checked at its end.
    let copied = tokio::io::copy(&mut object, &mut file).await;
    copied.map_err(|error| failed(&error))?;
    file.sync_all().await.map_err(|error| failed(&error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = View::open(&folder.path().join("store"), a4co_store::Options::default());
        let view = opened.expect("a view").view;
        let path = folder.path().join("object");
        let made = ["a", "b", "c"].map(str::to_owned);
        let snapshot = HostSnapshot {
            shards: vec![a4co_core::replicated::ShardSnapshot::default()],
        };
        let bytes = write(&path, &made, &snapshot.encode(), &view).expect("written");
        assert_eq!(bytes, std::fs::metadata(&path).expect("a file").len());
        assert_eq!(read(&path, &made, |_| {}).expect("read"), snapshot);
        let other = ["a", "b", "x"].map(str::to_owned);
        assert!(read(&path, &other, |_| {}).is_err());
        let whole = std::fs::read(&path).expect("read");
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert!(read(&path, &made, |_| {}).is_err(), "cut at {cut}");
        }
    }
}
