//! One blob's file: as it is written, and as it is read.
//!
//! Where it lies, and what its name says of it, the folder knows.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::Digest;

use super::super::{BlobError, BlobReader, BlobWriter, Durability, Intake};
use super::Folder;
use crate::disk::{DiskError, on};
use crate::files::OpenFile;

/// How much is read at a time to hash a file.
const BLOCK_BYTES: usize = 64 * 1024;

/// Takes a blob into `incoming/`, and publishes it.
pub(super) struct FolderWriter {
    pub(super) folder: Arc<Folder>,
    pub(super) durability: Durability,
    pub(super) intake: Intake,
    pub(super) file: Box<dyn OpenFile>,
    pub(super) path: PathBuf,
    pub(super) published: bool,
}

impl BlobWriter for FolderWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.intake.add(chunk)?;
        self.file.write_all(chunk).map_err(on("write", &self.path))?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Digest, BlobError> {
        let digest = self.intake.finish()?;
        self.folder.publish(&self.path, &*self.file, digest, self.durability)?;
        self.published = true;
        Ok(digest)
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        if !self.published {
            // Where this fails, the next opening removes the file.
            let _ = self.folder.files.remove(&self.path);
        }
    }
}

/// Reads a published blob.
pub(super) struct FolderReader {
    pub(super) digest: Digest,
    pub(super) path: PathBuf,
    /// The place is the file's own, so reads of one reader take turns.
    pub(super) file: Mutex<Box<dyn OpenFile>>,
    pub(super) blob_bytes: u64,
    /// Whether it was hashed when it was opened.
    pub(super) checked: bool,
}

impl FolderReader {
    pub(super) fn hash(&self) -> Result<Digest, DiskError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut offset = 0;
        loop {
            match file.read_at(offset, &mut block).map_err(on("read", &self.path))? {
                0 => return Ok(Digest(*hasher.finalize().as_bytes())),
                count => {
                    hasher.update(&block[..count]);
                    offset += count as u64;
                }
            }
        }
    }
}

impl BlobReader for FolderReader {
    fn len(&self) -> u64 {
        self.blob_bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlobError> {
        BlobError::check_range(self.digest, self.blob_bytes, offset, buffer.len())?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
                // Shorter than when it was opened: something else has been at it.
                Ok(0) => return Err(BlobError::Damaged { digest: self.digest }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(on("read", &self.path)(error).into()),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), BlobError> {
        if self.checked || self.hash()? == self.digest {
            Ok(())
        } else {
            Err(BlobError::Damaged { digest: self.digest })
        }
    }
}
