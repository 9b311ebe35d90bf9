//! How far a peer was told that the journal had come: it presents that when it comes back.
//!
//! What follows when a coordinator's journal ends before is the coordinator's.

use convoke_core::{Position, Term};

use crate::v1;

/// A place in a journal that a coordinator has told of. The default is that of a peer that was told nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The coordinator's term.
    pub term: Term,
    /// Of the frame that opened the term, the hash's first eight bytes: a journal and an older copy of it may both come to
    /// have a term of this number.
    pub opening: u64,
    /// The last frame's position.
    pub position: Position,
}

impl From<Seen> for v1::Seen {
    fn from(seen: Seen) -> Self {
        Self { term: seen.term.0, opening: seen.opening, position: seen.position.0 }
    }
}

impl From<v1::Seen> for Seen {
    fn from(seen: v1::Seen) -> Self {
        Self { term: Term(seen.term), opening: seen.opening, position: Position(seen.position) }
    }
}
