//! Standardising: what tasks took of their shards, counts, means and sums of squares, is merged in task order, and the base
//! becomes a model that takes features of one scale.
//!
//! How moments merge and what a model makes of them `convoke-ml` knows; which of them are to be believed is said here.

use bytes::Bytes;
use convoke_core::coordinator::{Combine, CombineOutcome};
use convoke_core::event::{Combined, LISTED_MAX, LISTED_REASON_BYTES_MAX, Metrics, Refused, bounded};
use convoke_core::{Form, Payload};
use convoke_ml::{Head, Mlp, Moments};
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_wire::program;

use super::CombineError;
use crate::lists;

/// The most bytes of a model: it is read whole, and has at most 2^28 parameters.
const MODEL_BYTES_MAX: u64 = 2 << 30;

/// What can be had of a part.
enum Read {
    Whole(Bytes),
    /// It is gone or spoiled: the task has to run again.
    Lost,
    TooLarge,
}

/// The base with the mean and the scale of all samples, durable before anyone hears of it.
pub(super) fn standardize(order: &Combine, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    let base = order.base.as_blob().ok_or(CombineError::InlineBase)?;
    let bytes = blobs.get(base, MODEL_BYTES_MAX)?.ok_or(CombineError::NoBase(base))?;
    let mut model = Mlp::from_safetensors(&bytes)?;
    drop(bytes);
    let shards = lists::samples(blobs, &order.input)?;
    let columns = columns(&model);
    let bytes_max = bytes_max(columns);
    let (mut total, mut lost) = (Moments::default(), Vec::new());
    let (mut refused, mut refusals) = (Vec::new(), 0);
    for part in &order.parts {
        let taken = match read(blobs, &part.result, bytes_max)? {
            Read::Lost => {
                lost.push(part.index);
                continue;
            }
            Read::TooLarge => Err(format!("it has more than {bytes_max} bytes, for {columns} columns")),
            Read::Whole(bytes) => {
                let samples_max = shards.get(part.index as usize).copied();
                take(&bytes, columns, samples_max).and_then(|one| total.merge(&one).map_err(|error| error.to_string()))
            }
        };
        let Err(reason) = taken else { continue };
        refusals += 1;
        if refused.len() < LISTED_MAX {
            refused.push(Refused { index: part.index, reason: bounded(reason, LISTED_REASON_BYTES_MAX) });
        }
    }
    if !lost.is_empty() {
        return Ok(CombineOutcome::ResultsLost(lost));
    }
    if let Some(first) = refused.first().filter(|_| refusals == order.parts.len()) {
        return Err(CombineError::AllRefused { index: first.index, reason: first.reason.clone() });
    }
    model.standardize(&total)?;
    let result = Payload::blob(blobs.put(&model.to_safetensors(), Durability::Synced)?);
    Ok(CombineOutcome::Combined(Combined { result, metrics: Metrics::default(), refused }))
}

/// How many columns the moments have: the features, and the target where the model predicts a value.
fn columns(model: &Mlp) -> usize {
    model.inputs() + usize::from(matches!(model.architecture().head, Head::Value(_)))
}

/// Two numbers a column, and what stands before them.
fn bytes_max(columns: usize) -> u64 {
    16 * columns as u64 + 64
}

fn read(blobs: &dyn Blobs, result: &Payload, bytes_max: u64) -> Result<Read, BlobError> {
    let digest = match result.form() {
        Form::Inline(bytes) if bytes.len() as u64 > bytes_max => return Ok(Read::TooLarge),
        Form::Inline(bytes) => return Ok(Read::Whole(Bytes::from_owner(bytes.clone()))),
        Form::Blob(digest) => *digest,
    };
    match blobs.get(digest, bytes_max) {
        Ok(Some(bytes)) => Ok(Read::Whole(bytes)),
        Ok(None) | Err(BlobError::Damaged { .. }) => Ok(Read::Lost),
        Err(BlobError::TooLarge { .. }) => Ok(Read::TooLarge),
        Err(error) => Err(error),
    }
}

