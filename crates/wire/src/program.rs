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
    Adam, Average, Collect, Combine, Command, Count, Descent, Entry, Feed, File, Files, FullBatch, Manifest, Mean,
    Measured, Merge, Moments, Number, Piece, Predict, Range, Residuals, Results, ResultsPage, ResultsPageEntry,
    Schedule, Sgd, Standardize, Step, StepMeasure, StepTrain, Train, Unit, Variable, Wasm,
};

/// The most bytes of a manifest: some two hundred thousand entries.
pub const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most bytes of a page of results.
pub const RESULTS_PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

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
    /// A payload cannot be read.
    #[error("entry {index}: {source}")]
    Payload {
        /// The entry's place.
        index: u32,
        /// Why.
        source: convoke_proto::DecodeError,
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
    /// A number is not in its range.
    #[error("{field} is {found}, expected {expected}")]
    Number {
        /// The message and its field.
        field: &'static str,
        /// As given.
        found: f64,
        /// What it should be.
        expected: &'static str,
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
        digest(index, &entry.digest)
    }

    /// All entries' blobs.
    pub fn blobs(&self) -> Result<Vec<Digest>, ProgramError> {
        digests(self.entries.iter().map(|entry| &entry.digest))
    }
}

impl Files {
    /// The files' blobs.
    pub fn blobs(&self) -> Result<Vec<Digest>, ProgramError> {
        digests(self.files.iter().map(|file| &file.digest))
    }
}

impl Command {
    /// The blobs of the files that lie in its working directory.
    pub fn blobs(&self) -> Result<Vec<Digest>, ProgramError> {
        digests(self.files.iter().map(|file| &file.digest))
    }
}

impl Wasm {
    /// The module's blob.
    pub fn module_digest(&self) -> Result<Digest, ProgramError> {
        digest(0, &self.module)
    }
}

impl Results {
    /// The pages' blobs.
    pub fn page_blobs(&self) -> Result<Vec<Digest>, ProgramError> {
        digests(self.pages.iter().map(|page| &page.digest))
    }

    /// The pages' blobs, each with the place of its first result.
    pub fn starts(&self) -> Result<Vec<(u32, Digest)>, ProgramError> {
        let starts = self.pages.iter().scan(0_u32, |start, page| {
            let first = *start;
            *start = start.saturating_add(page.results);
            Some(first)
        });
        Ok(starts.zip(self.page_blobs()?).collect())
    }

    /// How many results there are.
    pub fn count(&self) -> u64 {
        let rest = self.rest.as_ref().map_or(0, |page| page.results.len() as u64);
        self.pages.iter().map(|page| u64::from(page.results)).sum::<u64>() + rest
    }
}

/// What a task brought, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The task's place.
    pub index: u32,
    /// Its result.
    pub result: Payload,
    /// How many bytes that has.
    pub bytes: u64,
    /// A list of the files that it left.
    pub files: Option<Payload>,
    /// The end of what it wrote to its log.
    pub log: Option<Payload>,
}

impl v1::Result {
    /// As values.
    pub fn brought(&self) -> Result<Brought, ProgramError> {
        let value = |payload: &convoke_proto::v1::Payload| -> Result<Payload, ProgramError> {
            payload.clone().try_into().map_err(|source| ProgramError::Payload { index: self.index, source })
        };
        let result = self.result.as_ref().ok_or(ProgramError::Missing { field: "Result.result" })?;
        Ok(Brought {
            index: self.index,
            result: value(result)?,
            bytes: self.bytes,
            files: self.files.as_ref().map(value).transpose()?,
            log: self.log.as_ref().map(value).transpose()?,
        })
    }
}

impl From<&Brought> for v1::Result {
    fn from(brought: &Brought) -> Self {
        Self {
            index: brought.index,
            result: Some((&brought.result).into()),
            files: brought.files.as_ref().map(Into::into),
            log: brought.log.as_ref().map(Into::into),
            bytes: brought.bytes,
        }
    }
}

fn digests<'a>(all: impl Iterator<Item = &'a Vec<u8>>) -> Result<Vec<Digest>, ProgramError> {
    (0..).zip(all).map(|(index, bytes)| digest(index, bytes)).collect()
}

fn digest(index: u32, bytes: &[u8]) -> Result<Digest, ProgramError> {
    <[u8; 32]>::try_from(bytes).map(Digest).map_err(|_| ProgramError::Digest { index, bytes: bytes.len() })
}
