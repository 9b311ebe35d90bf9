//! A journal in memory, shared by its clones: one can be dropped and another opened, as after a crash.
//!
//! It does not know durability: what is appended stays as long as any clone or reader does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::Position;

use super::frames::Frames;
use super::{AppendError, EncodedFrame, Frame, Journal, JournalReader, ReadError, StoreError, Tail};

/// A journal in memory. Clones are the same journal.
#[derive(Clone)]
pub struct MemoryJournal {
    frames: Arc<Mutex<Frames>>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self { frames: Arc::new(Mutex::new(Frames::after(Tail::EMPTY))) }
    }
}

impl MemoryJournal {
    /// A journal without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses the frames after a position, as a power cut does where a disk lies about what it has written.
    pub fn lose_after(&self, position: Position) {
        self.frames().lose_after(position);
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        // What is done under the lock is done in one step, so a panic elsewhere leaves the frames whole.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        self.frames().append(at, frame)
    }

    fn tail(&self) -> Tail {
        self.frames().tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        self.frames().trim(through);
        Ok(())
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        Box::new(self.clone())
    }
}

impl JournalReader for MemoryJournal {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        let part = self.frames().part(from, frames_max)?;
        part.read()
    }

    fn read_recent(&self, from: Position, frames_max: usize) -> Result<Option<Vec<(Position, Frame)>>, ReadError> {
        self.read(from, frames_max).map(Some)
    }
}
