//! A job's report: its events, folded into what people and scripts want to know.
//!
//! The field names are a contract. It knows only what the journal says, and learns nothing from anywhere else.

use std::collections::BTreeMap;

use convoke_wire::core::event::{Event, Fault, Outcome, Purpose, TaskRecord};
use convoke_wire::core::{JobId, Payload, Plan};
use serde::Serialize;

use crate::failure::Failure;

/// What a job has come to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub job: JobId,
    /// `running`, `succeeded`, `failed` or `cancelled`.
    pub state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The newest version's share of wrong answers on the validation data.
    pub validation_error: Option<f64>,
    /// From submission to the end, or to the newest event.
    pub wall_seconds: f64,
    /// The rounds, in order.
    pub rounds: Vec<Round>,
    /// The workers that took part, by name.
    pub workers: Vec<WorkerShare>,
    #[serde(skip)]
    folded: Folded,
}

/// A round of training.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// Its version's share of wrong answers on the validation data.
    pub validation_error: Option<f64>,
    /// The shards' share of wrong answers in their last training epoch.
    pub train_error: Option<f64>,
    /// From its opening to its version.
    pub seconds: Option<f64>,
    /// Tasks that workers rejected.
    pub rejections: u32,
    /// The shards' tasks, in order.
    pub tasks: Vec<Task>,
    /// Results that did not take part.
    pub refused: Vec<Refused>,
}

/// A task that was done.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    /// The shard's name, or its number where the name is not known.
    pub shard: String,
    /// Who did it.
    pub worker: String,
    /// At which attempt.
    pub attempt: u32,
    /// How many samples it has.
    pub samples: u64,
    /// The share of wrong answers in the last training epoch.
    pub train_error: Option<f64>,
    /// How many training epochs were made.
    pub training_epochs: Option<u32>,
    /// Waiting for a slot.
    pub queued_s: f64,
    /// Fetching.
    pub fetch_s: f64,
    /// Computing.
    pub compute_s: f64,
    /// Storing the result.
    pub report_s: f64,
}

/// A result that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Whose shard.
    pub shard: String,
    /// Who brought it.
    pub worker: String,
    /// Why.
    pub reason: String,
}

/// A worker's part.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkerShare {
    /// Its name.
    pub name: String,
    /// The share of the job's time that it computed, at most 1: how many slots it has is in no event, so that of
    /// several slots' time this is no more than a bound.
    pub busy_share: f64,
    /// Samples through training epochs, for a second of computing.
    pub samples_per_second: f64,
    /// Tasks that it rejected.
    pub rejections: u32,
    /// Times that it was lost with tasks.
    pub lost: u32,
    #[serde(skip)]
    compute_s: f64,
    #[serde(skip)]
    samples: f64,
}

/// What the fold keeps beside what it shows.
#[derive(Clone, Debug, Default)]
struct Folded {
    rounds_planned: u32,
    submitted_ms: Option<u64>,
    version: Option<(u32, Payload)>,
    stages: BTreeMap<u32, OpenStage>,
    input: Option<Payload>,
    shards: Vec<String>,
    workers: BTreeMap<String, WorkerShare>,
}

#[derive(Clone, Debug)]
struct OpenStage {
    purpose: Purpose,
    opened_ms: u64,
    /// Done tasks by place.
    tasks: BTreeMap<u32, Task>,
    /// What is counted of its workers so far. A stage that closes again says the whole of it again.
    counted: BTreeMap<String, Counted>,
}

/// What a worker did not do for a stage.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    rejections: u32,
    lost: u32,
    /// How often attempts failed for its loss; those that failed at once count once.
    faults: u32,
    fault_ms: Option<u64>,
}

impl Report {
    /// Of a job of which nothing is known yet. `shards` are the names of its shards, in order, as far as they are known.
    pub fn new(job: JobId, shards: Vec<String>) -> Self {
        Self {
            job,
            state: "running",
            reason: None,
            validation_error: None,
            wall_seconds: 0.0,
            rounds: Vec::new(),
            workers: Vec::new(),
            folded: Folded { shards, ..Folded::default() },
        }
    }

    /// The newest version, and the round that made it.
    pub fn version(&self) -> Option<(u32, &Payload)> {
        self.folded.version.as_ref().map(|(round, payload)| (*round, payload))
    }

    /// How many rounds the job is to have.
    pub fn rounds_planned(&self) -> u32 {
        self.folded.rounds_planned
    }

    /// The manifest of the shards, where it has been seen.
    pub fn input(&self) -> Option<&Payload> {
        self.folded.input.as_ref()
    }

    /// Names the shards of tasks that were folded before the names were known.
    pub fn name_shards(&mut self, shards: Vec<String>) {
        let rounds = self.rounds.iter_mut();
        rounds.flat_map(|round| &mut round.tasks).for_each(|task| {
            let name = task.shard.parse::<usize>().ok().and_then(|number| shards.get(number));
            task.shard = name.cloned().unwrap_or_else(|| task.shard.clone());
        });
        self.folded.shards = shards;
    }

