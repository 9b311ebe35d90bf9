//! Combining, on a thread of its own: deltas become the next version, counts become one, moments standardise a base.
//!
//! It reads parts in task order and a block at a time, whatever order they arrived in. Each blob is compared with its
//! digest before any of it is merged, so that no version comes of what a disk has spoiled. Which parts take part was
//! decided, and journaled, before.

mod average;
mod collect;
mod count;
pub(crate) mod fit;
mod standardize;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use convoke_core::coordinator::{Combine, CombineOutcome, Input, Part};
use convoke_core::event::{Combined, LISTED_MAX, LISTED_REASON_BYTES_MAX, Metrics, Refused, bounded};
use convoke_core::{Digest, Form, Payload};
use convoke_ml::ModelError;
use convoke_ml::merge::{Contribution, MergeError, MergeRule, ReadAt, Version as NextVersion, merge};
use convoke_store::blobs::{BlobError, BlobReader, BlobWriter, Blobs, Durability};
use convoke_store::collector::CollectError;
use convoke_wire::program::v1::combine::Kind;
use convoke_wire::program::{self, ProgramError};
use convoke_wire::protocol::BLOB_BYTES_MAX;
use tokio::sync::{broadcast, mpsc};

use crate::decider::{Command, Said};
use crate::lists;
use crate::stall::{Patience, Stall};

/// How many parts stay open during a merge. The rest is opened for each block, so that a stage may have more parts than
/// the process may have files.
const OPEN_MAX: usize = 128;

/// From how many bytes of the base on parts are large.
const LARGE_BYTES: u64 = 4 << 20;

/// What combining needs.
pub(crate) struct Combining {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) notices: broadcast::Sender<Said>,
    pub(crate) patience: Patience,
}

impl Combining {
    /// Combines until nobody orders any more.
    pub(crate) fn run(self, mut orders: mpsc::Receiver<Combine>) {
        while let Some(order) = orders.blocking_recv() {
            // Nothing is shared with the next combine but the blobs, which bear a caller's panic as they bear its death.
            let command = match catch_unwind(AssertUnwindSafe(|| self.combine(&order))) {
                Ok(command) => command,
                Err(_) => failed(&order, "the combine panicked"),
            };
            if self.commands.blocking_send(command).is_err() {
                return;
            }
        }
    }

    /// Combines a stage. While the disk fails it waits, and begins again from the deltas: that gives the same bits.
    fn combine(&self, order: &Combine) -> Command {
        let mut stall = Stall::default();
        loop {
            let error = match combine(order, &*self.blobs) {
                Ok(outcome) => return ended(order, outcome),
                Err(error) => match error.of_the_disk() {
                    Ok(error) => error,
                    Err(error) => return failed(order, error),
                },
            };
            let (reason, now) = (error.to_string(), Instant::now());
            if stall.fails(&reason, now) {
                let line = format!("job {} waits: stage {} cannot be combined: {reason}", order.job, order.stage);
                tracing::error!("{line}");
                drop(self.notices.send(Said { job: Some(order.job), line }));
            }
            // Where the decider has ended, nobody waits for the outcome.
            if stall.outlasts(self.patience, now) || self.commands.is_closed() {
                return Command::GiveUp(error);
            }
            std::thread::sleep(stall.pause());
        }
    }
}

fn ended(order: &Combine, outcome: CombineOutcome) -> Command {
    Command::Input(Input::Combined { job: order.job, stage: order.stage, outcome })
}

fn failed(order: &Combine, error: impl std::fmt::Display) -> Command {
    ended(order, CombineOutcome::Failed(format!("stage {} cannot be combined: {error}", order.stage)))
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
    #[error("the base cannot be standardised: {0}")]
    Model(#[from] ModelError),
    #[error("the base {0} is not stored here")]
    NoBase(Digest),
    #[error("the base has to be a blob")]
    InlineBase,
    #[error(transparent)]
    List(CollectError),
    #[error("every result was refused, that of task {index} because: {reason}")]
    AllRefused { index: u32, reason: String },
}

impl From<CollectError> for CombineError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Blob(error) => Self::Blob(error),
            error => Self::List(error),
        }
    }
}

