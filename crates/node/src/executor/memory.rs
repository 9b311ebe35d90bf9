//! Memory for large results, used again: where a system hands out new memory page by page, each set to zero, that takes
//! longer than to fill it.
//!
//! What is in it, nobody reads who has not written it. How large a result is it does not know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// How many pieces are kept: as many as results were made at a time, but no more.
const KEPT_MAX: usize = 4;
/// A smaller result is copied, so that its piece is free at once.
const SMALL_BYTES: usize = 1 << 20;

/// Pieces of memory that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Vec<Vec<u8>>>);

/// A piece that somebody uses; it comes back when all have let go of it.
#[derive(Debug)]
pub(super) struct Lent {
    bytes: Vec<u8>,
    memory: Arc<Memory>,
}

impl Memory {
    /// Lends a piece, which may hold anything.
    pub(super) fn lend(self: &Arc<Self>) -> Lent {
        Lent { bytes: self.kept().pop().unwrap_or_default(), memory: self.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Whole pieces come and go, so that a panic elsewhere leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// To be filled.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl From<Lent> for Bytes {
    fn from(lent: Lent) -> Self {
        if lent.bytes.len() < SMALL_BYTES { Self::copy_from_slice(&lent.bytes) } else { Self::from_owner(lent) }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.memory.kept();
        if kept.len() < KEPT_MAX && !self.bytes.is_empty() {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_when_all_have_let_go_of_it() {
        let memory = Arc::new(Memory::default());
        let mut lent = memory.lend();
        lent.bytes().resize(SMALL_BYTES, 7);
        let result = Bytes::from(lent);
        let part = result.slice(1..2);
        drop(result);
        assert_eq!((memory.kept().len(), &part[..]), (0, &[7][..]));
        drop(part);
        assert_eq!(memory.kept().len(), 1);
        let mut lent = memory.lend();
        lent.bytes().truncate(10);
        let small = Bytes::from(lent);
        assert_eq!((memory.kept().len(), small.len()), (1, 10));
    }
}
