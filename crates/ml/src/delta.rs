//! What a training task returns: trained parameters minus the round's base, as a safetensors file.
//! Its tensors have the base's names, order and shapes, and the types that `elements` says.
//! It does not know how many samples it stands for, nor how it will be merged.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use crate::elements::{self, Fault, coordinate_bytes, delta_dtype};
use crate::excerpt::excerpt;
use crate::merge::ReadAt;
use crate::model::Mlp;
use crate::model_file::{layer_tensors, standardization_tensors};
use crate::tensor_file::{self, Dtype, TensorFile, TensorFileError, TensorPlace};

/// The metadata entry `format` of a delta file.
pub const DELTA_FORMAT: &str = "convoke-delta-1";

/// Coordinates that are read at once.
const BLOCK_COORDINATES: usize = 16384;
/// The most bytes of an element that can be trained.
const ELEMENT_BYTES_MAX: usize = 8;

/// Why there is no delta.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The base cannot be read.
    #[error("cannot read the base: {0}")]
    ReadBase(#[source] io::Error),
    /// The base is not a safetensors file, or holds NaN.
    #[error("the base cannot be used: {0}")]
    Base(#[source] TensorFileError),
    /// The trained parameters cannot be read.
    #[error("cannot read the trained parameters: {0}")]
    ReadTrained(#[source] io::Error),
    /// The trained parameters are not a safetensors file of the base's tensors with finite values.
    #[error("the trained parameters cannot be used: {0}")]
    Trained(#[source] TensorFileError),
    /// An element that has to stay as it is in the base has not.
    #[error(
        "the trained parameters cannot be used: tensor `{tensor}` differs from the base at {position}, and {dtype} cannot be trained"
    )]
    Changed {
        /// The tensor's name, cut short.
        tensor: String,
        /// Where, counted in elements.
        position: u64,
        /// The elements' type.
        dtype: Dtype,
    },
    /// An element is farther from the base's than a delta can say.
    #[error(
        "the trained parameters cannot be used: tensor `{tensor}` changed by {change:e} at {position}, too much for {dtype}"
    )]
    TooFar {
        /// The tensor's name, cut short.
        tensor: String,
        /// Where, counted in elements.
        position: u64,
        /// By how much.
        change: f64,
        /// The elements' type.
        dtype: Dtype,
    },
}

/// `trained − base`, each parameter rounded to f32, and zeros for what features are standardised by: merging leaves that
/// as it is. Equal inputs give equal bytes.
///
/// # Panics
///
/// Where the shapes differ: `trained` is what training made of `base`.
pub fn delta(trained: &Mlp, base: &Mlp) -> Vec<u8> {
    assert_eq!(trained.sizes(), base.sizes(), "a delta is taken from the base that was trained");
    let mut base_values = base.parameters().iter();
    let standardized = |model: &Mlp| (model.features().is_some(), model.target().is_some());
    assert_eq!(standardized(trained), standardized(base), "training leaves the standardisation as it is");
    let mut tensors = layer_tensors(trained.layers(), |values| {
        tensor_file::f32_bytes(values.iter().zip(base_values.by_ref()).map(|(trained, base)| trained - base))
    });
    tensors.extend(standardization_tensors(base, |values| tensor_file::f32_bytes(values.iter().map(|_| 0.0))));
    tensor_file::write(&metadata(), &tensors)
}

/// `trained − base` of any two safetensors files with the same names, types and shapes, in whatever order they lie.
///
/// Floats become F32 (F64 stays), integers I64; tensors that cannot be trained must equal the base's and are left out.
/// An infinity may stay where the base has the same. Metadata means nothing here. Allocates in proportion to `base`.
pub fn delta_between(base: &dyn ReadAt, trained: &dyn ReadAt) -> Result<Vec<u8>, DeltaError> {
    let mut delta = Vec::new();
    delta_between_into(base, trained, &mut delta)?;
    Ok(delta)
}

/// The same into memory that was used before, whatever it holds: new memory costs more than the differences.
pub fn delta_between_into(base: &dyn ReadAt, trained: &dyn ReadAt, delta: &mut Vec<u8>) -> Result<(), DeltaError> {
    let base_file = TensorFile::read(base).map_err(DeltaError::ReadBase)?.map_err(DeltaError::Base)?;
    let trained_file = TensorFile::read(trained).map_err(DeltaError::ReadTrained)?.map_err(DeltaError::Trained)?;
    let tensors = base_file.in_file_order();
    let starts = starts(&base_file, &trained_file, &tensors).map_err(DeltaError::Trained)?;

    let delta_sizes = tensors.iter().filter_map(|(name, place)| {
        let dtype = delta_dtype(place.dtype)?;
        Some((*name, dtype, &place.shape[..], place.coordinates() as usize * coordinate_bytes(dtype)))
    });
    let delta_bytes: usize = delta_sizes.clone().map(|(.., bytes)| bytes).sum();
    let header = tensor_file::begin(&metadata(), delta_sizes);
    delta.resize(header.len() + delta_bytes, 0);
    delta[..header.len()].copy_from_slice(&header);
    let mut filled = header.len();
    let [mut old, mut new] = [(); 2].map(|()| vec![0; BLOCK_COORDINATES * ELEMENT_BYTES_MAX]);
    for ((name, place), start) in tensors.into_iter().zip(starts) {
        let size = coordinate_bytes(place.dtype);
        for (first, count) in place.blocks(BLOCK_COORDINATES) {
            let [old, new] = [&mut old[..count * size], &mut new[..count * size]];
            let offset = first * size as u64;
            base.read_exact_at(place.start + offset, old).map_err(DeltaError::ReadBase)?;
            trained.read_exact_at(start + offset, new).map_err(DeltaError::ReadTrained)?;
            let end = filled + delta_dtype(place.dtype).map_or(0, |dtype| count * coordinate_bytes(dtype));
            elements::difference(place.dtype, old, new, &mut delta[filled..end])
                .map_err(|(at, fault)| fault_error(name, place.dtype, first, at, fault))?;
            filled = end;
        }
    }
    Ok(())
}

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_string(), DELTA_FORMAT.to_string())])
}

/// Where the trained file keeps each of the base's tensors: those, and nothing else.
fn starts(
    base: &TensorFile,
    trained: &TensorFile,
    tensors: &[(&str, &TensorPlace)],
) -> Result<Vec<u64>, TensorFileError> {
    let start = |(name, place): &(&str, &TensorPlace)| Ok(trained.expect(name, place.dtype, &place.shape)?.start);
    let starts = tensors.iter().map(start).collect::<Result<_, _>>()?;
    trained.expect_only(|name| base.tensors.contains_key(name))?;
    Ok(starts)
}

fn fault_error(name: &str, dtype: Dtype, first: u64, at: usize, fault: Fault) -> DeltaError {
    let (tensor, position) = (excerpt(name), first + at as u64);
    match fault {
        Fault::BaseNotFinite(value) => DeltaError::Base(TensorFileError::not_finite(name, first, at, value)),
        Fault::NotFinite(value) => DeltaError::Trained(TensorFileError::not_finite(name, first, at, value)),
        Fault::TooFar(change) => DeltaError::TooFar { tensor, position, change, dtype },
        Fault::Changed => DeltaError::Changed { tensor, position, dtype },
    }
}
