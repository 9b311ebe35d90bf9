//! Frames in memory, one after another, each following the one before.
//!
//! Whether there are others before them, on a disk, it does not know.

use std::collections::VecDeque;

use convoke_core::Position;

use super::chain::{Chain, Kept};
use super::{AppendError, EncodedFrame, Frame, READ_BYTES_MAX, ReadError, Tail};

/// Some of them, to be read.
pub(super) struct Part {
    before: Tail,
    frames: Vec<EncodedFrame>,
}

/// Frames, and what they follow.
pub(super) struct Frames {
    /// The frame before the first.
    base: Tail,
    kept: VecDeque<EncodedFrame>,
    bytes: usize,
}

impl Frames {
    /// None yet, after this one.
    pub(super) fn after(base: Tail) -> Self {
        Self { base, kept: VecDeque::new(), bytes: 0 }
    }

    /// The last frame.
    pub(super) fn tail(&self) -> Tail {
        self.tail_of(self.kept.len())
    }

    /// Adds a frame at the position after the last.
    pub(super) fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        self.tail().admit(at, frame)?;
        self.bytes += frame.bytes().len();
        self.kept.push_back(frame.clone());
        Ok(())
    }

    /// Lets the first frames go, up to a position.
    pub(super) fn trim(&mut self, through: Position) {
        while self.base.position < through && self.forget_first() {}
    }

    /// Lets the first frames go until so many are left that have at most so many bytes.
    pub(super) fn keep(&mut self, frames_max: usize, bytes_max: usize) {
        while (self.kept.len() > frames_max || self.bytes > bytes_max) && self.forget_first() {}
    }

    /// Loses the frames after a position.
    pub(super) fn lose_after(&mut self, position: Position) {
        let count = position.0.saturating_sub(self.base.position.0);
        self.kept.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        self.bytes = self.kept.iter().map(|frame| frame.bytes().len()).sum();
    }

    /// What [`JournalReader::read`](super::JournalReader::read) reads. Whoever holds these for others need not do so while it is
    /// read.
    pub(super) fn part(&self, from: Position, frames_max: usize) -> Result<Part, ReadError> {
        let base = self.base.position.0;
        let Some(before) = from.0.max(1).checked_sub(base + 1) else {
            return Err(ReadError::Trimmed { first: Position(base + 1) });
        };
        let before = before.min(self.kept.len() as u64) as usize;
        let mut bytes_read = 0;
        let fits = |frame: &&EncodedFrame| {
            let is_first = bytes_read == 0;
            bytes_read += frame.bytes().len();
            is_first || bytes_read <= READ_BYTES_MAX
        };
        let frames = self.kept.iter().skip(before).take(frames_max).take_while(fits).cloned().collect();
        Ok(Part { before: self.tail_of(before), frames })
    }

    /// The frame at the end of the first `count`.
    fn tail_of(&self, count: usize) -> Tail {
        let last = count.checked_sub(1).and_then(|last| self.kept.get(last));
        last.map_or(self.base, |frame| frame.tail_at(Position(self.base.position.0 + count as u64)))
    }

    fn forget_first(&mut self) -> bool {
        let Some(first) = self.kept.pop_front() else { return false };
        self.base = first.tail_at(self.base.position.next());
        self.bytes -= first.bytes().len();
        true
    }
}

impl Part {
    /// The frames, checked link by link.
    pub(super) fn read(self) -> Result<Vec<(Position, Frame)>, ReadError> {
        let mut chain = Chain::after(self.before);
        let mut position = self.before.position;
        for frame in self.frames {
            position = position.next();
            chain.push(Kept { position, hash: frame.hash(), bytes: frame.shared_bytes() })?;
        }
        Ok(chain.finish())
    }
}
