//! Whether a file can be a base: what a merge would refuse after a round of training is refused before it.
//! It does not know where the file came from.

use std::io;

use super::{BLOCK_COORDINATES, Buffers, ELEMENT_BYTES_MAX, ReadAt};
use crate::elements::{self, Fault, delta_dtype};
use crate::excerpt::excerpt;
use crate::tensor_file::{Dtype, TensorFile, TensorFileError};

/// Why nothing can be merged into a file.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is not a safetensors file, or holds NaN.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// It holds nothing.
    #[error("it holds no tensor")]
    NoTensors,
    /// All that it holds stays as it is.
    #[error("none of its tensors can be trained: the first, `{tensor}`, holds {dtype}")]
    NothingTrained {
        /// The first tensor, by name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
}

/// Reads a file in blocks, and finds what a merge into it, or a delta from it, would refuse: anything but a safetensors
/// file with a tensor that can be trained and without NaN.
pub fn check_base(base: &dyn ReadAt) -> Result<(), BaseError> {
    let file = TensorFile::read(base)??;
    let Some((first, place)) = file.tensors.first_key_value() else { return Err(BaseError::NoTensors) };
    if file.tensors.values().all(|place| delta_dtype(place.dtype).is_none()) {
        return Err(BaseError::NothingTrained { tensor: excerpt(first), dtype: place.dtype });
    }
    let (mut buffers, mut differences) =
        (Buffers::new(BLOCK_COORDINATES), vec![0; BLOCK_COORDINATES * ELEMENT_BYTES_MAX]);
    for (name, place) in file.in_file_order() {
        for (first, count) in place.blocks(BLOCK_COORDINATES) {
            let block = buffers.read(base, place.dtype, place.start, first, count)?;
            // From itself nothing differs; what is no number has no difference from anything.
            if let Err((at, Fault::BaseNotFinite(value))) =
                elements::difference(place.dtype, block, block, &mut differences)
            {
                return Err(TensorFileError::not_finite(name, first, at, value).into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tensor_file;

    fn check(tensors: &[(&str, Dtype, Vec<u8>)]) -> String {
        let tensors = tensors.iter().map(|(name, dtype, bytes)| {
            let elements = bytes.len() * 8 / dtype.bitsize();
            (name.to_string(), *dtype, vec![elements], bytes.clone())
        });
        let file = tensor_file::write(&BTreeMap::new(), &tensors.collect::<Vec<_>>());
        check_base(&file).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_can_be_trained_is_a_base() {
        let floats = |values: &[f32]| tensor_file::f32_bytes(values.iter().copied());
        assert_eq!(check(&[("w", Dtype::F32, floats(&[1.0, f32::INFINITY])), ("flags", Dtype::BOOL, vec![1])]), "");
        assert_eq!(check(&[("n", Dtype::I64, 7_i64.to_le_bytes().to_vec())]), "");
    }

    #[test]
    fn what_cannot_is_named() {
        let nan = tensor_file::f32_bytes([0.0, f32::NAN]);
        assert_eq!(check(&[("w", Dtype::F32, nan)]), "tensor `w` holds NaN at 1");
        assert_eq!(check(&[]), "it holds no tensor");
        let said = check(&[("codes", Dtype::U8, vec![1, 2])]);
        assert_eq!(said, "none of its tensors can be trained: the first, `codes`, holds U8");
        let said = check_base(&b"PK".to_vec()).unwrap_err().to_string();
        assert_eq!(said, "2 bytes are too few for a safetensors file");
    }
}
