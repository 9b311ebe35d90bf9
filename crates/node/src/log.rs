//! The coordinator's lines: one for each join, loss, acceptance, rejection, task and round.
//!
//! It says what happened; where the lines go is the subscriber's choice.

use convoke_core::Event;
use convoke_core::coordinator::{Notice, Waiting};
use convoke_core::event::{Metrics, Purpose};

use crate::waiting;

/// A line for an event, once it is durable.
pub(crate) fn event(event: &Event) {
    match event {
        // Of a round's tasks each has its line; of others there may be thousands a second.
        Event::TaskDone { task, record } if record.completion.samples == 0 => {
            tracing::debug!(%task, worker = record.worker, attempt = record.attempt, "task done");
        }
        Event::TaskDone { task, record } => {
            let error = error_of(&record.completion.metrics);
            let worker = &record.worker;
            tracing::info!(%task, worker, attempt = record.attempt, "task done{}", shown(error));
        }
        Event::StageOpened { job, purpose: Purpose::Prepare, work, .. } => {
            tracing::info!(%job, tasks = work.count, "preparing");
        }
        Event::StageOpened { job, purpose: Purpose::Train { round }, work, .. } => {
            tracing::info!(%job, round, tasks = work.count, "round opened");
        }
        Event::StageCombined { job, stage, combined } => {
            tracing::info!(%job, %stage, "stage combined{}", shown(error_of(&combined.metrics)));
            for refused in &combined.refused {
                tracing::warn!(%job, %stage, task = refused.index, reason = refused.reason, "result refused");
            }
        }
        Event::AttemptFailed { .. } | Event::TaskFailed { .. } | Event::ResultsLost { .. } => tracing::warn!("{event}"),
        Event::JobSubmitted { .. }
        | Event::JobFinished { .. }
        | Event::JobForgotten { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. }
        | Event::Enrolled { .. }
        | Event::IdentityRemoved { .. }
        | Event::TermOpened { .. } => tracing::info!("{event}"),
        Event::StageOpened { .. } | Event::StageClosed { .. } | Event::SnapshotTaken { .. } => {
            tracing::debug!("{event}")
        }
    }
}

/// A line for a notice.
pub(crate) fn notice(notice: &Notice) {
    let line = waiting::notice(notice);
    match notice {
        Notice::WorkerLost { .. } => tracing::warn!("{line}"),
        Notice::Waiting { reason: Waiting::NoWorkers, .. } => tracing::info!("{line}"),
        Notice::Waiting { .. } => tracing::warn!("{line}"),
        Notice::Assigned { round: 0, .. } => tracing::debug!("{line}"),
        Notice::WorkerJoined { .. }
        | Notice::WorkerLeft { .. }
        | Notice::WorkerDraining { .. }
        | Notice::Assigned { .. }
        | Notice::Rejected { .. } => tracing::info!("{line}"),
    }
}

fn error_of(metrics: &Metrics) -> Option<f64> {
    metrics.get("train_error").or_else(|| metrics.get("validation_error"))
}

fn shown(error: Option<f64>) -> String {
    error.map_or_else(String::new, |error| format!(", error {error:.4}"))
}
