//! Merging: a new model version from the round's base and the tasks' deltas, file to file.
//! A rule sees the same range of coordinates of every delta, in task order, a block at a time,
//! and accumulates in f64; memory
//! is a block and the headers, however large the model and however many the deltas.
//! It does not know where files lie nor who made the deltas, and any model in F32 safetensors
//! will do.

mod check;
mod read_at;
mod rule;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use crate::tensor_file::{TensorFile, TensorFileError, TensorPlace, check_finite, f32_values};
use rule::Block;

pub use read_at::ReadAt;
pub use rule::MergeRule;

/// Coordinates in a block.
const BLOCK_COORDINATES: usize = 4096;

/// The most samples that one delta may claim; keeps sums of claims exact.
pub const SAMPLES_MAX: u64 = 1 << 40;

/// One task's delta and the number of samples it stands for.
#[derive(Clone, Copy)]
pub struct Contribution<'a> {
    /// A safetensors file with the base's tensors, in any order.
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
    /// Not a file of the base's tensors with finite values.
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
    /// The base is not a safetensors file of F32 tensors.
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
    /// A sum is too large for F32, or the base is not finite itself.
    #[error("the merged version is not finite: {0}")]
    NotFinite(#[source] TensorFileError),
}

fn first_reason(refused: &[Refused]) -> String {
    refused.first().map_or(String::new(), |first| format!(", number {} because: {}", first.position, first.reason))
}

/// Writes base + the rule's combination of the deltas to `version`: the base's header verbatim,
/// then its tensors.
///
/// Sums are f64 in the order of `contributions`, rounded once to f32; the same contributions in
/// the same order give the same bytes. After an error `version` holds an unfinished file.
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
    let tensors = check::in_file_order(&layout)?;
    let (deltas, refused) = check::accept(&layout, &tensors, contributions, block_coordinates)?;
    if deltas.is_empty() {
        return Err(MergeError::AllRefused { refused });
    }
    version.write_all(&layout.header).map_err(MergeError::Write)?;

    let mut update = vec![0.0; block_coordinates];
    let mut values = Values::new(block_coordinates);
    for (t, (name, place)) in tensors.iter().enumerate() {
        for (first, count) in blocks(place, block_coordinates) {
            let update = &mut update[..count];
            rule.combine(&Block { deltas: &deltas, tensor: t, first }, &mut values, update)?;
            let merged = values.read(base, place.start, first, count).map_err(MergeError::ReadBase)?;
            for (value, update) in merged.iter_mut().zip(update) {
                *value = (f64::from(*value) + *update) as f32;
            }
            check_finite(name, first, merged).map_err(MergeError::NotFinite)?;
            values.write(count, version).map_err(MergeError::Write)?;
        }
    }
    let samples = deltas.iter().map(|delta| delta.samples).fold(0, u64::saturating_add);
    Ok(Merged { samples, accepted: deltas.len(), refused })
}

/// A tensor's coordinates cut into blocks: each one's first coordinate and how many it has.
fn blocks(place: &TensorPlace, block_coordinates: usize) -> impl Iterator<Item = (u64, usize)> + use<> {
    let end = place.coordinates();
    let length = block_coordinates as u64;
    (0..end).step_by(block_coordinates).map(move |first| (first, length.min(end - first) as usize))
}

/// Buffers for a block of F32 values on their way in or out.
struct Values {
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Values {
    fn new(block_coordinates: usize) -> Values {
        Values { bytes: vec![0; block_coordinates * 4], values: vec![0.0; block_coordinates] }
    }

    fn block_coordinates(&self) -> usize {
        self.values.len()
    }

    /// Reads `count` values of the tensor that starts at byte `start`, from its element `first` on.
    fn read(&mut self, source: &dyn ReadAt, start: u64, first: u64, count: usize) -> io::Result<&mut [f32]> {
        let bytes = &mut self.bytes[..count * 4];
        source.read_exact_at(start + first * 4, bytes)?;
        let values = &mut self.values[..count];
        for (value, read) in values.iter_mut().zip(f32_values(bytes)) {
            *value = read;
        }
        Ok(values)
    }

    /// Writes the first `count` values.
    fn write(&mut self, count: usize, target: &mut dyn Write) -> io::Result<()> {
        for (bytes, value) in self.bytes.as_chunks_mut().0.iter_mut().zip(&self.values) {
            *bytes = value.to_le_bytes();
        }
        target.write_all(&self.bytes[..count * 4])
    }
}
