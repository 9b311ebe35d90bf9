//! Blobs in an SQLite file: one row a blob, appended to SQLite's log, and synced only where that is asked for.
//!
//! Made for small blobs, which are held in memory whole to be written and to be read; it does not know how small.
//! Nor does it know who owns the file: [`StateDir`](crate::StateDir) locks the directory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use convoke_core::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use super::memory::MemoryReader;
use super::{BlobError, BlobReader, BlobWriter, Blobs, Durability, Intake};
use crate::digest_of;
use crate::sqlite::{FileKind, StoreError};

/// Rows stand in the order they came, with an index of the digests beside: digests are random, and in a table ordered
/// by them (`WITHOUT ROWID`) each new row would split pages that are full of other blobs' bytes.
const KIND: FileKind = FileKind {
    name: "blob file",
    application_id: 0x434e_5642, // CNVB
    layout: 1,
    create: "
    CREATE TABLE blobs (
        digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
        synced INTEGER NOT NULL CHECK (synced IN (0, 1)),
        bytes BLOB NOT NULL
    ) STRICT;",
};
/// A row that is there already becomes synced when asked for, and whole where the disk has spoiled it.
const PUT: &str = "
    INSERT INTO blobs (digest, synced, bytes) VALUES (?1, ?2, ?3)
    ON CONFLICT (digest) DO UPDATE SET synced = excluded.synced, bytes = excluded.bytes
    WHERE excluded.synced > synced OR excluded.bytes <> bytes";
const SYNC: &str = "UPDATE blobs SET synced = 1 WHERE digest = ?1 AND synced = 0";
const HAS: &str = "SELECT 1 FROM blobs WHERE digest = ?1";
const READ: &str = "SELECT bytes FROM blobs WHERE digest = ?1";
/// The length is in a row's head: the bytes are not read.
const LIST: &str = "SELECT digest, length(bytes) FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2";
/// Its pages are used again by what is put next; the file never shrinks.
const REMOVE: &str = "DELETE FROM blobs WHERE digest = ?1 RETURNING length(bytes)";

/// Blobs in an SQLite file. Clones are the same blobs.
#[derive(Clone)]
pub struct SqliteBlobs {
    file: Arc<BlobFile>,
}

struct BlobFile {
    path: PathBuf,
    /// Apart from the writer, so that nobody waits for a sync to read. Closed before it: the last to close, which tidies
    /// the log, has to be one that may write.
    reader: Mutex<Connection>,
    writer: Mutex<Writer>,
}

struct Writer {
    connection: Connection,
    /// What a commit does now.
    durability: Durability,
}

impl SqliteBlobs {
    /// Opens the file, or creates it where there is no such file or an empty one.
    pub fn open(path: &Path) -> Result<Self, BlobError> {
        let writer = Writer { connection: KIND.open(path)?, durability: Durability::Synced };
        let reader = Mutex::new(KIND.open_to_read(path)?);
        Ok(Self { file: Arc::new(BlobFile { path: path.to_owned(), reader, writer: Mutex::new(writer) }) })
    }

    /// As [`Blobs::writer`], for one that looks into it.
    pub(super) fn small_writer(&self, durability: Durability, expected: Option<Digest>, bytes_max: u64) -> SmallWriter {
        let intake = Intake::new(expected, bytes_max);
        SmallWriter { file: self.file.clone(), durability, intake, bytes: Vec::new() }
    }
}

impl BlobFile {
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&lock(&self.reader)).map_err(|source| KIND.refusal(&self.path, source))
    }

    /// Does one statement's or one transaction's work, which is committed on return, and synced or not.
    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        writer
            .commit_as(durability)
            .and_then(|()| work(&writer.connection))
            .map_err(|source| KIND.refusal(&self.path, source))
    }

    fn has(&self, digest: Digest) -> Result<bool, StoreError> {
        self.read(|connection| connection.prepare_cached(HAS)?.exists([digest.0]))
    }
}

impl Writer {
    /// A normal commit appends to the log; a full one syncs the log too, and with it whatever was appended before.
    fn commit_as(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != durability {
            let synchronous = match durability {
                Durability::Synced => "FULL",
                Durability::Unsynced => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.durability = durability;
        }
        Ok(())
    }
}

impl Blobs for SqliteBlobs {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        Ok(self.file.has(digest)?)
    }

