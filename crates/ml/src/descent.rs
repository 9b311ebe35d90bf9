//! Gradient descent on the mean loss of batches, which are drawn without replacement in an order of each training epoch's
//! own.
//! All that is drawn comes from the task's seed and the training epoch, counted through all rounds.
//! It does not know the other tasks of the round.

use crate::dataset::Dataset;
use crate::evaluation::ComputeError;
use crate::kernels::{Kernel, Pass};
use crate::model::Mlp;
use crate::optimizer::{Optimizer, Step, Stepper};
use crate::random::{generator, shuffle};
use crate::schedule::Schedule;
use crate::training::{Place, Trained};

/// How often it is asked whether to go on.
const BATCHES_BETWEEN_ASKING: usize = 256;

/// How to train by gradient descent on batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// Passes over the shard in a round.
    pub training_epochs: u32,
    /// Samples of a batch; 0 is the whole shard. The last one of a training epoch may be smaller.
    pub batch: u32,
    /// How long steps are at first.
    pub learning_rate: f32,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// Added to the gradient times the weight; with a decoupled Adam, weights shrink by it instead. Biases do not.
    pub weight_decay: f32,
    /// The largest norm of a batch's mean gradient: a longer one is shortened to it.
    pub clip_norm: Option<f32>,
    /// What becomes of the learning rate.
    pub schedule: Schedule,
    /// Rounds of the job, which the schedule spans.
    pub rounds: u32,
}

/// Descends from `model` in place. The optimizer starts anew.
pub(crate) fn descend(
    model: &mut Mlp,
    data: &Dataset,
    settings: &Descent,
    place: Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ComputeError> {
    let samples = data.samples();
    let batch = match settings.batch as usize {
        0 => samples,
        batch => batch.min(samples),
    };
    let batches = samples.div_ceil(batch);
    let epochs = u64::from(settings.training_epochs);
    let steps = u64::from(settings.rounds).saturating_mul(epochs).saturating_mul(batches as u64);
    let epochs_before = u64::from(place.round.saturating_sub(1)) * epochs;

    let mut kernel = Kernel::new(model);
    let mut stepper = Stepper::new(settings.optimizer, model);
    let mut gradient = vec![0.0; model.parameters().len()];
    let mut order = Vec::new();
    if batches == 1 {
        kernel.load(model, data, None);
    }
    let mut trained = Trained::of(model, data, 0, Pass::default());
    for epoch in 0..settings.training_epochs {
        let epoch_of_all = epochs_before + u64::from(epoch);
        if batches > 1 {
            draw_order(&mut order, samples, place.seed, epoch_of_all);
        }
        let (mut loss, mut wrong) = (0.0, 0);
        for b in 0..batches {
            if b % BATCHES_BETWEEN_ASKING == 0 && !keep_going() {
                return Err(ComputeError::Stopped { training_epochs: epoch });
            }
            let rows = b * batch..samples.min((b + 1) * batch);
            let of_batch = 1.0 / rows.len() as f32;
            if batches > 1 {
                kernel.load(model, data, Some(&order[rows]));
            }
            let pass: Pass = kernel.loss_and_gradient(model, &mut gradient);
            let step = Step {
                learning_rate: settings.schedule.at(
                    settings.learning_rate,
                    epoch_of_all.saturating_mul(batches as u64).saturating_add(b as u64),
                    steps,
                ),
                factor: of_batch * shortening(&gradient, of_batch, settings.clip_norm),
                weight_decay: settings.weight_decay,
            };
            stepper.step(model.parameters_mut(), &gradient, step);
            (loss, wrong) = (loss + pass.loss, wrong + pass.wrong);
            if !pass.loss.is_finite() {
                // Whatever the step made of it, merging is to refuse the delta.
                model.parameters_mut().fill(f32::NAN);
                return Ok(Trained::of(model, data, epoch + 1, Pass { loss, wrong }));
            }
        }
        trained = Trained::of(model, data, epoch + 1, Pass { loss, wrong });
    }
    Ok(trained)
}

/// The rows of all batches of a training epoch, one after the other.
fn draw_order(order: &mut Vec<u32>, samples: usize, seed: u64, epoch: u64) {
    order.clear();
    // As rows they have to be in memory, and 2^32 of them are not.
    order.extend(0..samples as u32);
    shuffle(order, &mut generator(seed.wrapping_add(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15)), 0x0de5_ce4d));
}

/// By what to multiply `gradient`, that of a sum, so that its share of it is no longer than `clip_norm`.
fn shortening(gradient: &[f32], of_batch: f32, clip_norm: Option<f32>) -> f32 {
    let Some(longest) = clip_norm else { return 1.0 };
    let norm = sum_of_squares(gradient).sqrt() * f64::from(of_batch);
    let longest = f64::from(longest);
    if norm > longest { (longest / norm) as f32 } else { 1.0 }
}

/// Added up in eight lanes, and these in order: the same bits everywhere.
fn sum_of_squares(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0f64; 8];
    let mut add = |values: &[f32]| {
        for (lane, value) in lanes.iter_mut().zip(values) {
            let value = f64::from(*value);
            *lane += value * value;
        }
    };
    chunks.iter().for_each(|chunk| add(chunk));
    add(rest);
    lanes.iter().sum()
}

#[cfg(test)]
mod tests;
