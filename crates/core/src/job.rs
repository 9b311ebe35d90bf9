//! What a client submits: a plan of work, and how it wants it placed.
//!
//! Programs, inputs and the way of combining are payloads: this file checks sizes and counts, never what they mean.

mod needs;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Payload;
use crate::message::SLOTS_MAX;

pub use needs::{Needs, RESOURCES_MAX, Resources};

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
/// The most times that a task which failed is tried again.
pub const RETRIES_MAX: u32 = 100;
/// The most results that one task of a reduction reads.
pub const FAN_IN_MAX: u32 = 1_000;

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
    /// What its tasks' attempts may do, and how many there are.
    pub attempts: Attempts,
    /// When it has to be through, in Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// Its weight among jobs, between -[`PRIORITY_MAX`] and [`PRIORITY_MAX`]: one more doubles its share of the workers.
    pub priority: i32,
}

/// The attempts at a job's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// How long one may run before it counts as failed.
    pub timeout_ms: Option<u64>,
    /// How many times a task that failed is tried again.
    pub retries: u32,
    /// Whether two may run at once. Where not, a lost worker's task waits until that worker can be at it no more.
    pub idempotent: bool,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { timeout_ms: None, retries: 2, idempotent: true }
    }
}

/// How a job becomes stages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a job has one plan, and shares it")]
pub enum Plan {
    /// A model trained in rounds.
    Rounds(Rounds),
    /// Any divisible work, and a reduction of its results.
    MapReduce(MapReduce),
}

/// A model trained in rounds: each trains every shard from one base, then combines the results into the next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// How many.
    pub rounds: u32,
    /// Model version 0, the base of the first round.
    pub base: Payload,
    /// What is done once before the first round, from the base: its result is what version 0 is from then on.
    pub prepare: Option<Work>,
    /// What a round does to each shard.
    pub train: Work,
    /// How each version is measured, beside the next round.
    pub evaluate: Option<Work>,
}

/// A stage over every piece of an input, then stages that make fewer results of its results, until one is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapReduce {
    /// What every task is given beside its piece, such as a model.
    pub base: Payload,
    /// What is done to each piece.
    pub map: Work,
    /// How results become fewer; where it is `None`, the job brings all of them.
    pub reduce: Option<Reduce>,
    /// Whether the rest is finished when a piece fails for good. The job fails in the end all the same.
    pub keep_going: bool,
}

/// A reduction: a tree whose every task makes one result of neighbouring ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// What a worker must be able to do.
    pub ability: Ability,
    /// What the executor is to run.
    pub program: Payload,
    /// How many results a task reads, at most.
    pub fan_in: u32,
    /// What a task takes of a worker.
    pub needs: Needs,
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
    /// What a task takes of a worker.
    pub needs: Needs,
}

/// How a stage's input becomes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The input is a manifest; task `i` takes its `i`-th entry.
    Entries,
    /// The input is a manifest; task `i` takes the `i`-th of the items that its entries hold.
    Items,
    /// The input is a range of integers; task `i` takes the `i`-th.
    Range,
    /// The input lists a stage's results; task `i` takes this many, from the `i * fan_in`-th on, or what is left.
    Groups {
        /// How many.
        fan_in: u32,
    },
}

/// Something that an executor can do, such as `train`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    #[error("{what}: {value} is not between {min} and {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// As given.
        value: u32,
        /// The least that is allowed.
        min: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// A task needs no slot, or more than a worker may have.
    #[error("slots: {0} is not between 1 and {SLOTS_MAX}")]
    Slots(u32),
    /// An input is said to be a stage's results.
    #[error("a job's input is a manifest or a range: groups of results are what a reduction makes of it")]
    Groups,
    /// Too many kinds of resources are named.
    #[error("{0} kinds of resources are named, at most {RESOURCES_MAX} are allowed")]
    Resources(usize),
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
        check_range("retries", self.attempts.retries, 0, RETRIES_MAX)?;
        match &self.plan {
            Plan::Rounds(plan) => {
                check_count("rounds", plan.rounds, ROUNDS_MAX)?;
                plan.prepare.iter().try_for_each(|work| work.check_given("preparation tasks"))?;
                plan.train.check_given("training tasks")?;
                plan.evaluate.iter().try_for_each(|work| work.check_given("evaluation tasks"))
            }
            Plan::MapReduce(plan) => {
                plan.map.check_given("tasks")?;
                plan.reduce.iter().try_for_each(|reduce| {
                    // A tree whose tasks read one result each would never end.
                    check_range("fan-in", reduce.fan_in, 2, FAN_IN_MAX)?;
                    reduce.needs.check()
                })
            }
        }
    }

    /// The payloads that the job starts from, blobs among them.
    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let (base, reduce) = match &self.plan {
            Plan::Rounds(plan) => (&plan.base, None),
            Plan::MapReduce(plan) => (&plan.base, plan.reduce.as_ref()),
        };
        let works = self.works().flat_map(|work| [&work.program, &work.input, &work.combine]);
        std::iter::once(base).chain(works).chain(reduce.map(|reduce| &reduce.program))
    }

    /// The works of its stages whose input the client gave, whatever their number.
    pub fn works(&self) -> impl Iterator<Item = &Work> {
        let (before, main, beside) = match &self.plan {
            Plan::Rounds(plan) => (plan.prepare.as_ref(), &plan.train, plan.evaluate.as_ref()),
            Plan::MapReduce(plan) => (None, &plan.map, None),
        };
        before.into_iter().chain(std::iter::once(main)).chain(beside)
    }

    /// What workers must be able to do for it.
    pub fn abilities(&self) -> impl Iterator<Item = &Ability> {
        let reduce = match &self.plan {
            Plan::Rounds(_) => None,
            Plan::MapReduce(plan) => plan.reduce.as_ref(),
        };
        self.works().map(|work| &work.ability).chain(reduce.map(|reduce| &reduce.ability))
    }
}

impl Work {
    /// Checks the number of its tasks, which an error calls `what`.
    pub fn check(&self, what: &'static str) -> Result<(), SpecError> {
        check_count(what, self.count, TASKS_MAX)?;
        self.needs.check()
    }

    /// Checks a work that a client gave: what it is cut from is not a stage's results, which there are none of yet.
    fn check_given(&self, what: &'static str) -> Result<(), SpecError> {
        match self.split {
            Split::Groups { .. } => Err(SpecError::Groups),
            Split::Entries | Split::Items | Split::Range => self.check(what),
        }
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
    check_range(what, value, 1, max)
}

fn check_range(what: &'static str, value: u32, min: u32, max: u32) -> Result<(), SpecError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(SpecError::Count { what, value, min, max }) }
}