    /// Whether the job has ended.
    pub fn has_ended(&self) -> bool {
        self.state != "running"
    }

    /// Of a job that was cancelled by who followed it, and heard no more of it.
    pub fn cancelled(&mut self) {
        self.state = "cancelled";
        self.list_open();
    }

    /// A job that failed or was cancelled, as a failure.
    pub fn success(&self) -> Result<(), Failure> {
        let job = self.job;
        match (self.state, &self.reason) {
            ("failed", reason) => {
                Err(Failure::failed(format!("job {job} failed: {}", reason.as_deref().unwrap_or(""))))
            }
            ("cancelled", _) => Err(Failure::failed(format!("job {job} was cancelled"))),
            _ => Ok(()),
        }
    }

    /// Folds an event in. Says which round's number just became known: a new version, or its error.
    pub fn fold(&mut self, wall_ms: u64, event: &Event) -> Option<u32> {
        let since = |start: u64| wall_ms.saturating_sub(start) as f64 / 1_000.0;
        self.wall_seconds = self.folded.submitted_ms.map_or(0.0, since);
        let news = match event {
            Event::JobSubmitted { spec, .. } => {
                let Plan::Rounds(plan) = &spec.plan;
                self.folded.submitted_ms = Some(wall_ms);
                self.folded.rounds_planned = plan.rounds;
                self.folded.input = Some(plan.train.input.clone());
                self.folded.version = Some((0, plan.base.clone()));
                None
            }
            Event::StageOpened { stage, purpose, .. } => {
                let open = OpenStage {
                    purpose: *purpose,
                    opened_ms: wall_ms,
                    tasks: BTreeMap::new(),
                    counted: BTreeMap::new(),
                };
                self.folded.stages.insert(stage.0, open);
                None
            }
            Event::TaskDone { task, record } => {
                self.on_task(task.stage.0, task.index, record);
                None
            }
            Event::StageClosed { stage, tallies, .. } => {
                let rejections = tallies.iter().map(|tally| tally.rejections).sum();
                for tally in tallies {
                    self.count(stage.0, &tally.worker, |counted| {
                        counted.rejections = counted.rejections.max(tally.rejections);
                        counted.lost = counted.lost.max(tally.losses);
                    });
                }
                if let Some(Purpose::Train { round }) = self.folded.stages.get(&stage.0).map(|stage| stage.purpose) {
                    self.round(round).rejections = rejections;
                }
                None
            }
            Event::StageCombined { stage, combined, .. } => {
                let open = self.folded.stages.remove(&stage.0)?;
                match open.purpose {
                    Purpose::Evaluate { round } => {
                        self.validation_error = combined.metrics.get("validation_error");
                        self.round(round).validation_error = self.validation_error;
                        Some(round)
                    }
                    Purpose::Train { round } => {
                        self.folded.version = Some((round, combined.result.clone()));
                        let seconds = since(open.opened_ms);
                        let refused = combined.refused.iter().map(|refused| {
                            let task = open.tasks.get(&refused.index);
                            let of =
                                |name: fn(&Task) -> &String| task.map_or_else(String::new, |task| name(task).clone());
                            let (shard, worker) = (of(|task| &task.shard), of(|task| &task.worker));
                            Refused { shard, worker, reason: refused.reason.clone() }
                        });
                        let refused = refused.collect();
                        let tasks: Vec<_> = open.tasks.into_values().collect();
                        let (wrong, samples) = tasks.iter().fold((0.0, 0.0), |(wrong, samples), task| {
                            let n = task.samples as f64;
                            (wrong + task.train_error.unwrap_or(f64::NAN) * n, samples + n)
                        });
                        let row = self.round(round);
                        row.train_error = Some(wrong / samples).filter(|error| error.is_finite());
                        row.seconds = Some(seconds);
                        row.refused = refused;
                        row.tasks = tasks;
                        Some(round)
                    }
                }
            }
            Event::JobFinished { outcome, .. } => {
                self.state = match outcome {
                    Outcome::Succeeded => "succeeded",
                    Outcome::Failed { .. } => "failed",
                    Outcome::Cancelled => "cancelled",
                };
                if let Outcome::Failed { reason } = outcome {
                    self.reason = Some(reason.clone());
                }
                self.list_open();
                None
            }
            Event::AttemptFailed { task, worker, fault: Fault::WorkerLost, .. } => {
                self.count(task.stage.0, worker, |counted| {
                    if counted.fault_ms.replace(wall_ms) != Some(wall_ms) {
                        counted.faults += 1;
                        counted.lost = counted.lost.max(counted.faults);
                    }
                });
                None
            }
            Event::TermOpened { .. } | Event::AttemptFailed { .. } | Event::ResultsLost { .. } => None,
        };
        self.workers = self.folded.workers.values().map(|share| share.shown(self.wall_seconds)).collect();
        news
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
    fn list_open(&mut self) {
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
        Self {
            busy_share: share(self.compute_s, wall_seconds).min(1.0),
            samples_per_second: share(self.samples, self.compute_s),
            ..self.clone()
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
