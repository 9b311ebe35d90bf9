//! Merging: a new model version from the round's base and the tasks' deltas, file to file.
//! A rule sees the same range of coordinates of every delta, in task order, a block at a time,
//! and accumulates in f64; threads take a piece of the coordinates each, and memory is some pieces and the headers,
//! however large the model and however many the deltas.
//! It does not know where files lie nor who made the deltas, and any safetensors file will do as
//! a model (what becomes of which type is in `elements`).

mod base;
mod check;
mod pieces;
mod read_at;
mod rule;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use crate::elements::coordinate_bytes;
use crate::model_file::MODEL_FORMAT;
use crate::tensor_file::{Dtype, TensorFile, TensorFileError};
use pieces::{Halt, Merging};

pub use base::{BaseError, check_base};
pub use read_at::ReadAt;
pub use rule::MergeRule;

/// Coordinates in a block: what a processor has at hand while it goes through the deltas.
const BLOCK_COORDINATES: usize = 8192;
/// The most bytes of an element that can be trained, in a base or a delta.
const ELEMENT_BYTES_MAX: usize = 8;

/// The most samples that one delta may claim; keeps sums of claims exact.
pub const SAMPLES_MAX: u64 = 1 << 40;

/// One task's delta and the number of samples it stands for.
#[derive(Clone, Copy)]
pub struct Contribution<'a> {
    /// A safetensors file with those of the base's tensors that can be trained, in any order.
    pub delta: &'a dyn ReadAt,
    /// Samples that the delta was trained on.
    pub samples: u64,
}

/// Why a delta takes no part in a merge.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RefusalReason {
    /// Trained on nothing.
    #[error("it stands for 0 samples")]
    NoSamples,
    /// More samples than anybody has.
    #[error("it claims {samples} samples, more than {SAMPLES_MAX}")]
    TooManySamples {
        /// The claim.
        samples: u64,
    },
    /// Not a file of changes of the base's tensors, all of them finite.
    #[error(transparent)]
    File(#[from] TensorFileError),
}

/// A delta that took no part.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Its position among the contributions.
    pub position: usize,
    /// Why.
    pub reason: RefusalReason,
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Samples of all deltas that took part.
    pub samples: u64,
    /// How many deltas took part.
    pub accepted: usize,
    /// Those that did not, in order.
    pub refused: Vec<Refused>,
}

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The base cannot be read.
    #[error("cannot read the base: {0}")]
    ReadBase(#[source] io::Error),
    /// The base is not a safetensors file.
    #[error("the base cannot be merged into: {0}")]
    Base(#[source] TensorFileError),
    /// A delta cannot be read: the storage's fault, not the delta's.
    #[error("cannot read delta {position}: {source}")]
    ReadDelta {
        /// Its position among the contributions.
        position: usize,
        /// What the storage says.
        source: io::Error,
    },
    /// The new version cannot be written.
    #[error("cannot write the new version: {0}")]
    Write(#[source] io::Error),
    /// Every delta was refused, or there was none.
    #[error("all {} deltas were refused{}", refused.len(), first_reason(refused))]
    AllRefused {
        /// All of them, in order.
        refused: Vec<Refused>,
    },
    /// A sum is too large for its type, or the base holds NaN.
    #[error("the merged version is not finite: {0}")]
    NotFinite(#[source] TensorFileError),
}

fn first_reason(refused: &[Refused]) -> String {
    refused.first().map_or(String::new(), |first| format!(", number {} because: {}", first.position, first.reason))
}

/// Where a new version goes.
pub trait Version: Write {
    /// Forgets what was written: another begins.
    fn begin_again(&mut self) -> io::Result<()>;
}

impl Version for Vec<u8> {
    fn begin_again(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// How a merge goes about it; the version's bytes do not depend on it.
#[derive(Clone, Copy)]
struct Effort {
    /// Coordinates in a block.
    block_coordinates: usize,
    /// Coordinates in a piece.
    piece_coordinates: u64,
    /// How many threads take pieces; one for each core where it is `None`.
    threads: Option<usize>,
}

impl Effort {
    /// How many threads take so many pieces. To ask for the cores takes as long as a small merge.
    fn threads(self, pieces: usize) -> usize {
        if pieces < 2 {
            return 1;
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores).min(pieces)
    }
}

/// Writes base + the rule's combination of the deltas to `version`: the base's header verbatim,
/// then its tensors.
///
/// Sums are f64 in the order of `contributions`, rounded once to each tensor's type, integers' to
/// the nearest and half away from zero; the same contributions in the same order give the same bytes, whatever the number
/// of threads, of which a large model takes one for each core. After an error `version` holds an unfinished file.
pub fn merge(
    rule: MergeRule,
    base: &dyn ReadAt,
    contributions: &[Contribution<'_>],
    version: &mut dyn Version,
) -> Result<Merged, MergeError> {
    let (block_coordinates, piece_coordinates) = (BLOCK_COORDINATES, pieces::COORDINATES);
    let effort = Effort { block_coordinates, piece_coordinates, threads: None };
    merge_with(effort, rule, base, contributions, version)
}

fn merge_with(
    effort: Effort,
    rule: MergeRule,
    base: &dyn ReadAt,
    contributions: &[Contribution<'_>],
    version: &mut dyn Version,
) -> Result<Merged, MergeError> {
    let layout = TensorFile::read(base).map_err(MergeError::ReadBase)?.map_err(MergeError::Base)?;
    let tensors = layout.in_file_order();
    let (mut deltas, mut refused) = check::accept(&layout, &tensors, contributions)?;
    let is_model = layout.metadata.get("format").is_some_and(|format| format == MODEL_FORMAT);
    let mut are_checked = false;
    loop {
        if deltas.is_empty() {
            return Err(MergeError::AllRefused { refused });
        }
        version.write_all(&layout.header).map_err(MergeError::Write)?;
        let merging = Merging { effort, rule, base, tensors: &tensors, deltas: &deltas, is_model, are_checked };
        match merging.write(version) {
            Ok(()) => break,
            Err(Halt::Error(error)) => return Err(error),
            Err(Halt::NotFinite) => {
                refused.extend(check::refuse_not_finite(&tensors, &mut deltas, effort.block_coordinates)?);
                refused.sort_by_key(|refused| refused.position);
                are_checked = true;
                version.begin_again().map_err(MergeError::Write)?;
            }
        }
    }
    let samples = deltas.iter().map(|delta| delta.samples).fold(0, u64::saturating_add);
    Ok(Merged { samples, accepted: deltas.len(), refused })
}

/// A buffer for a block of any type on its way in.
struct Buffers {
    bytes: Vec<u8>,
    block_coordinates: usize,
}

impl Buffers {
    fn new(block_coordinates: usize) -> Buffers {
        Buffers { bytes: vec![0; block_coordinates * ELEMENT_BYTES_MAX], block_coordinates }
    }

    fn block_coordinates(&self) -> usize {
        self.block_coordinates
    }

    /// Reads `count` coordinates of the tensor that starts at byte `start`, from its coordinate `first` on.
    fn read(&mut self, source: &dyn ReadAt, dtype: Dtype, start: u64, first: u64, count: usize) -> io::Result<&[u8]> {
        let bytes = &mut self.bytes[..count * coordinate_bytes(dtype)];
        source.read_exact_at(start + first * coordinate_bytes(dtype) as u64, bytes)?;
        Ok(bytes)
    }
}
