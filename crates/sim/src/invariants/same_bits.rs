//! Invariant 5 for rounds: every result, version and measure has the bits of the undisturbed run.
//!
//! Each journaled result is compared at once, so a difference is found where it arises. It does not know who computed.

use std::collections::BTreeMap;

use convoke_core::coordinator::Combine;
use convoke_core::event::{Outcome, Purpose};
use convoke_core::{Event, JobId};

use super::stages::Stages;
use crate::reference::{Reference, StageResults};
use crate::scenario::Scenario;

pub struct SameBits(BTreeMap<JobId, Progress>);

struct Progress {
    reference: Reference,
    combined: usize,
    last: Option<convoke_core::Payload>,
}

impl SameBits {
    pub fn new(scenario: &Scenario) -> Result<Self, anyhow::Error> {
        let progress = |reference| Progress { reference, combined: 0, last: None };
        let trained = scenario.jobs.iter().filter_map(|job| Some((job, job.rounds()?)));
        let jobs = trained.map(|(job, plan)| Ok((job.id, progress(Reference::compute(job, plan)?))));
        Ok(Self(jobs.collect::<Result<_, anyhow::Error>>()?))
    }

    pub fn on_event(&mut self, event: &Event, stages: &Stages) -> Result<(), String> {
        if event.job().is_none_or(|job| !self.0.contains_key(&job)) {
            return Ok(());
        }
        match event {
            Event::StageOpened { job, stage, purpose, base, .. } => {
                let wanted = self.wanted(*job, Some(*purpose))?;
                same(base == &wanted.base, || format!("stage {job}/{stage} works from {base}, not {}", wanted.base))
            }
            Event::TaskDone { task, record } => {
                let wanted = self.wanted(task.job, stages.purpose(task.job, task.stage))?;
                let (result, samples) = (&record.completion.result, record.completion.samples);
                let is_same =
                    wanted.tasks.get(task.index as usize).is_some_and(|wanted| *wanted == (result.clone(), samples));
                same(is_same, || format!("task {task} came to {result} by {}", record.worker))
            }
            Event::StageCombined { job, stage, combined } => {
                let purpose = stages.purpose(*job, *stage);
                let wanted = self.wanted(*job, purpose)?;
                let result = &combined.result;
                same(result == &wanted.combined, || {
                    format!("stage {job}/{stage} was combined to {result}, not {}", wanted.combined)
                })?;
                self.advance(*job, purpose, result);
                Ok(())
            }
            Event::JobFinished { job, outcome: Outcome::Succeeded } => {
                let Some(progress) = self.0.get(job) else { return Ok(()) };
                let complete = progress.combined == progress.reference.stages();
                let is_same = complete && progress.last.as_ref() == Some(&progress.reference.last);
                same(is_same, || {
                    format!("job {job} succeeded with {:?}, after {} stages", progress.last, progress.combined)
                })
            }
            _ => Ok(()),
        }
    }

    pub fn on_combine(&self, combine: &Combine, stages: &Stages) -> Result<(), String> {
        if !self.0.contains_key(&combine.job) {
            return Ok(());
        }
        let (job, stage) = (combine.job, combine.stage);
        let wanted = self.wanted(job, stages.purpose(job, stage))?;
        let parts = combine.parts.iter().map(|part| (&part.result, part.samples));
        let is_same = parts.eq(wanted.tasks.iter().map(|(result, samples)| (result, *samples)));
        same(is_same, || format!("the combine of {job}/{stage} has other parts, or in another order"))
    }

    fn advance(&mut self, job: JobId, purpose: Option<Purpose>, result: &convoke_core::Payload) {
        let Some(progress) = self.0.get_mut(&job) else { return };
        progress.combined += 1;
        if let Some(Purpose::Train { .. }) = purpose {
            progress.last = Some(result.clone());
        }
    }

    fn wanted(&self, job: JobId, purpose: Option<Purpose>) -> Result<&StageResults, String> {
        let reference = self.0.get(&job).map(|progress| &progress.reference);
        let wanted = reference.zip(purpose).and_then(|(reference, purpose)| reference.stage(purpose));
        wanted.ok_or_else(|| format!("(5) job {job} has a stage that its plan has not"))
    }
}

fn same(is_same: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_same { Ok(()) } else { Err(format!("(5) {}", what())) }
}
