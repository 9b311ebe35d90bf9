//! The events: every decision that the journal records, in the past tense.
//!
//! An event says what was decided, so that replay needs no rule: it knows nothing of why, nor of the inputs that led
//! to it. What is never an event: heartbeats, progress, placement, tensor bytes.

mod shown;

use std::collections::BTreeMap;

use crate::{Digest, JobId, JobSpec, Payload, Position, Role, StageNumber, TaskId, Term, TokenId, Work};

/// The most bytes of a reason that someone wrote.
pub const REASON_BYTES_MAX: usize = 2048;
/// The most bytes that a log, or a list of files, has in place: they stand beside a result.
pub const EXTRA_INLINE_BYTES_MAX: usize = 4 * 1024;
/// The most bytes of each of several reasons in one event.
pub const LISTED_REASON_BYTES_MAX: usize = 256;
/// The most refusals, and the most workers in a tally, that an event lists.
pub const LISTED_MAX: usize = 64;
/// The most lost results that one event lists.
pub const LOST_MAX: usize = 4096;

/// A decision of the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A coordinator took the journal over.
    TermOpened {
        /// Its term, one more than the last.
        term: Term,
    },
    /// A client's job was taken on.
    JobSubmitted {
        /// The id that the client made.
        job: JobId,
        /// What is to be done.
        spec: Box<JobSpec>,
        /// Who submitted it, for people.
        submitter: String,
        /// The token that let the submitter in: whose the job is.
        owner: TokenId,
    },
    /// A stage of a job may run.
    StageOpened {
        /// The job.
        job: JobId,
        /// The stage's number, one more than the last.
        stage: StageNumber,
        /// What it is for.
        purpose: Purpose,
        /// The model version that it works from.
        base: Payload,
        /// What its tasks do.
        work: Work,
    },
    /// A task has its result: the first that was accepted.
    TaskDone {
        /// The task.
        task: TaskId,
        /// Who did it, and how.
        record: TaskRecord,
    },
    /// An attempt ended without a result.
    AttemptFailed {
        /// The task.
        task: TaskId,
        /// Which of its attempts, from 1.
        attempt: u32,
        /// Whose it was.
        worker: String,
        /// Why.
        fault: Fault,
    },
    /// A task has failed for good; its stage goes on without it.
    TaskFailed {
        /// The task.
        task: TaskId,
    },
    /// Every task of the stage is done, or has failed for good; those that are done take part in its combine.
    StageClosed {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageNumber,
        /// Which workers rejected its tasks or were lost with them, at most [`LISTED_MAX`].
        tallies: Vec<Tally>,
    },
    /// Results of a closed stage are gone: those tasks run again.
    ResultsLost {
        /// The job.
        job: JobId,
        /// The stage, open again.
        stage: StageNumber,
        /// The tasks' places, at most [`LOST_MAX`].
        indices: Vec<u32>,
    },
    /// The stage's results became one.
    StageCombined {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageNumber,
        /// What became of them: for a training round, the next model version.
        combined: Combined,
    },
    /// The job ended.
    JobFinished {
        /// The job.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
    /// All that the journal folds to was stored, so that earlier frames may go.
    SnapshotTaken {
        /// The position of the last frame that is folded into it.
        through: Position,
        /// The blob that holds it.
        state: Digest,
    },
    /// A job that had ended is on record no longer.
    JobForgotten {
        /// The job.
        job: JobId,
    },
    /// A token lets others in from now on.
    TokenCreated {
        /// The token.
        token: TokenId,
        /// What whoever it lets in may do.
        role: Role,
        /// Whether clients that it lets in may have commands run on workers.
        commands: bool,
        /// What whoever it lets in is called; where it is `None`, they say it themselves.
        name: Option<String>,
        /// The hash of its secret, which is recorded nowhere.
        secret: Digest,
        /// Until when it lets anyone in, in Unix milliseconds.
        expires_ms: Option<u64>,
        /// How many it lets in.
        uses: Option<u32>,
        /// Who created it, for people.
        by: String,
    },
    /// A token lets nobody in any more, and is forgotten. Whom it had let in stays.
    TokenRevoked {
        /// The token.
        token: TokenId,
    },
    /// A token let someone in.
    Enrolled {
        /// The token.
        token: TokenId,
        /// The how-manieth enrolment it is.
        serial: u64,
        /// What the identity is called.
        name: String,
        /// The hash of its public key.
        key: Digest,
    },
    /// Identities are never accepted again.
    IdentityRemoved {
        /// Their role.
        role: Role,
        /// Their name.
        name: String,
        /// The last of their serials.
        through: u64,
    },
}