    /// In one commit.
    fn put_all(&self, blobs: &[&[u8]], durability: Durability) -> Result<(), BlobError> {
        let synced = durability == Durability::Synced;
        Ok(self.file.write(durability, |connection| {
            let putting = connection.unchecked_transaction()?;
            let mut put = putting.prepare_cached(PUT)?;
            for bytes in blobs {
                put.execute(params![digest_of(bytes).0, synced, bytes])?;
            }
            drop(put);
            putting.commit()
        })?)
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(self.small_writer(durability, expected, bytes_max)))
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        if !self.file.has(digest)? {
            return Ok(false);
        }
        // A commit that changes nothing syncs nothing; the mark is there to be changed, once.
        self.file.write(Durability::Synced, |connection| connection.prepare_cached(SYNC)?.execute([digest.0]))?;
        Ok(true)
    }

    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        checked(digest, self.file.read(|connection| read(connection, digest))?)
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        // Nothing has fewer bytes than none, so that from there on are all.
        let after = after.as_ref().map_or(&[][..], |digest| &digest.0);
        Ok(self.file.read(|connection| {
            let mut list = connection.prepare_cached(LIST)?;
            let rows = list.query_map(params![after, i64::try_from(max).unwrap_or(i64::MAX)], |row| {
                Ok((Digest(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            rows.collect()
        })?)
    }

    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        // One commit for all, and no sync: what a power cut brings back is removed again.
        Ok(self.file.write(Durability::Unsynced, |connection| {
            let removing = connection.unchecked_transaction()?;
            let mut remove = removing.prepare_cached(REMOVE)?;
            let mut bytes = 0;
            for digest in digests {
                let removed = remove.query_row([digest.0], |row| row.get::<_, i64>(0)).optional()?;
                bytes += removed.map_or(0, i64::unsigned_abs);
            }
            drop(remove);
            removing.commit().map(|()| bytes)
        })?)
    }
}

/// Reads a blob of a file that someone else may hold: nothing is created, tidied or removed.
pub(super) fn look(path: &Path, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
    let bytes = read(&KIND.open_to_read(path)?, digest).map_err(|source| KIND.refusal(path, source))?;
    checked(digest, bytes)
}

fn read(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<Bytes>> {
    let mut read = connection.prepare_cached(READ)?;
    read.query_row([digest.0], |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))).optional()
}

/// A small blob is checked each time.
fn checked(digest: Digest, bytes: Option<Bytes>) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
    match bytes {
        Some(bytes) if digest_of(&bytes) != digest => Err(BlobError::Damaged { digest }),
        bytes => Ok(bytes.map(|bytes| Box::new(MemoryReader { digest, bytes }) as Box<dyn BlobReader>)),
    }
}

/// Gathers a blob in memory.
pub(super) struct SmallWriter {
    file: Arc<BlobFile>,
    durability: Durability,
    intake: Intake,
    bytes: Vec<u8>,
}

impl SmallWriter {
    /// What has come so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl BlobWriter for SmallWriter {
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
        let synced = self.durability == Durability::Synced;
        self.file.write(self.durability, |connection| {
            connection.prepare_cached(PUT)?.execute(params![digest.0, synced, self.bytes])
        })?;
        Ok(digest)
    }
}

/// Each turn is one statement or one transaction, so what a panic left behind is whole.
fn lock<T>(connection: &Mutex<T>) -> MutexGuard<'_, T> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the writer's commits do (2 is full, 1 normal), and the row's mark.
    fn state(blobs: &SqliteBlobs, digest: Digest) -> (i64, i64) {
        let writer = lock(&blobs.file.writer);
        let synchronous = writer.connection.query_row("PRAGMA synchronous", (), |row| row.get(0)).unwrap();
        let mark = "SELECT synced FROM blobs WHERE digest = ?1";
        (synchronous, writer.connection.query_row(mark, [digest.0], |row| row.get(0)).unwrap())
    }

    #[test]
    fn commits_are_synced_where_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = SqliteBlobs::open(&folder.path().join("blobs.sqlite")).unwrap();
        let digest = blobs.put(b"one", Durability::Unsynced).unwrap();
        assert_eq!(state(&blobs, digest), (1, 0));
        assert!(blobs.sync(digest).unwrap());
        assert_eq!(state(&blobs, digest), (2, 1));
        blobs.put(b"one", Durability::Unsynced).unwrap();
        assert_eq!(state(&blobs, digest), (1, 1));
        let digest = blobs.put(b"two", Durability::Unsynced).unwrap();
        blobs.put(b"two", Durability::Synced).unwrap();
        assert_eq!(state(&blobs, digest), (2, 1));
    }
}