/// What a task brought, if it can be what the executor says of a shard of so many samples.
fn take(bytes: &[u8], columns: usize, samples_max: Option<u64>) -> Result<Moments, String> {
    let message: program::Moments =
        program::read_bytes("message of moments", bytes).map_err(|error| error.to_string())?;
    let moments = Moments { samples: message.samples, means: message.means, squares: message.squares };
    moments.check().map_err(|error| error.to_string())?;
    if moments.means.len() != columns {
        return Err(format!("it has moments of {} columns, and the model takes {columns}", moments.means.len()));
    }
    // Who claims more than there is would outweigh all others.
    if let Some(samples_max) = samples_max.filter(|samples_max| moments.samples > *samples_max) {
        return Err(format!("it claims {} samples of a shard that has {samples_max}", moments.samples));
    }
    // All values are f32. The mean square of all parts together is no larger than the largest of one, so that of what is
    // within this a scale can be made.
    let most = (f64::from(f32::MAX) / 2.0).powi(2);
    let mean_square = |(mean, squares): (&f64, &f64)| mean * mean + squares / moments.samples as f64;
    match moments.means.iter().zip(&moments.squares).map(mean_square).position(|square| square > most) {
        Some(column) => {
            let (mean, squares) = (moments.means[column], moments.squares[column]);
            Err(format!("its column {column} has mean {mean} and squares {squares}, which no values have"))
        }
        None => Ok(moments),
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::coordinator::Part;
    use convoke_core::event::Extras;
    use convoke_core::{Digest, JobId, StageNumber};
    use convoke_ml::Dataset;
    use convoke_store::blobs::MemoryBlobs;

    use super::*;

    /// A model of two features, and shards of 3 and 5 samples.
    struct Stage {
        blobs: MemoryBlobs,
        base: Mlp,
        order: Combine,
    }

    fn samples(count: usize) -> Dataset {
        let features = (0..2 * count).map(|place| place as f32 * 1.5 - 4.0).collect();
        Dataset::new(features, vec![0; count], 2).unwrap()
    }

    fn message(moments: &Moments) -> Vec<u8> {
        let Moments { samples, means, squares } = moments.clone();
        program::encode(&program::Moments { samples, means, squares })
    }

    impl Stage {
        fn new() -> Self {
            let blobs = MemoryBlobs::default();
            let base = Mlp::uniform_start(&[2, 2], vec!["no".to_owned(), "yes".to_owned()], 1).unwrap();
            let put = |bytes: &[u8]| Payload::blob(blobs.put(bytes, Durability::Synced).unwrap());
            let entry = |samples| program::Entry { digest: vec![0; 32], samples, ..Default::default() };
            let manifest = program::Manifest { entries: vec![entry(3), entry(5)], ..Default::default() };
            let order = Combine {
                job: JobId::from_bits(1),
                stage: StageNumber(1),
                rule: program::inline(&convoke_wire::job::standardize()),
                base: put(&base.to_safetensors()),
                input: put(&program::encode(&manifest)),
                parts: Vec::new(),
            };
            Self { blobs, base, order }
        }

        /// The outcome of results in place.
        fn combined(&mut self, results: &[Vec<u8>]) -> Result<Combined, String> {
            let part = |(index, bytes): (u32, &Vec<u8>)| {
                let result = Payload::inline(bytes).unwrap();
                Part { index, result, samples: 1, extras: Extras::default() }
            };
            self.order.parts = (0..).zip(results).map(part).collect();
            match super::super::combine(&self.order, &self.blobs) {
                Ok(CombineOutcome::Combined(combined)) => Ok(combined),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        }

        fn model(&self, combined: &Combined) -> Mlp {
            let bytes = self.blobs.get(combined.result.as_blob().unwrap(), MODEL_BYTES_MAX).unwrap().unwrap();
            Mlp::from_safetensors(&bytes).unwrap()
        }
    }

    #[test]
    fn the_base_takes_features_of_one_scale() {
        let mut stage = Stage::new();
        let [first, second] = [3, 5].map(|count| Moments::of(&samples(count)));
        let combined = stage.combined(&[message(&first), message(&second)]).unwrap();
        let mut total = first;
        total.merge(&second).unwrap();
        let mut expected = stage.base.clone();
        expected.standardize(&total).unwrap();
        assert!(expected.features().is_some());
        assert_eq!((stage.model(&combined), combined.refused), (expected, Vec::new()));
    }

    #[test]
    fn what_cannot_be_moments_of_its_shard_takes_no_part() {
        let mut stage = Stage::new();
        let good = Moments::of(&samples(5));
        let refused = |stage: &mut Stage, bad: Vec<u8>| {
            let combined = stage.combined(&[bad, message(&good)]).unwrap();
            let mut alone = stage.base.clone();
            alone.standardize(&good).unwrap();
            assert_eq!(stage.model(&combined), alone);
            let [refused] = &combined.refused[..] else { panic!("{:?}", combined.refused) };
            assert_eq!(refused.index, 0);
            refused.reason.clone()
        };
        let of = |samples, means: &[f64], squares: &[f64]| {
            message(&Moments { samples, means: means.to_vec(), squares: squares.to_vec() })
        };
        let malformed = refused(&mut stage, b"\xff\xff".to_vec());
        assert!(malformed.starts_with("not a message of moments: "), "{malformed}");
        for (bad, expected) in [
            (of(4, &[0.0; 2], &[1.0; 2]), "it claims 4 samples of a shard that has 3"),
            (of(3, &[0.0; 3], &[1.0; 3]), "it has moments of 3 columns, and the model takes 2"),
            (of(3, &[0.0, 1e39], &[1.0; 2]), "its column 1 has mean 1"),
            (of(3, &[0.0; 2], &[1e80, 1.0]), "its column 0 has mean 0 and squares 1"),
            (of(3, &[0.0; 9], &[1.0; 9]), "it has more than 96 bytes, for 2 columns"),
            (of(0, &[0.0; 2], &[1.0; 2]), "moments of 0 samples"),
            (of(3, &[0.0; 2], &[1.0; 1]), "2 means and 1 sums of squares"),
            (of(3, &[f64::NAN, 0.0], &[1.0; 2]), "column 0 has mean NaN"),
            (of(3, &[0.0; 2], &[1.0, -1.0]), "column 1 has mean 0 and squares -1"),
        ] {
            let reason = refused(&mut stage, bad);
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn where_all_are_refused_the_job_ends_with_the_first_reason() {
        let bad = message(&Moments { samples: 9, means: vec![0.0; 2], squares: vec![1.0; 2] });
        let error = Stage::new().combined(&[bad.clone(), bad]).unwrap_err();
        let why = "it claims 9 samples of a shard that has 3";
        assert_eq!(error, format!("every result was refused, that of task 0 because: {why}"));
    }

    #[test]
    fn what_is_gone_is_taken_again() {
        let mut stage = Stage::new();
        let moments = message(&Moments::of(&samples(3)));
        let there = stage.blobs.put(&moments, Durability::Unsynced).unwrap();
        let part = |index, digest| Part { index, result: Payload::blob(digest), samples: 3, extras: Extras::default() };
        stage.order.parts = vec![part(0, there), part(1, Digest([9; 32]))];
        let lost = standardize(&stage.order, &stage.blobs).unwrap();
        assert!(matches!(&lost, CombineOutcome::ResultsLost(lost) if *lost == [1]), "{lost:?}");
        stage.order.parts.pop();
        assert!(matches!(standardize(&stage.order, &stage.blobs), Ok(CombineOutcome::Combined(_))));
    }
}
