//! The journal: frames of events, appended at an expected position, each carrying the hash of the one before.
//!
//! This file is the contract; every backend passes `tests/conformance/journal.rs`. A journal knows neither what events mean nor
//! who may append: a stale owner finds out by [`AppendError::Conflict`].

mod frame;
mod chain;
mod frames;
mod memory;
mod sqlite;

use convoke_core::{Digest, Position};

pub use chain::{Damage, ReadError};
pub use frame::{EncodeError, EncodedFrame, FORMAT, FRAME_BYTES_MAX, Frame, RECORD_BYTES_MAX};
pub use memory::MemoryJournal;
pub use sqlite::SqliteJournal;

pub use crate::sqlite::StoreError;

/// The most bytes of frames that one call of [`JournalReader::read`] gathers, the first frame aside.
pub const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The end of a journal: what the next frame is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last frame's position, which is how many frames there were.
    pub position: Position,
    /// The last frame's hash.
    pub hash: Digest,
}

impl Tail {
    /// The end of a journal without frames.
    pub const EMPTY: Self = Self { position: Position(0), hash: Digest([0; 32]) };

    /// Whether a frame may come next, at a position.
    fn admit(self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        if self.position.0.checked_add(1) != Some(at.0) {
            return Err(AppendError::Conflict { at, tail: self });
        }
        if frame.previous() != self.hash {
            return Err(AppendError::Unchained { at, previous: frame.previous(), tail: self });
        }
        Ok(())
    }
}

/// The ordered record of decisions, as its owner holds it.
pub trait Journal: Send {
    /// Appends a frame at the position after the tail: all of it or nothing, and durable on return.
    ///
    /// After [`AppendError::Store`] nobody knows what became of the frame. The journal looks again by itself: to append the
    /// same frame by [`append_once`] is right whether it is there or not. A frame that is found there is durable.
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError>;

    /// The end, as this owner last saw it: after opening, appending, or a conflict.
    fn tail(&self) -> Tail;

    /// Lets the frames up to a position go, as far as there are any: something else stands for them. The hash of the
    /// last one stays, so that the first that is kept still follows it. Doing it again changes nothing.
    fn trim(&mut self, through: Position) -> Result<(), StoreError>;

    /// Reads, from any thread, while the owner appends.
    fn reader(&self) -> Box<dyn JournalReader>;
}

/// Reads a journal.
pub trait JournalReader: Send + Sync {
    /// The frames from a position on, at most `frames_max` and about [`READ_BYTES_MAX`], checked link by link. None
    /// are left when the answer is empty. From a position that was trimmed nothing is read: [`ReadError::Trimmed`].
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError>;

    /// The same without waiting for a disk; `None` if that takes one.
    fn read_recent(&self, _from: Position, _frames_max: usize) -> Result<Option<Vec<(Position, Frame)>>, ReadError> {
        Ok(None)
    }
}

/// Why a frame was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another position is next: someone else has appended, or this frame is there already.
    #[error("cannot append at position {at}: the journal ends at {}", tail.position)]
    Conflict {
        /// The position that was expected to be next.
        at: Position,
        /// Where the journal really ends.
        tail: Tail,
    },
    /// The frame was made for another journal, or another past of this one.
    #[error("cannot append at position {at}: the frame follows {previous:?}, and the journal ends with {:?}", tail.hash)]
    Unchained {
        /// The position.
        at: Position,
        /// What the frame says it follows.
        previous: Digest,
        /// Where the journal ends.
        tail: Tail,
    },
    /// The conflicting position could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Appends a frame that may be there already, from an attempt whose answer was lost: finding it in place is success.
pub fn append_once(journal: &mut dyn Journal, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
    match journal.append(at, frame) {
        Err(AppendError::Conflict { at, tail }) if at <= tail.position => {
            let there = journal.reader().read(at, 1)?;
            let own = there.first().is_some_and(|(position, there)| *position == at && there.hash == frame.hash());
            if own { Ok(()) } else { Err(AppendError::Conflict { at, tail }) }
        }
        answer => answer,
    }
}
