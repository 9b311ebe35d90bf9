//! What tasks and combines compute, as plain functions over blobs.
//!
//! They run at one instant of the virtual clock; how long they take is drawn elsewhere. The reference run calls the
//! same training and merging, so this checks distribution, not arithmetic.

use anyhow::{Context, bail, ensure};
use convoke_core::coordinator::{Combine, CombineOutcome};
use convoke_core::event::{Combined, Completion, Metrics};
use convoke_core::message::Assignment;
use convoke_core::sabotage::{self, Bug};
use convoke_core::{Digest, Form, Payload};
use convoke_ml::{
    Contribution, Counts, Dataset, FullBatch, MergeRule, Mlp, Moments, Place, Training, delta, evaluate, merge, train,
};
use convoke_store::blobs::{BlobError, Blobs, Durability};

use crate::divisible::{self, COLLECT};

/// The combine rule of what comes before the first round.
pub const STANDARDIZE: &[u8] = b"standardize";
/// The combine rule of a training stage.
pub const MEAN: &[u8] = b"mean";
/// The combine rule of an evaluation stage.
pub const COUNTS: &[u8] = b"counts";

/// The most bytes of a blob here.
pub const BYTES_MAX: u64 = 1 << 20;
/// How many parts of a combine stay open; the others are synced first, and opened again and again.
const OPEN_MAX: usize = 2;
const TRAINING: Training = Training::FullBatch(FullBatch { training_epochs: 2, eta: 0.1, early_stop: None });

/// What a task made: its completion, and the blob that goes with it.
#[derive(Clone, Debug)]
pub struct Made {
    pub completion: Completion,
    pub blob: Option<Vec<u8>>,
}

/// A blob is not there.
#[derive(Debug)]
pub struct Gone(pub &'static str);

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} is gone", self.0)
    }
}

impl std::error::Error for Gone {}

/// Gets a payload's bytes; `None` if they are not there.
pub type Fetch<'a> = dyn FnMut(&Payload) -> Result<Option<Vec<u8>>, anyhow::Error> + 'a;

/// Runs an attempt, on what `fetch` gets.
pub fn execute(assignment: &Assignment, fetch: &mut Fetch<'_>) -> Result<Made, anyhow::Error> {
    if let "map" | "reduce" = assignment.ability.as_str() {
        return divisible::execute(assignment, fetch);
    }
    let base = fetch(&assignment.base)?.ok_or(Gone("base"))?;
    let manifest = fetch(&assignment.input)?.ok_or(Gone("manifest"))?;
    let entry =
        manifest.chunks_exact(32).nth(assignment.task.index as usize).context("the manifest has no such entry")?;
    let shard = Payload::blob(Digest(entry.try_into()?));
    let shard = fetch(&shard)?.ok_or(Gone("shard"))?;
    let (bytes, samples, is_blob) = match assignment.ability.as_str() {
        "moments" => {
            let (bytes, samples) = moments_of_shard(&shard)?;
            (bytes, samples, true)
        }
        "train" => {
            let (bytes, samples) = train_shard(&base, &shard)?;
            (bytes, samples, true)
        }
        "evaluate" => {
            let counts = evaluate_shard(&base, &shard)?;
            (counts_bytes(&counts), counts.samples, false)
        }
        other => bail!("nothing here can `{other}`"),
    };
    let digest = convoke_store::digest_of(&bytes);
    let result = if is_blob { Payload::blob(digest) } else { Payload::inline(&bytes)? };
    let completion = Completion { result, samples, ..Completion::default() };
    Ok(Made { completion, blob: is_blob.then_some(bytes) })
}

/// Makes one result of a stage's.
pub fn combine(blobs: &dyn Blobs, order: &Combine) -> Result<CombineOutcome, anyhow::Error> {
    let mut parts = Vec::new();
    let mut lost = Vec::new();
    for (place, part) in order.parts.iter().enumerate() {
        let stays_open = place < OPEN_MAX && order.rule.as_inline() != Some(COLLECT);
        match read_part(blobs, &part.result, stays_open)? {
            Some(bytes) => parts.push((bytes, part.samples)),
            None => lost.push(part.index),
        }
    }
    if !lost.is_empty() {
        return Ok(CombineOutcome::ResultsLost(lost));
    }
    let combined = |result, metrics| CombineOutcome::Combined(Combined { result, metrics, refused: Vec::new() });
    match order.rule.as_inline() {
        Some(rule @ (STANDARDIZE | MEAN)) => {
            let base = read(blobs, &order.base)?.ok_or(Gone("base"))?;
            let make = if rule == MEAN { merge_parts } else { standardize_by };
            let version = make(&base, &parts)?;
            let durability = match sabotage::is(Bug::LeaveVersionUnsynced) {
                true => Durability::Unsynced,
                false => Durability::Synced,
            };
            Ok(combined(Payload::blob(blobs.put(&version, durability)?), Metrics::default()))
        }
        Some(COUNTS) => {
            let total = parts.iter().map(|(bytes, _)| read_counts(bytes)).sum::<Result<Counts, _>>()?;
            let metrics = [("loss", total.loss), ("validation_error", total.error())].into_iter().collect();
            Ok(combined(Payload::inline(&counts_bytes(&total))?, metrics))
        }
        Some(COLLECT) => {
            let results = order.parts.iter().map(|part| (part.index, part.result.clone())).collect();
            let (list, blob) = divisible::collect(results)?;
            blob.map(|bytes| blobs.put(&bytes, Durability::Synced)).transpose()?;
            Ok(combined(list, Metrics::default()))
        }
        _ => bail!("no such combine"),
    }
}

