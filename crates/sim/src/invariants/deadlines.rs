//! Deadlines: once the coordinator is told that a job's has passed the job ends, and for that no other does.
//!
//! It does not know what time it is: who tells the coordinator does.

use std::collections::BTreeSet;

use convoke_core::coordinator::durable::Durable;
use convoke_core::coordinator::{Decision, Input};
use convoke_core::event::Outcome;
use convoke_core::{Event, JobId};

#[derive(Default)]
pub struct Deadlines {
    told: BTreeSet<JobId>,
}

impl Deadlines {
    /// An input was decided on, with this on record before.
    pub fn on_input(&mut self, input: &Input, decision: &Decision, record: &Durable) -> Result<(), String> {
        let Input::DeadlinePassed { job } = input else { return Ok(()) };
        self.told.insert(*job);
        let ends = |event: &Event| matches!(event, Event::JobFinished { job: ended, .. } if ended == job);
        let is_live = record.job(*job).is_some_and(|job| job.outcome.is_none());
        if is_live && !decision.events.iter().any(ends) {
            return Err(format!("(deadline) the deadline of job {job} has passed, and it goes on"));
        }
        Ok(())
    }

    pub fn on_event(&self, event: &Event) -> Result<(), String> {
        match event {
            Event::JobFinished { job, outcome: Outcome::Failed { reason } }
                if reason.contains("deadline") && !self.told.contains(job) =>
            {
                Err(format!("(deadline) job {job} has failed, and nobody knew that `{reason}`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the job's deadline has passed.
    pub fn has_passed(&self, job: JobId) -> bool {
        self.told.contains(&job)
    }
}
