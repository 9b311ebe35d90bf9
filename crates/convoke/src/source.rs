//! Where a job is found: at a coordinator, or in the record of an embedded cluster on this machine.
//!
//! What is asked of it is the same either way. It shows nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_node::record::{Record, RecordError, Told};
use convoke_wire::channel::ConnectError;
use convoke_wire::core::{Digest, JobId, Position};
use convoke_wire::{CallError, Client};

use crate::args::At;
use crate::failure::Failure;
use crate::model::MODEL_BYTES_MAX;
use crate::place;
use crate::progress::Progress;
use crate::report::{Listener, Report};

/// How often the record of a job that runs in another process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where a job is. Cheap to clone.
#[derive(Clone)]
pub enum Source {
    /// At a coordinator.
    Coordinator(Box<Client>),
    /// In the record of an embedded cluster.
    Record(Arc<Record>),
}

impl Source {
    /// The coordinator that is named; else the record on this machine; else this machine's coordinator.
    pub async fn of(job: JobId, at: &At) -> Result<Self, Failure> {
        if place::named(at.coordinator.as_deref()).is_none() {
            let state = place::embedded_state(job)?;
            if state.is_dir() {
                return Ok(Self::Record(Arc::new(Record::new(&state))));
            }
        }
        let target = place::target(at.coordinator.as_deref())?;
        // Whoever named no coordinator may not have one.
        if place::named(at.coordinator.as_deref()).is_none()
            && at.wait.is_zero()
            && let Err(ConnectError::Unreachable { .. }) = Client::connect(&target).await
        {
            let error = format!("there is no job {job} on record here, and no coordinator at {target}");
            return Err(Failure::bad_input(error)
                .hint("`convoke jobs` lists the jobs on record; name a coordinator with --coordinator host:port"));
        }
        let client = place::reach(&target, at.wait).await?;
        Ok(Self::Coordinator(Box::new(client)))
    }

    /// A version of a model; `None` if it is not kept any more.
    pub async fn version(&mut self, digest: Digest) -> Result<Option<Bytes>, Failure> {
        let found = match self {
            Self::Coordinator(client) => match client.blobs().get(digest, MODEL_BYTES_MAX).await {
                Err(CallError::NotFound(_)) => return Ok(None),
                found => found?,
            },
            Self::Record(record) => match record.blob(digest, MODEL_BYTES_MAX) {
                Err(RecordError::Missing { .. }) => return Ok(None),
                found => found?,
            },
        };
        Ok(Some(found))
    }

    /// A blob of at most `bytes_max` bytes.
    pub async fn blob(&mut self, digest: Digest, bytes_max: u64) -> Result<Bytes, Failure> {
        match self {
            Self::Coordinator(client) => Ok(client.blobs().get(digest, bytes_max).await?),
            Self::Record(record) => Ok(record.blob(digest, bytes_max)?),
        }
    }
}

/// Folds a job's record into its report; with `live`, until it has ended, or nobody is at it any more.
pub async fn follow_record(
    record: &Record,
    report: &mut Report,
    live: bool,
    progress: &Progress,
    listener: &mut impl Listener,
) -> Result<(), Failure> {
    let mut next = Position(1);
    let mut known = false;
    loop {
        // Asked before the events are read: whoever is gone then, adds none.
        let held = record.is_held()?;
        while let Some((told, after)) = record.tell(report.job, next)? {
            match told {
                Told::History(history) => {
                    known = true;
                    listener.hear_history(&history);
                    report.tell_all(*history, progress);
                }
                Told::Events(events) => {
                    known |= !events.is_empty();
                    for (_, wall_ms, event) in &events {
                        report.tell(*wall_ms, event, progress);
                        listener.hear(event).await;
                    }
                }
            }
            next = after;
        }
        if !known && !held {
            let error = format!("the record of job {} holds no job: it ended before it was submitted", report.job);
            return Err(Failure::bad_input(error).hint("`convoke jobs` lists the jobs on record"));
        }
        if !held && !report.has_ended() {
            report.interrupted();
        }
        if !live || !held || report.has_ended() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::bad_input(error).hint("check the record's directory: it may be damaged, or another user's")
    }
}
