//! A stage's queue: which of its tasks wait, and who holds leases on the others.
//!
//! A task takes no room here before its first attempt. Whether it is done is the durable state's to say.

use std::collections::{BTreeMap, BTreeSet};

use crate::Millis;
use crate::event::{LISTED_MAX, Tally};
use crate::sabotage::{self, Bug};

use super::stage::Stage;

/// A task that kills this many workers is failed.
pub(super) const DEATHS_MAX: usize = 3;

/// The volatile side of an open stage.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The first task that was never tried.
    next: u32,
    /// Tasks that were tried and wait for another attempt.
    again: BTreeSet<u32>,
    tried: BTreeMap<u32, Tried>,
    tallies: BTreeMap<String, Tally>,
    /// How many tasks were timed under this coordinator, and how long they ran.
    measured: (u64, Millis),
    /// The shortest of them.
    quickest_ms: Option<Millis>,
    /// Until when slow workers are passed over, if they are: then the others would be through with what waits.
    passes_over_until: Option<Millis>,
}

#[derive(Debug, Default)]
struct Tried {
    attempts: u32,
    /// Leases that stand, of workers that are there.
    leases: Vec<u64>,
    /// Leases of workers that were lost while they ran it, and may yet come back.
    suspects: Vec<u64>,
}

impl Queue {
    /// The first task that waits, if any.
    pub(super) fn peek(&mut self, stage: &Stage) -> Option<u32> {
        if let Some(index) = self.again.first() {
            return Some(*index);
        }
        while self.next < stage.work.count
            && (stage.done.contains_key(&self.next)
                || self.tried.contains_key(&self.next)
                || stage.dead.contains(&self.next))
        {
            self.next += 1;
        }
        (self.next < stage.work.count).then_some(self.next)
    }

    /// How many tasks wait, at most.
    pub(super) fn waiting(&self, stage: &Stage) -> u64 {
        u64::from(stage.work.count - self.next) + self.again.len() as u64
    }

    /// Tasks that exactly one worker is at.
    pub(super) fn single(&self) -> impl Iterator<Item = (u32, u64)> {
        self.tried.iter().filter(|(_, tried)| tried.leases.len() == 1).map(|(index, tried)| (*index, tried.leases[0]))
    }

    /// A slow worker is passed over, since the others would be through by then: says until when that holds, which is what
    /// was said first since a task of the stage was last placed.
    pub(super) fn pass_over_until(&mut self, through_at: Millis) -> Millis {
        *self.passes_over_until.get_or_insert(through_at)
    }

    /// Notes a lease on a task, and says which attempt that is.
    pub(super) fn lease(&mut self, index: u32, lease: u64, stage: &Stage) -> u32 {
        self.again.remove(&index);
        self.passes_over_until = None;
        let failed = stage.failures.get(&index).map_or(0, |failures| failures.errors + failures.deaths.len() as u32);
        let tried = self.tried.entry(index).or_default();
        tried.attempts = tried.attempts.max(failed) + 1;
        tried.leases.push(lease);
        tried.attempts
    }

    /// Takes a lease off a task; if nobody is left at it, it waits again. What never started was no attempt, and its
    /// number, where it is the last, is free again.
    pub(super) fn release(&mut self, index: u32, lease: u64, stage: &Stage, unused: Option<u32>) {
        if let Some(tried) = self.tried.get_mut(&index) {
            tried.attempts -= u32::from(unused == Some(tried.attempts));
            tried.leases.retain(|other| *other != lease);
            tried.suspects.retain(|other| *other != lease);
            self.requeue(index, stage);
        }
    }

    /// The lease's worker was lost while it ran the task: someone else may try, unless it looks deadly. What may not run
    /// twice at a time waits until the worker is given up.
    pub(super) fn suspect(&mut self, index: u32, lease: u64, stage: &Stage, may_run_twice: bool) {
        if let Some(tried) = self.tried.get_mut(&index) {
            tried.leases.retain(|other| *other != lease);
            tried.suspects.push(lease);
            if may_run_twice || sabotage::is(Bug::RetryLiveTask) {
                self.requeue(index, stage);
            }
        }
    }

    fn requeue(&mut self, index: u32, stage: &Stage) {
        let tried = self.tried.get(&index);
        let at_it = tried.map_or(0, |tried| tried.leases.len());
        let deaths = stage.deaths(index) + tried.map_or(0, |tried| tried.suspects.len());
        let is_wanted = !stage.done.contains_key(&index) && !stage.dead.contains(&index);
        if at_it == 0 && deaths < DEATHS_MAX && is_wanted {
            self.again.insert(index);
        }
    }

    /// The task is done: forgets it, and says which leases on it still stood.
    pub(super) fn finish(&mut self, index: u32, ran_ms: Option<Millis>) -> Vec<u64> {
        self.again.remove(&index);
        if let Some(ran_ms) = ran_ms {
            self.measured = (self.measured.0 + 1, self.measured.1 + ran_ms);
            self.quickest_ms = Some(self.quickest_ms.map_or(ran_ms, |quickest_ms| quickest_ms.min(ran_ms)));
        }
        self.tried.remove(&index).map_or_else(Vec::new, |tried| [tried.leases, tried.suspects].concat())
    }

    /// The results of those tasks are gone.
    pub(super) fn lose(&mut self, indices: &[u32]) {
        self.again.extend(indices);
    }

    /// How long a task of this stage may run before it is worth a second attempt, from those that are done: twice what
    /// they took, or four times what the quickest took, where some were held up.
    pub(super) fn patience_ms(&self) -> Option<Millis> {
        let mean_ms = self.measured.1.checked_div(self.measured.0)?;
        Some((2 * mean_ms).min(4 * self.quickest_ms.unwrap_or(mean_ms)))
    }

    /// The tally of a worker, if there is room for it.
    pub(super) fn tally(&mut self, worker: &str) -> Option<&mut Tally> {
        if !self.tallies.contains_key(worker) {
            if self.tallies.len() == LISTED_MAX {
                return None;
            }
            self.tallies.insert(worker.to_owned(), Tally { worker: worker.to_owned(), rejections: 0, losses: 0 });
        }
        self.tallies.get_mut(worker)
    }

    /// All tallies, by name.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        self.tallies.values().cloned().collect()
    }
}
