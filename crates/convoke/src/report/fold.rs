//! The fold: each event of a job, into its report.
//!
//! It is told events once and in order; how they got here it does not know.

use std::collections::BTreeMap;

use convoke_wire::core::event::{Combined, Event, Fault, Outcome, Purpose, Tally, TaskRecord};
use convoke_wire::core::{JobSpec, Plan};

use super::{Counted, OpenStage, Refused, Report, Round, Task, WorkerShare};

impl Report {
    /// Folds an event in. Says which round's number just became known: a new version, or its error.
    pub fn fold(&mut self, wall_ms: u64, event: &Event) -> Option<u32> {
        self.folded.newest_ms = wall_ms;
        self.wall_seconds = self.folded.submitted_ms.map_or(0.0, |start| seconds_between(start, wall_ms));
        let mut news = None;
        match event {
            Event::JobSubmitted { spec, .. } => self.on_submitted(wall_ms, spec),
            Event::StageOpened { stage, purpose, work, .. } => {
                drop(self.folded.stages.insert(stage.0, OpenStage::new(*purpose, wall_ms, work.count)));
            }
            Event::TaskDone { task, record } => self.on_task(task.stage.0, task.index, record),
            Event::AttemptFailed { task, worker, fault: Fault::WorkerLost, .. } => {
                self.count(task.stage.0, worker, |counted| {
                    if counted.fault_ms.replace(wall_ms) != Some(wall_ms) {
                        counted.faults += 1;
                        counted.lost = counted.lost.max(counted.faults);
                    }
                });
            }
            Event::StageClosed { stage, tallies, .. } => self.on_closed(stage.0, tallies),
            Event::StageCombined { stage, combined, .. } => news = self.on_combined(wall_ms, stage.0, combined),
            Event::JobFinished { outcome, .. } => self.on_finished(outcome),
            Event::TermOpened { .. } | Event::AttemptFailed { .. } | Event::ResultsLost { .. } => {}
        }
        self.workers = self.folded.workers.values().map(|share| share.shown(self.wall_seconds)).collect();
        news
    }

    fn on_submitted(&mut self, wall_ms: u64, spec: &JobSpec) {
        let Plan::Rounds(plan) = &spec.plan;
        self.folded.submitted_ms = Some(wall_ms);
        self.folded.rounds_planned = plan.rounds;
        self.folded.input = Some(plan.train.input.clone());
        self.folded.versions.insert(0, plan.base.clone());
    }

    fn on_closed(&mut self, stage: u32, tallies: &[Tally]) {
        for tally in tallies {
            self.count(stage, &tally.worker, |counted| {
                counted.rejections = counted.rejections.max(tally.rejections);
                counted.lost = counted.lost.max(tally.losses);
            });
        }
        if let Some(Purpose::Train { round }) = self.folded.stages.get(&stage).map(|stage| stage.purpose) {
            self.round(round).rejections = tallies.iter().map(|tally| tally.rejections).sum();
        }
    }

    fn on_combined(&mut self, wall_ms: u64, stage: u32, combined: &Combined) -> Option<u32> {
        let open = self.folded.stages.remove(&stage)?;
        match open.purpose {
            Purpose::Evaluate { round } => {
                self.validation_error = combined.metrics.get("validation_error");
                self.round(round).validation_error = self.validation_error;
                Some(round)
            }
            Purpose::Train { round } => {
                self.folded.versions.insert(round, combined.result.clone());
                let refused = combined.refused.iter().map(|refused| {
                    let task = open.tasks.get(&refused.index);
                    let (shard, worker) =
                        task.map(|task| (task.shard.clone(), task.worker.clone())).unwrap_or_default();
                    Refused { shard, worker, reason: refused.reason.clone() }
                });
                let row = self.round(round);
                row.refused = refused.collect();
                row.seconds = Some(seconds_between(open.opened_ms, wall_ms));
                row.tasks = open.tasks.into_values().collect();
                row.train_error = mean_error(&row.tasks);
                Some(round)
            }
        }
    }

