//! Events as lines, for traces and logs.

use std::fmt;

use super::{Event, Fault, Outcome, Purpose};
use crate::Counted;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TermOpened { term } => write!(f, "term {term} opened"),
            Self::JobSubmitted { job, spec, submitter, .. } => {
                write!(f, "job {job} `{}` submitted by {submitter}", spec.name)
            }
            Self::StageOpened { job, stage, purpose, base, work } => {
                write!(
                    f,
                    "stage {job}/{stage} opened to {purpose}: {} from {base}",
                    Counted(work.count as usize, "task")
                )
            }
            Self::TaskDone { task, record } => {
                write!(
                    f,
                    "task {task} done by {}, attempt {}: {}",
                    record.worker, record.attempt, record.completion.result
                )
            }
            Self::AttemptFailed { task, attempt, worker, fault } => {
                write!(f, "task {task} attempt {attempt} failed on {worker}: {fault}")
            }
            Self::TaskFailed { task } => write!(f, "task {task} failed for good"),
            Self::StageClosed { job, stage, .. } => write!(f, "stage {job}/{stage} closed"),
            Self::ResultsLost { job, stage, indices } => write!(f, "stage {job}/{stage} lost results {indices:?}"),
            Self::StageCombined { job, stage, combined } => {
                write!(f, "stage {job}/{stage} combined: {}", combined.result)
            }
            Self::JobFinished { job, outcome } => write!(f, "job {job} {outcome}"),
            Self::SnapshotTaken { through, state } => write!(f, "snapshot {state:?} taken through position {through}"),
            Self::JobForgotten { job } => write!(f, "job {job} forgotten"),
            Self::TokenCreated { token, role, commands, name, by, .. } => {
                match name {
                    Some(name) => write!(f, "token {token} for the {role} {name}")?,
                    None => write!(f, "token {token} for any {role}")?,
                }
                let right = if *commands { " to run commands" } else { "" };
                write!(f, "{right} created by {by}")
            }
            Self::TokenRevoked { token } => write!(f, "token {token} revoked"),
            Self::Enrolled { token, serial, name, .. } => write!(f, "token {token} let {name} in, number {serial}"),
            Self::IdentityRemoved { role, name, through } => {
                write!(f, "the {role} {name} removed, through number {through}")
            }
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare => f.write_str("prepare"),
            Self::Train { round } => write!(f, "train round {round}"),
            Self::Evaluate { round } => write!(f, "evaluate version {round}"),
            Self::Map => f.write_str("map"),
            Self::Reduce { level } => write!(f, "reduce, level {level}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(failure) => f.write_str(&failure.reason),
            Self::WorkerLost => f.write_str("the worker was lost"),
            Self::TimedOut { limit_ms: 0 } => f.write_str("it ran longer than the job allows"),
            Self::TimedOut { limit_ms } => {
                write!(f, "it ran longer than its time limit of {} s", *limit_ms as f64 / 1_000.0)
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}
