//! What a command left: each of its files goes to the coordinator as it is read, a piece at a time, so that a task takes the
//! memory of a few pieces however much it leaves.
//!
//! A file is read twice, as its digest goes ahead of its bytes; that it is still the same the coordinator sees. Which files
//! count it does not know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use convoke_core::Digest;
use convoke_wire::program;
use convoke_wire::protocol::CHUNK_BYTES;
use tokio::sync::mpsc;

use super::ExecuteError;
use super::command::{CommandError, Left};
use super::input::locked;
use crate::cache::Cache;
use crate::process::collect::{CollectError, Written};

/// How many pieces of a file are read ahead of the connection.
const PIECES_MAX: usize = 4;

/// Stores the files that a command left, unless it is to stop, and lists them.
pub(super) async fn store(mut left: Left, cache: &Cache, stop: &AtomicBool) -> Result<Bytes, ExecuteError> {
    if left.files.is_empty() {
        return Ok(Bytes::new());
    }
    let stored = store_each(std::mem::take(&mut left.files), cache, stop).await;
    // The directory may take a while to remove, however this ended, and others wait for this thread.
    tokio::task::spawn_blocking(move || drop(left));
    stored
}

async fn store_each(written: Vec<Written>, cache: &Cache, stop: &AtomicBool) -> Result<Bytes, ExecuteError> {
    let mut files = program::Files::default();
    for written in written {
        if stop.load(Ordering::Relaxed) {
            return Err(ExecuteError::Stopped);
        }
        let written = Arc::new(written);
        let digest = put(&written, cache).await?.0.to_vec();
        let Written { path, executable, bytes, .. } = &*written;
        files.files.push(program::File { path: path.clone(), digest, executable: *executable, bytes: *bytes });
    }
    Ok(program::encode(&files).into())
}

async fn put(written: &Arc<Written>, cache: &Cache) -> Result<Digest, ExecuteError> {
    let file = written.clone();
    let digest = tokio::task::spawn_blocking(move || digest_of(&file)).await.map_err(|_| ExecuteError::Broken)?;
    let digest = digest.map_err(CommandError::from)?;
    let failed = Arc::new(Mutex::new(None));
    let stored = cache.put_pieces(digest, || read(written.clone(), failed.clone())).await;
    // What the coordinator makes of half a file matters less than why it is half.
    let failed = locked(&failed).take();
    failed.map_or(Ok(()), |error| Err(CommandError::from(error)))?;
    stored.map_err(ExecuteError::Store)?;
    Ok(digest)
}

fn digest_of(written: &Written) -> Result<Digest, CollectError> {
    let mut hasher = blake3::Hasher::new();
    written.read(CHUNK_BYTES, |piece| {
        hasher.update(&piece);
        true
    })?;
    Ok(Digest(hasher.finalize().into()))
}

/// Reads a file on a thread, until its end or until nobody takes its pieces any more.
fn read(written: Arc<Written>, failed: Arc<Mutex<Option<CollectError>>>) -> mpsc::Receiver<Bytes> {
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let read = written.read(CHUNK_BYTES, |piece| pieces.blocking_send(piece).is_ok());
        *locked(&failed) = read.err();
        // Only now does whoever takes them see the end.
        drop(pieces);
    });
    taken
}
