//! Combining, on a thread of its own: deltas become the next version, counts become one.
//!
//! It reads parts in task order and a block at a time, whatever order they arrived in. Which parts take part was
//! decided, and journaled, before.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use convoke_core::coordinator::{Combine, CombineOutcome, Input, Part};
use convoke_core::event::{Combined, LISTED_MAX, LISTED_REASON_BYTES_MAX, Metrics, Refused, bounded};
use convoke_core::{Digest, Form, Payload};
use convoke_ml::merge::{Contribution, MergeError, MergeRule, ReadAt, merge};
use convoke_store::blobs::{BlobError, BlobReader, BlobWriter, Blobs, Durability};
use convoke_wire::program::{self, ProgramError};
use tokio::sync::mpsc;

use crate::blob_service::BLOB_BYTES_MAX;
use crate::decider::Command;

/// How many parts stay open during a merge. The rest is opened for each block, so that a stage may have more parts than
/// the process may have files.
const OPEN_MAX: usize = 128;

/// Combines until nobody orders any more.
pub(crate) fn run(mut orders: mpsc::Receiver<Combine>, blobs: &Arc<dyn Blobs>, commands: &mpsc::Sender<Command>) {
    while let Some(order) = orders.blocking_recv() {
        // Nothing is shared with the next combine but the blobs, which bear a caller's panic as they bear its death.
        let outcome = match catch_unwind(AssertUnwindSafe(|| combine(&order, &**blobs))) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => CombineOutcome::Failed(format!("stage {} cannot be combined: {error}", order.stage)),
            Err(_) => CombineOutcome::Failed(format!("stage {} cannot be combined: the combine panicked", order.stage)),
        };
        let done = Input::Combined { job: order.job, stage: order.stage, outcome };
        if commands.blocking_send(Command::Input(done)).is_err() {
            return;
        }
    }
}

/// Why a stage cannot be combined.
#[derive(Debug, thiserror::Error)]
enum CombineError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("the base {0} is not stored here")]
    NoBase(Digest),
    #[error("the base has to be a blob")]
    InlineBase,
}

fn combine(order: &Combine, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    use program::v1::combine::Kind;
    let rule: program::Combine = program::read("way to combine", &order.rule)?;
    match rule.kind.ok_or(ProgramError::Missing { field: "Combine.kind" })? {
        Kind::Count(_) => count(&order.parts),
        Kind::Merge(rule) => merge_deltas(order, merge_rule(&rule)?, blobs),
    }
}

fn merge_rule(merge: &program::Merge) -> Result<MergeRule, ProgramError> {
    match merge.rule {
        Some(program::v1::merge::Rule::Mean(_)) => Ok(MergeRule::Mean),
        None => Err(ProgramError::Missing { field: "Merge.rule" }),
    }
}

/// Adds counts up, in task order.
fn count(parts: &[Part]) -> Result<CombineOutcome, CombineError> {
    let mut total = program::Count::default();
    for part in parts {
        let count: program::Count = program::read("count", &part.result)?;
        total.samples = total.samples.saturating_add(count.samples);
        total.wrong = total.wrong.saturating_add(count.wrong);
        total.loss += count.loss;
    }
    let share = |sum: f64| sum / total.samples as f64;
    let numbers = [("validation_error", share(total.wrong as f64)), ("validation_loss", share(total.loss))];
    let metrics = Metrics::from_iter(numbers);
    Ok(CombineOutcome::Combined(Combined { result: program::inline(&total), metrics, refused: Vec::new() }))
}

