//! How right a model is about samples: wrong predictions and which, residuals of values, and the loss.
//! It does not know which samples validate and which train.

use crate::counts::{CONFUSION_CLASSES_MAX, Counts, Residuals};
use crate::dataset::{Dataset, DatasetError, Targets};
use crate::model::Mlp;
use crate::moments::Moments;
use crate::prediction::{each_row, value_of};
use crate::softmax;

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
    /// Classes or probabilities are asked of a model that has none.
    #[error("the model predicts a value, not classes")]
    PredictsValue,
    /// A value is asked of a model that has none.
    #[error("the model predicts classes, not a value")]
    PredictsClasses,
    /// The caller asked to stop.
    #[error("training was stopped after {training_epochs} training epochs")]
    Stopped {
        /// How many were completed.
        training_epochs: u32,
    },
}

/// Counts what `model` gets wrong in `data`, and how far it is off.
pub fn evaluate(model: &Mlp, data: &Dataset) -> Result<Counts, ComputeError> {
    check(model, data)?;
    match data.targets() {
        Targets::Classes(labels) => count_classes(model, data, labels),
        Targets::Values(values) => count_values(model, data, values),
    }
}

fn count_classes(model: &Mlp, data: &Dataset, labels: &[u32]) -> Result<Counts, ComputeError> {
    let classes = model.outputs();
    let mut counts = Counts { samples: labels.len() as u64, ..Counts::default() };
    let mut confusion = (classes <= CONFUSION_CLASSES_MAX).then(|| vec![0; classes * classes]);
    let mut labels = labels.iter().map(|label| *label as usize);
    each_row(model, data.features(), |row| {
        let label = labels.next().expect("a label for each sample");
        let predicted = softmax::largest(row);
        counts.loss += softmax::loss(row, label);
        counts.wrong += u64::from(predicted != Some(label));
        if let (Some(confusion), Some(predicted)) = (&mut confusion, predicted) {
            confusion[label * classes + predicted] += 1;
        }
    })?;
    Ok(Counts { confusion, ..counts })
}

fn count_values(model: &Mlp, data: &Dataset, values: &[f32]) -> Result<Counts, ComputeError> {
    let moments = Moments::of_values(values);
    let mut residuals =
        Residuals { target_mean: moments.means[0], target_squares: moments.squares[0], ..Residuals::default() };
    let (mean, scale) = model.target().unwrap_or((0.0, 1.0));
    let (mut loss, mut values_left) = (0.0, values.iter());
    each_row(model, data.features(), |row| {
        let value = *values_left.next().expect("a value for each sample");
        let error = f64::from(row[0] - (value - mean) / scale);
        loss += error * error;
        let residual = f64::from(value) - value_of(model, row);
        residuals.squared_error += residual * residual;
    })?;
    Ok(Counts { samples: values.len() as u64, loss, residuals: Some(residuals), ..Counts::default() })
}

/// Checks that `model` can be applied to `data`.
pub(crate) fn check(model: &Mlp, data: &Dataset) -> Result<(), ComputeError> {
    if data.width() != model.inputs() {
        return Err(ComputeError::Width { samples: data.width(), model: model.inputs() });
    }
    match (model.classes(), data.targets()) {
        (Some(classes), _) => Ok(data.check_labels(classes)?),
        (None, Targets::Values(_)) => Ok(()),
        (None, Targets::Classes(_)) => Err(DatasetError::Classes.into()),
    }
}
