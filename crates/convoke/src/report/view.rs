//! The report as JSON. The names of the fields are a contract.
//!
//! It shows; what a job has come to is folded in `convoke-core`.

use convoke_wire::core::event::Timing;
use convoke_wire::core::history::{self, JobHistory, Level};
use serde::{Serialize, Serializer};

use super::Report;
use crate::certificate::Certificate;

#[derive(Serialize)]
struct View<'a> {
    job: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Why none of its tasks is with a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<&'a str>,
    name: &'a str,
    wall_seconds: f64,
    #[serde(flatten)]
    work: Work<'a>,
    /// Tasks of which attempts failed.
    #[serde(skip_serializing_if = "<[Certificate]>::is_empty")]
    failures: &'a [Certificate],
    /// How many of them the record does not tell of.
    #[serde(skip_serializing_if = "is_zero")]
    failures_left_out: u32,
    /// By name.
    workers: Vec<Worker<'a>>,
}

/// What the job is about.
#[derive(Serialize)]
#[serde(untagged)]
enum Work<'a> {
    Rounds {
        /// What comes before the first round, while it is under way.
        #[serde(skip_serializing_if = "Option::is_none")]
        preparing: Option<Preparing>,
        validation_error: Option<f64>,
        #[serde(flatten)]
        values: Option<OfValues>,
        /// In order.
        rounds: Vec<Round<'a>>,
        /// How many rounds the record does not tell of any more.
        #[serde(skip_serializing_if = "is_zero")]
        rounds_left_out: u32,
    },
    Tasks {
        /// Of the map.
        tasks: u32,
        tasks_done: u32,
        tasks_failed: u32,
        /// The map, and the levels of its reduction.
        stages: Vec<Stage>,
    },
}

/// How values are predicted.
#[derive(Serialize)]
struct OfValues {
    /// The same as the error.
    validation_rmse: Option<f64>,
    validation_r2: Option<f64>,
}

/// What comes before the first round.
#[derive(Serialize)]
struct Preparing {
    tasks: u32,
    tasks_done: u32,
}

/// A stage of a map-reduce job.
#[derive(Serialize)]
struct Stage {
    stage: String,
    tasks: u32,
    done: u32,
    failed: u32,
    /// Until it was through, or up to now.
    seconds: f64,
}

#[derive(Serialize)]
struct Round<'a> {
    round: u32,
    validation_error: Option<f64>,
    #[serde(flatten)]
    values: Option<OfValues>,
    train_error: Option<f64>,
    seconds: Option<f64>,
    rejections: u32,
    /// In order.
    tasks: Vec<Task<'a>>,
    /// How many tasks the record does not tell of any more.
    #[serde(skip_serializing_if = "is_zero")]
    tasks_left_out: u32,
    refused: Vec<Refused<'a>>,
    /// How many refused results the record does not tell of any more.
    #[serde(skip_serializing_if = "is_zero")]
    refused_left_out: u32,
}

#[derive(Serialize)]
struct Task<'a> {
    shard: String,
    worker: &'a str,
    attempt: u32,
    samples: u64,
    train_error: Option<f64>,
    training_epochs: Option<u32>,
    queued_s: f64,
    fetch_s: f64,
    compute_s: f64,
    report_s: f64,
}

#[derive(Serialize)]
struct Refused<'a> {
    shard: String,
    worker: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Worker<'a> {
    name: &'a str,
    busy_share: f64,
    samples_per_second: f64,
    rejections: u32,
    lost: u32,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let history = &self.history;
        let view = View {
            job: self.job.to_string(),
            state: self.state(),
            reason: history.failure(),
            waits: self.waits.as_deref(),
            name: &history.name,
            wall_seconds: self.wall_seconds(),
            work: self.work(),
            failures: &self.failures,
            failures_left_out: history.failures_left_out,
            workers: workers(history),
        };
        view.serialize(serializer)
    }
}

impl Report {
    fn work(&self) -> Work<'_> {
        let history = &self.history;
        let Some(tasks) = history.task_counts() else {
            let running = history.running_preparation();
            return Work::Rounds {
                preparing: running.map(|running| Preparing { tasks: running.tasks, tasks_done: running.tasks_done }),
                validation_error: history.validation_error,
                values: self.of_values(history.validation_error, history.validation_r2),
                rounds: history.rounds.iter().map(|round| self.round(round)).collect(),
                rounds_left_out: history.rounds_left_out,
            };
        };
        let stage = |level: Level| Stage {
            stage: level.purpose.to_string(),
            tasks: level.tasks,
            done: level.done,
            failed: level.failed,
            seconds: level.seconds,
        };
        let stages = history.all_levels().into_iter().map(stage).collect();
        Work::Tasks { tasks: tasks.all, tasks_done: tasks.done, tasks_failed: tasks.failed, stages }
    }

    fn of_values(&self, validation_rmse: Option<f64>, validation_r2: Option<f64>) -> Option<OfValues> {
        self.is_regression().then_some(OfValues { validation_rmse, validation_r2 })
    }

    fn round<'a>(&self, round: &'a history::Round) -> Round<'a> {
        let refused = round.refused.iter().map(|refused| Refused {
            shard: self.shard(refused.index),
            worker: &refused.worker,
            reason: &refused.reason,
        });
        Round {
            round: round.round,
            validation_error: round.validation_error,
            values: self.of_values(round.validation_error, round.validation_r2),
            train_error: round.train_error,
            seconds: round.seconds,
            rejections: round.rejections,
            tasks: round.tasks.iter().map(|task| self.task(task)).collect(),
            tasks_left_out: round.tasks_done.saturating_sub(round.tasks.len() as u32),
            refused: refused.collect(),
            refused_left_out: round.refusals.saturating_sub(round.refused.len() as u32),
        }
    }

    fn task<'a>(&self, task: &'a history::Task) -> Task<'a> {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let Timing { queued_us, fetch_us, compute_us, report_us } = task.timing;
        Task {
            shard: self.shard(task.index),
            worker: &task.worker,
            attempt: task.attempt,
            samples: task.samples,
            train_error: task.train_error,
            training_epochs: task.training_epochs,
            queued_s: seconds(queued_us),
            fetch_s: seconds(fetch_us),
            compute_s: seconds(compute_us),
            report_s: seconds(report_us),
        }
    }
}

fn workers(history: &JobHistory) -> Vec<Worker<'_>> {
    let wall_seconds = history.wall_seconds();
    let shown = history.workers.iter().map(|(name, share)| Worker {
        name,
        busy_share: share.busy(wall_seconds),
        samples_per_second: share.samples_per_second(),
        rejections: share.rejections,
        lost: share.lost,
    });
    shown.collect()
}

/// Whether there are none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub fn is_zero(count: &u32) -> bool {
    *count == 0
}
