//! The coordinator's blobs: a folder on the simulated disk, what is held of it, and the collector; all as the product has.
//!
//! One process has them open at a time. It keeps a list of what was removed, for whoever checks that.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::coordinator::roots::List;
use convoke_core::{Digest, Millis, Payload};
use convoke_store::blobs::{BlobError, BlobReader, BlobWriter, Blobs, Durability, FolderBlobs};
use convoke_store::collector::{CollectError, Collector};
use convoke_store::holds::Holds;

use crate::compute;
use crate::disk::Disk;
use crate::divisible::listed;
use crate::scenario::Retention;

/// Where the blobs are.
pub const BLOBS: &str = "blobs";

pub struct CoordinatorBlobs {
    pub holds: Arc<Holds>,
    /// For clients.
    pub uploads: Arc<dyn Blobs>,
    /// For sessions, combines and snapshots.
    pub work: Arc<dyn Blobs>,
    pub collector: Collector,
    watched: Arc<Watched>,
    /// By the process's own clock.
    time: Arc<AtomicU64>,
}

impl CoordinatorBlobs {
    /// As a process does that begins.
    pub fn open(disk: &Disk, retention: &Retention) -> Result<Self, BlobError> {
        let folder = FolderBlobs::open_over(Arc::new(disk.clone()), Path::new(BLOBS))?;
        let watched = Arc::new(Watched { folder, removed: Mutex::default() });
        let time = Arc::new(AtomicU64::new(0));
        let clock = time.clone();
        let clock = Box::new(move || clock.load(Ordering::Relaxed));
        let holds = Holds::with_clock(watched.clone(), None, retention.times, clock);
        Ok(Self {
            uploads: holds.for_uploads(),
            work: holds.for_work(),
            collector: Collector::new(holds.clone(), Box::new(entries), retention.versions_bytes_max),
            holds,
            watched,
            time,
        })
    }

    /// For whoever holds nothing.
    pub fn all(&self) -> &dyn Blobs {
        &*self.watched
    }

    pub fn time_is(&self, now: Millis) {
        self.time.store(now, Ordering::Relaxed);
    }

    /// What was removed since the last time.
    pub fn take_removed(&self) -> Vec<Digest> {
        std::mem::take(&mut *self.watched.removed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a list names: here a manifest is nothing but digests, and no program brings anything along.
pub fn entries(blobs: &dyn Blobs, list: &List) -> Result<Option<Vec<Digest>>, CollectError> {
    let unreadable = |error: anyhow::Error| CollectError::List(error.into());
    let bytes = match (list.payload().as_inline(), list.payload().as_blob()) {
        (None, Some(digest)) => blobs.get(digest, compute::BYTES_MAX)?.map(|bytes| bytes.to_vec()),
        (inline, _) => inline.map(<[u8]>::to_vec),
    };
    let Some(bytes) = bytes else { return Ok(None) };
    Ok(Some(match list {
        List::Manifest(_) => bytes.as_chunks::<32>().0.iter().map(|entry| Digest(*entry)).collect(),
        List::Results(_) => listed(&bytes).map_err(unreadable)?.iter().filter_map(Payload::as_blob).collect(),
        List::Files(_) | List::Program(..) => Vec::new(),
    }))
}

/// A folder, and what was removed from it.
struct Watched {
    folder: FolderBlobs,
    removed: Mutex<Vec<Digest>>,
}

impl Blobs for Watched {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        self.folder.has(digest)
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.folder.writer(durability, expected, bytes_max)
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        self.folder.sync(digest)
    }

    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        self.folder.open(digest)
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        self.folder.list(after, max)
    }

    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            if self.folder.has(*digest)? {
                removed.push(*digest);
            }
        }
        self.folder.remove(digests)
    }
}