impl CombineError {
    /// What the disk says, where it is the disk that fails: the stage may be combined when that is over.
    fn of_the_disk(self) -> Result<BlobError, Self> {
        match self {
            Self::Blob(error) if error.is_of_the_disk() => Ok(error),
            Self::Merge(
                MergeError::ReadBase(error) | MergeError::ReadDelta { source: error, .. } | MergeError::Write(error),
            ) if error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(BlobError::is_of_the_disk) => {
                error.downcast().map_err(|error| Self::Merge(MergeError::Write(error)))
            }
            error => Err(error),
        }
    }
}

fn combine(order: &Combine, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    match kind(&order.rule)? {
        Kind::Count(_) => count::count(&order.parts, &lists::samples(blobs, &order.input)?),
        Kind::Collect(_) => collect::collect(order, blobs),
        Kind::Average(_) => average::average(&order.parts),
        Kind::Standardize(_) => standardize::standardize(order, blobs),
        Kind::Merge(rule) => merge_deltas(order, merge_rule(&rule)?, blobs),
    }
}

fn kind(rule: &Payload) -> Result<Kind, ProgramError> {
    let combine: program::Combine = program::read("way to combine", rule)?;
    combine.kind.ok_or(ProgramError::Missing { field: "Combine.kind" })
}

fn merge_rule(merge: &program::Merge) -> Result<MergeRule, ProgramError> {
    match merge.rule {
        Some(program::v1::merge::Rule::Mean(_)) => Ok(MergeRule::Mean),
        None => Err(ProgramError::Missing { field: "Merge.rule" }),
    }
}

/// Takes in what each task brought in place. What is not what it is to be takes no part, like a delta that does not fit: one
/// worker that talks nonsense is not to be the end of a job.
fn take_each<M: program::Message + Default>(
    what: &'static str,
    parts: &[Part],
    mut take: impl FnMut(&Part, M) -> Result<(), String>,
) -> Result<Vec<Refused>, CombineError> {
    let (mut refused, mut count) = (Vec::new(), 0);
    for part in parts {
        let read = program::read(what, &part.result).map_err(|error| error.to_string());
        let taken = read.and_then(|message| take(part, message));
        let Err(reason) = taken else { continue };
        count += 1;
        if refused.len() < LISTED_MAX {
            refused.push(Refused { index: part.index, reason: bounded(reason, LISTED_REASON_BYTES_MAX) });
        }
    }
    match refused.first() {
        Some(first) if count == parts.len() => {
            Err(CombineError::AllRefused { index: first.index, reason: first.reason.clone() })
        }
        _ => Ok(refused),
    }
}

/// Merges deltas into the next version, durable before anyone hears of it.
fn merge_deltas(order: &Combine, rule: MergeRule, blobs: &dyn Blobs) -> Result<CombineOutcome, CombineError> {
    let base = order.base.as_blob().ok_or(CombineError::InlineBase)?;
    let base = Blob(blobs.open(base)?.ok_or(CombineError::NoBase(base))?);
    let mut deltas: Vec<Opened<'_>> = Vec::with_capacity(order.parts.len());
    let mut lost = Vec::new();
    for (part, delta) in order.parts.iter().zip(open_parts(blobs, &base, &order.parts)?) {
        match delta {
            Some(delta) => deltas.push(delta),
            None => lost.push(part.index),
        }
    }
    if !lost.is_empty() {
        return Ok(CombineOutcome::ResultsLost(lost));
    }
    let shards = lists::samples(blobs, &order.input)?;
    let claims = |part: &Part| shards.get(part.index as usize).copied().filter(|samples| part.samples > *samples);
    let (honest, boasting): (Vec<_>, Vec<_>) =
        order.parts.iter().zip(&deltas).partition(|(part, _)| claims(part).is_none());
    let parts: Vec<_> =
        honest.iter().map(|(part, delta)| Contribution { delta: &***delta, samples: part.samples }).collect();
    let mut version = Version::begin(blobs)?;
    let merged = merge(rule, &base, &parts, &mut version)?;
    let result = Payload::blob(version.writer.finish()?);
    // A worker that says that it saw more than there is would outweigh all others.
    let boasts = boasting.iter().filter_map(|(part, _)| {
        let reason = format!("it claims {} samples of a shard that has {}", part.samples, claims(part)?);
        Some(Refused { index: part.index, reason })
    });
    let refused = merged.refused.iter().filter_map(|refused| {
        let reason = bounded(refused.reason.to_string(), LISTED_REASON_BYTES_MAX);
        Some(Refused { index: honest.get(refused.position)?.0.index, reason })
    });
    let mut refused: Vec<_> = boasts.chain(refused).collect();
    refused.sort_by_key(|refused| refused.index);
    refused.truncate(LISTED_MAX);
    Ok(CombineOutcome::Combined(Combined { result, metrics: Metrics::default(), refused }))
}

