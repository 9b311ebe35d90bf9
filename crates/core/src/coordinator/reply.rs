//! What clients are answered: what was done for them, or why not.
//!
//! How an answer is worded on the wire it does not know.

use crate::event::Outcome;
use crate::{Digest, JobId, Millis, SpecError};

use super::jobs::LIVE_JOBS_MAX;

/// The answer to a client's call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The job is on record; it may have been before.
    Submitted,
    /// Submit again once these blobs are stored.
    Missing(Vec<Digest>),
    /// The call was refused.
    Refused(Refusal),
    /// The job has ended, this way.
    Ended(Outcome),
    /// The worker gets no more tasks, and leaves after those that it runs.
    Draining {
        /// How many it runs.
        running: usize,
    },
    /// The workers.
    Workers(Vec<WorkerView>),
}

/// Why a client's call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The spec is not sound.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The id stands for another job.
    #[error("job {0} is another job already")]
    AnotherSpec(JobId),
    /// There is no room for another.
    #[error("{LIVE_JOBS_MAX} jobs are under way already: cancel one, or wait for one to end")]
    TooManyJobs,
    /// No such job.
    #[error("there is no job {0} here")]
    NoSuchJob(JobId),
    /// No such worker.
    #[error("there is no worker `{0}` here")]
    NoSuchWorker(String),
}

/// A worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether it gets no more tasks, and leaves after those that it runs.
    pub draining: bool,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that wait for a slot.
    pub queued: u32,
    /// Tasks done in this term.
    pub tasks_done: u64,
    /// Tasks rejected in this term.
    pub rejections: u64,
    /// How long a task takes here, once one is done.
    pub pace_ms: Option<Millis>,
    /// The machine.
    pub hardware: String,
    /// Build and instruction path.
    pub profile: String,
}
