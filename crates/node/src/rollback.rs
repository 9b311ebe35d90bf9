//! Refuses peers that have seen more of the journal than there is: it was put back from an older copy, and what they
//! were told is not in it.
//!
//! It compares places and knows no event. The machine does not either: it is told neither positions nor hashes, and has
//! nothing to decide here.

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use convoke_core::{Position, Term};
use convoke_store::journal::Tail;
use convoke_wire::protocol;
use convoke_wire::seen::Seen;
use tonic::Status;

use crate::trouble::Trouble;

/// Where a coordinator took its journal over: at the end of one term it opened the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    /// The last term before, and the position that the journal ended at.
    before: (Term, Position),
    /// The frame that opened the term.
    opened: Seen,
}

/// A peer has seen what is not there.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "the journal was rolled back: {who} has seen term {}, position {}, and it ends at term {}, position {}",
    seen.term, seen.position, end.0, end.1
)]
pub(crate) struct RolledBack {
    who: String,
    seen: Seen,
    end: (Term, Position),
}

impl Takeover {
    /// Of a journal that ended at `before`, by a frame that now is its tail.
    pub(crate) fn new(before: (Term, Position), term: Term, tail: Tail) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = tail.hash.0;
        let opening = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Self { before, opened: Seen { term, opening, position: tail.position } }
    }

    /// What a peer has seen that is told of this position now.
    pub(crate) fn seen(&self, position: Position) -> Seen {
        Seen { position, ..self.opened }
    }

    /// Refuses a peer that has seen more than there was when the term began. Within the term nothing is told that is not
    /// durable, so that its opening frame alone says whether it was this journal.
    fn check(&self, who: &str, seen: Seen) -> Result<(), RolledBack> {
        let is_there = match seen.term.cmp(&self.opened.term) {
            Ordering::Less => seen.position <= self.before.1,
            Ordering::Equal => seen.opening == self.opened.opening,
            Ordering::Greater => false,
        };
        if is_there { Ok(()) } else { Err(RolledBack { who: who.to_owned(), seen, end: self.before }) }
    }
}

/// A takeover, as the services ask about it.
pub(crate) struct Rollback {
    pub(crate) takeover: Takeover,
    said: Mutex<Trouble>,
}

impl Rollback {
    pub(crate) fn new(takeover: Takeover) -> Self {
        Self { takeover, said: Mutex::default() }
    }

    /// Refuses a peer that has seen more than there is. It is said of one of them, each minute.
    pub(crate) fn admit(&self, who: &str, seen: Seen) -> Result<(), Status> {
        let Err(refusal) = self.takeover.check(who, seen) else { return Ok(()) };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_news("rolled back", Instant::now()) {
            tracing::error!(
                "{refusal}; restore the newer state directory, or begin anew with another --state; a worker that is started \
                 again forgets what it has seen"
            );
        }
        Err(protocol::rolled_back(refusal.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::Digest;

    use super::*;

    #[test]
    fn only_what_is_there_can_have_been_seen() {
        let tail = |byte| Tail { position: Position(701), hash: Digest([byte; 32]) };
        let takeover = Takeover::new((Term(4), Position(700)), Term(5), tail(1));
        let twin = Takeover::new((Term(4), Position(700)), Term(5), tail(2));
        let check = |seen| takeover.check("ann", seen).map_err(|refusal| refusal.to_string());
        let earlier = |term, position| Seen { term: Term(term), opening: 9, position: Position(position) };
        assert_eq!(check(Seen::default()), Ok(()), "who was told nothing is welcome");
        assert_eq!(check(takeover.seen(Position(812))), Ok(()), "it was told so by this coordinator");
        assert_eq!([check(earlier(4, 700)), check(earlier(3, 20))], [Ok(()), Ok(())]);
        let refused = |seen| check(seen).unwrap_err();
        assert_eq!(
            refused(twin.seen(Position(812))),
            "the journal was rolled back: ann has seen term 5, position 812, and it ends at term 4, position 700"
        );
        refused(twin.seen(Position(701)));
        refused(earlier(4, 701));
        refused(earlier(6, 2));
    }
}
