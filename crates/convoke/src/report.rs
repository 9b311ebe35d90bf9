//! A job's report: its history, as a command follows it and tells of it.
//!
//! It knows only what the journal says, and learns nothing from anywhere else but the shards' names. What is printed of
//! it as JSON is in `view`.

mod view;

use convoke_wire::core::event::{Event, Outcome};
use convoke_wire::core::history::{JobHistory, Limits, Round};
use convoke_wire::core::{JobId, Payload};

use crate::args::Task;
use crate::certificate::Certificate;
use crate::failure::Failure;
use crate::progress::Progress;
pub use view::is_zero;

/// What a job has come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its id.
    pub job: JobId,
    /// What its events say.
    pub history: JobHistory,
    /// For how long it went on, where that is not what its events say: for whoever ran the command, it began before.
    pub wall_seconds: Option<f64>,
    /// Nobody is at it any more.
    interrupted: bool,
    /// The names of the shards, in order, as far as they are known.
    shards: Vec<String>,
    /// Whether it is known that values are predicted.
    is_regression: bool,
    /// Why none of its tasks is with a worker, where that was asked and is so.
    pub waits: Option<String>,
    /// The death certificates of tasks that failed, once they were asked for.
    pub failures: Vec<Certificate>,
}

/// Who hears each event, once, beside the report.
pub trait Listener {
    /// Hears it.
    fn hear(&mut self, event: &Event) -> impl Future<Output = ()> + Send;

    /// Hears what stands for events that are not told.
    fn hear_history(&mut self, history: &JobHistory);
}

/// Nobody.
impl Listener for () {
    async fn hear(&mut self, _: &Event) {}

    fn hear_history(&mut self, _: &JobHistory) {}
}

impl Report {
    /// Of a job of which nothing is known yet. `shards` are the names of its shards, in order, as far as they are known.
    pub fn new(job: JobId, shards: Vec<String>) -> Self {
        Self {
            job,
            history: JobHistory::default(),
            wall_seconds: None,
            interrupted: false,
            shards,
            is_regression: false,
            waits: None,
            failures: Vec::new(),
        }
    }

    /// As it is known what labels are.
    pub fn of_task(self, task: Task) -> Self {
        Self { is_regression: task == Task::Regression, ..self }
    }

    /// Whether values are predicted: as is known, or as the record of a measured version says.
    pub fn is_regression(&self) -> bool {
        self.is_regression || self.history.rounds.iter().any(|round| round.validation_r2.is_some())
    }

    /// What errors are called.
    pub fn measure(&self) -> &'static str {
        if self.is_regression() { "RMSE" } else { "error" }
    }

    /// `running`, `interrupted`, `succeeded`, `failed` or `cancelled`.
    pub fn state(&self) -> &'static str {
        match self.history.outcome {
            Some(Outcome::Succeeded) => "succeeded",
            Some(Outcome::Failed { .. }) => "failed",
            Some(Outcome::Cancelled) => "cancelled",
            None if self.interrupted => "interrupted",
            None => "running",
        }
    }

    /// From submission to the end, or to the newest event.
    pub fn wall_seconds(&self) -> f64 {
        self.wall_seconds.unwrap_or_else(|| self.history.wall_seconds())
    }

    /// Folds an event in, and shows what is new.
    pub fn tell(&mut self, wall_ms: u64, event: &Event, progress: &Progress) {
        if let Some(round) = self.history.fold(wall_ms, event, &Limits::NONE) {
            progress.round(self, round, wall_ms);
        }
        progress.show(self);
    }

    /// Takes over a history that reaches further, and shows what is new. What it leaves out and is known here stays.
    pub fn tell_all(&mut self, history: JobHistory, progress: &Progress) {
        if let Some(round) = self.take_over(history) {
            progress.round(self, round, self.history.newest_ms);
        }
        progress.show(self);
    }

    /// The last round, if something of it was not known. A follower that is told its history again, after the coordinator
    /// was lost, has mostly heard of it.
    fn take_over(&mut self, history: JobHistory) -> Option<u32> {
        let known = std::mem::replace(&mut self.history, history);
        let shown = |row: &Round| (row.round, row.validation_error, row.seconds);
        let before = known.rounds.last().map(shown);
        self.history.keep_known(known);
        let last = self.history.rounds.last().map(shown).filter(|last| before != Some(*last));
        last.map(|(round, ..)| round)
    }

    /// Names the shards.
    pub fn name_shards(&mut self, shards: Vec<String>) {
        self.shards = shards;
    }

    /// A shard's name, or its number where the name is not known.
    pub fn shard(&self, index: u32) -> String {
        self.shards.get(index as usize).cloned().unwrap_or_else(|| index.to_string())
    }

    /// The manifest of the shards, where it has been seen.
    pub fn input(&self) -> Option<&Payload> {
        self.history.input.as_ref()
    }

    /// Whether the job has ended.
    pub fn has_ended(&self) -> bool {
        self.history.outcome.is_some()
    }

    /// Whether it has ended as it should.
    pub fn has_succeeded(&self) -> bool {
        self.history.outcome == Some(Outcome::Succeeded)
    }

    /// Of a job that nobody is at any more.
    pub fn interrupted(&mut self) {
        self.interrupted = true;
        self.history.list_open();
    }

    /// A job that failed or was cancelled, as a failure.
    pub fn success(&self) -> Result<(), Failure> {
        let job = self.job;
        match &self.history.outcome {
            Some(Outcome::Failed { reason }) => Err(Failure::failed(format!("job {job} failed: {reason}"))),
            Some(Outcome::Cancelled) => Err(Failure::failed(format!("job {job} was cancelled"))),
            Some(Outcome::Succeeded) | None => Ok(()),
        }
    }
}

/// How a job ended, after its name.
pub fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Cancelled => "was cancelled".to_owned(),
        Outcome::Succeeded | Outcome::Failed { .. } => outcome.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_is_told_again_is_no_news() {
        let row = |round, validation_error| Round { round, validation_error, ..Round::default() };
        let history = |rounds| JobHistory { rounds, ..JobHistory::default() };
        let mut report = Report::new(JobId::from_bits(1), Vec::new());
        assert_eq!(report.take_over(history(vec![row(1, Some(0.5)), row(2, None)])), Some(2));
        assert_eq!(report.take_over(history(vec![row(1, Some(0.5)), row(2, None)])), None);
        assert_eq!(report.take_over(history(vec![row(1, Some(0.5)), row(2, Some(0.25))])), Some(2));
        assert_eq!(report.take_over(history(vec![row(2, Some(0.25)), row(3, None)])), Some(3));
    }
}