/// The moments of one shard, and its samples.
pub fn moments_of_shard(shard: &[u8]) -> Result<(Vec<u8>, u64), anyhow::Error> {
    let Moments { samples, means, squares } = Moments::of(&Dataset::from_safetensors(shard, None)?);
    let numbers = means.iter().chain(&squares).flat_map(|number| number.to_le_bytes());
    Ok((samples.to_le_bytes().into_iter().chain(numbers).collect(), samples))
}

/// The base, standardised by moments in this order.
pub fn standardize_by(base: &[u8], parts: &[(Vec<u8>, u64)]) -> Result<Vec<u8>, anyhow::Error> {
    let mut total = Moments::default();
    for (bytes, _) in parts {
        let (samples, numbers) = bytes.split_first_chunk().context("moments begin with a count")?;
        let numbers: Vec<f64> = numbers.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (means, squares) = numbers.split_at(numbers.len() / 2);
        let (means, squares) = (means.to_vec(), squares.to_vec());
        total.merge(&Moments { samples: u64::from_le_bytes(*samples), means, squares })?;
    }
    let mut model = Mlp::from_safetensors(base)?;
    model.standardize(&total)?;
    Ok(model.to_safetensors())
}

/// The delta of one shard, and its samples.
pub fn train_shard(base: &[u8], shard: &[u8]) -> Result<(Vec<u8>, u64), anyhow::Error> {
    let base = Mlp::from_safetensors(base)?;
    let shard = Dataset::from_safetensors(shard, Some(base.outputs()))?;
    let mut model = base.clone();
    let trained = train(&mut model, &shard, &TRAINING, Place::default(), &|| true)?;
    Ok((delta(&model, &base), trained.samples))
}

pub fn evaluate_shard(base: &[u8], shard: &[u8]) -> Result<Counts, anyhow::Error> {
    let base = Mlp::from_safetensors(base)?;
    Ok(evaluate(&base, &Dataset::from_safetensors(shard, Some(base.outputs()))?)?)
}

/// The next version of deltas with their samples, in this order.
pub fn merge_parts(base: &[u8], parts: &[(Vec<u8>, u64)]) -> Result<Vec<u8>, anyhow::Error> {
    let contributions: Vec<_> =
        parts.iter().map(|(bytes, samples)| Contribution { delta: bytes, samples: *samples }).collect();
    let mut version = Vec::new();
    let merged = merge(MergeRule::Mean, &base, &contributions, &mut version)?;
    ensure!(merged.refused.is_empty(), "a delta was refused: {:?}", merged.refused);
    Ok(version)
}

/// A part's bytes, as the real shell reads them: unchecked once they are synced; `None` if they are gone or spoiled.
fn read_part(blobs: &dyn Blobs, result: &Payload, stays_open: bool) -> Result<Option<Vec<u8>>, anyhow::Error> {
    let digest = match result.form() {
        Form::Inline(bytes) => return Ok(Some(bytes.to_vec())),
        Form::Blob(digest) => *digest,
    };
    let read = || -> Result<Option<Vec<u8>>, BlobError> {
        if !stays_open && !blobs.sync(digest)? {
            return Ok(None);
        }
        let Some(reader) = blobs.open(digest)? else { return Ok(None) };
        let mut bytes = vec![0; reader.len() as usize];
        reader.read_exact_at(0, &mut bytes)?;
        Ok(Some(bytes))
    };
    match read() {
        Err(BlobError::Damaged { .. }) => Ok(None),
        read => Ok(read?),
    }
}

/// Whether it is the disk that failed, which may be over the next time.
pub fn is_of_the_disk(error: &BlobError) -> bool {
    matches!(error, BlobError::Disk(_) | BlobError::Store(_))
}

/// The bytes of a payload, if they are there.
pub fn read(blobs: &dyn Blobs, payload: &Payload) -> Result<Option<Vec<u8>>, anyhow::Error> {
    match payload.form() {
        Form::Inline(bytes) => Ok(Some(bytes.to_vec())),
        Form::Blob(digest) => Ok(blobs.get(*digest, BYTES_MAX)?.map(|bytes| bytes.to_vec())),
    }
}

pub fn counts_bytes(counts: &Counts) -> Vec<u8> {
    [counts.samples.to_le_bytes(), counts.wrong.to_le_bytes(), counts.loss.to_le_bytes()].concat()
}

fn read_counts(bytes: &[u8]) -> Result<Counts, anyhow::Error> {
    let number = |place: usize| -> Result<[u8; 8], anyhow::Error> {
        Ok(bytes.get(place..place + 8).context("counts are three numbers")?.try_into()?)
    };
    let (samples, wrong) = (u64::from_le_bytes(number(0)?), u64::from_le_bytes(number(8)?));
    Ok(Counts { samples, wrong, loss: f64::from_le_bytes(number(16)?), ..Counts::default() })
}
