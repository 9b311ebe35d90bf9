//! The fold: each event of a job, into its history.
//!
//! How the events got here it does not know.

use std::collections::BTreeMap;

use crate::event::{Combined, Event, Fault, LISTED_REASON_BYTES_MAX, Outcome, Purpose, Tally, TaskRecord, bounded};
use crate::{JobSpec, Plan, TaskId};

use super::{
    Counted, FailedAttempt, JobHistory, LeftOut, Limits, OpenStage, Refusal, Round, Task, TaskFailure, WorkerShare,
    seconds_between,
};

/// How many failed attempts are kept of a task, the last ones.
const ATTEMPTS_MAX: usize = 4;

impl JobHistory {
    /// Folds an event of the job in. Says which round's number just became known: a new version, or its error.
    pub fn fold(&mut self, wall_ms: u64, event: &Event, limits: &Limits) -> Option<u32> {
        self.newest_ms = wall_ms;
        match event {
            Event::JobSubmitted { spec, submitter, .. } => self.on_submitted(wall_ms, spec, submitter),
            Event::StageOpened { stage, purpose, work, .. } => {
                drop(self.stages.insert(stage.0, OpenStage::new(*purpose, wall_ms, work.count)));
            }
            Event::TaskDone { task, record } => self.on_task(task.stage.0, task.index, record, limits),
            Event::AttemptFailed { task, attempt, worker, fault } => {
                let failed = FailedAttempt::new(*attempt, worker, fault);
                self.on_failed(*task, failed, limits);
                if *fault == Fault::WorkerLost {
                    self.count(task.stage.0, worker, limits, |counted| {
                        if counted.fault_ms.replace(wall_ms) != Some(wall_ms) {
                            counted.faults += 1;
                            counted.lost = counted.lost.max(counted.faults);
                        }
                    });
                }
            }
            Event::TaskFailed { task } => self.on_task_failed(*task),
            Event::StageClosed { stage, tallies, .. } => self.on_closed(stage.0, tallies, limits),
            Event::StageCombined { stage, combined, .. } => {
                let news = self.on_combined(wall_ms, stage.0, combined);
                self.keep_to(limits);
                return news;
            }
            Event::JobFinished { outcome, .. } => {
                self.finished_ms = Some(wall_ms);
                self.outcome = Some(outcome.clone());
                self.list_open();
                self.keep_to(limits);
            }
            Event::TermOpened { .. }
            | Event::ResultsLost { .. }
            | Event::JobForgotten { .. }
            | Event::SnapshotTaken { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::Enrolled { .. }
            | Event::IdentityRemoved { .. } => {}
        }
        None
    }

    /// Why the job failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Some(Outcome::Failed { reason }) => Some(reason),
            _ => None,
        }
    }

    /// Lists what was done of stages that are not combined any more.
    pub fn list_open(&mut self) {
        for open in std::mem::take(&mut self.stages).into_values() {
            match open.purpose {
                Purpose::Train { round } if open.tasks_done() > 0 => {
                    let row = self.round(round);
                    row.tasks_done = open.tasks_done();
                    row.tasks = open.tasks.into_values().collect();
                }
                Purpose::Map | Purpose::Reduce { .. } => self.levels.push(open.level(self.newest_ms, true)),
                Purpose::Prepare | Purpose::Train { .. } | Purpose::Evaluate { .. } => {}
            }
        }
    }

    fn on_submitted(&mut self, wall_ms: u64, spec: &JobSpec, submitter: &str) {
        self.name = spec.name.clone();
        self.submitter = submitter.to_owned();
        self.submitted_ms = Some(wall_ms);
        let work = match &spec.plan {
            Plan::Rounds(plan) => {
                self.rounds_planned = plan.rounds;
                self.versions.insert(0, plan.base.clone());
                &plan.train
            }
            Plan::MapReduce(plan) => {
                self.tasks_planned = plan.map.count;
                &plan.map
            }
        };
        self.input = Some(work.input.clone());
        self.split = Some(work.split);
    }

    fn on_failed(&mut self, task: TaskId, failed: FailedAttempt, limits: &Limits) {
        let Some(open) = self.stages.get(&task.stage.0) else { return };
        let key = (task.stage.0, task.index);
        let place = self.failures.partition_point(|failure| (failure.stage, failure.index) < key);
        if self.failures.get(place).is_none_or(|failure| (failure.stage, failure.index) != key) {
            if self.failures.len() >= limits.failures {
                self.failures_left_out += 1;
                return;
            }
            let purpose = open.purpose;
            let failure = TaskFailure { stage: key.0, purpose, index: key.1, for_good: false, attempts: Vec::new() };
            self.failures.insert(place, failure);
        }
        let attempts = &mut self.failures[place].attempts;
        // Of a task's attempts, the last one's log says most.
        attempts.last_mut().into_iter().for_each(FailedAttempt::forget_log);
        if attempts.len() == ATTEMPTS_MAX {
            attempts.remove(0);
        }
        attempts.push(failed);
    }

    fn on_task_failed(&mut self, task: TaskId) {
        let is_it = |failure: &&mut TaskFailure| failure.stage == task.stage.0 && failure.index == task.index;
        self.failures.iter_mut().filter(is_it).for_each(|failure| failure.for_good = true);
        self.stages.get_mut(&task.stage.0).into_iter().for_each(|open| open.failed += 1);
    }

    fn on_task(&mut self, stage: u32, index: u32, record: &TaskRecord, limits: &Limits) {
        let completion = &record.completion;
        let epochs = completion.metrics.get("training_epochs");
        let share = self.share(&record.worker, limits);
        share.slots = share.slots.max(record.slots);
        share.compute_us = share.compute_us.saturating_add(completion.timing.compute_us);
        share.samples += completion.samples as f64 * epochs.unwrap_or(1.0);
        let Some(open) = self.stages.get_mut(&stage) else { return };
        let task = Task {
            index,
            worker: record.worker.clone(),
            attempt: record.attempt,
            samples: completion.samples,
            train_error: completion.metrics.get("train_error"),
            training_epochs: epochs.map(|epochs| epochs as u32),
            timing: completion.timing,
        };
        if open.tasks.len() < limits.details || open.tasks.contains_key(&index) {
            open.tasks.insert(index, task);
        } else {
            open.left_out.add(&task);
        }
    }

    fn on_closed(&mut self, stage: u32, tallies: &[Tally], limits: &Limits) {
        for tally in tallies {
            self.count(stage, &tally.worker, limits, |counted| {
                counted.rejections = counted.rejections.max(tally.rejections);
                counted.lost = counted.lost.max(tally.losses);
            });
        }
        if let Some(Purpose::Train { round }) = self.stages.get(&stage).map(|stage| stage.purpose) {
            self.round(round).rejections = tallies.iter().map(|tally| tally.rejections).sum();
        }
    }

    fn on_combined(&mut self, wall_ms: u64, stage: u32, combined: &Combined) -> Option<u32> {
        let open = self.stages.remove(&stage)?;
        match open.purpose {
            Purpose::Prepare => {
                self.versions.insert(0, combined.result.clone());
                None
            }
            Purpose::Evaluate { round } => {
                self.validation_error = combined.metrics.get("validation_error");
                self.validation_r2 = combined.metrics.get("validation_r2");
                let (error, r2) = (self.validation_error, self.validation_r2);
                // A row that is left out is not made anew.
                if let Some(row) = self.known_round(round) {
                    (row.validation_error, row.validation_r2) = (error, r2);
                }
                Some(round)
            }
            Purpose::Train { round } => {
                self.rounds_done = round;
                self.versions.insert(round, combined.result.clone());
                let refused = combined.refused.iter().map(|refused| {
                    let worker = open.tasks.get(&refused.index).map(|task| task.worker.clone()).unwrap_or_default();
                    Refusal { index: refused.index, worker, reason: refused.reason.clone() }
                });
                let refused: Vec<_> = refused.collect();
                let row = self.round(round);
                row.refusals = refused.len() as u32;
                row.refused = refused;
                row.seconds = Some(seconds_between(open.opened_ms, wall_ms));
                row.train_error = open.mean_error();
                row.tasks_done = open.tasks_done();
                row.tasks = open.tasks.into_values().collect();
                Some(round)
            }
            Purpose::Map | Purpose::Reduce { .. } => {
                self.levels.push(open.level(wall_ms, false));
                self.results = Some(combined.result.clone());
                None
            }
        }
    }

    /// Counts what a worker did not do, in the stage and in its share.
    fn count(&mut self, stage: u32, worker: &str, limits: &Limits, change: impl FnOnce(&mut Counted)) {
        let Some(open) = self.stages.get_mut(&stage) else { return };
        if open.counted.len() >= limits.workers && !open.counted.contains_key(worker) {
            return;
        }
        let counted = open.counted.entry(worker.to_owned()).or_default();
        let before = *counted;
        change(counted);
        let after = *counted;
        let share = self.share(worker, limits);
        share.rejections += after.rejections - before.rejections;
        share.lost += after.lost - before.lost;
    }

    fn known_round(&mut self, round: u32) -> Option<&mut Round> {
        let oldest = self.rounds.first().map_or(0, |row| row.round);
        (self.rounds_left_out == 0 || round >= oldest).then(|| self.round(round))
    }

    fn round(&mut self, round: u32) -> &mut Round {
        let place = self.rounds.partition_point(|row| row.round < round);
        if self.rounds.get(place).is_none_or(|row| row.round != round) {
            self.rounds.insert(place, Round { round, ..Round::default() });
        }
        &mut self.rounds[place]
    }

    /// A worker's share. Where there is no room for another, that of whoever computed least makes it.
    fn share(&mut self, worker: &str, limits: &Limits) -> &mut WorkerShare {
        if self.workers.len() >= limits.workers.max(1) && !self.workers.contains_key(worker) {
            let least = self.workers.iter().min_by_key(|(_, share)| share.compute_us).map(|(name, _)| name.clone());
            least.and_then(|least| self.workers.remove(&least));
        }
        self.workers.entry(worker.to_owned()).or_default()
    }
}

