//! A journal in memory, shared by its clones: one can be dropped and another opened, as after a crash.
//!
//! It does not know durability: what is appended stays as long as any clone or reader does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::Position;

use super::chain::{Chain, Kept};
use super::{AppendError, EncodedFrame, Frame, Journal, JournalReader, READ_BYTES_MAX, ReadError, StoreError, Tail};

/// A journal in memory. Clones are the same journal.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    frames: Arc<Mutex<Frames>>,
}

struct Frames {
    /// The last frame that was trimmed; the journal's beginning if none was.
    base: Tail,
    kept: VecDeque<EncodedFrame>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { base: Tail::EMPTY, kept: VecDeque::new() }
    }
}

impl Frames {
    /// The frame at the end of the first `count` that are kept.
    fn tail_of(&self, count: usize) -> Tail {
        let last = count.checked_sub(1).and_then(|last| self.kept.get(last));
        last.map_or(self.base, |frame| frame.tail_at(Position(self.base.position.0 + count as u64)))
    }

    fn tail(&self) -> Tail {
        self.tail_of(self.kept.len())
    }
}

impl MemoryJournal {
    /// A journal without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses the frames after a position, as a power cut does where a disk lies about what it has written.
    pub fn lose_after(&self, position: Position) {
        let mut frames = self.frames();
        let count = position.0.saturating_sub(frames.base.position.0);
        frames.kept.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        // What is done under the lock is done in one step, so a panic elsewhere leaves the frames whole.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        let mut frames = self.frames();
        frames.tail().admit(at, frame)?;
        frames.kept.push_back(frame.clone());
        Ok(())
    }

    fn tail(&self) -> Tail {
        self.frames().tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        let mut frames = self.frames();
        let count = through.0.saturating_sub(frames.base.position.0).min(frames.kept.len() as u64) as usize;
        frames.base = frames.tail_of(count);
        frames.kept.drain(..count);
        Ok(())
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        Box::new(self.clone())
    }
}

impl JournalReader for MemoryJournal {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        let frames = self.frames();
        let base = frames.base.position.0;
        let Some(before) = from.0.max(1).checked_sub(base + 1) else {
            return Err(ReadError::Trimmed { first: Position(base + 1) });
        };
        let before = before.min(frames.kept.len() as u64) as usize;
        let mut chain = Chain::after(frames.tail_of(before));
        let mut bytes_read = 0;
        for (index, frame) in frames.kept.iter().enumerate().skip(before).take(frames_max) {
            bytes_read += frame.bytes().len();
            if bytes_read > READ_BYTES_MAX && index > before {
                break;
            }
            chain.push(Kept {
                position: Position(base + index as u64 + 1),
                hash: frame.hash(),
                bytes: frame.shared_bytes(),
            })?;
        }
        Ok(chain.finish())
    }
}
