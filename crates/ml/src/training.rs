//! Training on one shard: gradient descent on batches, or with the reference job's full-batch arithmetic
//! (ALGORITHMS.md).
//! It does not know what becomes of the model, and starts from whatever model it is given.

use crate::counts::Counts;
use crate::dataset::Dataset;
use crate::descent::{Descent, descend};
use crate::evaluation::{ComputeError, check};
use crate::kernels::{Kernel, Pass};
use crate::model::Mlp;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Training {
    /// The reference job's way.
    FullBatch(FullBatch),
    /// Every other way.
    Descent(Descent),
}

/// How to train by full-batch gradient descent: each training epoch is one pass over the shard and one step down the
/// gradient of the summed loss.
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

/// Which training of a job this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The round, from 1.
    pub round: u32,
    /// The task's own seed.
    pub seed: u64,
}

/// What training did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trained {
    /// Completed training epochs; the last one may have ended with a loss that was not finite.
    pub training_epochs: u32,
    /// Samples of the shard.
    pub samples: u64,
    /// Samples wrongly predicted in the last training epoch, each before its batch's step.
    pub wrong: u64,
    /// The summed loss in the last training epoch, of each batch before its step.
    pub loss: f64,
    /// Where a value is predicted, Σ (y − ŷ)² in the target's units, as it was met in the last training epoch.
    pub squared_error: Option<f64>,
}

impl Trained {
    pub(crate) fn of(model: &Mlp, data: &Dataset, training_epochs: u32, Pass { loss, wrong }: Pass) -> Trained {
        let scale = f64::from(model.target().map_or(1.0, |(_, scale)| scale));
        let squared_error = model.classes().is_none().then_some(loss * scale * scale);
        Trained { training_epochs, samples: data.samples() as u64, wrong, loss, squared_error }
    }

    /// The last training epoch's error, as [`Counts::error`] says it.
    pub fn error(&self) -> f64 {
        let samples = self.samples.max(1) as f64;
        self.squared_error.map_or(self.wrong as f64 / samples, |squared_error| (squared_error / samples).sqrt())
    }

    /// The last training epoch's mean loss of a sample.
    pub fn log_loss(&self) -> f64 {
        Counts { samples: self.samples, loss: self.loss, ..Counts::default() }.log_loss()
    }
}

/// Trains `model` on `data` in place.
///
/// `keep_going` is asked before each training epoch, and within long ones; once it says no, the error is
/// [`ComputeError::Stopped`] and the model holds the steps made so far. A loss that is no
/// longer finite ends the training with parameters that are not finite either, so that merging
/// refuses the delta.
pub fn train(
    model: &mut Mlp,
    data: &Dataset,
    training: &Training,
    place: Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ComputeError> {
    check(model, data)?;
    match training {
        Training::FullBatch(settings) => full_batch(model, data, settings, keep_going),
        Training::Descent(settings) => descend(model, data, settings, place, keep_going),
    }
}

fn full_batch(
    model: &mut Mlp,
    data: &Dataset,
    settings: &FullBatch,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ComputeError> {
    let mut kernel = Kernel::new(model);
    kernel.load(model, data, None);
    let mut gradient = vec![0.0; model.parameters().len()];
    let mut trained = Trained::of(model, data, 0, Pass::default());
    let mut loss_before = None;
    while trained.training_epochs < settings.training_epochs {
        if !keep_going() {
            return Err(ComputeError::Stopped { training_epochs: trained.training_epochs });
        }
        let pass = kernel.loss_and_gradient(model, &mut gradient);
        for (parameter, gradient) in model.parameters_mut().iter_mut().zip(&gradient) {
            *parameter -= settings.eta * gradient;
        }
        trained = Trained::of(model, data, trained.training_epochs + 1, pass);
        if !pass.loss.is_finite() || has_settled(loss_before, pass.loss, settings.early_stop) {
            break;
        }
        loss_before = Some(pass.loss);
    }
    Ok(trained)
}

fn has_settled(before: Option<f64>, loss: f64, threshold: Option<f64>) -> bool {
    match (before, threshold) {
        (Some(before), Some(threshold)) => (loss - before).abs() <= threshold,
        _ => false,
    }
}
