//! Blobs: immutable bytes named by their BLAKE3 digest.
//!
//! This file is the contract; every backend passes `tests/conformance/blobs.rs`. Blobs know neither who needs them nor for how
//! long: what is kept, and when it goes, is decided elsewhere.

mod folder;
mod sqlite;
mod layered;
mod memory;

use std::path::Path;

use bytes::Bytes;
use convoke_core::Digest;

use crate::digest_of;
use crate::sqlite::StoreError;
pub use folder::FolderBlobs;
pub use layered::{LayeredBlobs, SMALL_BYTES_MAX};
pub use memory::MemoryBlobs;
pub use sqlite::SqliteBlobs;

/// Whether a blob has to outlive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk before the call returns.
    Synced,
    /// It survives the process, but after a power cut it may be gone: for what can be computed again.
    Unsynced,
}

/// Keeps blobs.
pub trait Blobs: Send + Sync {
    /// Whether the blob is there. An unsynced one may turn out to be lost when it is opened.
    fn has(&self, digest: Digest) -> Result<bool, BlobError>;

    /// Keeps the bytes. Keeping them again changes nothing, except that what was unsynced becomes synced when asked for.
    fn put(&self, bytes: &[u8], durability: Durability) -> Result<Digest, BlobError> {
        let mut writer = self.writer(durability, None, bytes.len() as u64)?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// Keeps several, as [`Self::put`] does each: for what comes together, which costs less than one by one. After a failure
    /// some may be there.
    fn put_all(&self, blobs: &[&[u8]], durability: Durability) -> Result<(), BlobError> {
        blobs.iter().try_for_each(|bytes| self.put(bytes, durability).map(drop))
    }

    /// Keeps bytes that come in pieces, at most `bytes_max`, and only if they turn out to be the `expected` ones.
    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Makes a blob that is there synced. False if it is not there.
    fn sync(&self, digest: Digest) -> Result<bool, BlobError>;

    /// Reads parts of a blob; `None` if it is not there.
    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError>;

    /// The blobs that are there, each with its size in bytes: at most `max`, in the order of their digests, from the one
    /// after `after` on. Fewer than `max` are the last; so a caller needs memory for a page, whatever there is.
    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError>;

    /// Removes blobs, for good only once the system has written it; those that are not there are passed over. Returns
    /// how many bytes they held. Who has one open reads on. Nobody may put the same blobs meanwhile.
    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError>;

    /// Reads all of a blob of at most `bytes_max` bytes, and checks them; `None` if it is not there.
    fn get(&self, digest: Digest, bytes_max: u64) -> Result<Option<Bytes>, BlobError> {
        self.open(digest)?.map(|reader| read_all(&*reader, digest, bytes_max)).transpose()
    }
}

/// Reads all of a blob from files that someone else may hold: nothing is created, tidied or removed.
pub(crate) fn look(file: &Path, folder: &Path, digest: Digest, bytes_max: u64) -> Result<Option<Bytes>, BlobError> {
    let found = match sqlite::look(file, digest)? {
        None => folder::look(folder, digest)?,
        found => found,
    };
    found.map(|reader| read_all(&*reader, digest, bytes_max)).transpose()
}

fn read_all(reader: &dyn BlobReader, digest: Digest, bytes_max: u64) -> Result<Bytes, BlobError> {
    let length = usize::try_from(reader.len()).ok().filter(|_| reader.len() <= bytes_max);
    let mut bytes = vec![0; length.ok_or(BlobError::TooLarge { digest: Some(digest), bytes_max })?];
    reader.read_exact_at(0, &mut bytes)?;
    if digest_of(&bytes) == digest { Ok(bytes.into()) } else { Err(BlobError::Damaged { digest }) }
}

/// Takes a blob's bytes in order. Dropping it before [`BlobWriter::finish`] leaves nothing behind.
pub trait BlobWriter: Send {
    /// Adds bytes.
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError>;

    /// The digest of what has come so far.
    fn digest(&self) -> Digest;

    /// Keeps the blob, unless its digest is not the expected one.
    fn finish(self: Box<Self>) -> Result<Digest, BlobError>;
}

/// Reads one blob.
#[expect(clippy::len_without_is_empty, reason = "an empty blob is a blob like any other: nobody asks")]
pub trait BlobReader: Send + Sync {
    /// Its size in bytes.
    fn len(&self) -> u64;

    /// Fills the buffer with the bytes from `offset` on.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlobError>;

    /// Compares all bytes with the digest, unless that was done when it was opened.
    fn check(&self) -> Result<(), BlobError>;
}

/// Why blobs could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// What came is not what was announced.
    #[error("blob {expected} was expected, and what came is {actual}")]
    Mismatch {
        /// The digest that was announced.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A blob is larger than the caller allows.
    #[error("{} is larger than {bytes_max} bytes", named(digest))]
    TooLarge {
        /// The blob, where its digest is known.
        digest: Option<Digest>,
        /// The limit.
        bytes_max: u64,
    },
    /// The bytes on the disk are not the blob's any more.
    #[error("blob {digest} is damaged")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
    /// The bytes asked for lie beyond the blob's end.
    #[error("blob {digest} has {blob_bytes} bytes: there are no {bytes} at {offset}")]
    Beyond {
        /// The blob.
        digest: Digest,
        /// Its size.
        blob_bytes: u64,
        /// The first byte that was asked for.
        offset: u64,
        /// How many.
        bytes: usize,
    },
    /// There is to be no more.
    #[error("the blobs have reached their limit of {bytes_max} bytes")]
    Full {
        /// The limit.
        bytes_max: u64,
    },
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] crate::DiskError),
    /// The SQLite file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BlobError {
    /// Whether it is the disk that fails, which may be over the next time: no room, no right, or an error of its own.
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Disk(_) => true,
            Self::Store(error) => error.is_of_the_disk(),
            _ => false,
        }
    }

    fn check_range(digest: Digest, blob_bytes: u64, offset: u64, bytes: usize) -> Result<(), Self> {
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= blob_bytes => Ok(()),
            _ => Err(Self::Beyond { digest, blob_bytes, offset, bytes }),
        }
    }
}

fn named(digest: &Option<Digest>) -> String {
    digest.map_or_else(|| "the blob".to_owned(), |digest| format!("blob {digest}"))
}

/// What every writer counts and hashes.
struct Intake {
    hasher: blake3::Hasher,
    expected: Option<Digest>,
    bytes_left: u64,
    bytes_max: u64,
}

impl Intake {
    fn new(expected: Option<Digest>, bytes_max: u64) -> Self {
        Self { hasher: blake3::Hasher::new(), expected, bytes_left: bytes_max, bytes_max }
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        let left = self.bytes_left.checked_sub(chunk.len() as u64);
        self.bytes_left = left.ok_or(BlobError::TooLarge { digest: self.expected, bytes_max: self.bytes_max })?;
        self.hasher.update(chunk);
        Ok(())
    }

    fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    fn finish(&self) -> Result<Digest, BlobError> {
        let actual = self.digest();
        match self.expected {
            Some(expected) if expected != actual => Err(BlobError::Mismatch { expected, actual }),
            _ => Ok(actual),
        }
    }
}
