//! A shard ready to compute with: features `[n, d]` row-major in f32, and for each sample a class index or the value
//! that is to be predicted.
//! It travels as a safetensors file with the tensors `features` (F32 `[n, d]`) and `labels` (U32 `[n]`) or `targets`
//! (F32 `[n]`).
//! It does not know the labels' names, nor which file the samples came from.

use std::collections::BTreeMap;

use crate::tensor_file::{self, Dtype, TensorFile, TensorFileError};

/// The tensors of a data set.
const FEATURES: &str = "features";
const LABELS: &str = "labels";
const TARGETS: &str = "targets";

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
    /// Values, where class indices are needed.
    #[error("the data set holds values to predict, and the model predicts classes")]
    Values,
    /// Class indices, where values are needed.
    #[error("the data set holds labels, and the model predicts a value")]
    Classes,
}

/// Samples with what is to be predicted of them, at least one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    features: Vec<f32>,
    targets: Targets,
    width: usize,
}

/// What is to be predicted, for each sample: `[n]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Class indices.
    Classes(Vec<u32>),
    /// Numbers, in their own units.
    Values(Vec<f32>),
}

impl Targets {
    fn samples(&self) -> usize {
        match self {
            Targets::Classes(classes) => classes.len(),
            Targets::Values(values) => values.len(),
        }
    }
}

impl Dataset {
    /// A data set of `features` (`[n, width]`, row-major) and `labels` (`[n]`).
    pub fn new(features: Vec<f32>, labels: Vec<u32>, width: usize) -> Result<Dataset, DatasetError> {
        Dataset::of(features, Targets::Classes(labels), width)
    }

    /// A data set of `features` (`[n, width]`, row-major) and the values to predict (`[n]`), which have to be finite.
    pub fn of_values(features: Vec<f32>, values: Vec<f32>, width: usize) -> Result<Dataset, DatasetError> {
        tensor_file::check_finite(TARGETS, 0, &values)?;
        Dataset::of(features, Targets::Values(values), width)
    }

    fn of(features: Vec<f32>, targets: Targets, width: usize) -> Result<Dataset, DatasetError> {
        let samples = targets.samples();
        if samples == 0 || width == 0 {
            return Err(DatasetError::Empty { samples, width });
        }
        if samples.checked_mul(width) != Some(features.len()) {
            return Err(DatasetError::Ragged { features: features.len(), samples, width });
        }
        Ok(Dataset { features, targets, width })
    }

    /// All features, `[n, d]` row-major.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// What is to be predicted.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class index of each sample, `[n]`; none where values are to be predicted.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes(classes) => classes,
            Targets::Values(_) => &[],
        }
    }

    /// Features of a sample: d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many samples there are: n.
    pub fn samples(&self) -> usize {
        self.targets.samples()
    }

    /// Checks that every sample has a label below `classes`.
    pub fn check_labels(&self, classes: usize) -> Result<(), DatasetError> {
        let Targets::Classes(labels) = &self.targets else { return Err(DatasetError::Values) };
        match labels.iter().position(|label| *label as usize >= classes) {
            Some(sample) => Err(DatasetError::Label { sample, label: labels[sample], classes }),
            None => Ok(()),
        }
    }

    /// The data set as a safetensors file. Equal data sets give equal bytes.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let (samples, width) = (self.samples(), self.width);
        let (name, dtype) = match &self.targets {
            Targets::Classes(_) => (LABELS, Dtype::U32),
            Targets::Values(_) => (TARGETS, Dtype::F32),
        };
        let tensors = [
            (FEATURES, Dtype::F32, &[samples, width][..], size_of_val(&self.features[..])),
            (name, dtype, &[samples][..], 4 * samples),
        ];
        // Straight into the file: features may be most of what memory there is.
        let mut file = tensor_file::begin(&BTreeMap::new(), tensors);
        self.features.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
        match &self.targets {
            Targets::Classes(labels) => labels.iter().for_each(|label| file.extend_from_slice(&label.to_le_bytes())),
            Targets::Values(values) => values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes())),
        }
        file
    }

    /// Reads a data set from a safetensors file: finite features and values, and labels below
    /// `classes` where that is given.
    pub fn from_safetensors(bytes: &[u8], classes: Option<usize>) -> Result<Dataset, DatasetError> {
        let file = TensorFile::from_bytes(bytes)?;
        let shape = |name: &str| file.tensors.get(name).map_or(&[][..], |place| &place.shape);
        let (name, dtype) = match file.tensors.contains_key(TARGETS) {
            true => (TARGETS, Dtype::F32),
            false => (LABELS, Dtype::U32),
        };
        let samples = shape(name).first().copied().unwrap_or(0);
        let width = shape(FEATURES).get(1).copied().unwrap_or(0);
        let features = file.expect(FEATURES, Dtype::F32, &[samples, width])?;
        let targets = file.expect(name, dtype, &[samples])?;
        file.expect_only(|tensor| tensor == FEATURES || tensor == name)?;

        let features = tensor_file::finite_values(FEATURES, &bytes[features.start as usize..features.end as usize])?;
        let targets = &bytes[targets.start as usize..targets.end as usize];
        let targets = match dtype {
            Dtype::F32 => Targets::Values(tensor_file::finite_values(TARGETS, targets)?),
            _ => Targets::Classes(targets.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()),
        };
        let dataset = Dataset::of(features, targets, width)?;
        if let Some(classes) = classes {
            dataset.check_labels(classes)?;
        }
        Ok(dataset)
    }
}
