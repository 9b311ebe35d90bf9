//! What people are told of the coordinator's doings beside the journal, and why a job waits.
//!
//! Whether anybody watches it does not know.

use std::fmt;

use crate::{Ability, Counted, JobId, TaskId};

/// Something worth a line to whoever watches; it is recorded nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A worker joined, or came back.
    WorkerJoined {
        /// Its name.
        worker: String,
        /// Its slots.
        slots: u32,
        /// How many of the tasks that it brought along it keeps.
        kept: usize,
    },
    /// A worker's session was lost.
    WorkerLost {
        /// Its name.
        worker: String,
        /// How many tasks it held.
        held: usize,
    },
    /// A worker ended of its own will.
    WorkerLeft {
        /// Its name.
        worker: String,
        /// How many tasks it gave back.
        held: usize,
    },
    /// A worker is taken out of service.
    WorkerDraining {
        /// Its name.
        worker: String,
        /// How many tasks it runs, and brings to an end.
        running: usize,
    },
    /// A task was placed.
    Assigned {
        /// The task.
        task: TaskId,
        /// On this worker.
        worker: String,
        /// Which attempt.
        attempt: u32,
        /// The round, from 1; 0 where there is none.
        round: u32,
    },
    /// A worker rejected a task.
    Rejected {
        /// The task.
        task: TaskId,
        /// The worker's name.
        worker: String,
    },
    /// A job waits.
    Waiting {
        /// The job.
        job: JobId,
        /// For what.
        reason: Waiting,
    },
}

/// Why none of a job's tasks is with a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// No worker is connected.
    NoWorkers,
    /// Every worker rejects its tasks.
    AllReject {
        /// How many there are.
        workers: usize,
    },
    /// Every worker is being taken out of service.
    AllDrain {
        /// How many there are.
        workers: usize,
    },
    /// No connected worker can do this.
    NoAbility(Ability),
    /// None that can do it has as much of this as a task needs.
    NotEnough {
        /// Slots, or the name of a resource.
        what: String,
        /// How much a task needs.
        needed: u64,
        /// The most that one of them has.
        most: u64,
    },
    /// What ran before the coordinator restarted may still run, and must not run twice.
    Orphans,
}

impl Notice {
    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Assigned { task, .. } | Self::Rejected { task, .. } => Some(task.job),
            Self::Waiting { job, .. } => Some(*job),
            Self::WorkerJoined { .. }
            | Self::WorkerLost { .. }
            | Self::WorkerLeft { .. }
            | Self::WorkerDraining { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerJoined { worker, slots, kept: 0 } => {
                write!(f, "{worker} joined with {}", Counted(*slots as usize, "slot"))
            }
            Self::WorkerJoined { worker, kept, .. } => {
                write!(f, "{worker} is back and keeps {}", Counted(*kept, "task"))
            }
            Self::WorkerLost { worker, held } => {
                write!(f, "{worker} was lost with {}", Counted(*held, "task"))
            }
            Self::WorkerLeft { worker, held } => {
                write!(f, "{worker} left and gave back {}", Counted(*held, "task"))
            }
            Self::WorkerDraining { worker, running } => {
                write!(f, "{worker} is draining and has {} to bring to an end", Counted(*running, "task"))
            }
            Self::Assigned { task, worker, attempt, .. } => {
                write!(f, "task {task} goes to {worker}, attempt {attempt}")
            }
            Self::Rejected { task, worker } => write!(f, "{worker} rejected task {task}"),
            Self::Waiting { job, reason } => write!(f, "job {job} waits: {reason}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("no worker is connected"),
            Self::AllReject { workers: 1 } => f.write_str("the only worker rejects its tasks (busy)"),
            Self::AllReject { workers } => write!(f, "all {workers} workers reject its tasks (busy)"),
            Self::AllDrain { workers: 1 } => f.write_str("the only worker is draining"),
            Self::AllDrain { workers } => write!(f, "all {workers} workers are draining"),
            Self::NoAbility(ability) => write!(f, "no connected worker can `{ability}`"),
            Self::NotEnough { what, needed, most } => {
                write!(f, "a task needs {what}={needed}, and no connected worker has more than {most}")
            }
            Self::Orphans => {
                f.write_str("what ran before the restart may still run, on workers that are not back, for some seconds")
            }
        }
    }
}
