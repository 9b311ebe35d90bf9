//! Small blobs in an SQLite file, large ones in a folder.
//!
//! A small blob costs a file system as much as a large one: a file, a name, and both synced. Which layer a blob is in
//! follows from its size alone, except that a folder may still hold small ones from before. It does not know what
//! either layer does with a blob.

use std::path::Path;

use convoke_core::Digest;

use super::sqlite::SmallWriter;
use super::{BlobError, BlobReader, BlobWriter, Blobs, Durability, FolderBlobs, SqliteBlobs};

/// The most bytes of a blob that goes into the SQLite file.
pub const SMALL_BYTES_MAX: usize = 64 * 1024;

/// Small blobs in an SQLite file, large ones in a folder. Clones are the same blobs.
#[derive(Clone)]
pub struct LayeredBlobs {
    small: SqliteBlobs,
    large: FolderBlobs,
}

impl LayeredBlobs {
    /// Opens both, or creates them.
    pub fn open(file: &Path, folder: &Path) -> Result<Self, BlobError> {
        Ok(Self { small: SqliteBlobs::open(file)?, large: FolderBlobs::open(folder)? })
    }
}

impl Blobs for LayeredBlobs {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        Ok(self.small.has(digest)? || self.large.has(digest)?)
    }

    fn put_all(&self, blobs: &[&[u8]], durability: Durability) -> Result<(), BlobError> {
        let (small, large): (Vec<&[u8]>, Vec<&[u8]>) = blobs.iter().partition(|bytes| bytes.len() <= SMALL_BYTES_MAX);
        self.small.put_all(&small, durability)?;
        self.large.put_all(&large, durability)
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        let layer = Layer::Small(Box::new(self.small.small_writer(durability, expected, bytes_max)));
        Ok(Box::new(LayeredWriter { large: self.large.clone(), durability, expected, bytes_max, layer }))
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        Ok(self.small.sync(digest)? || self.large.sync(digest)?)
    }

    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        match self.small.open(digest)? {
            None => self.large.open(digest),
            small => Ok(small),
        }
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        let mut listed = self.small.list(after, max)?;
        listed.extend(self.large.list(after, max)?);
        listed.sort_unstable();
        listed.dedup_by_key(|(digest, _)| *digest);
        listed.truncate(max);
        Ok(listed)
    }

    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        Ok(self.small.remove(digests)? + self.large.remove(digests)?)
    }
}

/// Begins small, and moves to the folder when the blob outgrows the file.
struct LayeredWriter {
    large: FolderBlobs,
    durability: Durability,
    expected: Option<Digest>,
    bytes_max: u64,
    layer: Layer,
}

enum Layer {
    Small(Box<SmallWriter>),
    Large(Box<dyn BlobWriter>),
}

impl BlobWriter for LayeredWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        match &mut self.layer {
            Layer::Large(large) => large.write(chunk),
            Layer::Small(small) if chunk.len() <= SMALL_BYTES_MAX - small.bytes().len() => small.write(chunk),
            Layer::Small(small) => {
                let mut large = self.large.writer(self.durability, self.expected, self.bytes_max)?;
                large.write(small.bytes())?;
                large.write(chunk)?;
                self.layer = Layer::Large(large);
                Ok(())
            }
        }
    }

    fn digest(&self) -> Digest {
        match &self.layer {
            Layer::Small(small) => small.digest(),
            Layer::Large(large) => large.digest(),
        }
    }

    fn finish(self: Box<Self>) -> Result<Digest, BlobError> {
        match self.layer {
            Layer::Small(small) => small.finish(),
            Layer::Large(large) => large.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest_of;
    use Durability::{Synced, Unsynced};

    static LIMIT: [u8; SMALL_BYTES_MAX] = [1; SMALL_BYTES_MAX];
    static ABOVE: [u8; SMALL_BYTES_MAX + 1] = [1; SMALL_BYTES_MAX + 1];

    fn open(folder: &Path) -> LayeredBlobs {
        LayeredBlobs::open(&folder.join("blobs.sqlite"), &folder.join("blobs")).unwrap()
    }

    /// Writes the last byte alone, so that one above the limit changes the layer in the middle.
    fn put(blobs: &LayeredBlobs, bytes: &[u8], durability: Durability) -> Digest {
        let (last, first) = bytes.split_last().unwrap();
        let mut writer = blobs.writer(durability, Some(digest_of(bytes)), bytes.len() as u64).unwrap();
        writer.write(first).unwrap();
        writer.write(&[*last]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn size_decides_the_layer_and_reopening_keeps_both() {
        for durability in [Unsynced, Synced] {
            let folder = tempfile::tempdir().unwrap();
            let blobs = open(folder.path());
            let kept = [&LIMIT[..], &ABOVE].map(|bytes| put(&blobs, bytes, durability));
            assert_eq!(kept.map(|digest| blobs.small.has(digest).unwrap()), [true, false]);
            assert_eq!(kept.map(|digest| blobs.large.has(digest).unwrap()), [false, true]);
            drop(blobs);
            let blobs = open(folder.path());
            assert_eq!(blobs.get(kept[0], u64::MAX).unwrap().unwrap(), &LIMIT[..]);
            assert_eq!(blobs.get(kept[1], u64::MAX).unwrap().unwrap(), &ABOVE[..]);
            assert!(kept.iter().all(|digest| blobs.sync(*digest).unwrap()));
        }
    }

    #[test]
    fn a_writer_that_changed_its_layer_leaves_nothing_either() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(folder.path());
        let incoming = || std::fs::read_dir(folder.path().join("blobs/incoming")).unwrap().count();
        let mut dropped = blobs.writer(Synced, None, u64::MAX).unwrap();
        dropped.write(&ABOVE).unwrap();
        assert_eq!(incoming(), 1);
        drop(dropped);
        let mut other = blobs.writer(Synced, Some(digest_of(b"other")), u64::MAX).unwrap();
        other.write(&ABOVE).unwrap();
        assert!(matches!(other.finish(), Err(BlobError::Mismatch { .. })));
        let mut limited = blobs.writer(Synced, None, SMALL_BYTES_MAX as u64).unwrap();
        assert!(matches!(limited.write(&ABOVE), Err(BlobError::TooLarge { .. })));
        assert!(!blobs.has(digest_of(&ABOVE)).unwrap());
        assert_eq!(incoming(), 0);
    }

    #[test]
    fn small_blobs_that_a_folder_already_held_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let digest = FolderBlobs::open(&folder.path().join("blobs")).unwrap().put(b"old", Unsynced).unwrap();
        let blobs = open(folder.path());
        assert!(blobs.has(digest).unwrap() && blobs.sync(digest).unwrap());
        assert_eq!(blobs.get(digest, 3).unwrap().unwrap(), b"old".as_slice());
    }
}
