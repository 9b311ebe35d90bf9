//! What a model makes of samples: classes, probabilities or values, as numbers or as lines of text.
//! It works in blocks of samples, so that memory does not grow with their number.
//! It does not know what is right.

use crate::architecture::Head;
use crate::evaluation::ComputeError;
use crate::kernels::Kernel;
use crate::model::Mlp;
use crate::softmax;

/// Outputs that are held at once; only very wide models get few samples a block.
const BLOCK_VALUES_MAX: usize = 1 << 20;

/// The most samples of a block.
const BLOCK_ROWS_MAX: usize = 4096;

/// The class that `model` predicts for each sample of `features` (`[n, d]`, row-major), d being
/// the model's inputs; class 0 where the model diverged.
pub fn predict(model: &Mlp, features: &[f32]) -> Result<Vec<u32>, ComputeError> {
    predicts_classes(model)?;
    let mut classes = Vec::with_capacity(features.len() / model.inputs());
    each_row(model, features, |row| classes.push(softmax::largest(row).unwrap_or(0) as u32))?;
    Ok(classes)
}

/// The value that `model` predicts for each sample of `features` (`[n, d]`, row-major), in the target's units.
pub fn predict_values(model: &Mlp, features: &[f32]) -> Result<Vec<f32>, ComputeError> {
    if model.classes().is_some() {
        return Err(ComputeError::PredictsClasses);
    }
    let mut values = Vec::with_capacity(features.len() / model.inputs());
    each_row(model, features, |row| values.push(value_of(model, row) as f32))?;
    Ok(values)
}

/// The probability of each class (`[n, k]`, row-major) for each sample of `features` (`[n, d]`, row-major), d being the
/// model's inputs and k its outputs.
pub fn probabilities(model: &Mlp, features: &[f32]) -> Result<Vec<f32>, ComputeError> {
    predicts_classes(model)?;
    let mut probabilities = Vec::with_capacity(features.len() / model.inputs() * model.outputs());
    each_row(model, features, |row| {
        let start = probabilities.len();
        probabilities.extend_from_slice(row);
        softmax::normalize(&mut probabilities[start..]);
    })?;
    Ok(probabilities)
}

/// What `model` makes of each sample of `features`, as text: a line each, with the value, or with the label of the most
/// probable class, or with all classes' probabilities in the order of the model's labels.
pub fn prediction_lines(model: &Mlp, features: &[f32], all: bool) -> Result<String, ComputeError> {
    if all {
        let rows = probabilities(model, features)?;
        let line = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(" ") + "\n";
        return Ok(rows.chunks_exact(model.outputs()).map(line).collect());
    }
    let mut lines = String::new();
    match model.head() {
        Head::Classes(labels) => predict(model, features)?.iter().for_each(|class| {
            lines.push_str(labels.get(*class as usize).map_or("", String::as_str));
            lines.push('\n');
        }),
        Head::Value(_) => {
            predict_values(model, features)?.iter().for_each(|value| lines += &format!("{value}\n"));
        }
    }
    Ok(lines)
}

/// The value that an output says, in the target's units.
pub(crate) fn value_of(model: &Mlp, row: &[f32]) -> f64 {
    let (mean, scale) = model.target().unwrap_or((0.0, 1.0));
    f64::from(row[0]) * f64::from(scale) + f64::from(mean)
}

/// Gives each sample's outputs (`[k]`) to `take`, in order.
pub(crate) fn each_row(model: &Mlp, features: &[f32], mut take: impl FnMut(&[f32])) -> Result<(), ComputeError> {
    let (width, outputs) = (model.inputs(), model.outputs());
    if !features.len().is_multiple_of(width) {
        return Err(ComputeError::Ragged { values: features.len(), width });
    }
    let mut kernel = Kernel::new(model);
    let block_rows = (BLOCK_VALUES_MAX / outputs).clamp(1, BLOCK_ROWS_MAX);
    let mut block = Vec::new();
    for features in features.chunks(block_rows * width) {
        block.clear();
        kernel.outputs(model, features, &mut block);
        block.chunks_exact(outputs).for_each(&mut take);
    }
    Ok(())
}

fn predicts_classes(model: &Mlp) -> Result<(), ComputeError> {
    model.classes().map(drop).ok_or(ComputeError::PredictsValue)
}
