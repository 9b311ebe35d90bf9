//! Invariant 3: what was acknowledged to a client survives every crash, and so does every frame that anything was told of.
//!
//! It looks at each replayed state for what clients were told before. It does not know what was told to workers: a
//! result that was accepted and is gone runs again, which changes nobody's bits.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::JobId;
use convoke_core::coordinator::durable::Durable;
use convoke_core::event::{Event, Outcome};
use convoke_store::journal::{Journal, ReadError, Tail};

pub struct Acknowledged {
    submitted: BTreeSet<JobId>,
    ended: BTreeMap<JobId, Outcome>,
    forgotten: BTreeSet<JobId>,
    /// The last frame whose events were told of.
    told: Tail,
}

impl Default for Acknowledged {
    fn default() -> Self {
        let (submitted, ended, forgotten) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        Self { submitted, ended, forgotten, told: Tail::EMPTY }
    }
}

impl Acknowledged {
    pub fn submitted(&mut self, job: JobId) {
        self.submitted.insert(job);
    }

    pub fn ended(&mut self, job: JobId, outcome: Outcome) {
        self.ended.insert(job, outcome);
    }

    /// Of the frames up to there somebody is told.
    pub fn told(&mut self, tail: Tail) {
        self.told = tail;
    }

    /// Whether the job was forgotten, as it may be once it has ended.
    pub fn is_forgotten(&self, job: JobId) -> bool {
        self.forgotten.contains(&job)
    }

    pub fn on_event(&mut self, event: &Event) {
        if let Event::JobForgotten { job } = event {
            self.forgotten.insert(*job);
        }
    }

    pub fn on_restart(&self, replayed: &Durable, journal: &dyn Journal) -> Result<(), String> {
        self.told_is_there(journal)?;
        let gone = |job: &JobId| replayed.job(*job).is_none() && !self.is_forgotten(*job);
        if let Some(job) = self.submitted.iter().find(|job| gone(job)) {
            return Err(format!("(3) job {job} was acknowledged and is gone"));
        }
        let outcome = |job: &JobId| replayed.job(*job).and_then(|job| job.outcome.as_ref());
        let kept = |job: &JobId| !self.is_forgotten(*job);
        match self.ended.iter().find(|(job, told)| kept(job) && outcome(job) != Some(told)) {
            Some((job, told)) => Err(format!("(3) job {job} was said to have {told}, and has {:?}", outcome(job))),
            None => Ok(()),
        }
    }

    fn told_is_there(&self, journal: &dyn Journal) -> Result<(), String> {
        let (told, tail) = (self.told, journal.tail());
        if told == Tail::EMPTY {
            return Ok(());
        }
        let there = match journal.reader().read(told.position, 1) {
            Ok(frames) => frames.first().is_some_and(|(_, frame)| frame.hash == told.hash),
            Err(ReadError::Trimmed { .. }) => told.position <= tail.position,
            Err(_) => false,
        };
        if there { Ok(()) } else { Err(format!("(3) the journal ends at {tail:?}, and {told:?} was told of")) }
    }
}
