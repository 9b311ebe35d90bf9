//! The built-in learning: taking a shard's moments, training a model on it, measuring it on a part of the data, predicting rows by it.
//!
//! What becomes of deltas and counts is for combines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use convoke_core::Payload;
use convoke_core::event::Metrics;
use convoke_ml::{Counts, Dataset, FullBatch, Mlp, Moments};
use convoke_wire::program::{self, ProgramError};

use super::input::{Recent, locked};
use super::{Computed, EVALUATE, ExecuteError, Given, Input, MOMENTS, PREDICT, TRAIN};

/// Of the samples alone: whether the base takes such samples is found out where all moments come together.
pub(super) fn moments(given: &Given) -> Result<Computed, ExecuteError> {
    let shard = Dataset::from_safetensors(given.shard(MOMENTS)?, None)?;
    let Moments { samples, means, squares } = Moments::of(&shard);
    let moments = program::Moments { samples, means, squares };
    Ok(Computed { result: program::encode(&moments).into(), samples, ..Computed::default() })
}

pub(super) fn train(given: &Given, stop: &AtomicBool) -> Result<Computed, ExecuteError> {
    use program::v1::train::Kind;
    let train: program::Train = given.program("training program")?;
    let Kind::FullBatch(settings) = train.kind.ok_or(ProgramError::Missing { field: "Train.kind" })?;
    let settings =
        FullBatch { training_epochs: settings.training_epochs, eta: settings.eta, early_stop: settings.early_stop };
    let base = Mlp::from_safetensors(&given.base)?;
    let shard = Dataset::from_safetensors(given.shard(TRAIN)?, Some(base.outputs()))?;
    let mut model = base.clone();
    let trained = convoke_ml::train(&mut model, &shard, &settings, &|| !stop.load(Ordering::Relaxed))?;
    let counts = trained.counts();
    let numbers = [
        ("train_error", counts.error()),
        ("train_loss", counts.loss / counts.samples as f64),
        ("training_epochs", f64::from(trained.training_epochs)),
    ];
    Ok(Computed {
        result: convoke_ml::delta(&model, &base).into(),
        inline_bytes_max: Some(0),
        samples: counts.samples,
        metrics: Metrics::from_iter(numbers),
        ..Computed::default()
    })
}

pub(super) fn evaluate(given: &Given) -> Result<Computed, ExecuteError> {
    let base = Mlp::from_safetensors(&given.base)?;
    let shard = Dataset::from_safetensors(given.shard(EVALUATE)?, Some(base.outputs()))?;
    let counts: Counts = convoke_ml::evaluate(&base, &shard)?;
    let count =
        program::Count { samples: counts.samples, wrong: counts.wrong, loss: counts.loss, ..Default::default() };
    Ok(Computed {
        result: program::encode(&count).into(),
        samples: counts.samples,
        metrics: Metrics::from_iter([("validation_error", counts.error())]),
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

/// A line for each row: its label, or the probabilities of all labels, in the order of the model's.
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
