//! Training on one shard: full-batch gradient descent with the reference job's arithmetic
//! (ALGORITHMS.md).
//! Each training epoch is one pass over the shard and one step down the gradient of the summed
//! loss.
//! It does not know about rounds, and starts from whatever model it is given.

use crate::dataset::Dataset;
use crate::evaluation::{ComputeError, Counts, check};
use crate::kernels::{Kernel, Pass};
use crate::model::Mlp;

/// How to train by full-batch gradient descent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FullBatch {
    /// Passes over the shard.
    pub training_epochs: u32,
    /// The step's length: parameters −= eta · gradient of the summed loss.
    pub eta: f32,
    /// Stop once the summed loss, in nats, changes by no more than this from one training
    /// epoch to the next.
    pub early_stop: Option<f64>,
}

/// What training did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trained {
    /// Completed training epochs.
    pub training_epochs: u32,
    /// Samples of the shard.
    pub samples: u64,
    /// Samples wrongly predicted in the last training epoch, before its step.
    pub wrong: u64,
    /// Summed cross-entropy in the last training epoch, before its step.
    pub loss: f64,
}

impl Trained {
    /// The last training epoch's counts.
    pub fn counts(&self) -> Counts {
        Counts { samples: self.samples, wrong: self.wrong, loss: self.loss }
    }
}

/// Trains `model` on `data` in place.
///
/// `keep_going` is asked before each training epoch; once it says no, the error is
/// [`ComputeError::Stopped`] and the model holds the steps made so far. A loss that is no
/// longer finite ends the training with parameters that are not finite either, so that merging
/// refuses the delta.
pub fn train(
    model: &mut Mlp,
    data: &Dataset,
    settings: &FullBatch,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ComputeError> {
    check(model, data)?;
    let mut kernel = Kernel::new(model);
    let mut gradient = vec![0.0; model.parameters().len()];
    let mut trained = Trained { samples: data.samples() as u64, ..Trained::default() };
    let mut loss_before = None;
    while trained.training_epochs < settings.training_epochs {
        if !keep_going() {
            return Err(ComputeError::Stopped { training_epochs: trained.training_epochs });
        }
        let Pass { loss, wrong } = kernel.loss_and_gradient(model, data.features(), data.labels(), &mut gradient);
        for (parameter, gradient) in model.parameters_mut().iter_mut().zip(&gradient) {
            *parameter -= settings.eta * gradient;
        }
        trained = Trained { training_epochs: trained.training_epochs + 1, wrong, loss, ..trained };
        if !loss.is_finite() || has_settled(loss_before, loss, settings.early_stop) {
            break;
        }
        loss_before = Some(loss);
    }
    Ok(trained)
}

fn has_settled(before: Option<f64>, loss: f64, threshold: Option<f64>) -> bool {
    match (before, threshold) {
        (Some(before), Some(threshold)) => (loss - before).abs() <= threshold,
        _ => false,
    }
}