/// What a stage is for, in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Training of a round, counted from 1; its combine makes the version of that number.
    Train {
        /// The round.
        round: u32,
    },
    /// Measuring the version that a round made.
    Evaluate {
        /// The round.
        round: u32,
    },
    /// The pieces of a divisible job.
    Map,
    /// A level of the tree that makes one result of many, counted from 1.
    Reduce {
        /// The level.
        level: u32,
    },
}

impl Purpose {
    /// The round, from 1; 0 where there is none.
    pub fn round(self) -> u32 {
        match self {
            Self::Train { round } | Self::Evaluate { round } => round,
            Self::Map | Self::Reduce { .. } => 0,
        }
    }
}

/// How a task was done.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The worker's name.
    pub worker: String,
    /// The numeric profile it computed on.
    pub profile: String,
    /// How many slots the worker has; 0 where an older build did not say.
    pub slots: u32,
    /// Its result.
    pub completion: Completion,
}

/// What an attempt brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// The result.
    pub result: Payload,
    /// How many samples it stands for.
    pub samples: u64,
    /// What was measured.
    pub metrics: Metrics,
    /// Where the time went.
    pub timing: Timing,
    /// What it took of the machine.
    pub usage: Usage,
    /// What comes beside the result.
    pub extras: Extras,
}

/// What comes beside a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// A list of the files that it left.
    pub files: Option<Payload>,
    /// The end of what it wrote to its log.
    pub log: Option<Payload>,
}

/// What an attempt took of its machine; 0 where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in microseconds.
    pub cpu_us: u64,
    /// The most memory that it had at a time, in bytes.
    pub peak_memory_bytes: u64,
}

/// Where an attempt's time went, in microseconds, by the worker's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the assignment to the start.
    pub queued_us: u64,
    /// Fetching what was not in the cache.
    pub fetch_us: u64,
    /// Computing.
    pub compute_us: u64,
    /// Storing the result.
    pub report_us: u64,
}

/// Named finite numbers, at most [`Metrics::COUNT_MAX`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// The most numbers.
    pub const COUNT_MAX: usize = 32;
    /// The most bytes of a name.
    pub const NAME_BYTES_MAX: usize = 64;

    /// Keeps a number; one that is not finite, has a long name or comes after [`Self::COUNT_MAX`] others is left out.
    pub fn insert(&mut self, name: &str, value: f64) {
        if value.is_finite() && name.len() <= Self::NAME_BYTES_MAX && self.0.len() < Self::COUNT_MAX {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl<'a> FromIterator<(&'a str, f64)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (&'a str, f64)>>(numbers: I) -> Self {
        let mut metrics = Self::default();
        numbers.into_iter().for_each(|(name, value)| metrics.insert(name, value));
        metrics
    }
}

/// Why an attempt ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The executor failed, and said why.
    Error(Box<Failure>),
    /// The worker was lost while it ran the attempt, and did not come back in time.
    WorkerLost,
    /// It ran longer than the job allows.
    TimedOut,
}

/// What an executor says of an attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Why, in words, at most [`REASON_BYTES_MAX`].
    pub reason: String,
    /// How a program that was run ended.
    pub exit: Option<Exit>,
    /// What it took of the machine.
    pub usage: Usage,
    /// The end of what it wrote to its log.
    pub log: Option<Payload>,
}

/// How a program ended that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a status other than 0.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// By a trap of its sandbox.
    Trap,
}

impl Failure {
    /// A failure of which there is no more to say than this.
    pub fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Error(Box::new(failure))
    }
}

/// How often a worker rejected a stage's tasks, and was lost with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The worker's name.
    pub worker: String,
    /// Tasks that it rejected.
    pub rejections: u32,
    /// Times that it was lost while it held some.
    pub losses: u32,
}

/// What a combine made of a stage's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The one result.
    pub result: Payload,
    /// What was measured over all tasks, in task order.
    pub metrics: Metrics,
    /// Results that did not take part, at most [`LISTED_MAX`].
    pub refused: Vec<Refused>,
}

/// A result that the combine refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The task's place.
    pub index: u32,
    /// Why.
    pub reason: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its plan is complete.
    Succeeded,
    /// It cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// Someone cancelled it.
    Cancelled,
}

impl Event {
    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::TermOpened { .. }
            | Self::SnapshotTaken { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::Enrolled { .. }
            | Self::IdentityRemoved { .. } => None,
            Self::TaskDone { task, .. } | Self::AttemptFailed { task, .. } | Self::TaskFailed { task } => {
                Some(task.job)
            }
            Self::JobSubmitted { job, .. }
            | Self::StageOpened { job, .. }
            | Self::StageClosed { job, .. }
            | Self::ResultsLost { job, .. }
            | Self::StageCombined { job, .. }
            | Self::JobFinished { job, .. }
            | Self::JobForgotten { job } => Some(*job),
        }
    }
}

/// `text`, cut at a character's end to at most `bytes_max` bytes.
pub fn bounded(mut text: String, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}
