//! A journal in an SQLite file: one row a frame, in WAL mode, synced by every commit.
//!
//! Of the frames that are trimmed, the last keeps its row, without its bytes: the first frame that is kept follows its
//! hash. The file does not shrink by it; SQLite fills the free pages with the next frames, so that it stops growing. The last
//! frames that were appended stay in memory, where those who follow find them.
//!
//! It does not know who owns the file: [`StateDir`](crate::StateDir) locks the directory, and a second writer that comes
//! here all the same meets a conflict.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use convoke_core::{Digest, Position};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::chain::{Chain, Kept};
use super::frames::Frames;
use super::{AppendError, EncodedFrame, Frame, Journal, JournalReader, READ_BYTES_MAX, ReadError, Tail};
use crate::sqlite::{FileKind, StoreError};

/// The hash stands beside the frame so that the last one, which no other follows, is vouched for too. The first
/// row may be that of a trimmed frame, without bytes.
const KIND: FileKind = FileKind {
    name: "journal",
    application_id: 0x434e_564a, // CNVJ
    layout: 1,
    create: "
    CREATE TABLE frames (position INTEGER PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), frame BLOB NOT NULL) STRICT;",
};
/// One statement, so that the position is compared and taken in one transaction.
const APPEND: &str = "
    INSERT INTO frames (position, hash, frame) SELECT ?1, ?2, ?3
    WHERE ?1 = 1 + (SELECT coalesce(max(position), 0) FROM frames)";
const TAIL: &str = "SELECT position, hash FROM frames ORDER BY position DESC LIMIT 1";
const HASH: &str = "SELECT position, hash FROM frames WHERE position = ?1";
const BASE: &str = "SELECT position, hash, length(frame) FROM frames ORDER BY position LIMIT 1";
/// How many rows are removed at a time: an append waits for no more.
const TRIM_ROWS: u64 = 1_024;
const TRIM: &str = "DELETE FROM frames WHERE position < ?1";
const EMPTY: &str = "UPDATE frames SET frame = x'' WHERE position = ?1";
const READ: &str = "SELECT position, hash, frame FROM frames WHERE position >= ?1 ORDER BY position LIMIT ?2";

/// How many frames stay in memory, and of how many bytes: followers are seldom further behind.
const RECENT_MAX: usize = 512;
const RECENT_BYTES_MAX: usize = 1 << 20;

/// A journal in an SQLite file.
pub struct SqliteJournal {
    path: PathBuf,
    connection: Connection,
    tail: Tail,
    recent: Recent,
}

/// The last frames that were appended through this process's journal.
#[derive(Clone)]
struct Recent(Arc<Mutex<Frames>>);

impl Recent {
    fn frames(&self) -> MutexGuard<'_, Frames> {
        // What is done under the lock leaves the frames whole, wherever it ends.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames are told from here on.
    fn begin(&self, base: Tail) {
        *self.frames() = Frames::after(base);
    }

    fn append(&self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        let mut frames = self.frames();
        frames.append(at, frame)?;
        frames.keep(RECENT_MAX, RECENT_BYTES_MAX);
        Ok(())
    }

    fn read(&self, from: Position, frames_max: usize) -> Result<Option<Vec<(Position, Frame)>>, ReadError> {
        // An append waits for the lock: what takes longer is done without it.
        let part = self.frames().part(from, frames_max);
        match part {
            Err(ReadError::Trimmed { .. }) => Ok(None),
            part => part?.read().map(Some),
        }
    }
}

impl SqliteJournal {
    /// Opens the journal, or creates it where there is no such file or an empty one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = KIND.open(path)?;
        let recent = Recent(Arc::new(Mutex::new(Frames::after(Tail::EMPTY))));
        let mut journal = Self { path: path.to_owned(), connection, tail: Tail::EMPTY, recent };
        journal.look()?;
        Ok(journal)
    }

    /// Reads a journal that someone else may hold; there is no need to be its owner.
    pub fn look_at(path: &Path) -> Box<dyn JournalReader> {
        Box::new(SqliteReader { path: path.to_owned(), connection: Mutex::new(None), recent: None })
    }

    /// Sees where the journal ends now.
    fn look(&mut self) -> Result<(), StoreError> {
        let tail = self.connection.prepare_cached(TAIL).and_then(|mut tail| tail.query_row((), tail_of).optional());
        self.tail = tail.map_err(|source| KIND.refusal(&self.path, source))?.unwrap_or(Tail::EMPTY);
        self.recent.begin(self.tail);
        Ok(())
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        if self.tail.admit(at, frame).is_err() {
            // Perhaps only because someone else has appended.
            self.look()?;
            self.tail.admit(at, frame)?;
        }
        let rows = self
            .connection
            .prepare_cached(APPEND)
            .and_then(|mut append| append.execute(params![at.0.cast_signed(), frame.hash().0, frame.bytes()]))
            .map_err(|source| KIND.refusal(&self.path, source))?;
        if rows == 0 {
            self.look()?;
            return Err(AppendError::Conflict { at, tail: self.tail });
        }
        self.tail = frame.tail_at(at);
        self.recent.append(at, frame)
    }

    fn tail(&self) -> Tail {
        self.tail
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        let through = through.min(self.tail.position);
        self.recent.frames().trim(through);
        trim(&mut self.connection, through).map_err(|source| KIND.refusal(&self.path, source))
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        let recent = Some(self.recent.clone());
        Box::new(SqliteReader { path: self.path.clone(), connection: Mutex::new(None), recent })
    }
}

