//! A job's history: what its events say of it, folded into what people and scripts want to know.
//!
//! It is told events once and in order; whoever tells them may keep all of it, or as much as [`Limits`] allow. It knows
//! only what the journal says, and decides nothing.

mod fold;
mod levels;
mod limits;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Fault, Outcome, Purpose, Timing};
use crate::{Payload, Split};

pub use levels::{Level, RunningLevel, TaskCounts};
pub use limits::Limits;

/// What a job has come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobHistory {
    /// What the job is about.
    pub name: String,
    /// Who submitted it.
    pub submitter: String,
    /// What its tasks are cut from, once the submission is known: the manifest of its shards or items, or a range.
    pub input: Option<Payload>,
    /// How it is cut.
    pub split: Option<Split>,
    /// How many tasks the map has; 0 in a plan of rounds.
    pub tasks_planned: u32,
    /// How many rounds were asked for.
    pub rounds_planned: u32,
    /// The newest round that made a version.
    pub rounds_done: u32,
    /// When it was submitted: unix milliseconds.
    pub submitted_ms: Option<u64>,
    /// When its newest event was recorded: unix milliseconds.
    pub newest_ms: u64,
    /// When it ended, if it has: unix milliseconds.
    pub finished_ms: Option<u64>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// The newest measured version's error on the validation data: the share of wrong answers or, where values are
    /// predicted, the root mean squared error.
    pub validation_error: Option<f64>,
    /// The share of the values' variance there that it explains, where values are predicted.
    pub validation_r2: Option<f64>,
    /// The levels of a map-reduce plan that are through, or were cut off by the job's end; the map first.
    pub levels: Vec<Level>,
    /// What the newest of them brought: a list of results.
    pub results: Option<Payload>,
    /// The tasks of which attempts failed, in order.
    pub failures: Vec<TaskFailure>,
    /// How many of these are not kept.
    pub failures_left_out: u32,
    /// The rounds, in order.
    pub rounds: Vec<Round>,
    /// How many rounds are not among them any more.
    pub rounds_left_out: u32,
    /// The versions by round; round 0's is the start, or what it was prepared to.
    pub versions: BTreeMap<u32, Payload>,
    /// The workers that took part, by name.
    pub workers: BTreeMap<String, WorkerShare>,
    /// Stages that are not combined yet, by number.
    pub stages: BTreeMap<u32, OpenStage>,
}

/// A task of which attempts failed.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFailure {
    /// Its stage.
    pub stage: u32,
    /// What the stage was for.
    pub purpose: Purpose,
    /// Its place in the stage.
    pub index: u32,
    /// Whether it has failed for good.
    pub for_good: bool,
    /// The attempts that failed, in order.
    pub attempts: Vec<FailedAttempt>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Whose it was.
    pub worker: String,
    /// Why.
    pub fault: Fault,
}

/// A round of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// Its version's error on the validation data.
    pub validation_error: Option<f64>,
    /// The share of the values' variance there that it explains, where values are predicted.
    pub validation_r2: Option<f64>,
    /// The shards' error in their last training epoch.
    pub train_error: Option<f64>,
    /// From its opening to its version.
    pub seconds: Option<f64>,
    /// Tasks that workers rejected.
    pub rejections: u32,
    /// How many tasks were done.
    pub tasks_done: u32,
    /// Those of them that are kept, in order.
    pub tasks: Vec<Task>,
    /// How many results did not take part.
    pub refusals: u32,
    /// Those of them that are kept.
    pub refused: Vec<Refusal>,
}

/// A task that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its place in the stage.
    pub index: u32,
    /// Who did it.
    pub worker: String,
    /// At which attempt.
    pub attempt: u32,
    /// How many samples it has.
    pub samples: u64,
    /// The error in the last training epoch.
    pub train_error: Option<f64>,
    /// How many training epochs were made.
    pub training_epochs: Option<u32>,
    /// Where the time went.
    pub timing: Timing,
}

/// A result that did not take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The task's place.
    pub index: u32,
    /// Who brought it, where that is known.
    pub worker: String,
    /// Why.
    pub reason: String,
}

/// A worker's part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerShare {
    /// The most slots that it had; 0 where no record says.
    pub slots: u32,
    /// What it computed, in microseconds.
    pub compute_us: u64,
    /// Samples through training epochs.
    pub samples: f64,
    /// Tasks that it rejected.
    pub rejections: u32,
    /// Times that it was lost with tasks.
    pub lost: u32,
}

/// A stage that is not combined yet.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStage {
    /// What it is for.
    pub purpose: Purpose,
    /// When it was opened: unix milliseconds.
    pub opened_ms: u64,
    /// How many tasks there are.
    pub count: u32,
    /// How many have failed for good.
    pub failed: u32,
    /// Done tasks by place.
    pub tasks: BTreeMap<u32, Task>,
    /// Done tasks that are not kept.
    pub left_out: LeftOut,
    /// What is counted of its workers so far. A stage that closes again says the whole of it again.
    pub counted: BTreeMap<String, Counted>,
}

/// Tasks that are not kept, added up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeftOut {
    /// How many.
    pub tasks: u32,
    /// Their samples.
    pub samples: u64,
    /// How many of these were answered wrongly; none if one of them does not say.
    pub wrong: Option<f64>,
}

/// What a worker did not do for a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tasks that it rejected.
    pub rejections: u32,
    /// Times that it was lost.
    pub lost: u32,
    /// How often attempts failed for its loss; those that failed at once count once.
    pub faults: u32,
    /// When the latest did: unix milliseconds.
    pub fault_ms: Option<u64>,
}

