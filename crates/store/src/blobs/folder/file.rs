//! One blob's file: as it is written, and as it is read.
//!
//! Where it lies, and what its name says of it, the folder knows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use convoke_core::Digest;

use super::super::{BlobError, BlobReader, BlobWriter, Durability, Intake};
use super::Folder;
use crate::disk::{DiskError, on};
use crate::files::OpenFile;

/// How much is read at a time to hash a file.
const BLOCK_BYTES: usize = 128 * 1024;

/// How much of a blob that will be synced is written before the disk is asked to begin: by the end, most of it is there.
const BEGIN_BYTES: u64 = 8 << 20;

/// Takes a blob into `incoming/`, and publishes it.
pub(super) struct FolderWriter {
    pub(super) folder: Arc<Folder>,
    pub(super) durability: Durability,
    pub(super) intake: Intake,
    pub(super) file: Arc<dyn OpenFile>,
    pub(super) path: PathBuf,
    pub(super) published: bool,
    /// Bytes since the disk was asked to begin.
    pub(super) unasked_bytes: u64,
    pub(super) ahead: Option<Ahead>,
}

impl BlobWriter for FolderWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.intake.add(chunk)?;
        self.file.write_all(chunk).map_err(on("write", &self.path))?;
        self.unasked_bytes += chunk.len() as u64;
        if self.durability == Durability::Synced && self.unasked_bytes >= BEGIN_BYTES {
            self.unasked_bytes = 0;
            if self.ahead.is_none() {
                self.ahead = Ahead::start(self.file.clone());
            }
            self.ahead.iter().for_each(Ahead::ask);
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.intake.digest()
    }

    fn finish(mut self: Box<Self>) -> Result<Digest, BlobError> {
        let digest = self.intake.finish()?;
        // A failure is told once: to whoever syncs then.
        self.ahead.take().map_or(Ok(()), Ahead::end).map_err(on("sync", &self.path))?;
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

/// A thread that has the disk write what there is of a file, while more is written.
pub(super) struct Ahead {
    asks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Ahead {
    /// `None` where the system gives no thread: then all waits for the end.
    fn start(file: Arc<dyn OpenFile>) -> Option<Self> {
        let (asks, asked) = sync_channel(1);
        let work = move || asked.into_iter().try_for_each(|()| file.sync());
        Some(Self { asks, thread: std::thread::Builder::new().name("sync".to_owned()).spawn(work).ok()? })
    }

    fn ask(&self) {
        // Where one waits already, it will do for both.
        self.asks.try_send(()).ok();
    }

    fn end(self) -> io::Result<()> {
        drop(self.asks);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that synced panicked")))
    }
}

/// Reads a published blob.
pub(super) struct FolderReader {
    pub(super) digest: Digest,
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn OpenFile>,
    pub(super) blob_bytes: u64,
    /// Whether it was hashed when it was opened.
    pub(super) checked: bool,
}

impl FolderReader {
    pub(super) fn hash(&self) -> Result<Digest, DiskError> {
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut offset = 0;
        loop {
            match self.file.read_at(offset, &mut block).map_err(on("read", &self.path))? {
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
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(offset + filled as u64, &mut buffer[filled..]) {
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
