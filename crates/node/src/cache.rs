//! A worker's cache of blobs: bounded, least recently used first to go, filled by the session or fetched.
//!
//! It keeps bytes that were checked against their digest; what they mean it does not know.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use convoke_core::Digest;
use convoke_store::digest_of;
use convoke_wire::protocol::BLOB_BYTES_MAX;
use convoke_wire::{BlobClient, CallError};
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

use crate::stall::Stall;

/// How long to wait before asking again over a connection that failed but was not replaced.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The blobs that a worker has at hand.
pub(crate) struct Cache {
    kept: Mutex<Kept>,
    bytes_max: u64,
    /// The connection of the day, once there is one.
    connection: watch::Receiver<Option<Channel>>,
}

#[derive(Default)]
struct Kept {
    blobs: HashMap<Digest, (Bytes, u64)>,
    /// By the time of the last use.
    order: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: u64,
    /// The memory of what went last, for what comes next: new memory costs more than to fill it.
    spare: BytesMut,
}

impl Cache {
    pub(crate) fn new(bytes_max: u64, connection: watch::Receiver<Option<Channel>>) -> Self {
        Self { kept: Mutex::default(), bytes_max, connection }
    }

    /// How many bytes it keeps.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Keeps a blob that arrived with the session.
    pub(crate) fn keep(&self, bytes: Bytes) {
        self.insert(digest_of(&bytes), bytes);
    }

    /// A blob, from the cache or from the coordinator. While the coordinator is away, it waits. A task may need more than
    /// the cache holds: the cache's size says only what is kept.
    pub(crate) async fn get(&self, digest: Digest) -> Result<Bytes, CallError> {
        self.get_at_most(digest, BLOB_BYTES_MAX).await
    }

    /// The same for one that may be no larger: what is, is not fetched.
    pub(crate) async fn get_at_most(&self, digest: Digest, bytes_max: u64) -> Result<Bytes, CallError> {
        if let Some(bytes) = self.look_up(digest) {
            let fits = bytes.len() as u64 <= bytes_max;
            return fits.then_some(bytes).ok_or(CallError::BlobTooLarge { digest, bytes_max });
        }
        let bytes = self.ask(|mut client| {
            let memory = std::mem::take(&mut self.kept().spare);
            async move { client.get_into(digest, bytes_max, memory).await }
        });
        let bytes = bytes.await?;
        self.insert(digest, bytes.clone());
        Ok(bytes)
    }

    /// Stores a result at the coordinator. While the coordinator is away, it waits.
    pub(crate) async fn put(&self, bytes: Bytes) -> Result<Digest, CallError> {
        self.ask(|mut client| {
            let bytes = bytes.clone();
            async move { client.put(bytes, false).await }
        })
        .await
    }

    /// The same for one that may be too large for memory: for each try, its pieces are asked for from the first one on.
    pub(crate) async fn put_pieces(
        &self,
        digest: Digest,
        pieces: impl Fn() -> mpsc::Receiver<Bytes>,
    ) -> Result<(), CallError> {
        self.ask(|mut client| {
            let pieces = pieces();
            async move { client.put_chunks(digest, pieces, false).await }
        })
        .await
    }

    /// Asks until there is an answer, over one connection after the other. While the coordinator's disk fails, a result stays
    /// here, and its task keeps its slot.
    async fn ask<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        call: impl Fn(BlobClient) -> F,
    ) -> Result<T, CallError> {
        let mut connection = self.connection.clone();
        let mut stall = Stall::default();
        loop {
            let channel = connection.wait_for(Option::is_some).await.ok().and_then(|channel| channel.clone());
            let Some(channel) = channel else { return Err(CallError::Lost("the worker ends".to_owned())) };
            match call(BlobClient::new(channel)).await {
                // Anything else would be no better the next time.
                Err(CallError::Lost(_)) => tokio::time::sleep(RETRY_PAUSE).await,
                Err(error @ CallError::Disk(_)) => {
                    if stall.fails(&error.to_string(), Instant::now()) {
                        tracing::warn!("a task waits: {error}");
                    }
                    tokio::time::sleep(stall.pause()).await;
                }
                answer => return answer,
            }
        }
    }

    /// A blob that is at hand.
    fn look_up(&self, digest: Digest) -> Option<Bytes> {
        let kept = &mut *self.kept();
        let (bytes, used) = kept.blobs.get_mut(&digest)?;
        kept.uses += 1;
        kept.order.remove(used);
        kept.order.insert(kept.uses, digest);
        *used = kept.uses;
        Some(bytes.clone())
    }

    fn insert(&self, digest: Digest, bytes: Bytes) {
        let kept = &mut *self.kept();
        if kept.blobs.contains_key(&digest) {
            return;
        }
        kept.uses += 1;
        kept.bytes += bytes.len() as u64;
        kept.order.insert(kept.uses, digest);
        kept.blobs.insert(digest, (bytes, kept.uses));
        while kept.bytes > self.bytes_max {
            let Some((_, oldest)) = kept.order.pop_first() else { return };
            if let Some((bytes, _)) = kept.blobs.remove(&oldest) {
                kept.bytes -= bytes.len() as u64;
                // Whoever still reads it keeps it.
                kept.spare = bytes.try_into_mut().unwrap_or_default();
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(10, watch::channel(None).1);
        let blob = |text: &'static str| (digest_of(text.as_bytes()), Bytes::from_static(text.as_bytes()));
        let [(a, first), (b, second), (c, third)] = ["aaaa", "bbbb", "cccc"].map(blob);
        cache.keep(first);
        cache.keep(second);
        assert!(cache.look_up(a).is_some());
        cache.keep(third);
        assert_eq!([a, b, c].map(|digest| cache.look_up(digest).is_some()), [true, false, true]);
        assert_eq!(cache.kept.lock().unwrap().bytes, 8);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let cache = Cache::new(3, watch::channel(None).1);
        cache.keep(Bytes::from_static(b"abcd"));
        assert!(cache.look_up(digest_of(b"abcd")).is_none());
        assert_eq!(cache.kept.lock().unwrap().bytes, 0);
    }
}
