//! The contract of journals on every backend of this crate, and what is SQLite's own.

#[macro_use]
#[path = "conformance/journal.rs"]
mod conformance;

use std::path::{Path, PathBuf};

use convoke_core::{Event, JobId, Position, Term};
use convoke_store::journal::{
    AppendError, EncodedFrame, Frame, Journal, JournalReader, MemoryJournal, SqliteJournal, StoreError, Tail,
};
use tempfile::TempDir;

use conformance::{Open, append, refusal};

journals_conform!(in_memory, memory);
journals_conform!(in_sqlite, sqlite);
journals_conform!(in_sqlite_read_by_others, sqlite_read_by_others);

type Check<'a> = &'a dyn Fn(Open);

fn memory(check: Check) {
    let journal = MemoryJournal::new();
    check(&mut || Box::new(journal.clone()));
}

fn sqlite(check: Check) {
    let folder = tempfile::tempdir().unwrap();
    check(&mut || Box::new(SqliteJournal::open(&folder.path().join("journal.sqlite")).unwrap()));
}

fn sqlite_read_by_others(check: Check) {
    let folder = tempfile::tempdir().unwrap();
    check(&mut || Box::new(ReadByOthers::open(&folder.path().join("journal.sqlite"))));
}

/// A journal whose readers find on disk what they read, as those of another process do.
struct ReadByOthers(SqliteJournal, PathBuf);

impl ReadByOthers {
    fn open(path: &Path) -> Self {
        Self(SqliteJournal::open(path).unwrap(), path.to_owned())
    }
}

impl Journal for ReadByOthers {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        self.0.append(at, frame)
    }

    fn tail(&self) -> Tail {
        self.0.tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        self.0.trim(through)
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        SqliteJournal::look_at(&self.1)
    }
}

/// A journal of three frames on disk, changed behind its back; what reading it from a position says.
fn read_after(change: &str, from: u64) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut journal = ReadByOthers::open(&path);
    (1..=3).for_each(|term| drop(append(&mut journal, term)));
    rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
    journal.reader().read(Position(from), 100).unwrap_err().to_string()
}

#[test]
fn sqlite_damage_is_found_and_named() {
    let swapped = "UPDATE frames SET frame = (SELECT frame FROM frames WHERE position = 1) WHERE position = 3";
    let bytes = "the frame's bytes do not have its hash";
    assert_eq!(read_after(swapped, 1), format!("the journal is damaged at position 3: {bytes}"));
    assert_eq!(read_after(swapped, 3), format!("the journal is damaged at position 3: {bytes}"));
    let gap = "DELETE FROM frames WHERE position = 2";
    assert_eq!(read_after(gap, 1), "the journal is damaged at position 2: the frame is missing");
    let noise = "UPDATE frames SET frame = x'ff00ff' WHERE position = 2";
    assert!(read_after(noise, 2).starts_with("the journal is damaged at position 2: not a frame: "));
    // Field 1, the format, is 3: nothing else need be understood.
    let newer = "UPDATE frames SET frame = x'0803' WHERE position = 2";
    assert_eq!(
        read_after(newer, 1),
        "the journal at position 2 was written by a newer version (format 3; this build reads up to 1)"
    );
}

/// What opening the file as a journal says.
fn open(path: &Path) -> String {
    SqliteJournal::open(path).err().map_or("opened".to_owned(), |error: StoreError| error.to_string())
}

#[test]
fn sqlite_refuses_what_is_no_journal() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("notes.txt");
    let words = "Not a database at all, but long enough to be taken for the header of one, or of two. ".repeat(20);
    std::fs::write(&text, &words).unwrap();
    assert_eq!(open(&text), format!("{} is not a convoke journal", text.display()));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), words);

    let other = folder.path().join("other.sqlite");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    let before = std::fs::read(&other).unwrap();
    assert_eq!(open(&other), format!("{} is not a convoke journal", other.display()));
    assert_eq!(std::fs::read(&other).unwrap(), before);

    let nowhere = folder.path().join("missing").join("journal.sqlite");
    assert!(open(&nowhere).starts_with(&nowhere.display().to_string()));
}

#[test]
fn sqlite_refuses_a_newer_layout() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.sqlite");
    drop(SqliteJournal::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_eq!(
        open(&path),
        format!("{} was written by a newer version (layout 7; this build reads up to 1)", path.display())
    );
}

#[test]
fn sqlite_vouches_for_the_frame_after_a_trim() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut journal = ReadByOthers::open(&path);
    (1..=4).for_each(|term| drop(append(&mut journal, term)));
    journal.trim(Position(2)).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE frames SET hash = zeroblob(32) WHERE position = 2").unwrap();
    let unchained = "the journal is damaged at position 3: the frame does not follow the one before it";
    assert_eq!(refusal(&journal, 3), unchained);
    connection.execute_batch("DELETE FROM frames WHERE position = 2").unwrap();
    assert_eq!(refusal(&journal, 1), "the journal is damaged at position 1: the frame is missing");
}

#[test]
fn the_last_frames_are_read_without_the_disk() {
    const FRAMES: u64 = 600;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.sqlite");
    append(&mut SqliteJournal::open(&path).unwrap(), 1);
    let mut journal = SqliteJournal::open(&path).unwrap();
    let reader = journal.reader();
    let recent = |from| reader.read_recent(Position(from), 1_000).unwrap().map(|frames| frames.len());
    assert_eq!((recent(1), recent(2)), (None, Some(0)), "what was there before is on disk alone");
    (2..=FRAMES).for_each(|term| drop(append(&mut journal, term)));
    assert_eq!((recent(2), recent(FRAMES - 9), recent(FRAMES + 1)), (None, Some(10), Some(0)));
    assert_eq!(reader.read(Position(1), 1_000).unwrap().len() as u64, FRAMES);
    journal.trim(Position(FRAMES - 5)).unwrap();
    assert_eq!((recent(FRAMES - 9), recent(FRAMES - 4)), (None, Some(5)));
}

#[test]
fn sqlite_reuses_what_was_trimmed() {
    const FRAMES: u64 = 1_500;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut journal = SqliteJournal::open(&path).unwrap();
    let reason = "a frame of the usual size ".repeat(20);
    let mut sizes = Vec::new();
    for frame in 1..=FRAMES {
        let outcome = convoke_core::event::Outcome::Failed { reason: reason.clone() };
        let event = Event::JobFinished { job: JobId::from_bits(frame), outcome };
        let encoded = Frame::encode(journal.tail().hash, Term(1), 0, &[event]).unwrap();
        journal.append(Position(frame), &encoded).unwrap();
        if frame % 150 == 0 {
            journal.trim(Position(frame - 10)).unwrap();
            sizes.push(
                std::fs::metadata(&path).unwrap().len()
                    + std::fs::metadata(path.with_extension("sqlite-wal")).unwrap().len(),
            );
        }
    }
    let (early, last) = (sizes[3], sizes[sizes.len() - 1]);
    assert!(last <= early + early / 4, "the file grows on: {sizes:?}");
}