/// Reads over a connection of its own, opened by the first call.
struct SqliteReader {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
    /// Of a journal that this process appends to.
    recent: Option<Recent>,
}

impl JournalReader for SqliteReader {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        if let Some(frames) = self.read_recent(from, frames_max)? {
            return Ok(frames);
        }
        let Ok(before) = i64::try_from(from.0.saturating_sub(1)) else {
            return Ok(Vec::new());
        };
        // A connection has no state between calls, so one that a panic left behind is as good.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(KIND.open_to_read(&self.path)?),
        };
        read(connection, before, frames_max).map_err(|source| KIND.refusal(&self.path, source))?
    }

    fn read_recent(&self, from: Position, frames_max: usize) -> Result<Option<Vec<(Position, Frame)>>, ReadError> {
        self.recent.as_ref().map_or(Ok(None), |recent| recent.read(from, frames_max))
    }
}

/// Each step is whole: it leaves one empty row, and the frames after it.
fn trim(connection: &mut Connection, through: Position) -> rusqlite::Result<()> {
    let Some((base, _)) = base(connection)? else { return Ok(()) };
    let mut reached = base.position.0;
    while reached < through.0 {
        reached = through.0.min(reached.saturating_add(TRIM_ROWS));
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute(EMPTY, [reached.cast_signed()])?;
        step.execute(TRIM, [reached.cast_signed()])?;
        step.commit()?;
    }
    Ok(())
}

/// The first row, and whether it is a trimmed frame's.
fn base(connection: &Connection) -> rusqlite::Result<Option<(Tail, bool)>> {
    let of = |row: &Row<'_>| Ok((tail_of(row)?, row.get::<_, i64>(2)? == 0));
    connection.prepare_cached(BASE)?.query_row((), of).optional()
}

/// SQLite's failures outside, the journal's inside.
fn read(
    connection: &Connection,
    before: i64,
    frames_max: usize,
) -> rusqlite::Result<Result<Vec<(Position, Frame)>, ReadError>> {
    // One view of the file: a trim in the middle would take the frame before the first away.
    let _view = connection.unchecked_transaction()?;
    if let Some((base, true)) = base(connection)?
        && before.cast_unsigned() < base.position.0
    {
        return Ok(Err(ReadError::Trimmed { first: base.position.next() }));
    }
    let last = connection.prepare_cached(HASH)?.query_row([before], tail_of).optional()?;
    let last = last.unwrap_or(Tail { position: Position(before.cast_unsigned()), ..Tail::EMPTY });
    let mut chain = Chain::after(last);
    let mut statement = connection.prepare_cached(READ)?;
    let mut rows = statement.query([before.saturating_add(1), i64::try_from(frames_max).unwrap_or(i64::MAX)])?;
    let mut bytes_read = 0;
    while let Some(row) = rows.next()? {
        let kept = kept(row)?;
        let first = bytes_read == 0;
        bytes_read += kept.bytes.len();
        if bytes_read > READ_BYTES_MAX && !first {
            break;
        }
        if let Err(error) = chain.push(kept) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(chain.finish()))
}

fn tail_of(row: &Row<'_>) -> rusqlite::Result<Tail> {
    Ok(Tail { position: Position(row.get::<_, i64>(0)?.cast_unsigned()), hash: Digest(row.get(1)?) })
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let Tail { position, hash } = tail_of(row)?;
    let frame = row.get_ref(2)?.as_blob()?;
    Ok(Kept { position, hash, bytes: Bytes::copy_from_slice(frame) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(&folder.path().join("journal.sqlite")).unwrap();
        let asked = |sql, expected: &str| {
            let value = journal.connection.query_row(sql, (), |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
            assert_eq!(format!("{value:?}"), expected, "{sql}");
        };
        asked("PRAGMA journal_mode", "Text(\"wal\")");
        asked("PRAGMA synchronous", "Integer(2)");
    }
}
