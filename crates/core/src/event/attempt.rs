//! How an attempt ended: with a result and what was measured, or in a fault.
//!
//! It is what workers report and events record. It does not know what follows: whether a result is accepted, or a task
//! tried again.

use std::collections::BTreeMap;

use crate::{Millis, Payload};

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
    /// It ran longer than the job allows, as the coordinator saw it.
    TimedOut {
        /// What the job allows; 0 where the record is from before that was noted.
        limit_ms: Millis,
    },
}

/// What an executor says of an attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Why, in words, at most [`REASON_BYTES_MAX`](super::REASON_BYTES_MAX).
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
