//! Blobs in memory, shared by clones, with the folder's way of losing what was not synced.
//!
//! It does not know the disk: whoever simulates says when the power fails.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use convoke_core::Digest;

use super::{BlobError, BlobReader, BlobWriter, Blobs, Durability, Intake};

/// Blobs in memory. Clones are the same blobs.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    kept: Arc<Mutex<BTreeMap<Digest, Kept>>>,
}

struct Kept {
    bytes: Bytes,
    synced: bool,
}

impl MemoryBlobs {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses every unsynced blob, as a power cut may.
    pub fn lose_unsynced(&self) {
        self.kept().retain(|_, kept| kept.synced);
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Digest, Kept>> {
        // Single insertions are all that is done under the lock, so a panic elsewhere leaves the map whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for MemoryBlobs {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        Ok(self.kept().contains_key(&digest))
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        let intake = Intake::new(expected, bytes_max);
        Ok(Box::new(MemoryWriter { blobs: self.clone(), durability, intake, bytes: Vec::new() }))
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        Ok(self.kept().get_mut(&digest).map(|kept| kept.synced = true).is_some())
    }

    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        let bytes = self.kept().get(&digest).map(|kept| kept.bytes.clone());
        Ok(bytes.map(|bytes| Box::new(MemoryReader { digest, bytes }) as Box<dyn BlobReader>))
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.kept();
        let listed = kept.range((from, Bound::Unbounded)).take(max);
        Ok(listed.map(|(digest, kept)| (*digest, kept.bytes.len() as u64)).collect())
    }

    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        let mut kept = self.kept();
        Ok(digests.iter().filter_map(|digest| kept.remove(digest)).map(|kept| kept.bytes.len() as u64).sum())
    }
}

struct MemoryWriter {
    blobs: MemoryBlobs,
    durability: Durability,
    intake: Intake,
    bytes: Vec<u8>,
}

impl BlobWriter for MemoryWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.intake.add(chunk)?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.intake.digest()
    }

    fn finish(self: Box<Self>) -> Result<Digest, BlobError> {
        let digest = self.intake.finish()?;
        let Self { blobs, durability, bytes, .. } = *self;
        let mut kept = blobs.kept();
        let kept = kept.entry(digest).or_insert_with(|| Kept { bytes: bytes.into(), synced: false });
        kept.synced |= durability == Durability::Synced;
        Ok(digest)
    }
}

/// Serves parts of bytes that are in memory.
pub(super) struct MemoryReader {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl BlobReader for MemoryReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlobError> {
        BlobError::check_range(self.digest, self.len(), offset, buffer.len())?;
        let start = offset as usize;
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn check(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
