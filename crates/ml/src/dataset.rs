//! A shard ready to compute with: features `[n, d]` row-major in f32 and one class index for
//! each sample.
//! It travels as a safetensors file with the tensors `features` (F32 `[n, d]`) and `labels`
//! (U32 `[n]`).
//! It does not know the labels' names, nor which file the samples came from.

use std::collections::BTreeMap;

use crate::tensor_file::{self, Dtype, TensorFile, TensorFileError};

/// Why samples are not a data set.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DatasetError {
    /// Not a safetensors file of the expected tensors.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// No samples, or no features.
    #[error("a data set of {samples} samples with {width} features is empty")]
    Empty {
        /// Samples.
        samples: usize,
        /// Features of each.
        width: usize,
    },
    /// Not `width` features for each label.
    #[error("{features} feature values for {samples} samples with {width} features")]
    Ragged {
        /// Values in all.
        features: usize,
        /// Samples.
        samples: usize,
        /// Features of each.
        width: usize,
    },
    /// A label is not below the number of classes.
    #[error("sample {sample} has label {label}, expected less than {classes}")]
    Label {
        /// Which sample, from 0.
        sample: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },
}

/// Samples with their labels, at least one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    features: Vec<f32>,
    labels: Vec<u32>,
    width: usize,
}

impl Dataset {
    /// A data set of `features` (`[n, width]`, row-major) and `labels` (`[n]`).
    pub fn new(features: Vec<f32>, labels: Vec<u32>, width: usize) -> Result<Dataset, DatasetError> {
        let samples = labels.len();
        if samples == 0 || width == 0 {
            return Err(DatasetError::Empty { samples, width });
        }
        if samples.checked_mul(width) != Some(features.len()) {
            return Err(DatasetError::Ragged { features: features.len(), samples, width });
        }
        Ok(Dataset { features, labels, width })
    }

    /// All features, `[n, d]` row-major.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// The class index of each sample, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Features of a sample: d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many samples there are: n.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Checks that every label is below `classes`.
    pub fn check_labels(&self, classes: usize) -> Result<(), DatasetError> {
        match self.labels.iter().position(|label| *label as usize >= classes) {
            Some(sample) => Err(DatasetError::Label { sample, label: self.labels[sample], classes }),
            None => Ok(()),
        }
    }

    /// The data set as a safetensors file. Equal data sets give equal bytes.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let (samples, width) = (self.samples(), self.width);
        let tensors = [
            ("features", Dtype::F32, &[samples, width][..], size_of_val(&self.features[..])),
            ("labels", Dtype::U32, &[samples][..], size_of_val(&self.labels[..])),
        ];
        // Straight into the file: features may be most of what memory there is.
        let mut file = tensor_file::begin(&BTreeMap::new(), tensors);
        self.features.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
        self.labels.iter().for_each(|label| file.extend_from_slice(&label.to_le_bytes()));
        file
    }

    /// Reads a data set from a safetensors file: finite features, and labels below
    /// `classes` where that is given.
    pub fn from_safetensors(bytes: &[u8], classes: Option<usize>) -> Result<Dataset, DatasetError> {
        let file = TensorFile::from_bytes(bytes)?;
        let shape = |name: &str| file.tensors.get(name).map_or(&[][..], |place| &place.shape);
        let samples = shape("labels").first().copied().unwrap_or(0);
        let width = shape("features").get(1).copied().unwrap_or(0);
        let features = file.expect("features", Dtype::F32, &[samples, width])?;
        let labels = file.expect("labels", Dtype::U32, &[samples])?;
        file.expect_only(|name| name == "features" || name == "labels")?;

        let features = tensor_file::finite_values("features", &bytes[features.start as usize..features.end as usize])?;
        let labels = bytes[labels.start as usize..labels.end as usize].as_chunks().0;
        let labels = labels.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let dataset = Dataset::new(features, labels, width)?;
        if let Some(classes) = classes {
            dataset.check_labels(classes)?;
        }
        Ok(dataset)
    }
}
