//! A stage that is not combined yet: the results that its tasks have brought, and how often they failed.
//!
//! Only the durable state changes it. It does not know which of its tasks run or wait, nor what its combine makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Extras, Purpose};
use crate::sabotage::{self, Bug};
use crate::{Payload, Work};

/// A stage that is not combined yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it is for.
    pub purpose: Purpose,
    /// The model version that it works from.
    pub base: Payload,
    /// What its tasks do.
    pub work: Work,
    /// Whether who takes part is settled: it waits for its combine.
    pub closed: bool,
    /// The results so far, by the tasks' places.
    pub done: BTreeMap<u32, Done>,
    /// The tasks that have failed before.
    pub failures: BTreeMap<u32, Failures>,
    /// Those of them that have failed for good: the stage goes on without them.
    pub dead: BTreeSet<u32>,
}

/// The accepted result of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The result.
    pub result: Payload,
    /// How many samples it stands for.
    pub samples: u64,
    /// Who brought it.
    pub worker: Arc<str>,
    /// What comes beside it, where something does.
    pub extras: Option<Box<Extras>>,
}

/// How often a task has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Attempts that ended in an error or ran too long.
    pub errors: u32,
    /// Workers that were lost with it, by name.
    pub deaths: Vec<String>,
}

impl Stage {
    pub(super) fn new(purpose: Purpose, base: &Payload, work: &Work) -> Self {
        let (done, failures, dead) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { purpose, base: base.clone(), work: work.clone(), closed: false, done, failures, dead }
    }

    /// Whether every task has its result, or has failed for good.
    pub fn is_complete(&self) -> bool {
        self.done.len() + self.dead.len() + usize::from(sabotage::is(Bug::CloseStageEarly)) >= self.work.count as usize
    }

    /// How many workers were lost with a task.
    pub fn deaths(&self, index: u32) -> usize {
        self.failures.get(&index).map_or(0, |failures| failures.deaths.len())
    }
}
