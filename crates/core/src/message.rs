//! What the coordinator and a worker say to each other over a session.
//!
//! The values are those of the protocol, not its encoding: `convoke-wire` turns them into frames.

use std::fmt;

use crate::event::{Completion, Failure};
use crate::{Ability, LeaseId, Needs, Payload, Resources, Split, TaskId, Term, WorkerId};

/// The most bytes of a result that a worker's report has in place. Each stands in the journal and in the coordinator's memory
/// until its job has ended, and a stage has up to a million.
pub const REPORT_INLINE_BYTES_MAX: usize = 4 * 1024;
/// How often each side lets the other hear from it.
pub const HEARTBEAT_MS: u64 = 1_000;
/// How long a silent peer is believed to be there. Any message counts.
pub const LIVENESS_MS: u64 = 5_000;
/// The most slots that a worker is believed to have: what becomes of them at once has to fit into its queues and into
/// one frame of the journal.
pub const SLOTS_MAX: u32 = 512;
/// For how long a worker is to have tasks that wait for a slot, so that the next ones are there when some end.
pub const WINDOW_MS: u64 = 10;
/// The most leases that a worker holds beyond its slots; at least one, however long tasks take.
pub const WINDOW_MAX: u64 = 48;

/// For how long after it last heard from its coordinator a worker goes on with what must not run twice: shorter than it
/// takes the coordinator to give the task to someone else.
pub const ORPHAN_MS: u64 = 4_000;
/// For how long after a worker heard from its coordinator at the latest that takes what it ran for running, where that must
/// not run twice. Longer than [`ORPHAN_MS`] by what a message may take, and by clocks that differ by a fifth.
pub const ORPHANS_GONE_MS: u64 = 7_000;

/// A worker's first words in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// The process.
    pub worker: WorkerId,
    /// What people call it.
    pub name: String,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// What its executors can do.
    pub abilities: Vec<Ability>,
    /// What its tasks may take beside slots, all together.
    pub resources: Resources,
    /// Build and instruction path: equal profiles compute equal bits.
    pub profile: String,
    /// The machine, for people.
    pub hardware: String,
    /// What it is doing, or has done and not yet been thanked for.
    pub holding: Vec<Held>,
    /// Whether it was told to drain: it brings its work to an end, and takes on no more.
    pub draining: bool,
}

/// Work that a worker brings along from an earlier session.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The task.
    pub task: TaskId,
    /// Which executor.
    pub ability: Ability,
    /// What it runs.
    pub program: Payload,
    /// The base it started from.
    pub base: Payload,
    /// The input it was given.
    pub input: Payload,
    /// How that is cut.
    pub split: Split,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// It is there.
    Heartbeat,
    /// It is busy: someone else may have the task.
    Rejected {
        /// The lease that it gives back.
        lease: LeaseId,
    },
    /// An attempt brought a result.
    Done {
        /// Its lease.
        lease: LeaseId,
        /// The result.
        completion: Completion,
    },
    /// An attempt failed.
    Failed {
        /// Its lease.
        lease: LeaseId,
        /// Why.
        failure: Failure,
    },
    /// It ends, of its own will: what it holds is for others.
    Leaving,
}

/// What the coordinator says to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// The session stands.
    Welcome {
        /// The coordinator's term.
        term: Term,
        /// The name that the worker goes by here.
        name: String,
        /// The new lease for each piece of held work that is still wanted; the rest is to be dropped.
        kept: Vec<(TaskId, LeaseId)>,
    },
    /// A task to run.
    Assign(Assignment),
    /// The right to an attempt is over: drop it, whatever its state.
    Revoke {
        /// The lease.
        lease: LeaseId,
    },
    /// A report is durable: its result may be forgotten.
    Accepted {
        /// The lease.
        lease: LeaseId,
    },
    /// What runs goes on, nothing more comes: with the last of it accepted, leave and end.
    Drain,
    /// The coordinator is there.
    Heartbeat,
}

/// One attempt of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The right to it.
    pub lease: LeaseId,
    /// The task.
    pub task: TaskId,
    /// Which executor.
    pub ability: Ability,
    /// What it is to run.
    pub program: Payload,
    /// The model version to work from.
    pub base: Payload,
    /// The stage's input.
    pub input: Payload,
    /// How the task's place picks its part of the input.
    pub split: Split,
    /// The task's own seed.
    pub seed: u64,
    /// Whether the worker may reject it when it is busy.
    pub may_reject: bool,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The round, from 1; 0 where there is none.
    pub round: u32,
    /// What it takes of the worker.
    pub needs: Needs,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// Whether it may go on while the coordinator cannot be heard: someone else may be given the task.
    pub idempotent: bool,
}

impl fmt::Display for FromWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Rejected { lease } => write!(f, "rejected {lease}"),
            Self::Done { lease, completion } => write!(f, "done {lease}: {}", completion.result),
            Self::Failed { lease, failure } => write!(f, "failed {lease}: {}", failure.reason),
            Self::Leaving => f.write_str("leaving"),
        }
    }
}

impl fmt::Display for ToWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome { term, name, kept } => {
                write!(f, "welcome {name} to term {term}")?;
                kept.iter().try_for_each(|(task, lease)| write!(f, ", keep {task} as {lease}"))
            }
            Self::Assign(assignment) => write!(f, "assign {} as {}", assignment.task, assignment.lease),
            Self::Revoke { lease } => write!(f, "revoke {lease}"),
            Self::Accepted { lease } => write!(f, "accepted {lease}"),
            Self::Drain => f.write_str("drain"),
            Self::Heartbeat => f.write_str("heartbeat"),
        }
    }
}