/// A part, as the merge reads it.
type Opened<'a> = Box<dyn ReadAt + Send + 'a>;

/// What the parts brought, in their order, compared with their digests, as the base is. Where they are large, several threads do that.
fn open_parts<'a>(blobs: &'a dyn Blobs, base: &Blob, parts: &'a [Part]) -> Result<Vec<Option<Opened<'a>>>, BlobError> {
    let open = |place: usize| open_part(blobs, &parts[place].result, place < OPEN_MAX);
    if base.0.len() < LARGE_BYTES {
        base.0.check()?;
        return (0..parts.len()).map(open).collect();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let open_some = || {
        let places =
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|place| *place < parts.len()));
        places.map(|place| Ok((place, open(place)?))).collect::<Result<Vec<_>, BlobError>>()
    };
    let opened = std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(parts.len())).map(|_| scope.spawn(open_some)).collect();
        let own = base.0.check().and_then(|()| open_some());
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(own).chain(others).collect::<Result<Vec<_>, BlobError>>()
    })?;
    let mut opened: Vec<_> = opened.into_iter().flatten().collect();
    opened.sort_unstable_by_key(|(place, _)| *place);
    Ok(opened.into_iter().map(|(_, part)| part).collect())
}

/// A part's bytes; `None` if they are gone or spoiled, and the task has to run again.
fn open_part<'a>(blobs: &'a dyn Blobs, result: &'a Payload, stays_open: bool) -> Result<Option<Opened<'a>>, BlobError> {
    let opened = match result.form() {
        Form::Inline(bytes) => return Ok(Some(Box::new(bytes.to_vec()))),
        Form::Blob(digest) if stays_open => {
            open_checked(blobs, *digest).map(|reader| reader.map(|reader| Box::new(Blob(reader)) as Opened<'_>))
        }
        Form::Blob(digest) => {
            Reopened::new(blobs, *digest).map(|delta| delta.map(|delta| Box::new(delta) as Opened<'_>))
        }
    };
    match opened {
        Err(BlobError::Damaged { .. }) => Ok(None),
        opened => opened,
    }
}

/// A blob that holds what its digest says; `None` if it is not there.
fn open_checked(blobs: &dyn Blobs, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
    let reader = blobs.open(digest)?;
    reader.as_ref().map_or(Ok(()), |reader| reader.check())?;
    Ok(reader)
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
        Ok(open_checked(blobs, digest)?.map(|reader| Self { blobs, digest, size_bytes: reader.len() }))
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
struct Version<'a> {
    blobs: &'a dyn Blobs,
    writer: Box<dyn BlobWriter>,
}

impl<'a> Version<'a> {
    fn begin(blobs: &'a dyn Blobs) -> Result<Self, BlobError> {
        Ok(Self { blobs, writer: blobs.writer(Durability::Synced, None, BLOB_BYTES_MAX)? })
    }
}

impl io::Write for Version<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NextVersion for Version<'_> {
    fn begin_again(&mut self) -> io::Result<()> {
        *self = Self::begin(self.blobs).map_err(io::Error::other)?;
        Ok(())
    }
}
