//! Combining, on a thread of its own: deltas become the next version, counts become one.
//!
//! It reads parts in task order and a block at a time, whatever order they arrived in. Which parts take part was
//! decided, and journaled, before.

use std::io;
use std::sync::Arc;

use convoke_core::coordinator::{Combine, CombineOutcome, Input, Part};
use convoke_core::event::{Combined, LISTED_MAX, LISTED_REASON_BYTES_MAX, Metrics, Refused, bounded};
use convoke_core::{Digest, Payload};
use convoke_ml::merge::{Contribution, MergeError, MergeRule, ReadAt, merge};
use convoke_store::blobs::{BlobError, BlobReader, BlobWriter, Blobs, Durability};
use convoke_wire::program::{self, ProgramError};
use tokio::sync::mpsc;

use crate::blob_service::BLOB_BYTES_MAX;
use crate::decider::Command;

/// Combines until nobody orders any more.
pub(crate) fn run(mut orders: mpsc::Receiver<Combine>, blobs: &Arc<dyn Blobs>, commands: &mpsc::Sender<Command>) {
    while let Some(order) = orders.blocking_recv() {
        let outcome = match combine(&order, &**blobs) {
            Ok(outcome) => outcome,
            Err(error) => CombineOutcome::Failed(format!("stage {} cannot be combined: {error}", order.stage)),
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
    let mut deltas: Vec<Box<dyn ReadAt>> = Vec::with_capacity(order.parts.len());
    let mut lost = Vec::new();
    for part in &order.parts {
        match (part.result.as_inline(), part.result.as_blob()) {
            (Some(bytes), _) => deltas.push(Box::new(bytes.to_vec())),
            (None, Some(digest)) => match blobs.open(digest)? {
                Some(reader) => deltas.push(Box::new(Blob(reader))),
                None => lost.push(part.index),
            },
            (None, None) => lost.push(part.index),
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
