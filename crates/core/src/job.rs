//! What a client submits: a plan of work, and how it wants it placed.
//!
//! Programs, inputs and the way of combining are payloads: this file checks sizes and counts, never what they mean.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Payload;

/// The most rounds of a job.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// The most tasks of a stage.
pub const TASKS_MAX: u32 = 1_000_000;
/// The most bytes that a job's payloads carry in place, all together: an event holds them beside a model version.
pub const SPEC_INLINE_BYTES_MAX: usize = 24 * 1024;
/// The most bytes of a name that a person gave: of a job, a worker, an ability.
pub const NAME_BYTES_MAX: usize = 128;
/// The highest priority of a job; the lowest is its negative.
pub const PRIORITY_MAX: i32 = 10;

/// A job as submitted. The same id with the same spec is the same job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// For people: what the job is about, such as where its data came from.
    pub name: String,
    /// What is to be done.
    pub plan: Plan,
    /// How tasks are placed; the coordinator's own policy where it is `None`.
    pub policy: Option<Policy>,
    /// The source of all of the job's randomness.
    pub seed: u64,
    /// How long one attempt may run before it counts as failed.
    pub attempt_timeout_ms: Option<u64>,
    /// Its weight among jobs, between -[`PRIORITY_MAX`] and [`PRIORITY_MAX`]: one more doubles its share of the workers.
    pub priority: i32,
}

/// How a job becomes stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A model trained in rounds.
    Rounds(Rounds),
}

/// A model trained in rounds: each trains every shard from one base, then combines the results into the next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// How many.
    pub rounds: u32,
    /// Model version 0, the base of the first round.
    pub base: Payload,
    /// What a round does to each shard.
    pub train: Work,
    /// How each version is measured, beside the next round.
    pub evaluate: Option<Work>,
}

/// The work of a stage: one program over every piece of an input, closed by a combine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What a worker must be able to do.
    pub ability: Ability,
    /// What the executor is to run.
    pub program: Payload,
    /// What it is run on.
    pub input: Payload,
    /// How the input is cut into tasks.
    pub split: Split,
    /// How many tasks there are.
    pub count: u32,
    /// How the results become one.
    pub combine: Payload,
}

/// How a stage's input becomes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The input is a manifest; task `i` takes its `i`-th entry.
    Entries,
}

/// Something that an executor can do, such as `train`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ability(Arc<str>);

impl Ability {
    /// An ability by its name: 1 to [`NAME_BYTES_MAX`] bytes.
    pub fn new(name: &str) -> Result<Self, SpecError> {
        check_name("ability", name)?;
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that chooses a worker for a task, among those with the ability and room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Any of them, by the job's seed.
    Random,
    /// Each in turn.
    RoundRobin,
    /// Where the task is expected to finish first.
    #[default]
    LoadBalancing,
}

impl Policy {
    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LoadBalancing => "load-balancing",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "random" | "1" => Ok(Self::Random),
            "round-robin" => Ok(Self::RoundRobin),
            "load-balancing" | "2" => Ok(Self::LoadBalancing),
            _ => Err(SpecError::Policy(text.chars().take(NAME_BYTES_MAX).collect())),
        }
    }
}

/// What is wrong with a job's spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No such placement policy.
    #[error("no policy is called `{0}`: random, round-robin or load-balancing")]
    Policy(String),
    /// A name is empty, long or has control characters.
    #[error("the {what}'s name, {name:?}, is not 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name {
        /// Whose name.
        what: &'static str,
        /// Its beginning.
        name: String,
    },
    /// The payloads are too large to be in place.
    #[error(
        "the payloads hold {bytes} bytes in place, at most {SPEC_INLINE_BYTES_MAX} are allowed: store them as blobs"
    )]
    Inline {
        /// All of them together.
        bytes: usize,
    },
    /// A count is outside its range.
    #[error("{what}: {value} is not between 1 and {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// As given.
        value: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// A priority is outside its range.
    #[error("priority: {0} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}")]
    Priority(i32),
}

impl JobSpec {
    /// Checks what a remote party may have got wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        check_name("job", &self.name)?;
        let bytes = self.payloads().filter_map(Payload::as_inline).map(<[u8]>::len).sum();
        if bytes > SPEC_INLINE_BYTES_MAX {
            return Err(SpecError::Inline { bytes });
        }
        if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&self.priority) {
            return Err(SpecError::Priority(self.priority));
        }
        let Plan::Rounds(plan) = &self.plan;
        check_count("rounds", plan.rounds, ROUNDS_MAX)?;
        plan.train.check("training tasks")?;
        plan.evaluate.iter().try_for_each(|work| work.check("evaluation tasks"))
    }

    /// The payloads that the job starts from, blobs among them.
    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let Plan::Rounds(plan) = &self.plan;
        std::iter::once(&plan.base).chain(self.works().flat_map(|work| [&work.program, &work.input, &work.combine]))
    }

    /// The works of its stages, whatever their number.
    pub fn works(&self) -> impl Iterator<Item = &Work> {
        let Plan::Rounds(plan) = &self.plan;
        std::iter::once(&plan.train).chain(&plan.evaluate)
    }
}

impl Work {
    /// Checks the number of its tasks, which an error calls `what`.
    pub fn check(&self, what: &'static str) -> Result<(), SpecError> {
        check_count(what, self.count, TASKS_MAX)
    }
}

/// Checks a name that came from outside.
pub fn check_name(what: &'static str, name: &str) -> Result<(), SpecError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(SpecError::Name { what, name: name.chars().take(32).collect() })
}

/// Checks how often a token is to admit someone, where there is a limit.
pub fn check_uses(uses: Option<u32>) -> Result<(), SpecError> {
    uses.map_or(Ok(()), |uses| check_count("uses", uses, u32::MAX))
}

fn check_count(what: &'static str, value: u32, max: u32) -> Result<(), SpecError> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(SpecError::Count { what, value, max }) }
}