/// Merges deltas into the next version, durable before anyone hears of it.
fn merge_deltas(order: &Combine, rule: MergeRule, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    let base = order.base.as_blob().ok_or(CombineError::InlineBase)?;
    let base = Blob(blobs.open(base)?.ok_or(CombineError::NoBase(base))?);
    let mut deltas: Vec<Box<dyn ReadAt + '_>> = Vec::with_capacity(order.parts.len());
    let mut lost = Vec::new();
    for part in &order.parts {
        match open_part(blobs, &part.result, deltas.len() < OPEN_MAX)? {
            Some(delta) => deltas.push(delta),
            None => lost.push(part.index),
        }
    }
    if !lost.is_empty() {
        return Ok(CombineOutcome::ResultsLost(lost));
    }
    let parts = order.parts.iter().zip(&deltas);
    let parts: Vec<_> = parts.map(|(part, delta)| Contribution { delta: &**delta, samples: part.samples }).collect();
    let mut version = Version(blobs.writer(Durability::Synced, None, BLOB_BYTES_MAX)?);
    let merged = merge(rule, &base, &parts, &mut version)?;
    let result = Payload::blob(version.0.finish()?);
    let refused = merged.refused.iter().take(LISTED_MAX).filter_map(|refused| {
        let reason = bounded(refused.reason.to_string(), LISTED_REASON_BYTES_MAX);
        Some(Refused { index: order.parts.get(refused.position)?.index, reason })
    });
    Ok(CombineOutcome::Combined(Combined { result, metrics: Metrics::default(), refused: refused.collect() }))
}

/// A part's bytes; `None` if they are gone or spoiled, and the task has to run again.
fn open_part<'a>(
    blobs: &'a dyn Blobs,
    result: &'a Payload,
    stays_open: bool,
) -> Result<Option<Box<dyn ReadAt + 'a>>, BlobError> {
    let opened = match result.form() {
        Form::Inline(bytes) => return Ok(Some(Box::new(bytes.to_vec()))),
        Form::Blob(digest) if stays_open => {
            blobs.open(*digest).map(|reader| reader.map(|reader| Box::new(Blob(reader)) as Box<dyn ReadAt>))
        }
        Form::Blob(digest) => {
            Reopened::new(blobs, *digest).map(|delta| delta.map(|delta| Box::new(delta) as Box<dyn ReadAt>))
        }
    };
    match opened {
        Err(BlobError::Damaged { .. }) => Ok(None),
        opened => opened,
    }
}

/// A stored blob, as the merge reads it.
struct Blob(Box<dyn BlobReader>);

impl ReadAt for Blob {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(offset, buffer).map_err(io::Error::other)
    }
}

/// A stored blob that is opened for each read.
struct Reopened<'a> {
    blobs: &'a dyn Blobs,
    digest: Digest,
    size_bytes: u64,
}

impl<'a> Reopened<'a> {
    /// `None` if the blob is not there.
    fn new(blobs: &'a dyn Blobs, digest: Digest) -> Result<Option<Self>, BlobError> {
        // An unsynced blob would be hashed at each opening.
        if !blobs.sync(digest)? {
            return Ok(None);
        }
        Ok(blobs.open(digest)?.map(|reader| Self { blobs, digest, size_bytes: reader.len() }))
    }
}

impl ReadAt for Reopened<'_> {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.size_bytes)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let reader = self.blobs.open(self.digest).map_err(io::Error::other)?;
        let reader = reader.ok_or_else(|| io::Error::other(format!("blob {} is gone", self.digest)))?;
        reader.read_exact_at(offset, buffer).map_err(io::Error::other)
    }
}

/// The next version, as the merge writes it.
struct Version(Box<dyn BlobWriter>);

impl io::Write for Version {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use convoke_store::blobs::MemoryBlobs;

    use super::*;

    #[test]
    fn a_reopened_blob_reads_like_an_open_one() {
        let blobs = MemoryBlobs::default();
        let digest = blobs.put(b"0123456789", Durability::Unsynced).unwrap();
        let delta = Reopened::new(&blobs, digest).unwrap().unwrap();
        let mut bytes = [0; 4];
        delta.read_exact_at(3, &mut bytes).unwrap();
        assert_eq!((delta.size_bytes().unwrap(), &bytes), (10, b"3456"));
        assert!(delta.read_exact_at(7, &mut bytes).is_err());
        assert!(Reopened::new(&blobs, Digest([0; 32])).unwrap().is_none());
    }
}
