//! Merging: a new model version from the round's base and the tasks' deltas, file to file.
//! A rule sees the same range of coordinates of every delta, in task order, a block at a time,
//! and accumulates in f64; memory
//! is a block and the headers, however large the model and however many the deltas.
//! It does not know where files lie nor who made the deltas, and any safetensors file will do as
//! a model (what becomes of which type is in `elements`).

mod base;
mod check;
mod read_at;
mod rule;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use crate::elements::{self, coordinate_bytes, delta_dtype};
use crate::tensor_file::{Dtype, TensorFile, TensorFileError};
use rule::Block;

pub use base::{BaseError, check_base};
pub use read_at::ReadAt;
pub use rule::MergeRule;

/// Coordinates in a block.
const BLOCK_COORDINATES: usize = 4096;

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

/// Writes base + the rule's combination of the deltas to `version`: the base's header verbatim,
/// then its tensors.
///
/// Sums are f64 in the order of `contributions`, rounded once to each tensor's type, integers' to
/// the nearest and half away from zero; the same contributions in the same order give the same bytes. After an error `version` holds an unfinished file.
pub fn merge(
    rule: MergeRule,
    base: &dyn ReadAt,
    contributions: &[Contribution<'_>],
    version: &mut dyn Write,
) -> Result<Merged, MergeError> {
    merge_in_blocks(rule, base, contributions, version, BLOCK_COORDINATES)
}

fn merge_in_blocks(
    rule: MergeRule,
    base: &dyn ReadAt,
    contributions: &[Contribution<'_>],
    version: &mut dyn Write,
    block_coordinates: usize,
) -> Result<Merged, MergeError> {
    let layout = TensorFile::read(base).map_err(MergeError::ReadBase)?.map_err(MergeError::Base)?;
    let tensors = layout.in_file_order();
    let (deltas, refused) = check::accept(&layout, &tensors, contributions, block_coordinates)?;
    if deltas.is_empty() {
        return Err(MergeError::AllRefused { refused });
    }
    version.write_all(&layout.header).map_err(MergeError::Write)?;

    let mut update = vec![0.0; block_coordinates];
    let mut buffers = Buffers::new(block_coordinates);
    for (t, (name, place)) in tensors.iter().enumerate() {
        let delta_dtype = delta_dtype(place.dtype);
        for (first, count) in place.blocks(block_coordinates) {
            let update = &mut update[..count];
            if let Some(dtype) = delta_dtype {
                rule.combine(&Block { deltas: &deltas, tensor: t, dtype, first }, &mut buffers, update)?;
            }
            let merged = buffers.read(base, place.dtype, place.start, first, count).map_err(MergeError::ReadBase)?;
            if delta_dtype.is_some() {
                elements::add(place.dtype, merged, update).map_err(|(at, value)| {
                    MergeError::NotFinite(TensorFileError::not_finite(name, first, at, value))
                })?;
            }
            version.write_all(merged).map_err(MergeError::Write)?;
        }
    }
    let samples = deltas.iter().map(|delta| delta.samples).fold(0, u64::saturating_add);
    Ok(Merged { samples, accepted: deltas.len(), refused })
}

/// Buffers for a block of any type on its way in or out.
struct Buffers {
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl Buffers {
    fn new(block_coordinates: usize) -> Buffers {
        Buffers { bytes: vec![0; block_coordinates * size_of::<f64>()], values: vec![0.0; block_coordinates] }
    }

    fn block_coordinates(&self) -> usize {
        self.values.len()
    }

    /// Reads `count` coordinates of the tensor that starts at byte `start`, from its coordinate `first` on.
    fn read(
        &mut self,
        source: &dyn ReadAt,
        dtype: Dtype,
        start: u64,
        first: u64,
        count: usize,
    ) -> io::Result<&mut [u8]> {
        let bytes = &mut self.bytes[..count * coordinate_bytes(dtype)];
        source.read_exact_at(start + first * coordinate_bytes(dtype) as u64, bytes)?;
        Ok(bytes)
    }

    /// The same as values, of a delta.
    fn read_values(
        &mut self,
        source: &dyn ReadAt,
        dtype: Dtype,
        start: u64,
        first: u64,
        count: usize,
    ) -> io::Result<&[f64]> {
        self.read(source, dtype, start, first, count)?;
        let values = &mut self.values[..count];
        elements::delta_values(dtype, &self.bytes, values);
        Ok(values)
    }
}
