//! Invariant 2: a stage closes with every task done or failed for good, and is combined only after its close is journaled.
//!
//! The part of the combine is checked to be the whole of the stage, in task order (invariant 5). It does not know what
//! results mean.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::coordinator::durable::{self, Done, Durable};
use convoke_core::coordinator::{Combine, Part};
use convoke_core::event::{Completion, Purpose};
use convoke_core::{Event, JobId, StageNumber};

#[derive(Default)]
pub struct Stages(BTreeMap<(JobId, StageNumber), Stage>);

struct Stage {
    purpose: Purpose,
    count: u32,
    done: BTreeMap<u32, Part>,
    /// Tasks that have failed for good.
    dead: BTreeSet<u32>,
    /// In which order the results came.
    arrived: Vec<u32>,
    closed: bool,
    combined: bool,
}

impl Stages {
    /// Those of a durable state that are not combined yet.
    pub fn of(durable: &Durable) -> Self {
        let jobs =
            durable.jobs().flat_map(|(id, job)| job.stages.iter().map(move |(stage, open)| ((id, *stage), open)));
        Self(jobs.map(|(stage, open)| (stage, Stage::of(open))).collect())
    }

    pub fn purpose(&self, job: JobId, stage: StageNumber) -> Option<Purpose> {
        self.0.get(&(job, stage)).map(|stage| stage.purpose)
    }

    pub fn on_event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::StageOpened { job, stage, purpose, work, .. } => {
                let opened = Stage {
                    purpose: *purpose,
                    count: work.count,
                    done: BTreeMap::new(),
                    dead: BTreeSet::new(),
                    arrived: Vec::new(),
                    closed: false,
                    combined: false,
                };
                if self.0.insert((*job, *stage), opened).is_some() {
                    return Err(format!("(2) stage {job}/{stage} was opened twice"));
                }
            }
            Event::TaskDone { task, record } => {
                let stage = self.open(task.job, task.stage, "a task was done")?;
                let Completion { result, samples, extras, .. } = record.completion.clone();
                stage.arrived.push(task.index);
                stage.done.insert(task.index, Part { index: task.index, result, samples, extras });
            }
            Event::TaskFailed { task } => {
                let stage = self.open(task.job, task.stage, "a task failed for good")?;
                if stage.done.contains_key(&task.index) || !stage.dead.insert(task.index) {
                    return Err(format!("(2) {task} failed for good, and had come to its end"));
                }
            }
            Event::StageClosed { job, stage, .. } => {
                let open = self.open(*job, *stage, "it was closed")?;
                let ended = open.done.len() + open.dead.len();
                if ended != open.count as usize {
                    return Err(format!("(2) stage {job}/{stage} closed with {ended} of {} tasks", open.count));
                }
                open.closed = true;
            }
            Event::ResultsLost { job, stage, indices } => {
                if let Some(stage) = self.0.get_mut(&(*job, *stage)) {
                    stage.closed = false;
                    indices.iter().for_each(|index| drop(stage.done.remove(index)));
                }
            }
            Event::StageCombined { job, stage, .. } => {
                let closed = self.0.get_mut(&(*job, *stage)).filter(|stage| stage.closed && !stage.combined);
                closed.ok_or(format!("(2) stage {job}/{stage} was combined without a close"))?.combined = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, job: JobId, stage: StageNumber, what: &str) -> Result<&mut Stage, String> {
        let open = self.0.get_mut(&(job, stage)).filter(|stage| !stage.closed);
        open.ok_or_else(|| format!("(2) {what} in stage {job}/{stage}, which is not open"))
    }

    /// What a combine must not do: for the deliberate bug.
    pub fn sort_by_arrival(&self, combine: &mut Combine) {
        let Some(stage) = self.0.get(&(combine.job, combine.stage)) else { return };
        combine.parts.sort_by_key(|part| stage.arrived.iter().rposition(|index| *index == part.index));
    }

    pub fn on_combine(&self, combine: &Combine) -> Result<(), String> {
        let (job, number) = (combine.job, combine.stage);
        let closed = self.0.get(&(job, number)).filter(|stage| stage.closed);
        let stage = closed
            .ok_or_else(|| format!("(2) the combine of {job}/{number} was ordered before its close was journaled"))?;
        if !combine.parts.iter().eq(stage.done.values()) {
            let order: Vec<u32> = combine.parts.iter().map(|part| part.index).collect();
            return Err(format!(
                "(5) the combine of {job}/{number} has not the stage's results in task order: {order:?}"
            ));
        }
        Ok(())
    }
}

impl Stage {
    fn of(open: &durable::Stage) -> Self {
        let part = |(&index, done): (&u32, &Done)| {
            let extras = done.extras.as_deref().cloned().unwrap_or_default();
            (index, Part { index, result: done.result.clone(), samples: done.samples, extras })
        };
        let done = open.done.iter().map(part).collect();
        let (purpose, count, closed) = (open.purpose, open.work.count, open.closed);
        Self { purpose, count, done, dead: open.dead.clone(), arrived: Vec::new(), closed, combined: false }
    }
}
