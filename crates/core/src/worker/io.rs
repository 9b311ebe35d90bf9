//! What goes into the worker's machine and what comes out of it.
//!
//! Inputs are facts that the shell observed, outputs are orders that it carries out; neither holds a decision.

use std::fmt;

use crate::event::{Completion, Failure};
use crate::message::{Assignment, FromWorker, Hello, ToWorker};
use crate::{Counted, Millis, TaskId};

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is; `holding` is filled in by the machine.
    pub hello: Hello,
    /// How busy it is with other things.
    pub load: Load,
    /// How many tasks of one slot the shell is told to start beyond the slots: it starts each when one is free, without
    /// asking again.
    pub ahead: u32,
}

/// A worker's other load, as the reference system has it: with this probability a task is delayed and, where the
/// policy allows it, with the same probability it is rejected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Between 0 and 1.
    pub probability: f64,
    /// How long a delayed task waits.
    pub delay_ms: Millis,
    /// Where the draws come from.
    pub seed: u64,
}

/// One start of an executor; a number is used once in a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing but time passed.
    Tick,
    /// The dialled connection stands.
    Connected,
    /// It is gone, or could not be made.
    Disconnected,
    /// The coordinator said something.
    Received(ToWorker),
    /// An executor came to its end.
    Finished {
        /// Which start of it.
        run: Run,
        /// The result, or why there is none.
        outcome: Result<Completion, Failure>,
    },
    /// The worker is to end.
    Leave,
}

/// An order to the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect to the coordinator.
    Dial,
    /// Open the session with these words.
    Greet(Hello),
    /// Send a message.
    Send(FromWorker),
    /// End the connection.
    HangUp,
    /// Start an executor.
    Start {
        /// This start's number.
        run: Run,
        /// What it is to do.
        assignment: Assignment,
        /// How long it has waited here.
        queued_ms: Millis,
    },
    /// Stop an executor; its end is of no interest.
    Abort(Run),
    /// The worker is drained and has left: end, once its last words have arrived.
    End,
    /// Tell whoever watches.
    Notice(Notice),
}

/// Something worth a line to whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The session stands.
    Joined {
        /// The name that the worker goes by.
        name: String,
        /// How many of the tasks that it brought along it keeps.
        kept: usize,
    },
    /// The session was lost.
    Lost,
    /// It takes no more tasks, and ends with those that it has.
    Draining {
        /// How many those are.
        held: usize,
    },
    /// It has none any more.
    Drained,
    /// It was told to end, and does not bring to an end what it has.
    Leaving {
        /// How many tasks those are.
        held: usize,
    },
    /// A task waits out the load.
    Delayed {
        /// The task.
        task: TaskId,
        /// For how long.
        delay_ms: Millis,
    },
    /// A task that must not run twice was ended, since the coordinator cannot be heard.
    Orphaned {
        /// The task.
        task: TaskId,
    },
    /// A task went back.
    Rejected {
        /// The task.
        task: TaskId,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { name, kept: 0 } => write!(f, "joined as {name}"),
            Self::Joined { name, kept } => {
                write!(f, "joined again as {name}, going on with {}", Counted(*kept, "task"))
            }
            Self::Lost => f.write_str("lost the coordinator; dialling again"),
            Self::Draining { held } => write!(f, "draining: {} to bring to an end", Counted(*held, "task")),
            Self::Drained => f.write_str("drained"),
            Self::Leaving { held } => write!(f, "leaving: {} given back", Counted(*held, "task")),
            Self::Delayed { task, delay_ms } => write!(f, "task {task} waits {delay_ms} ms (busy)"),
            Self::Orphaned { task } => {
                write!(
                    f,
                    "ended task {task}: without the coordinator, someone else may be given it, and it must not run twice"
                )
            }
            Self::Rejected { task } => write!(f, "rejected task {task} (busy)"),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial => f.write_str("dial"),
            Self::Greet(hello) => {
                let draining = if hello.draining { ", draining" } else { "" };
                write!(f, "greet as {} with {}{draining}", hello.name, Counted(hello.holding.len(), "task"))
            }
            Self::Send(message) => write!(f, "send {message}"),
            Self::HangUp => f.write_str("hang up"),
            Self::End => f.write_str("end"),
            Self::Start { run, assignment, .. } => write!(f, "start {} as run {}", assignment.task, run.0),
            Self::Abort(run) => write!(f, "abort run {}", run.0),
            Self::Notice(notice) => write!(f, "notice: {notice}"),
        }
    }
}
