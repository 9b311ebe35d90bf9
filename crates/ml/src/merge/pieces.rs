//! The coordinates of a version in pieces, which threads take by turns: each reads its piece of the base and of every delta,
//! and whoever writes takes the pieces in order.
//!
//! What a piece holds does not depend on who made it. It does not know where the version goes.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::check::Tensor;
use super::rule::{Block, Delta};
use super::{Buffers, Effort, MergeError, MergeRule, ReadAt, Version};
use crate::elements::{self, coordinate_bytes, delta_dtype};
use crate::model::is_standardization;
use crate::tensor_file::TensorFileError;

/// Coordinates in a piece: some MB of most models. A smaller model is one piece, and no thread begins for it.
pub(super) const COORDINATES: u64 = 1 << 20;
/// How many pieces of each thread wait to be written, beside the one that it makes.
const WAITING_MAX: usize = 1;

/// A merge of deltas whose headers fit.
pub(super) struct Merging<'a> {
    pub(super) effort: Effort,
    pub(super) rule: MergeRule,
    pub(super) base: &'a dyn ReadAt,
    /// The base's, in file order.
    pub(super) tensors: &'a [Tensor<'a>],
    pub(super) deltas: &'a [Delta<'a>],
    /// Whether the base is a model of ours, of which the standardisation is no parameter: what deltas say of it means nothing.
    pub(super) is_model: bool,
    /// Whether every value of the deltas is known to be finite.
    pub(super) are_checked: bool,
}

/// Why the version is not written.
pub(super) enum Halt {
    /// Something came out that is not finite, and the deltas have yet to be checked.
    NotFinite,
    Error(MergeError),
}

impl From<MergeError> for Halt {
    fn from(error: MergeError) -> Self {
        Self::Error(error)
    }
}

/// Where a piece begins.
#[derive(Clone, Copy)]
struct Place {
    tensor: usize,
    first: u64,
}

/// What a block takes.
struct Room {
    buffers: Buffers,
    update: Vec<f64>,
}

type Made = Result<Vec<u8>, Halt>;

impl Merging<'_> {
    /// Writes everything behind the header.
    pub(super) fn write(&self, version: &mut dyn Version) -> Result<(), Halt> {
        let pieces = self.pieces();
        let threads = self.effort.threads(pieces.len());
        if threads < 2 {
            let (mut room, mut bytes) = (self.room(), Vec::new());
            for piece in pieces {
                self.make(piece, &mut room, &mut bytes)?;
                version.write_all(&bytes).map_err(MergeError::Write)?;
            }
            return Ok(());
        }
        std::thread::scope(|scope| {
            let (pieces, mut makers) = (&pieces, Vec::new());
            for number in 0..threads {
                let (made, waiting) = sync_channel(WAITING_MAX);
                let (written, used) = channel();
                let own = pieces.iter().skip(number).step_by(threads).copied();
                scope.spawn(move || self.make_all(own, &made, &used));
                makers.push((waiting, written));
            }
            take_in_turn(&makers, pieces.len(), version)
        })
    }

    /// Makes a thread's pieces; it ends early where nobody takes them any more.
    fn make_all(&self, pieces: impl Iterator<Item = Place>, made: &SyncSender<Made>, used: &Receiver<Vec<u8>>) {
        let mut room = self.room();
        for piece in pieces {
            // Memory that was written to before costs less than new memory.
            let mut bytes = used.try_recv().unwrap_or_default();
            let piece = self.make(piece, &mut room, &mut bytes).map(|()| bytes);
            if made.send(piece).is_err() {
                return;
            }
        }
    }

    /// Leaves a piece's bytes in `bytes`.
    fn make(&self, from: Place, room: &mut Room, bytes: &mut Vec<u8>) -> Result<(), Halt> {
        let (mut left, mut filled) = (self.effort.piece_coordinates, 0);
        for (t, (_, place)) in self.tensors.iter().enumerate().skip(from.tensor) {
            let mut first = if t == from.tensor { from.first } else { 0 };
            let size = coordinate_bytes(place.dtype);
            while first < place.coordinates() && left > 0 {
                let count = left.min(place.coordinates() - first).min(self.effort.block_coordinates as u64);
                let end = filled + count as usize * size;
                if bytes.len() < end {
                    bytes.resize(end.max(left as usize * size), 0);
                }
                self.make_block(t, first, count as usize, room, &mut bytes[filled..end])?;
                (filled, first, left) = (end, first + count, left - count);
            }
        }
        bytes.truncate(filled);
        Ok(())
    }

    fn make_block(&self, t: usize, first: u64, count: usize, room: &mut Room, merged: &mut [u8]) -> Result<(), Halt> {
        let (name, place) = self.tensors[t];
        let dtype = delta_dtype(place.dtype).filter(|_| !(self.is_model && is_standardization(name)));
        let Room { buffers, update } = room;
        let update = &mut update[..count];
        if let Some(dtype) = dtype {
            let block = Block { deltas: self.deltas, tensor: t, dtype, first };
            self.rule.combine(&block, buffers, update)?;
        }
        let base = buffers.read(self.base, place.dtype, place.start, first, count).map_err(MergeError::ReadBase)?;
        if dtype.is_none() {
            merged.copy_from_slice(base);
            return Ok(());
        }
        if !self.are_checked && !update.iter().fold(true, |all, value| all & value.is_finite()) {
            return Err(Halt::NotFinite);
        }
        elements::add(place.dtype, base, update, merged).map_err(|(at, value)| match self.are_checked {
            true => MergeError::NotFinite(TensorFileError::not_finite(name, first, at, value)).into(),
            // A delta may be to blame that is refused, and then the sum is another.
            false => Halt::NotFinite,
        })
    }

    /// Where the pieces begin.
    fn pieces(&self) -> Vec<Place> {
        let (mut pieces, mut left) = (Vec::new(), 0);
        for (tensor, (_, place)) in self.tensors.iter().enumerate() {
            let mut first = 0;
            while first < place.coordinates() {
                if left == 0 {
                    pieces.push(Place { tensor, first });
                    left = self.effort.piece_coordinates;
                }
                let count = left.min(place.coordinates() - first);
                (first, left) = (first + count, left - count);
            }
        }
        pieces
    }

    fn room(&self) -> Room {
        let block_coordinates = self.effort.block_coordinates;
        Room { buffers: Buffers::new(block_coordinates), update: vec![0.0; block_coordinates] }
    }
}

/// Writes what the threads make, whose first pieces are the first, and gives them the memory back.
fn take_in_turn(
    makers: &[(Receiver<Made>, Sender<Vec<u8>>)],
    pieces: usize,
    version: &mut dyn Version,
) -> Result<(), Halt> {
    for (waiting, written) in makers.iter().cycle().take(pieces) {
        // A maker that is gone has panicked, which its scope passes on.
        let Ok(made) = waiting.recv() else { return Ok(()) };
        let bytes = made?;
        version.write_all(&bytes).map_err(MergeError::Write)?;
        // It may have made its last.
        drop(written.send(bytes));
    }
    Ok(())
}
