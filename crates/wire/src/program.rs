//! Programs, manifests and ways to combine, as payloads: encoding them, and reading what a peer wrote.
//!
//! Core carries these payloads unread; what they make an executor do is for `convoke-node`.

use convoke_core::{Digest, Payload, TASKS_MAX};
/// What every program is: a message of protobuf.
pub use prost::Message;

use crate::items::{PIECE_BLOB_BYTES_MAX, PIECE_ITEMS_MAX};

/// The messages of `program.proto`, as generated: their comments are there.
#[allow(missing_docs, reason = "generated")]
#[allow(clippy::all, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("convoke.program.v1");
}

pub use v1::{
    Average, Collect, Combine, Command, Count, Entry, Feed, File, Files, FullBatch, Manifest, Mean, Measured, Merge,
    Number, Piece, Predict, Range, Results, ResultsPage, ResultsPageEntry, Step, StepMeasure, StepTrain, Train, Unit,
    Variable, Wasm,
};

/// The most bytes of a manifest: some two hundred thousand entries.
pub const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A program or manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The bytes are no such message.
    #[error("not a {what}: {source}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What protobuf says.
        source: prost::DecodeError,
    },
    /// A program is always in place.
    #[error("a {what} has to be in place, not a blob")]
    NotInline {
        /// What was expected.
        what: &'static str,
    },
    /// A part is not there, or is of a kind that only a newer build knows.
    #[error("{field} is missing or of an unknown kind")]
    Missing {
        /// The message and its field.
        field: &'static str,
    },
    /// There is no such entry.
    #[error("the manifest has {entries} entries, none for task {index}")]
    NoEntry {
        /// The task's place.
        index: u32,
        /// How many there are.
        entries: usize,
    },
    /// An entry's digest is not 32 bytes.
    #[error("entry {index}: a digest has 32 bytes, not {bytes}")]
    Digest {
        /// The entry's place.
        index: u32,
        /// As given.
        bytes: usize,
    },
    /// There is no such item.
    #[error("the manifest has {items} items, none for task {index}")]
    NoItem {
        /// The task's place.
        index: u32,
        /// How many there are.
        items: u32,
    },
    /// There are more items than a stage has tasks.
    #[error("the manifest has more than {TASKS_MAX} items")]
    TooManyItems,
    /// An entry claims more items than a piece holds.
    #[error("entry {index}: a piece holds at most {PIECE_ITEMS_MAX} items, not {items}")]
    PieceItems {
        /// The entry's place.
        index: u32,
        /// As given.
        items: u32,
    },
    /// A blob is larger than a piece may be.
    #[error("a piece has at most {PIECE_BLOB_BYTES_MAX} bytes, not {bytes}")]
    PieceTooLarge {
        /// The blob's.
        bytes: usize,
    },
    /// A piece holds other items than its entry says.
    #[error("a piece holds {found} items, and {expected} are expected")]
    PieceCount {
        /// How many it holds.
        found: usize,
        /// How many its entry says.
        expected: u32,
    },
    /// A piece's sizes are not those of its data.
    #[error("a piece's items have {sum} bytes together, and it has {bytes}")]
    PieceSizes {
        /// The sizes, added up.
        sum: u64,
        /// The data's.
        bytes: usize,
    },
    /// An integer is too large.
    #[error("the range has no integer for task {index}")]
    RangeEnds {
        /// The task's place.
        index: u32,
    },
}

/// A message's bytes.
pub fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// A small message as a payload in place. None of them comes near the limit.
pub fn inline(message: &impl Message) -> Payload {
    Payload::inline(&encode(message)).expect("a program is a few numbers")
}

/// Reads a message that has to be in place.
pub fn read<M: Message + Default>(what: &'static str, payload: &Payload) -> Result<M, ProgramError> {
    let bytes = payload.as_inline().ok_or(ProgramError::NotInline { what })?;
    read_bytes(what, bytes)
}

/// Reads a message.
pub fn read_bytes<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, ProgramError> {
    M::decode(bytes).map_err(|source| ProgramError::Malformed { what, source })
}

impl Manifest {
    /// The `index`-th entry's blob.
    pub fn blob(&self, index: u32) -> Result<Digest, ProgramError> {
        let entries = self.entries.len();
        let entry = self.entries.get(index as usize).ok_or(ProgramError::NoEntry { index, entries })?;
        let digest = <[u8; 32]>::try_from(entry.digest.as_slice());
        digest.map(Digest).map_err(|_| ProgramError::Digest { index, bytes: entry.digest.len() })
    }
}