    fn on_finished(&mut self, outcome: &Outcome) {
        self.state = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::Cancelled => "cancelled",
        };
        if let Outcome::Failed { reason } = outcome {
            self.reason = Some(reason.clone());
        }
        self.list_open();
    }

    /// Counts what a worker did not do, in the stage and in its share.
    fn count(&mut self, stage: u32, worker: &str, change: impl FnOnce(&mut Counted)) {
        let Some(open) = self.folded.stages.get_mut(&stage) else { return };
        let counted = open.counted.entry(worker.to_owned()).or_default();
        let before = *counted;
        change(counted);
        let after = *counted;
        let share = self.share(worker);
        share.rejections += after.rejections - before.rejections;
        share.lost += after.lost - before.lost;
    }

    /// Lists what was done of rounds that come to no version any more.
    pub(super) fn list_open(&mut self) {
        for open in std::mem::take(&mut self.folded.stages).into_values() {
            if let (Purpose::Train { round }, false) = (open.purpose, open.tasks.is_empty()) {
                self.round(round).tasks = open.tasks.into_values().collect();
            }
        }
    }

    fn on_task(&mut self, stage: u32, index: u32, record: &TaskRecord) {
        let completion = &record.completion;
        let seconds = |micros: u64| micros as f64 / 1e6;
        let epochs = completion.metrics.get("training_epochs");
        let task = Task {
            shard: self.folded.shards.get(index as usize).cloned().unwrap_or_else(|| index.to_string()),
            worker: record.worker.clone(),
            attempt: record.attempt,
            samples: completion.samples,
            train_error: completion.metrics.get("train_error"),
            training_epochs: epochs.map(|epochs| epochs as u32),
            queued_s: seconds(completion.timing.queued_us),
            fetch_s: seconds(completion.timing.fetch_us),
            compute_s: seconds(completion.timing.compute_us),
            report_s: seconds(completion.timing.report_us),
        };
        let share = self.share(&record.worker);
        share.slots = share.slots.max(record.slots);
        share.compute_s += task.compute_s;
        share.samples += task.samples as f64 * epochs.unwrap_or(1.0);
        if let Some(open) = self.folded.stages.get_mut(&stage) {
            open.tasks.insert(index, task);
        }
    }

    fn round(&mut self, round: u32) -> &mut Round {
        let place = self.rounds.partition_point(|row| row.round < round);
        if self.rounds.get(place).is_none_or(|row| row.round != round) {
            self.rounds.insert(place, Round { round, ..Round::default() });
        }
        &mut self.rounds[place]
    }

    fn share(&mut self, worker: &str) -> &mut WorkerShare {
        let new = || WorkerShare { name: worker.to_owned(), ..WorkerShare::default() };
        self.folded.workers.entry(worker.to_owned()).or_insert_with(new)
    }
}

impl WorkerShare {
    fn shown(&self, wall_seconds: f64) -> Self {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let busy_share = match self.slots {
            0 => share(self.compute_s, wall_seconds).min(1.0),
            slots => share(self.compute_s, f64::from(slots) * wall_seconds),
        };
        Self { busy_share, samples_per_second: share(self.samples, self.compute_s), ..self.clone() }
    }
}

impl OpenStage {
    fn new(purpose: Purpose, opened_ms: u64, count: u32) -> Self {
        Self { purpose, opened_ms, count, tasks: BTreeMap::new(), counted: BTreeMap::new() }
    }
}

/// The tasks' share of wrong answers, weighted by samples; none unless each says its own.
fn mean_error(tasks: &[Task]) -> Option<f64> {
    let samples: f64 = tasks.iter().map(|task| task.samples as f64).sum();
    let wrong = tasks.iter().map(|task| Some(task.train_error? * task.samples as f64)).sum::<Option<f64>>()?;
    Some(wrong / samples).filter(|error| error.is_finite())
}

pub(super) fn seconds_between(start_ms: u64, end_ms: u64) -> f64 {
    end_ms.saturating_sub(start_ms) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_busy_with_all_of_its_slots() {
        let share =
            |slots, compute_s| WorkerShare { slots, compute_s, ..WorkerShare::default() }.shown(10.0).busy_share;
        assert_eq!((share(4, 30.0), share(1, 5.0)), (0.75, 0.5));
        assert_eq!((share(0, 30.0), share(0, 5.0)), (1.0, 0.5), "an older record does not say how many");
    }
}
