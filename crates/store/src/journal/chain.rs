//! The chain: stored frames become frames only if each follows from the one before.
//!
//! Backends hand in what they found; nothing here knows where it was kept.

use bytes::Bytes;
use convoke_core::{Digest, Position};
use convoke_proto::DecodeError;

use super::frame::FORMAT;
use super::{Frame, StoreError, Tail};

/// Why frames could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored is not what was written.
    #[error("the journal is damaged at position {position}: {damage}")]
    Damaged {
        /// Where.
        position: Position,
        /// How.
        damage: Damage,
    },
    /// A newer build wrote the frame.
    #[error(
        "the journal at position {position} was written by a newer version (format {format}; this build reads up to {FORMAT})"
    )]
    NewerFormat {
        /// Where.
        position: Position,
        /// The frame's format.
        format: u32,
    },
    /// Frames from there on went when the journal was trimmed.
    #[error("the journal begins at position {first}: what was before was trimmed")]
    Trimmed {
        /// The first frame that is kept, or the next one.
        first: Position,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a stored frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Damage {
    /// It is not there, and later ones are.
    #[error("the frame is missing")]
    Missing,
    /// Its bytes are not those that were written.
    #[error("the frame's bytes do not have its hash")]
    Hash,
    /// It follows another frame than the one that is before it.
    #[error("the frame does not follow the one before it")]
    Unchained,
    /// It is no protobuf.
    #[error("not a frame: {0}")]
    Malformed(prost::DecodeError),
    /// It lacks its format, the hash of the one before, or records.
    #[error("the frame is incomplete")]
    Incomplete,
    /// It is larger than any that is written.
    #[error("the frame has {bytes} bytes")]
    FrameTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A record is larger than any that is written.
    #[error("record {index} has {bytes} bytes")]
    RecordTooLarge {
        /// Its place in the frame.
        index: usize,
        /// Its size.
        bytes: usize,
    },
    /// A record is no event.
    #[error("record {index}: {source}")]
    Record {
        /// Its place in the frame.
        index: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// A frame as a backend keeps it: the hash beside the bytes vouches for the last one, which no other frame follows.
pub(super) struct Kept {
    pub position: Position,
    pub hash: Digest,
    pub bytes: Bytes,
}

/// Checks frames one after another.
pub(super) struct Chain {
    /// The last one that was found in order.
    last: Tail,
    frames: Vec<(Position, Frame)>,
}

impl Chain {
    /// The chain that goes on from `last`.
    pub fn after(last: Tail) -> Self {
        Self { last, frames: Vec::new() }
    }

    /// Adds the next frame.
    pub fn push(&mut self, kept: Kept) -> Result<(), ReadError> {
        let position = self.last.position.next();
        let damaged = |damage| Err(ReadError::Damaged { position, damage });
        if kept.position != position {
            return damaged(Damage::Missing);
        }
        let frame = Frame::decode(position, kept.bytes)?;
        if frame.hash != kept.hash {
            return damaged(Damage::Hash);
        }
        if frame.previous != self.last.hash {
            return damaged(Damage::Unchained);
        }
        self.last = Tail { position, hash: frame.hash };
        self.frames.push((position, frame));
        Ok(())
    }

    /// What was added, in order.
    pub fn finish(self) -> Vec<(Position, Frame)> {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::{Event, Term};

    use super::super::EncodedFrame;
    use super::*;

    fn kept(position: u64, frame: &EncodedFrame) -> Kept {
        Kept { position: Position(position), hash: frame.hash(), bytes: Bytes::copy_from_slice(frame.bytes()) }
    }

    fn frame(previous: Digest, wall_ms: u64) -> EncodedFrame {
        Frame::encode(previous, Term(1), wall_ms, &[Event::TermOpened { term: Term(1) }]).unwrap()
    }

    fn check(frames: impl IntoIterator<Item = Kept>) -> String {
        let mut chain = Chain::after(Tail::EMPTY);
        match frames.into_iter().try_for_each(|kept| chain.push(kept)) {
            Ok(()) => format!("{} frames", chain.finish().len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_an_unbroken_chain_is_read() {
        let first = frame(Tail::EMPTY.hash, 1);
        let second = frame(first.hash(), 2);
        let third = frame(second.hash(), 3);
        assert_eq!(check([kept(1, &first), kept(2, &second), kept(3, &third)]), "3 frames");
        assert_eq!(
            check([kept(1, &first), kept(3, &third)]),
            "the journal is damaged at position 2: the frame is missing"
        );
        assert_eq!(
            check([kept(1, &first), kept(2, &third)]),
            "the journal is damaged at position 2: the frame does not follow the one before it"
        );
        assert_eq!(
            check([kept(1, &second)]),
            "the journal is damaged at position 1: the frame does not follow the one before it"
        );
    }

    #[test]
    fn the_last_frame_is_vouched_for_too() {
        let first = frame(Tail::EMPTY.hash, 1);
        let forged = Kept { hash: first.hash(), ..kept(1, &frame(Tail::EMPTY.hash, 2)) };
        assert_eq!(check([forged]), "the journal is damaged at position 1: the frame's bytes do not have its hash");
    }
}