/// What comes before the first round, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningPreparation {
    /// Its tasks.
    pub tasks: u32,
    /// Those that are done.
    pub tasks_done: u32,
}

/// The round under way.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningRound {
    /// Its number, from 1.
    pub round: u32,
    /// Its shards.
    pub tasks: u32,
    /// Those that are done.
    pub tasks_done: u32,
    /// The workers that did them, or those of the round before while none is done.
    pub workers: usize,
    /// Samples through training epochs, for a second of the round, or of the round before while no shard is done.
    pub samples_per_second: f64,
}

impl JobHistory {
    /// The newest version, and the round that made it.
    pub fn version(&self) -> Option<(u32, &Payload)> {
        self.versions.last_key_value().map(|(round, payload)| (*round, payload))
    }

    /// The round with the smallest error, the first of several; `None` where none was measured.
    pub fn best_round(&self) -> Option<u32> {
        let measured = self.rounds.iter().filter_map(|row| Some((row.validation_error?, row.round)));
        let best = measured.min_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        best.map(|(_, round)| round)
    }

    /// From submission to the newest event.
    pub fn wall_seconds(&self) -> f64 {
        self.submitted_ms.map_or(0.0, |start| seconds_between(start, self.newest_ms))
    }

    /// What comes before the first round, if it is under way.
    pub fn running_preparation(&self) -> Option<RunningPreparation> {
        let open = self.stages.values().find(|open| open.purpose == Purpose::Prepare)?;
        Some(RunningPreparation { tasks: open.count, tasks_done: open.tasks_done() })
    }

    /// The round under way, if one is.
    pub fn running_round(&self) -> Option<RunningRound> {
        let train = |open: &&OpenStage| matches!(open.purpose, Purpose::Train { .. });
        let open = self.stages.values().rev().find(train)?;
        let Purpose::Train { round } = open.purpose else { return None };
        let (last, seconds) = match self.rounds.iter().rev().find(|row| row.seconds.is_some()) {
            Some(row) if open.tasks.is_empty() => (row.tasks.iter().collect::<Vec<_>>(), row.seconds?),
            _ => (open.tasks.values().collect(), seconds_between(open.opened_ms, self.newest_ms)),
        };
        let workers: BTreeSet<_> = last.iter().map(|task| &task.worker).collect();
        let samples: f64 =
            last.iter().map(|task| task.samples as f64 * f64::from(task.training_epochs.unwrap_or(1))).sum();
        Some(RunningRound {
            round,
            tasks: open.count,
            tasks_done: open.tasks_done(),
            workers: workers.len(),
            samples_per_second: if seconds > 0.0 { samples / seconds } else { 0.0 },
        })
    }
}

impl WorkerShare {
    /// The share of its slots' time, over `wall_seconds`, that it computed. Where a record of an older build does not say
    /// how many slots it has, one is taken, and the share is at most 1.
    pub fn busy(&self, wall_seconds: f64) -> f64 {
        match self.slots {
            0 => share(self.compute_s(), wall_seconds).min(1.0),
            slots => share(self.compute_s(), f64::from(slots) * wall_seconds),
        }
    }

    /// Samples through training epochs, for a second of computing.
    pub fn samples_per_second(&self) -> f64 {
        share(self.samples, self.compute_s())
    }

    fn compute_s(&self) -> f64 {
        self.compute_us as f64 / 1e6
    }
}

impl OpenStage {
    /// How many tasks are done.
    pub fn tasks_done(&self) -> u32 {
        (self.tasks.len() as u32).saturating_add(self.left_out.tasks)
    }
}

impl Default for LeftOut {
    fn default() -> Self {
        Self { tasks: 0, samples: 0, wrong: Some(0.0) }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn seconds_between(start_ms: u64, end_ms: u64) -> f64 {
    end_ms.saturating_sub(start_ms) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use crate::event::{Combined, Event, Metrics};
    use crate::{Ability, Digest, JobId, Needs, StageNumber, Work};

    use super::*;

    #[test]
    fn a_preparation_is_no_round() {
        let (job, stage) = (JobId::from_bits(1), StageNumber(1));
        let (ability, split, needs) = (Ability::new("moments").unwrap(), Split::Entries, Needs::default());
        let blob = |byte| Payload::blob(Digest([byte; 32]));
        let work = Work { ability, program: blob(1), input: blob(1), split, count: 3, combine: blob(1), needs };
        let opened = Event::StageOpened { job, stage, purpose: Purpose::Prepare, base: blob(2), work };
        let combined = Combined { result: blob(3), metrics: Metrics::default(), refused: Vec::new() };
        let mut history = JobHistory { versions: [(0, blob(2))].into(), ..JobHistory::default() };
        assert_eq!(history.fold(1, &opened, &Limits::KEPT), None);
        assert_eq!(history.running_preparation(), Some(RunningPreparation { tasks: 3, tasks_done: 0 }));
        assert_eq!(history.fold(2, &Event::StageCombined { job, stage, combined }, &Limits::KEPT), None);
        assert_eq!((history.running_preparation(), history.rounds.len(), history.rounds_done), (None, 0, 0));
        assert_eq!(history.version(), Some((0, &blob(3))));
    }

    #[test]
    fn a_worker_is_busy_with_all_of_its_slots() {
        let busy = |slots, compute_us| WorkerShare { slots, compute_us, ..WorkerShare::default() }.busy(10.0);
        assert_eq!((busy(4, 30_000_000), busy(1, 5_000_000)), (0.75, 0.5));
        assert_eq!((busy(0, 30_000_000), busy(0, 5_000_000)), (1.0, 0.5), "an older record does not say how many");
    }
}
