//! The built-in learning: taking a shard's moments, training a model on it, measuring it on a part of the data, predicting
//! rows by it.
//!
//! What becomes of deltas and counts is for combines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use convoke_core::Payload;
use convoke_core::event::Metrics;
use convoke_core::message::REPORT_INLINE_BYTES_MAX;
use convoke_ml::{Dataset, Descent, FullBatch, Mlp, Moments, Optimizer, Place, Schedule, Training};
use convoke_wire::program::{self, ProgramError};

use super::input::{Recent, locked};
use super::{Computed, EVALUATE, ExecuteError, Given, Input, MOMENTS, PREDICT, TRAIN};
use crate::counts;

/// Of the samples alone: whether the base takes such samples is found out where all moments come together.
pub(super) fn moments(given: &Given) -> Result<Computed, ExecuteError> {
    let shard = Dataset::from_safetensors(given.shard(MOMENTS)?, None)?;
    let Moments { samples, means, squares } = Moments::of(&shard);
    let moments = program::Moments { samples, means, squares };
    Ok(Computed { result: program::encode(&moments).into(), samples, ..Computed::default() })
}

pub(super) fn train(given: &Given, stop: &AtomicBool) -> Result<Computed, ExecuteError> {
    let train: program::Train = given.program("training program")?;
    let training = training(train)?;
    let base = Mlp::from_safetensors(&given.base)?;
    let shard = Dataset::from_safetensors(given.shard(TRAIN)?, base.classes())?;
    let mut model = base.clone();
    let place = Place { round: given.assignment.round, seed: given.assignment.seed };
    let trained = convoke_ml::train(&mut model, &shard, &training, place, &|| !stop.load(Ordering::Relaxed))?;
    let numbers = [
        ("train_error", trained.error()),
        ("train_loss", trained.log_loss()),
        ("training_epochs", f64::from(trained.training_epochs)),
    ];
    Ok(Computed {
        result: convoke_ml::delta(&model, &base).into(),
        inline_bytes_max: Some(0),
        samples: trained.samples,
        metrics: Metrics::from_iter(numbers),
        ..Computed::default()
    })
}

/// How to train, checked.
fn training(train: program::Train) -> Result<Training, ProgramError> {
    use program::v1::train::Kind;
    Ok(match train.kind.ok_or(ProgramError::Missing { field: "Train.kind" })? {
        Kind::FullBatch(program::FullBatch { training_epochs, eta, early_stop }) => {
            Training::FullBatch(FullBatch { training_epochs, eta, early_stop })
        }
        Kind::Descent(descent) => Training::Descent(checked(&descent)?),
    })
}

fn checked(descent: &program::Descent) -> Result<Descent, ProgramError> {
    use program::v1::descent::Optimizer as Message;
    let (optimizer, schedule) = descent.checked()?;
    Ok(Descent {
        training_epochs: descent.training_epochs,
        batch: descent.batch,
        learning_rate: descent.learning_rate,
        optimizer: match optimizer {
            Message::Sgd(program::Sgd { momentum }) => Optimizer::Sgd { momentum },
            Message::Adam(program::Adam { beta1, beta2, epsilon, decoupled }) => {
                Optimizer::Adam { beta1, beta2, epsilon, decoupled }
            }
        },
        weight_decay: descent.weight_decay,
        clip_norm: descent.clip_norm,
        schedule: match schedule {
            program::Schedule::Cosine => Schedule::Cosine,
            program::Schedule::Constant | program::Schedule::Unspecified => Schedule::Constant,
        },
        rounds: descent.rounds,
    })
}

pub(super) fn evaluate(given: &Given) -> Result<Computed, ExecuteError> {
    let base = Mlp::from_safetensors(&given.base)?;
    let shard = Dataset::from_safetensors(given.shard(EVALUATE)?, base.classes())?;
    let counts = convoke_ml::evaluate(&base, &shard)?;
    let mut metrics = Metrics::from_iter([("validation_error", counts.error())]);
    if let Some(r2) = counts.r2() {
        metrics.insert("validation_r2", r2);
    }
    Ok(Computed {
        result: counts::report(&counts).into(),
        // Counting reads it in place.
        inline_bytes_max: Some(REPORT_INLINE_BYTES_MAX),
        samples: counts.samples,
        metrics,
        ..Computed::default()
    })
}

/// The model that rows were predicted by last: neighbouring tasks have the same, and a large one takes long to read.
pub(super) struct Models(Mutex<Recent<Payload, Mlp>>);

impl Models {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Recent::new(1)))
    }

    fn of(&self, given: &Given) -> Result<Arc<Mlp>, ExecuteError> {
        let base = &given.assignment.base;
        if let Some(model) = locked(&self.0).get(base) {
            return Ok(model);
        }
        let model = Mlp::from_safetensors(&given.base)?;
        Ok(locked(&self.0).insert(base.clone(), model))
    }
}

/// A line for each row: its label or value, or the probabilities of all labels, in the order of the model's.
pub(super) fn predict(given: &Given, models: &Models) -> Result<Computed, ExecuteError> {
    let predict: program::Predict = given.program("prediction program")?;
    let model = models.of(given)?;
    let Input::Item { item, .. } = &given.input else {
        let given = given.input.kind();
        return Err(ExecuteError::WrongInput { ability: PREDICT, given, expected: "an item" });
    };
    let features: Vec<f32> = item.as_chunks().0.iter().map(|bytes: &[u8; 4]| f32::from_le_bytes(*bytes)).collect();
    let text = convoke_ml::prediction_lines(&model, &features, predict.probabilities)?;
    let samples = (features.len() / model.inputs().max(1)) as u64;
    Ok(Computed { result: Bytes::from(text), samples, ..Computed::default() })
}

#[cfg(test)]
mod tests {
    use convoke_wire::program::v1::descent::Optimizer as Message;
    use convoke_wire::program::v1::train::Kind;

    use super::*;

    #[test]
    fn a_descent_is_read_as_it_was_meant_or_refused() {
        let adam = program::Adam { beta1: 0.5, beta2: 0.75, epsilon: 1e-3, decoupled: true };
        let descent = program::Descent {
            training_epochs: 3,
            batch: 32,
            learning_rate: 0.25,
            weight_decay: 0.125,
            clip_norm: Some(1.0),
            schedule: program::Schedule::Cosine.into(),
            rounds: 7,
            optimizer: Some(Message::Adam(adam)),
        };
        let read = |descent: &program::Descent| training(program::Train { kind: Some(Kind::Descent(*descent)) });
        let expected = Descent {
            training_epochs: 3,
            batch: 32,
            learning_rate: 0.25,
            optimizer: Optimizer::Adam { beta1: 0.5, beta2: 0.75, epsilon: 1e-3, decoupled: true },
            weight_decay: 0.125,
            clip_norm: Some(1.0),
            schedule: Schedule::Cosine,
            rounds: 7,
        };
        assert_eq!(read(&descent).unwrap(), Training::Descent(expected));
        let error = read(&program::Descent { learning_rate: -1.0, ..descent }).unwrap_err();
        assert_eq!(error.to_string(), "Descent.learning_rate is -1, expected more than 0");
        assert!(training(program::Train::default()).is_err());
    }
}
