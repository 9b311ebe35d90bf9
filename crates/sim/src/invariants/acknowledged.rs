//! Invariant 3: what was acknowledged to a client survives every crash.
//!
//! It looks at each replayed state for what clients were told before. It does not know what was told to workers: a
//! result that was accepted and is gone runs again, which changes nobody's bits.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::JobId;
use convoke_core::coordinator::durable::Durable;
use convoke_core::event::Outcome;

#[derive(Default)]
pub struct Acknowledged {
    submitted: BTreeSet<JobId>,
    ended: BTreeMap<JobId, Outcome>,
}

impl Acknowledged {
    pub fn submitted(&mut self, job: JobId) {
        self.submitted.insert(job);
    }

    pub fn ended(&mut self, job: JobId, outcome: Outcome) {
        self.ended.insert(job, outcome);
    }

    pub fn on_restart(&self, replayed: &Durable) -> Result<(), String> {
        if let Some(job) = self.submitted.iter().find(|job| replayed.job(**job).is_none()) {
            return Err(format!("(3) job {job} was acknowledged and is gone"));
        }
        let outcome = |job: &JobId| replayed.job(*job).and_then(|job| job.outcome.as_ref());
        match self.ended.iter().find(|(job, told)| outcome(job) != Some(told)) {
            Some((job, told)) => Err(format!("(3) job {job} was said to have {told}, and has {:?}", outcome(job))),
            None => Ok(()),
        }
    }
}
