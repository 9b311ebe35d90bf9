//! Invariant 6: model versions only grow, one round at a time, and work starts from the newest alone. Where the base is
//! prepared, that is once, and before anything else.
//!
//! It does not know what a version should be, only which one is there.

use std::collections::BTreeMap;

use convoke_core::coordinator::durable::{Durable, Version};
use convoke_core::event::Purpose;
use convoke_core::{Event, JobId, Plan};

use super::stages::Stages;

/// The newest version of each live job.
#[derive(Default)]
pub struct Versions(BTreeMap<JobId, Newest>);

struct Newest {
    version: Version,
    /// Whether it has yet to be prepared.
    is_raw: bool,
}

impl Versions {
    /// Where a durable state has come to.
    pub fn of(durable: &Durable) -> Self {
        let newest = durable.live_jobs().filter_map(|(id, job)| {
            let (training, Plan::Rounds(plan)) = (job.training()?, &job.spec.plan) else { return None };
            let is_raw = plan.prepare.is_some() && !training.prepared;
            Some((id, Newest { version: training.version.clone(), is_raw }))
        });
        Self(newest.collect())
    }

    pub fn on_event(&mut self, event: &Event, stages: &Stages) -> Result<(), String> {
        match event {
            Event::JobSubmitted { job, spec, .. } => {
                if let Plan::Rounds(plan) = &spec.plan {
                    let version = Version { round: 0, parameters: plan.base.clone() };
                    self.0.insert(*job, Newest { version, is_raw: plan.prepare.is_some() });
                }
            }
            Event::StageOpened { job, stage, purpose, base, .. } => {
                let from = match *purpose {
                    Purpose::Prepare => Some(0),
                    Purpose::Train { round } => round.checked_sub(1),
                    Purpose::Evaluate { round } => Some(round),
                    Purpose::Map | Purpose::Reduce { .. } => return Ok(()),
                };
                let Newest { version: Version { round, parameters }, is_raw } = self.newest(*job)?;
                if *is_raw != (*purpose == Purpose::Prepare) {
                    return Err(format!(
                        "(6) stage {job}/{stage} ({purpose:?}) works from a base that is prepared: {}",
                        !*is_raw
                    ));
                }
                if from != Some(*round) || base != parameters {
                    return Err(format!(
                        "(6) stage {job}/{stage} ({purpose:?}) works from {base}, and the newest version is {round}, {parameters}"
                    ));
                }
            }
            Event::StageCombined { job, stage, combined } => {
                let round = match stages.purpose(*job, *stage) {
                    Some(Purpose::Prepare) => 0,
                    Some(Purpose::Train { round }) => round,
                    _ => return Ok(()),
                };
                let newest = self.newest(*job)?;
                if round != newest.version.round + u32::from(!newest.is_raw) {
                    return Err(format!("(6) stage {job}/{stage} made version {round} after {}", newest.version.round));
                }
                *newest = Newest { version: Version { round, parameters: combined.result.clone() }, is_raw: false };
            }
            Event::JobFinished { job, .. } => drop(self.0.remove(job)),
            _ => {}
        }
        Ok(())
    }

    fn newest(&mut self, job: JobId) -> Result<&mut Newest, String> {
        self.0.get_mut(&job).ok_or_else(|| format!("(6) job {job} works, and is not live"))
    }
}
