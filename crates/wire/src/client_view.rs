//! What clients are shown: job summaries, workers and tokens, to and from their messages.
//!
//! It shows; it computes nothing.

use convoke_core::coordinator::{TokenView, WorkerView};
use convoke_core::event::Outcome;
use convoke_core::history::TaskCounts;
use convoke_core::{Ability, JobId, Resources, TokenId};
use convoke_proto::{DecodeError, job_id};

use crate::v1;

/// A job in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSummary {
    /// Its id.
    pub job: JobId,
    /// What it is about.
    pub name: String,
    /// Who submitted it.
    pub submitter: String,
    /// Rounds that are committed.
    pub rounds_done: u32,
    /// Rounds that were asked for; 0 in a job of other work.
    pub rounds: u32,
    /// How far the tasks of its map are; `None` in a job of rounds, and where an older coordinator tells.
    pub tasks: Option<TaskCounts>,
    /// The newest version's share of wrong answers on the validation data.
    pub validation_error: Option<f64>,
    /// When it was submitted: unix milliseconds.
    pub submitted_wall_ms: u64,
    /// When it ended, if it has: unix milliseconds.
    pub finished_wall_ms: Option<u64>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

impl From<&JobSummary> for v1::JobSummary {
    fn from(summary: &JobSummary) -> Self {
        Self {
            job: summary.job.bits(),
            name: summary.name.clone(),
            submitter: summary.submitter.clone(),
            rounds_done: summary.rounds_done,
            rounds: summary.rounds,
            tasks: summary.tasks.map(|TaskCounts { all, done, failed }| v1::TaskCounts { all, done, failed }),
            validation_error: summary.validation_error,
            submitted_wall_ms: summary.submitted_wall_ms,
            finished_wall_ms: summary.finished_wall_ms,
            outcome: summary.outcome.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::JobSummary> for JobSummary {
    type Error = DecodeError;

    fn try_from(summary: v1::JobSummary) -> Result<Self, DecodeError> {
        Ok(Self {
            job: job_id("JobSummary.job", summary.job)?,
            name: summary.name,
            submitter: summary.submitter,
            rounds_done: summary.rounds_done,
            rounds: summary.rounds,
            tasks: summary.tasks.map(|v1::TaskCounts { all, done, failed }| TaskCounts { all, done, failed }),
            validation_error: summary.validation_error,
            submitted_wall_ms: summary.submitted_wall_ms,
            finished_wall_ms: summary.finished_wall_ms,
            outcome: summary.outcome.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<WorkerView> for v1::WorkerView {
    fn from(worker: WorkerView) -> Self {
        let abilities = worker.abilities.iter().map(Ability::to_string).collect();
        let resources = worker.resources.iter().map(|(name, amount)| (name.to_owned(), amount)).collect();
        let WorkerView { name, connected, draining, slots, running, queued, tasks_done, .. } = worker;
        let WorkerView { rejections, pace_ms, hardware, profile, .. } = worker;
        Self {
            name,
            connected,
            draining,
            slots,
            abilities,
            resources,
            running,
            queued,
            tasks_done,
            rejections,
            pace_ms,
            hardware,
            profile,
        }
    }
}

impl TryFrom<v1::WorkerView> for WorkerView {
    type Error = DecodeError;

    fn try_from(worker: v1::WorkerView) -> Result<Self, DecodeError> {
        let abilities = worker.abilities.iter().map(|name| Ability::new(name)).collect::<Result<_, _>>()?;
        let resources: Resources = worker.resources.into_iter().collect();
        resources.check()?;
        let v1::WorkerView { name, connected, draining, slots, running, queued, tasks_done, .. } = worker;
        let v1::WorkerView { rejections, pace_ms, hardware, profile, .. } = worker;
        Ok(Self {
            name,
            connected,
            draining,
            slots,
            abilities,
            resources,
            running,
            queued,
            tasks_done,
            rejections,
            pace_ms,
            hardware,
            profile,
        })
    }
}

impl From<TokenView> for v1::TokenView {
    fn from(view: TokenView) -> Self {
        Self {
            token: view.token.bits(),
            role: view.role.to_string(),
            commands: view.commands,
            name: view.name.unwrap_or_default(),
            expires_ms: view.expires_ms,
            uses: view.uses,
            used: view.used,
            by: view.by,
        }
    }
}

impl TryFrom<v1::TokenView> for TokenView {
    type Error = DecodeError;

    fn try_from(view: v1::TokenView) -> Result<Self, DecodeError> {
        Ok(Self {
            token: TokenId::from_bits(view.token),
            role: view.role.parse().map_err(|_| DecodeError::Missing { field: "TokenView.role" })?,
            commands: view.commands,
            name: Some(view.name).filter(|name| !name.is_empty()),
            expires_ms: view.expires_ms,
            uses: view.uses,
            used: view.used,
            by: view.by,
        })
    }
}
