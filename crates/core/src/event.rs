//! The events: every decision that the journal records, in the past tense.
//!
//! An event says what was decided, so that replay needs no rule: it knows nothing of why, nor of the inputs that led
//! to it. What is never an event: heartbeats, progress, placement, tensor bytes.

mod attempt;
mod shown;

use crate::{Digest, JobId, JobSpec, Payload, Position, Role, StageNumber, TaskId, Term, TokenId, Work};

pub use attempt::{Completion, Exit, Extras, Failure, Fault, Metrics, TaskRecord, Timing, Usage};

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
    /// A task has failed for good: its job ends with it, or its stage goes on without it.
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
    /// What comes before the first round; its combine makes what version 0 is from then on.
    Prepare,
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
            Self::Prepare | Self::Map | Self::Reduce { .. } => 0,
        }
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
