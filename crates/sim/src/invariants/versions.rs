//! Invariant 6: model versions only grow, one round at a time, and work starts from the newest alone.
//!
//! It does not know what a version should be, only which one is there.

use std::collections::BTreeMap;

use convoke_core::coordinator::durable::{Durable, Version};
use convoke_core::event::Purpose;
use convoke_core::{Event, JobId, Plan};

use super::stages::Stages;

/// The newest version of each live job.
#[derive(Default)]
pub struct Versions(BTreeMap<JobId, Version>);

impl Versions {
    /// Where a durable state has come to.
    pub fn of(durable: &Durable) -> Self {
        let training = durable.live_jobs().filter_map(|(id, job)| Some((id, job.training()?)));
        Self(training.map(|(id, training)| (id, training.version.clone())).collect())
    }

    pub fn on_event(&mut self, event: &Event, stages: &Stages) -> Result<(), String> {
        match event {
            Event::JobSubmitted { job, spec, .. } => {
                if let Plan::Rounds(plan) = &spec.plan {
                    self.0.insert(*job, Version { round: 0, parameters: plan.base.clone() });
                }
            }
            Event::StageOpened { job, stage, purpose, base, .. } => {
                let from = match *purpose {
                    Purpose::Train { round } => round.checked_sub(1),
                    Purpose::Evaluate { round } => Some(round),
                    Purpose::Map | Purpose::Reduce { .. } => return Ok(()),
                };
                let newest = self.newest(*job)?;
                if from != Some(newest.round) || *base != newest.parameters {
                    let Version { round, parameters } = newest;
                    return Err(format!(
                        "(6) stage {job}/{stage} ({purpose:?}) works from {base}, and the newest version is {round}, {parameters}"
                    ));
                }
            }
            Event::StageCombined { job, stage, combined } => {
                if let Some(Purpose::Train { round }) = stages.purpose(*job, *stage) {
                    let newest = self.newest(*job)?;
                    if round != newest.round + 1 {
                        return Err(format!("(6) stage {job}/{stage} made version {round} after {}", newest.round));
                    }
                    *newest = Version { round, parameters: combined.result.clone() };
                }
            }
            Event::JobFinished { job, .. } => drop(self.0.remove(job)),
            _ => {}
        }
        Ok(())
    }

    fn newest(&mut self, job: JobId) -> Result<&mut Version, String> {
        self.0.get_mut(&job).ok_or_else(|| format!("(6) job {job} works, and is not live"))
    }
}
