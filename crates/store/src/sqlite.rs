//! What the crate's SQLite files have in common: how one is opened or created, and what is refused.
//!
//! It does not know the tables: each kind of file brings its own mark and its own statement that creates them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::disk::{self, DiskError};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an SQLite file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is something else.
    #[error("{} is not a convoke {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// The file's layout is newer than this build.
    #[error("{} was written by a newer version (layout {layout}; this build reads up to {known})", path.display())]
    NewerLayout {
        /// The file.
        path: PathBuf,
        /// Its layout.
        layout: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// SQLite failed.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file system failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl StoreError {
    /// Whether it is the disk that fails, which may be over the next time. What is in the file stays as it is.
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::NewerLayout { .. } => false,
            Self::Sqlite { source, .. } => source.sqlite_error_code() != Some(ErrorCode::DatabaseCorrupt),
            Self::Disk(_) => true,
        }
    }
}

/// A kind of file.
pub(crate) struct FileKind {
    /// What it is called in a refusal.
    pub(crate) name: &'static str,
    /// Marks the file, as SQLite's `application_id`.
    pub(crate) application_id: i64,
    /// The layout of the tables, kept as `user_version`.
    pub(crate) layout: i64,
    /// Creates the tables.
    pub(crate) create: &'static str,
}

impl FileKind {
    /// Opens a file to write, in WAL mode and synced by every commit; creates it where there is none or an empty one.
    pub(crate) fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        let failed = |source| self.refusal(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags).map_err(failed)?;
        self.admit(&mut connection, path)?;
        // The full ones are for macOS, whose plain sync stops at the disk's own cache.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;",
            )
            .map_err(failed)?;
        disk::sync_folder(disk::parent(path))?;
        Ok(connection)
    }

    /// Opens a file that is there, to read only.
    pub(crate) fn open_to_read(&self, path: &Path) -> Result<Connection, StoreError> {
        connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|source| self.refusal(path, source))
    }

    /// Refuses a file that is something else, before anything is changed in it; makes an empty one of this kind.
    fn admit(&self, connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
        let failed = |source| self.refusal(path, source);
        let number =
            |connection: &Connection, sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(failed);
        let created = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let application_id = number(&created, "PRAGMA application_id")?;
        let layout = number(&created, "PRAGMA user_version")?;
        let tables = number(&created, "SELECT count(*) FROM sqlite_schema")?;
        if application_id == self.application_id && layout > self.layout {
            return Err(StoreError::NewerLayout { path: path.to_owned(), layout, known: self.layout });
        }
        if application_id == self.application_id && layout >= 1 {
            return Ok(());
        }
        if (application_id, layout, tables) != (0, 0, 0) {
            return Err(self.foreign(path));
        }
        created.execute_batch(self.create).map_err(failed)?;
        created.pragma_update(None, "application_id", self.application_id).map_err(failed)?;
        created.pragma_update(None, "user_version", self.layout).map_err(failed)?;
        created.commit().map_err(failed)
    }

    /// Names the file that SQLite failed on.
    pub(crate) fn refusal(&self, path: &Path, source: rusqlite::Error) -> StoreError {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => self.foreign(path),
            _ => StoreError::Sqlite { path: path.to_owned(), source },
        }
    }

    fn foreign(&self, path: &Path) -> StoreError {
        StoreError::Foreign { path: path.to_owned(), expected: self.name }
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoiled_file_is_not_waited_for() {
        let error = |code| {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            StoreError::Sqlite { path: "journal.sqlite".into(), source }
        };
        use rusqlite::ffi::{SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR};
        let waits = [SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR].map(|code| error(code).is_of_the_disk());
        assert_eq!(waits, [false, true, true]);
    }
}
