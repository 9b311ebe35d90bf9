//! A job's report: its events, folded into what people and scripts want to know.
//!
//! The field names are a contract. It knows only what the journal says, and learns nothing from anywhere else.

mod fold;

use std::collections::{BTreeMap, BTreeSet};

use convoke_wire::core::event::{Event, Purpose};
use convoke_wire::core::{JobId, Payload};
use serde::Serialize;

use crate::failure::Failure;
use crate::progress::Progress;

/// What a job has come to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub job: JobId,
    /// `running`, `interrupted`, `succeeded`, `failed` or `cancelled`.
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
    /// The share of its slots' time, over the job's, that it computed. Where a record of an older build does not say how
    /// many slots it has, one is taken, and the share is at most 1.
    pub busy_share: f64,
    /// Samples through training epochs, for a second of computing.
    pub samples_per_second: f64,
    /// Tasks that it rejected.
    pub rejections: u32,
    /// Times that it was lost with tasks.
    pub lost: u32,
    /// The most that it had; 0 where no record says.
    #[serde(skip)]
    slots: u32,
    #[serde(skip)]
    compute_s: f64,
    #[serde(skip)]
    samples: f64,
}

/// The round under way.
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

/// What the fold keeps beside what it shows.
#[derive(Clone, Debug, Default)]
struct Folded {
    rounds_planned: u32,
    submitted_ms: Option<u64>,
    newest_ms: u64,
    /// The versions by round; the start is round 0's.
    versions: BTreeMap<u32, Payload>,
    stages: BTreeMap<u32, OpenStage>,
    input: Option<Payload>,
    shards: Vec<String>,
    workers: BTreeMap<String, WorkerShare>,
}

#[derive(Clone, Debug)]
struct OpenStage {
    purpose: Purpose,
    opened_ms: u64,
    /// How many tasks there are.
    count: u32,
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
        self.folded.versions.last_key_value().map(|(round, payload)| (*round, payload))
    }

    /// The version that a round made.
    pub fn version_of(&self, round: u32) -> Option<&Payload> {
        self.folded.versions.get(&round)
    }

    /// The round with the smallest error, the first of several; `None` where none was measured.
    pub fn best_round(&self) -> Option<u32> {
        let measured = self.rounds.iter().filter_map(|row| Some((row.validation_error?, row.round)));
        let best = measured.min_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        best.map(|(_, round)| round)
    }

    /// The round under way, if one is.
    pub fn running_round(&self) -> Option<RunningRound> {
        let train = |open: &&OpenStage| matches!(open.purpose, Purpose::Train { .. });
        let open = self.folded.stages.values().rev().find(train)?;
        let Purpose::Train { round } = open.purpose else { return None };
        let (last, seconds) = match self.rounds.iter().rev().find(|row| row.seconds.is_some()) {
            Some(row) if open.tasks.is_empty() => (row.tasks.iter().collect::<Vec<_>>(), row.seconds?),
            _ => (open.tasks.values().collect(), fold::seconds_between(open.opened_ms, self.folded.newest_ms)),
        };
        let workers: BTreeSet<_> = last.iter().map(|task| &task.worker).collect();
        let samples: f64 =
            last.iter().map(|task| task.samples as f64 * f64::from(task.training_epochs.unwrap_or(1))).sum();
        Some(RunningRound {
            round,
            tasks: open.count,
            tasks_done: open.tasks.len() as u32,
            workers: workers.len(),
            samples_per_second: if seconds > 0.0 { samples / seconds } else { 0.0 },
        })
    }

    /// Folds an event in, and shows what is new.
    pub fn tell(&mut self, wall_ms: u64, event: &Event, progress: &Progress) {
        if let Some(round) = self.fold(wall_ms, event) {
            progress.round(self, round, wall_ms);
        }
        progress.show(self);
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
        !matches!(self.state, "running" | "interrupted")
    }

    /// Of a job that nobody is at any more.
    pub fn interrupted(&mut self) {
        self.state = "interrupted";
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
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
