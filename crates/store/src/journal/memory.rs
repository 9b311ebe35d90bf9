//! A journal in memory, shared by its clones: one can be dropped and another opened, as after a crash.
//!
//! It does not know durability: what is appended stays as long as any clone or reader does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::Position;

use super::chain::{Chain, Kept};
use super::{AppendError, EncodedFrame, Frame, Journal, JournalReader, READ_BYTES_MAX, ReadError, Tail};

/// A journal in memory. Clones are the same journal.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    frames: Arc<Mutex<Vec<EncodedFrame>>>,
}

impl MemoryJournal {
    /// A journal without frames.
    pub fn new() -> Self {
        Self::default()
    }

    fn frames(&self) -> MutexGuard<'_, Vec<EncodedFrame>> {
        // Pushing is all that is done under the lock, so a panic elsewhere leaves the frames whole.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tail(frames: &[EncodedFrame]) -> Tail {
    frames.last().map_or(Tail::EMPTY, |frame| frame.tail_at(Position(frames.len() as u64)))
}

impl Journal for MemoryJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        let mut frames = self.frames();
        tail(&frames).admit(at, frame)?;
        frames.push(frame.clone());
        Ok(())
    }

    fn tail(&self) -> Tail {
        tail(&self.frames())
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        Box::new(self.clone())
    }
}

impl JournalReader for MemoryJournal {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        let frames = self.frames();
        let before = from.0.saturating_sub(1).min(frames.len() as u64) as usize;
        let mut chain = Chain::after(tail(&frames[..before]));
        let mut bytes_read = 0;
        for (index, frame) in frames.iter().enumerate().skip(before).take(frames_max) {
            bytes_read += frame.bytes().len();
            if bytes_read > READ_BYTES_MAX && index > before {
                break;
            }
            chain.push(Kept {
                position: Position(index as u64 + 1),
                hash: frame.hash(),
                bytes: frame.shared_bytes(),
            })?;
        }
        Ok(chain.finish())
    }
}
