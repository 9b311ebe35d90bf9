//! Invariant 5 for maps and reductions: every result and every list is the oracle's, without what has failed for good.
//!
//! What each level has to come to follows from the list before it, since tasks that fail for good leave others in their
//! places. It does not know who computed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use convoke_core::event::{Outcome, Purpose};
use convoke_core::{Event, JobId, MapReduce, Payload, Split};

use super::stages::Stages;
use crate::compute::read;
use crate::divisible::{ITEMS, list, map, reduce, result};
use crate::scenario::{JobPlan, Scenario};

pub struct SameResults(BTreeMap<JobId, Progress>);

struct Progress {
    plan: MapReduce,
    /// What the tasks of the open stage have to come to.
    expected: Vec<[u8; 32]>,
    dead: BTreeSet<u32>,
    /// What the stage before came to, once there was one.
    list: Option<Payload>,
    /// How many levels of the reduction are through.
    levels: u32,
}

impl SameResults {
    pub fn new(scenario: &Scenario) -> Result<Self, anyhow::Error> {
        let divisible = scenario.jobs.iter().filter_map(|job| Some((job, job.map_reduce()?)));
        let progress = |(job, plan): (&JobPlan, &MapReduce)| Ok((job.id, Progress::start(job, plan)?));
        Ok(Self(divisible.map(progress).collect::<Result<_, anyhow::Error>>()?))
    }

    pub fn on_event(&mut self, event: &Event, stages: &Stages) -> Result<(), String> {
        let Some(id) = event.job() else { return Ok(()) };
        let Some(job) = self.0.get_mut(&id) else { return Ok(()) };
        match event {
            Event::StageOpened { purpose, work, .. } => match *purpose {
                Purpose::Map if job.list.is_none() => Ok(()),
                Purpose::Reduce { level } if level == job.levels + 1 && job.list.as_ref() == Some(&work.input) => {
                    job.group(work.split)?;
                    same(work.count as usize == job.expected.len(), || {
                        format!("level {level} of {id} has another size")
                    })
                }
                _ => Err(format!("(5) job {id} has a stage out of its turn: {purpose:?}")),
            },
            Event::TaskDone { task, record } => {
                let wanted = job.expected.get(task.index as usize).map(|bytes| result(*bytes));
                let brought = &record.completion.result;
                same(wanted.as_ref() == Some(brought), || format!("task {task} came to {brought} by {}", record.worker))
            }
            Event::TaskFailed { task } => {
                job.dead.insert(task.index);
                Ok(())
            }
            Event::StageCombined { stage, combined, .. } => {
                let wanted = job.combine(stages.purpose(id, *stage)).map_err(|error| format!("(5) {error:#}"))?;
                same(wanted == combined.result, || format!("stage {id}/{stage} was combined to {}", combined.result))
            }
            Event::JobFinished { outcome: Outcome::Succeeded, .. } => {
                same(job.is_through(), || format!("job {id} succeeded before it was through"))
            }
            _ => Ok(()),
        }
    }
}

impl Progress {
    fn start(job: &JobPlan, plan: &MapReduce) -> Result<Self, anyhow::Error> {
        let blobs = job.all_blobs()?;
        let stored = |payload: &Payload| read(&blobs, payload)?.context("the job's client has it");
        let base = stored(&plan.base)?;
        let piece = |index: u32| -> Result<Vec<u8>, anyhow::Error> {
            let place = match plan.map.split {
                Split::Entries => index,
                Split::Items => index / ITEMS,
                Split::Range | Split::Groups { .. } => return Ok(Vec::new()),
            };
            let (digest, _) = job.pieces().get(place as usize).context("there is a piece for each task")?;
            stored(&Payload::blob(*digest))
        };
        let expected = (0..plan.map.count).map(|index| Ok(map(&base, &piece(index)?, index)));
        let expected = expected.collect::<Result<_, anyhow::Error>>()?;
        Ok(Self { plan: plan.clone(), expected, dead: BTreeSet::new(), list: None, levels: 0 })
    }

    /// The open stage's tasks make one of the neighbouring results of the one before.
    fn group(&mut self, split: Split) -> Result<(), String> {
        let fan_in = self.plan.reduce.as_ref().map(|reduce| reduce.fan_in).ok_or("(5) nothing is to be reduced")?;
        same(split == Split::Groups { fan_in }, || format!("a reduction takes {split:?}"))?;
        self.expected = self.expected.chunks(fan_in as usize).map(reduce).collect();
        Ok(())
    }

    /// What the stage has to be combined to. Those that are listed are what the next one works on.
    fn combine(&mut self, purpose: Option<Purpose>) -> Result<Payload, anyhow::Error> {
        let dead = std::mem::take(&mut self.dead);
        let all = (0..).zip(self.expected.iter().copied());
        let (places, listed): (Vec<u32>, Vec<[u8; 32]>) = all.filter(|(index, _)| !dead.contains(index)).unzip();
        let results: Vec<_> = places.into_iter().zip(listed.iter().map(|bytes| result(*bytes))).collect();
        self.expected = listed;
        self.levels += u32::from(matches!(purpose, Some(Purpose::Reduce { .. })));
        let (payload, _) = list(&results)?;
        self.list = Some(payload.clone());
        Ok(payload)
    }

    fn is_through(&self) -> bool {
        let reduced = self.plan.reduce.is_none() || (self.levels > 0 && self.expected.len() == 1);
        self.list.is_some() && reduced
    }
}

fn same(is_same: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_same { Ok(()) } else { Err(format!("(5) {}", what())) }
}
