//! Reading and writing safetensors files: the one place where bytes from elsewhere become named
//! tensors.
//! Sizes are checked before anything is read or allocated; the bytes written depend on the
//! content alone, so that equal
//! models have equal digests.
//! It does not know what the tensors mean.

use std::collections::BTreeMap;
use std::io;

pub use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::elements::coordinate_bytes;
use crate::excerpt::excerpt;
use crate::merge::ReadAt;

/// The longest header that is read, in bytes.
pub const HEADER_BYTES_MAX: u64 = 4 << 20;

/// The header's length stands in front of it.
const PREFIX_BYTES: u64 = 8;

/// Why a file is not the safetensors file that was expected. Names in it are cut short.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TensorFileError {
    /// Too short even for the header's length.
    #[error("{file_bytes} bytes are too few for a safetensors file")]
    TooShort {
        /// The file's size.
        file_bytes: u64,
    },
    /// The header is longer than the file or than [`HEADER_BYTES_MAX`].
    #[error(
        "no safetensors file, or a damaged one: a header of {header_bytes} bytes does not fit a file of {file_bytes} bytes \
         or the limit of {HEADER_BYTES_MAX}"
    )]
    HeaderLength {
        /// What the file claims.
        header_bytes: u64,
        /// The file's size.
        file_bytes: u64,
    },
    /// The header is not a list of tensors that lie one behind the other.
    #[error("unreadable safetensors header: {message}")]
    Header {
        /// What the parser says, cut short.
        message: String,
    },
    /// The tensors end before or behind the end of the file.
    #[error("the tensors end at byte {expected}, the file at {file_bytes}")]
    Size {
        /// Where the header says that the tensors end.
        expected: u64,
        /// The file's size.
        file_bytes: u64,
    },
    /// An expected tensor is not there.
    #[error("tensor `{tensor}` is missing")]
    Missing {
        /// Its name.
        tensor: String,
    },
    /// A tensor is there that nobody expects.
    #[error("tensor `{tensor}` is not expected")]
    Unexpected {
        /// Its name.
        tensor: String,
    },
    /// A tensor's elements have another type.
    #[error("tensor `{tensor}` holds {found}, expected {expected}")]
    Dtype {
        /// Its name.
        tensor: String,
        /// Its type.
        found: Dtype,
        /// The type that was expected.
        expected: Dtype,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}` has shape {found}, expected {expected}")]
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: String,
        /// The shape that was expected.
        expected: String,
    },
    /// A tensor holds NaN or an infinity.
    #[error("tensor `{tensor}` holds {value} at {position}")]
    NotFinite {
        /// Its name.
        tensor: String,
        /// Where, counted in elements.
        position: u64,
        /// What.
        value: f64,
    },
}

impl TensorFileError {
    /// `value` is `position` elements behind the tensor's element `start`.
    pub(crate) fn not_finite(name: &str, start: u64, position: usize, value: f64) -> Self {
        Self::NotFinite { tensor: excerpt(name), position: start + position as u64, value }
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPlace {
    /// The elements' type.
    pub dtype: Dtype,
    /// Elements along each axis.
    pub shape: Vec<usize>,
    /// Where its bytes start, counted from the start of the file.
    pub start: u64,
    /// Where they end.
    pub end: u64,
}

impl TensorPlace {
    /// How many coordinates the tensor has: elements, or bytes where elements are not told apart.
    pub(crate) fn coordinates(&self) -> u64 {
        (self.end - self.start) / coordinate_bytes(self.dtype) as u64
    }

    /// The coordinates cut into blocks: each one's first coordinate and how many it has.
    pub(crate) fn blocks(&self, block_coordinates: usize) -> impl Iterator<Item = (u64, usize)> + use<> {
        let end = self.coordinates();
        let length = block_coordinates as u64;
        (0..end).step_by(block_coordinates).map(move |first| (first, length.min(end - first) as usize))
    }
}

/// A safetensors file's header, checked against the file's size.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorFile {
    /// The first bytes of the file, verbatim: everything before the tensors.
    pub header: Vec<u8>,
    /// The free metadata.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorPlace>,
}

impl TensorFile {
    /// Reads the header of a file in memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<TensorFile, TensorFileError> {
        let file_bytes = bytes.len() as u64;
        let prefix = bytes.first_chunk().ok_or(TensorFileError::TooShort { file_bytes })?;
        let data_start = data_start(*prefix, file_bytes)?;
        TensorFile::parse(bytes[..data_start as usize].to_vec(), file_bytes)
    }

    /// Reads the header of a file in place. The outer error is the storage's, the inner one
    /// the content's.
    pub fn read(source: &dyn ReadAt) -> io::Result<Result<TensorFile, TensorFileError>> {
        let file_bytes = source.size_bytes()?;
        if file_bytes < PREFIX_BYTES {
            return Ok(Err(TensorFileError::TooShort { file_bytes }));
        }
        let mut prefix = [0; PREFIX_BYTES as usize];
        source.read_exact_at(0, &mut prefix)?;
        let data_start = match data_start(prefix, file_bytes) {
            Ok(data_start) => data_start,
            Err(error) => return Ok(Err(error)),
        };
        let mut header = vec![0; data_start as usize];
        source.read_exact_at(0, &mut header)?;
        Ok(TensorFile::parse(header, file_bytes))
    }

    fn parse(header: Vec<u8>, file_bytes: u64) -> Result<TensorFile, TensorFileError> {
        let data_start = header.len() as u64;
        let parsed: Metadata = serde_json::from_slice(&header[PREFIX_BYTES as usize..])
            .map_err(|error| TensorFileError::Header { message: excerpt(&error.to_string()) })?;
        let expected = data_start.saturating_add(parsed.data_len() as u64);
        if expected != file_bytes {
            return Err(TensorFileError::Size { expected, file_bytes });
        }
        let place = |info: &safetensors::tensor::TensorInfo| TensorPlace {
            dtype: info.dtype,
            shape: info.shape.clone(),
            start: data_start + info.data_offsets.0 as u64,
            end: data_start + info.data_offsets.1 as u64,
        };
        let tensors = parsed.tensors().into_iter().map(|(name, info)| (name, place(info))).collect();
        let metadata = parsed.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(TensorFile { header, metadata, tensors })
    }

    /// The place of a tensor of this name, type and shape.
    pub fn expect(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&TensorPlace, TensorFileError> {
        let tensor = || excerpt(name);
        let place = self.tensors.get(name).ok_or_else(|| TensorFileError::Missing { tensor: tensor() })?;
        if place.dtype != dtype {
            return Err(TensorFileError::Dtype { tensor: tensor(), found: place.dtype, expected: dtype });
        }
        if place.shape != shape {
            let text = |shape: &[usize]| excerpt(&format!("{shape:?}"));
            return Err(TensorFileError::Shape { tensor: tensor(), found: text(&place.shape), expected: text(shape) });
        }
        Ok(place)
    }

    /// The tensors in the order in which they lie in the file.
    pub(crate) fn in_file_order(&self) -> Vec<(&str, &TensorPlace)> {
        let mut tensors: Vec<_> = self.tensors.iter().map(|(name, place)| (name.as_str(), place)).collect();
        tensors.sort_by_key(|(_, place)| (place.start, place.end));
        tensors
    }

    /// An error for the first tensor for which `expected` says no.
    pub fn expect_only(&self, expected: impl Fn(&str) -> bool) -> Result<(), TensorFileError> {
        match self.tensors.keys().find(|name| !expected(name)) {
            Some(name) => Err(TensorFileError::Unexpected { tensor: excerpt(name) }),
            None => Ok(()),
        }
    }
}

/// Where the tensors start: behind the length and the header.
fn data_start(prefix: [u8; PREFIX_BYTES as usize], file_bytes: u64) -> Result<u64, TensorFileError> {
    let header_bytes = u64::from_le_bytes(prefix);
    if header_bytes > HEADER_BYTES_MAX || header_bytes > file_bytes.saturating_sub(PREFIX_BYTES) {
        return Err(TensorFileError::HeaderLength { header_bytes, file_bytes });
    }
    Ok(PREFIX_BYTES + header_bytes)
}

/// The values of a tensor's bytes.
pub(crate) fn f32_values(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// The values of an F32 tensor called `name`, all of them finite.
pub(crate) fn finite_values(name: &str, bytes: &[u8]) -> Result<Vec<f32>, TensorFileError> {
    let values: Vec<f32> = f32_values(bytes).collect();
    check_finite(name, 0, &values)?;
    Ok(values)
}

/// An error for the first value that is not finite; `start` is the first one's place in the tensor.
pub(crate) fn check_finite<T: Copy + Into<f64>>(name: &str, start: u64, values: &[T]) -> Result<(), TensorFileError> {
    match values.iter().position(|value| !(*value).into().is_finite()) {
        Some(position) => Err(TensorFileError::not_finite(name, start, position, values[position].into())),
        None => Ok(()),
    }
}

/// Writes a safetensors file: tensors in the given order, metadata sorted, the header padded to
/// eight bytes with spaces.
///
/// Each tensor is its name, type, shape and little-endian bytes. (The `safetensors` crate
/// writes metadata in random order.)
pub(crate) fn write(metadata: &BTreeMap<String, String>, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let sizes = tensors.iter().map(|(name, dtype, shape, bytes)| (name.as_str(), *dtype, &shape[..], bytes.len()));
    let mut file = begin(metadata, sizes);
    for (_, _, _, bytes) in tensors {
        file.extend(bytes);
    }
    file
}

/// The part of a file before its tensors, with room for these: each its name, type, shape and how many bytes it has.
pub(crate) fn begin<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize], usize)>,
) -> Vec<u8> {
    let mut header = String::from("{");
    if !metadata.is_empty() {
        header += &format!("\"__metadata__\":{}", serde_json::json!(metadata));
    }
    let mut end = 0;
    for (name, dtype, shape, bytes) in tensors {
        let start = end;
        end += bytes;
        let comma = if header.len() > 1 { "," } else { "" };
        let (name, shape) = (serde_json::json!(name), serde_json::json!(shape));
        header +=
            &format!("{comma}{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}");
    }
    header.push('}');
    let header_bytes = header.len().next_multiple_of(8);
    let mut file = Vec::with_capacity(8 + header_bytes + end);
    file.extend((header_bytes as u64).to_le_bytes());
    file.extend(header.as_bytes());
    file.resize(8 + header_bytes, b' ');
    file
}

/// The little-endian bytes of `values`.
pub(crate) fn f32_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
