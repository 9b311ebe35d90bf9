//! Executors: what a worker does with an assignment. They fetch, compute, and hand back a result.
//!
//! Adding a kind of work is adding an ability here. An executor knows nothing of leases or sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::event::{Completion, Metrics, Timing};
use convoke_core::message::Assignment;
use convoke_core::{Form, Payload, Split};
use convoke_ml::{ComputeError, Counts, Dataset, DatasetError, FullBatch, Mlp, ModelError};
use convoke_store::digest_of;
use convoke_wire::CallError;
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, ProgramError};
use convoke_wire::protocol::SESSION_BLOB_BYTES_MAX;

use crate::cache::Cache;
use crate::compute::Compute;

/// Trains the base on a shard.
pub const TRAIN: &str = "train";
/// Measures the base on a part of the data.
pub const EVALUATE: &str = "evaluate";

/// What executors need.
pub(crate) struct Executors {
    pub(crate) cache: Cache,
    pub(crate) compute: Compute,
}

/// What an executor brought.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) completion: Completion,
    /// The result's bytes, where they are to go ahead of the report.
    pub(crate) blob: Option<Bytes>,
}

/// Why an executor brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("this worker cannot `{0}`")]
    NoSuchAbility(String),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot fetch what the task needs: {0}")]
    Fetch(CallError),
    #[error("cannot store the result: {0}")]
    Store(CallError),
    #[error("the base cannot be used: {0}")]
    Base(#[from] ModelError),
    #[error("the shard cannot be used: {0}")]
    Shard(#[from] DatasetError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
    #[error("the computation panicked")]
    Panicked,
    #[error("the executor panicked")]
    Broken,
}

/// What a computation brings: the result's bytes, the samples behind it, and what was measured.
struct Computed {
    result: Vec<u8>,
    is_blob: bool,
    samples: u64,
    metrics: Metrics,
}

impl Executors {
    /// Runs an assignment to its end, or until `stop` is set.
    pub(crate) async fn run(
        &self,
        assignment: &Assignment,
        queued: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Executed, ExecuteError> {
        let began = Instant::now();
        let (base, shard) = self.fetch(assignment).await?;
        let fetched = Instant::now();
        let (ability, program) = (assignment.ability.clone(), assignment.program.clone());
        let work = move || match ability.as_str() {
            TRAIN => train(&program, &base, &shard, &stop),
            EVALUATE => evaluate(&base, &shard),
            other => Err(ExecuteError::NoSuchAbility(other.to_owned())),
        };
        let computed = self.compute.run(work).await.ok_or(ExecuteError::Panicked)??;
        let computed_at = Instant::now();
        let (result, blob) = self.store(computed.result, computed.is_blob).await?;
        let timing = Timing {
            queued_us: micros(queued),
            fetch_us: micros(fetched - began),
            compute_us: micros(computed_at - fetched),
            report_us: micros(computed_at.elapsed()),
        };
        let (samples, metrics) = (computed.samples, computed.metrics);
        Ok(Executed { completion: Completion { result, samples, metrics, timing }, blob })
    }

    /// The base, and the task's part of the input.
    async fn fetch(&self, assignment: &Assignment) -> Result<(Bytes, Bytes), ExecuteError> {
        let Split::Entries = assignment.split;
        let manifest = self.bytes(&assignment.input).await?;
        if manifest.len() as u64 > MANIFEST_BYTES_MAX {
            let digest = digest_of(&manifest);
            return Err(ExecuteError::Fetch(CallError::BlobTooLarge { digest, bytes_max: MANIFEST_BYTES_MAX }));
        }
        let manifest: program::Manifest = program::read_bytes("manifest", &manifest)?;
        let shard = Payload::blob(manifest.blob(assignment.task.index)?);
        tokio::try_join!(self.bytes(&assignment.base), self.bytes(&shard))
    }

    async fn bytes(&self, payload: &Payload) -> Result<Bytes, ExecuteError> {
        match payload.form() {
            Form::Inline(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            Form::Blob(digest) => self.cache.get(*digest).await.map_err(ExecuteError::Fetch),
        }
    }

    /// Puts a result where its payload says: in place, or in a blob, which goes ahead of the report where it is small.
    async fn store(&self, result: Vec<u8>, is_blob: bool) -> Result<(Payload, Option<Bytes>), ExecuteError> {
        let result = Bytes::from(result);
        if let Some(payload) = Payload::inline(&result).ok().filter(|_| !is_blob) {
            return Ok((payload, None));
        }
        if result.len() <= SESSION_BLOB_BYTES_MAX {
            return Ok((Payload::blob(digest_of(&result)), Some(result)));
        }
        Ok((Payload::blob(self.cache.put(result).await.map_err(ExecuteError::Store)?), None))
    }
}

fn train(program: &Payload, base: &[u8], shard: &[u8], stop: &AtomicBool) -> Result<Computed, ExecuteError> {
    use program::v1::train::Kind;
    let train: program::Train = program::read("training program", program)?;
    let Kind::FullBatch(settings) = train.kind.ok_or(ProgramError::Missing { field: "Train.kind" })?;
    let settings =
        FullBatch { training_epochs: settings.training_epochs, eta: settings.eta, early_stop: settings.early_stop };
    let base = Mlp::from_safetensors(base)?;
    let shard = Dataset::from_safetensors(shard, Some(base.outputs()))?;
    let mut model = base.clone();
    let trained = convoke_ml::train(&mut model, &shard, &settings, &|| !stop.load(Ordering::Relaxed))?;
    let counts = trained.counts();
    let numbers = [
        ("train_error", counts.error()),
        ("train_loss", counts.loss / counts.samples as f64),
        ("training_epochs", f64::from(trained.training_epochs)),
    ];
    Ok(Computed {
        result: convoke_ml::delta(&model, &base),
        is_blob: true,
        samples: counts.samples,
        metrics: Metrics::from_iter(numbers),
    })
}

fn evaluate(base: &[u8], shard: &[u8]) -> Result<Computed, ExecuteError> {
    let base = Mlp::from_safetensors(base)?;
    let shard = Dataset::from_safetensors(shard, Some(base.outputs()))?;
    let counts: Counts = convoke_ml::evaluate(&base, &shard)?;
    let count = program::Count { samples: counts.samples, wrong: counts.wrong, loss: counts.loss };
    Ok(Computed {
        result: program::encode(&count),
        is_blob: false,
        samples: counts.samples,
        metrics: Metrics::from_iter([("validation_error", counts.error())]),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
