//! A job that keeps going ends failed, with the number of its tasks that have failed for good; any other ends with the first.
//!
//! That a task may fail for good is checked by `every_job_ends`. It does not know what the others came to.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::event::{Outcome, Purpose};
use convoke_core::{Event, JobId, TaskId};

use super::stages::Stages;
use crate::scenario::Scenario;

pub struct KeepingGoing {
    divisible: BTreeMap<JobId, Job>,
    /// The task that has failed for good, of jobs that end with it.
    doomed: BTreeMap<JobId, TaskId>,
}

struct Job {
    keeps_going: bool,
    maps: u32,
    dead: BTreeSet<TaskId>,
}

impl KeepingGoing {
    pub fn new(scenario: &Scenario) -> Self {
        let divisible = scenario.jobs.iter().filter_map(|job| Some((job.id, job.map_reduce()?)));
        let job = |(id, plan): (JobId, &convoke_core::MapReduce)| {
            (id, Job { keeps_going: plan.keep_going, maps: plan.map.count, dead: BTreeSet::new() })
        };
        Self { divisible: divisible.map(job).collect(), doomed: BTreeMap::new() }
    }

    pub fn on_event(&mut self, event: &Event, stages: &Stages) -> Result<(), String> {
        let ends_failed = matches!(event, Event::JobFinished { outcome: Outcome::Failed { .. }, .. });
        if let Some(task) = event.job().and_then(|job| self.doomed.remove(&job))
            && !ends_failed
        {
            return Err(format!("(going on) its job does not go on without {task}, and there is {event}"));
        }
        match event {
            Event::TaskFailed { task } => {
                let purpose = stages.purpose(task.job, task.stage);
                let goes_on = |job: &&mut Job| job.keeps_going && purpose == Some(Purpose::Map);
                match self.divisible.get_mut(&task.job).filter(goes_on) {
                    Some(job) => drop(job.dead.insert(*task)),
                    None => drop(self.doomed.insert(task.job, *task)),
                }
                Ok(())
            }
            Event::JobFinished { job: id, outcome } => {
                let Some(job) = self.divisible.get(id) else { return Ok(()) };
                let dead = job.dead.len();
                let counted = match job.maps {
                    1 => "its only task failed".to_owned(),
                    maps => format!("{dead} of {maps} tasks failed"),
                };
                match outcome {
                    Outcome::Succeeded if dead > 0 => Err(format!("(going on) job {id} succeeded, and {counted}")),
                    Outcome::Failed { reason } if reason.ends_with(" failed") && (dead == 0 || *reason != counted) => {
                        Err(format!("(going on) job {id} says `{reason}`, and {counted}"))
                    }
                    Outcome::Failed { reason }
                        if job.keeps_going && reason.starts_with("task") && is_of_map(reason) =>
                    {
                        Err(format!("(going on) job {id} does not keep going: {reason}"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Whether a reason blames a task of the map, which is the first stage.
fn is_of_map(reason: &str) -> bool {
    reason.contains(" of stage 1 ")
}