impl FailedAttempt {
    /// The attempt with its reason in short, so that a history of many fits where it has to.
    fn new(attempt: u32, worker: &str, fault: &Fault) -> Self {
        let mut fault = fault.clone();
        if let Fault::Error(failure) = &mut fault {
            failure.reason = bounded(std::mem::take(&mut failure.reason), LISTED_REASON_BYTES_MAX);
        }
        Self { attempt, worker: worker.to_owned(), fault }
    }

    fn forget_log(&mut self) {
        if let Fault::Error(failure) = &mut self.fault {
            failure.log = None;
        }
    }
}

impl OpenStage {
    fn new(purpose: Purpose, opened_ms: u64, count: u32) -> Self {
        let (tasks, counted) = (BTreeMap::new(), BTreeMap::new());
        Self { purpose, opened_ms, count, failed: 0, tasks, left_out: LeftOut::default(), counted }
    }

    /// The tasks' share of wrong answers, weighted by samples; none unless each says its own.
    fn mean_error(&self) -> Option<f64> {
        let samples: f64 = self.tasks.values().map(|task| task.samples as f64).sum();
        let wrong = self.tasks.values().map(wrong_of).sum::<Option<f64>>()?;
        let (more_samples, more_wrong) = (self.left_out.samples as f64, self.left_out.wrong?);
        Some((wrong + more_wrong) / (samples + more_samples)).filter(|error| error.is_finite())
    }
}

impl LeftOut {
    fn add(&mut self, task: &Task) {
        self.tasks = self.tasks.saturating_add(1);
        self.samples = self.samples.saturating_add(task.samples);
        self.wrong = self.wrong.zip(wrong_of(task)).map(|(wrong, more)| wrong + more);
    }
}

fn wrong_of(task: &Task) -> Option<f64> {
    Some(task.train_error? * task.samples as f64)
}
