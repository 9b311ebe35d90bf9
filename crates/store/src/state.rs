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

use crate::blobs::{BlobError, LayeredBlobs};
use crate::disk::{self, DiskError};
use crate::journal::{SqliteJournal, StoreError};

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
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl StateDir {
    /// Takes the directory, and creates it where it is not there, for its owner alone.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        disk::create_private_folder(path)?;
        let name = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(disk::on("open the lock", &name))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(disk::on("lock", &name)(source).into()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the journal.
    pub fn journal(&self) -> Result<SqliteJournal, StoreError> {
        SqliteJournal::open(&self.path.join("journal.sqlite"))
    }

    /// Opens the blobs.
    pub fn blobs(&self) -> Result<LayeredBlobs, BlobError> {
        LayeredBlobs::open(&self.path.join("blobs.sqlite"), &self.path.join("blobs"))
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

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let _state = StateDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
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
