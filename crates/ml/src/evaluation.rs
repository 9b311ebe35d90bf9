//! What a model makes of samples: counts of wrong predictions, the loss, or the predictions
//! themselves.
//! Counts of parts add up in order to the counts of the whole.
//! It does not know which samples validate and which train.

use std::iter::Sum;
use std::ops::AddAssign;

use crate::dataset::{Dataset, DatasetError};
use crate::kernels::Kernel;
use crate::model::Mlp;

/// Why a model cannot be applied to samples.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ComputeError {
    /// The samples have another number of features than the model has inputs.
    #[error("samples of {samples} features for a model of {model} inputs")]
    Width {
        /// Features of a sample.
        samples: usize,
        /// Inputs of the model.
        model: usize,
    },
    /// The values are no whole number of samples.
    #[error("{values} values are not a whole number of samples with {width} features")]
    Ragged {
        /// How many values there are.
        values: usize,
        /// Features of a sample.
        width: usize,
    },
    /// A label is not one of the model's.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The caller asked to stop.
    #[error("training was stopped after {training_epochs} training epochs")]
    Stopped {
        /// How many were completed.
        training_epochs: u32,
    },
}

/// What an evaluation counts. Parts are added in order, so that the loss has the same bits each
/// time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Samples seen.
    pub samples: u64,
    /// Samples whose label is not the predicted class.
    pub wrong: u64,
    /// Cross-entropy summed over the samples, in nats.
    pub loss: f64,
}

impl Counts {
    /// The share of wrong predictions, 0 to 1; 0 where there are no samples.
    pub fn error(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.wrong as f64 / self.samples as f64 }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.samples = self.samples.saturating_add(other.samples);
        self.wrong = self.wrong.saturating_add(other.wrong);
        self.loss += other.loss;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(parts: I) -> Counts {
        parts.fold(Counts::default(), |mut total, part| {
            total += part;
            total
        })
    }
}

/// Counts what `model` gets wrong in `data`, and the summed cross-entropy.
pub fn evaluate(model: &Mlp, data: &Dataset) -> Result<Counts, ComputeError> {
    check(model, data)?;
    let pass = Kernel::new(model).loss(model, data.features(), data.labels());
    Ok(Counts { samples: data.samples() as u64, wrong: pass.wrong, loss: pass.loss })
}

/// The class that `model` predicts for each sample of `features` (`[n, d]`, row-major), d being
/// the model's inputs.
pub fn predict(model: &Mlp, features: &[f32]) -> Result<Vec<u32>, ComputeError> {
    let width = model.inputs();
    if !features.len().is_multiple_of(width) {
        return Err(ComputeError::Ragged { values: features.len(), width });
    }
    let mut classes = Vec::with_capacity(features.len() / width);
    Kernel::new(model).predict(model, features, &mut classes);
    Ok(classes)
}

/// The probability of each class (`[n, k]`, row-major) for each sample of `features` (`[n, d]`, row-major), d being the
/// model's inputs and k its outputs.
pub fn probabilities(model: &Mlp, features: &[f32]) -> Result<Vec<f32>, ComputeError> {
    let width = model.inputs();
    if !features.len().is_multiple_of(width) {
        return Err(ComputeError::Ragged { values: features.len(), width });
    }
    let mut probabilities = Vec::with_capacity(features.len() / width * model.outputs());
    Kernel::new(model).probabilities(model, features, &mut probabilities);
    Ok(probabilities)
}

/// What `model` makes of each sample of `features`, as text: a line each, with the label of the most probable class, or
/// with all classes' probabilities in the order of the model's labels.
pub fn prediction_lines(model: &Mlp, features: &[f32], all: bool) -> Result<String, ComputeError> {
    if all {
        let rows = probabilities(model, features)?;
        let line = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(" ") + "\n";
        return Ok(rows.chunks_exact(model.outputs()).map(line).collect());
    }
    let mut lines = String::new();
    for class in predict(model, features)? {
        lines.push_str(model.labels().get(class as usize).map_or("", String::as_str));
        lines.push('\n');
    }
    Ok(lines)
}

/// Checks that `model` can be applied to `data`.
pub(crate) fn check(model: &Mlp, data: &Dataset) -> Result<(), ComputeError> {
    if data.width() != model.inputs() {
        return Err(ComputeError::Width { samples: data.width(), model: model.inputs() });
    }
    Ok(data.check_labels(model.outputs())?)
}
