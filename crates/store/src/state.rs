//! A coordinator's state directory, held by one process at a time.
//!
//! | name | what |
//! |---|---|
//! | `lock` | an empty file, locked while the directory is in use |
//! | `journal.sqlite` | the journal, with SQLite's `-wal` and `-shm` files beside it |
//! | `blobs.sqlite` | the small blobs, with SQLite's files beside it likewise |
//! | `blobs/` | the large ones, a file each |
//!
//! It does not know what is in them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use convoke_core::Digest;

use crate::blobs::{self, BlobError, LayeredBlobs};
use crate::disk::{self, DiskError};
use crate::journal::{JournalReader, SqliteJournal, StoreError};

const LOCK: &str = "lock";
const JOURNAL: &str = "journal.sqlite";
const SMALL_BLOBS: &str = "blobs.sqlite";
const LARGE_BLOBS: &str = "blobs";

/// How often the lock is tried before the directory counts as in use: whoever looks whether it is holds it for a moment.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A state directory. It is in use until this is dropped, so keep it for as long as what was opened in it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process, or this one, has it.
    #[error("the state directory {} is already in use", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Others may read what is in it.
    #[error("others may read the state directory {}: its mode is {mode:03o}, and 700 is needed (chmod 700 {})", path.display(), path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl StateDir {
    /// Takes the directory, and creates it where it is not there, for its owner alone.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        disk::create_private_folder(path)?;
        check_private(path)?;
        let name = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(disk::on("open the lock", &name))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(disk::on("lock", &name)(source).into()),
            }
        }
        Err(StateError::InUse { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the journal.
    pub fn journal(&self) -> Result<SqliteJournal, StoreError> {
        SqliteJournal::open(&self.path.join(JOURNAL))
    }

    /// Opens the blobs.
    pub fn blobs(&self) -> Result<LayeredBlobs, BlobError> {
        LayeredBlobs::open(&self.path.join(SMALL_BLOBS), &self.path.join(LARGE_BLOBS))
    }
}

/// Its files need no rights of their own where nobody else may enter.
#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.metadata().map_err(disk::on("look at", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(StateError::Open { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), StateError> {
    Ok(())
}

/// A state directory that a process may hold, to look at: nothing in it changes.
#[derive(Clone, Debug)]
pub struct StateLook {
    path: PathBuf,
}

impl StateLook {
    /// At a directory that is there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Whether a process holds it.
    pub fn is_held(&self) -> Result<bool, StateError> {
        let name = self.path.join(LOCK);
        let lock = File::open(&name).map_err(disk::on("open the lock", &name))?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(disk::on("lock", &name)(source).into()),
        }
    }

    /// When its journal was last written to; `None` if there is none.
    pub fn changed(&self) -> Option<SystemTime> {
        let written = [JOURNAL.to_owned(), format!("{JOURNAL}-wal")];
        written.iter().filter_map(|name| self.path.join(name).metadata().ok()?.modified().ok()).max()
    }

    /// Its journal.
    pub fn journal(&self) -> Box<dyn JournalReader> {
        SqliteJournal::look_at(&self.path.join(JOURNAL))
    }

    /// One of its blobs, of at most `bytes_max` bytes, checked; `None` if it is not there.
    pub fn blob(&self, digest: Digest, bytes_max: u64) -> Result<Option<Bytes>, BlobError> {
        blobs::look(&self.path.join(SMALL_BLOBS), &self.path.join(LARGE_BLOBS), digest, bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("state");
        let first = StateDir::open(&path).unwrap();
        let refused = StateDir::open(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("the state directory {} is already in use", path.display()));
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn who_looks_sees_what_the_holder_writes() {
        use crate::blobs::{Blobs, Durability, SMALL_BYTES_MAX};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateDir::open(&path).unwrap();
        let (_journal, blobs) = (state.journal().unwrap(), state.blobs().unwrap());
        let kept = [(1, Durability::Synced), (2, Durability::Unsynced), (SMALL_BYTES_MAX + 1, Durability::Unsynced)];
        let digests = kept.map(|(length, durability)| blobs.put(&vec![7; length], durability).unwrap());
        let look = StateLook::new(&path);
        for (digest, (length, _)) in digests.into_iter().zip(kept) {
            assert_eq!(look.blob(digest, 1 << 20).unwrap().unwrap().len(), length);
        }
        assert!(look.blob(crate::digest_of(b"other"), 1 << 20).unwrap().is_none());
        assert!(look.journal().read(convoke_core::Position(1), 1).unwrap().is_empty());
        assert!(look.is_held().unwrap());
        drop(state);
        assert!(!look.is_held().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let _state = StateDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
        let refused = StateDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains("its mode is 750, and 700 is needed"), "{refused}");
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, "something else").unwrap();
        let refused = StateDir::open(&path).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot create the folder {}", path.display())), "{refused}");
    }
}
