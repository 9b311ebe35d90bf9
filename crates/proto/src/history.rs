//! Jobs' histories, as messages and back.
//!
//! Nothing here knows who asks for one.

use convoke_core::event::LISTED_REASON_BYTES_MAX;
use convoke_core::history::{
    Counted, FailedAttempt, JobHistory, LeftOut, Level, OpenStage, Refusal, Round, Task, TaskFailure, WorkerShare,
};
use convoke_core::{NAME_BYTES_MAX, Payload};

use crate::check::{bounded_text, required};
use crate::{DecodeError, v1};

impl From<&JobHistory> for v1::JobHistory {
    fn from(history: &JobHistory) -> Self {
        let version = |(round, parameters): (&u32, &Payload)| v1::RoundVersion {
            round: *round,
            parameters: Some(parameters.into()),
        };
        Self {
            name: history.name.clone(),
            submitter: history.submitter.clone(),
            input: history.input.as_ref().map(Into::into),
            rounds_planned: history.rounds_planned,
            rounds_done: history.rounds_done,
            submitted_ms: history.submitted_ms,
            newest_ms: history.newest_ms,
            finished_ms: history.finished_ms,
            outcome: history.outcome.as_ref().map(Into::into),
            validation_error: history.validation_error,
            validation_r2: history.validation_r2,
            rounds: history.rounds.iter().map(Into::into).collect(),
            rounds_left_out: history.rounds_left_out,
            versions: history.versions.iter().map(version).collect(),
            workers: history.workers.iter().map(share).collect(),
            stages: history.stages.iter().map(open_stage).collect(),
            split: history.split.as_ref().map(Into::into),
            tasks_planned: history.tasks_planned,
            levels: history.levels.iter().map(Into::into).collect(),
            results: history.results.as_ref().map(Into::into),
            failures: history.failures.iter().map(Into::into).collect(),
            failures_left_out: history.failures_left_out,
        }
    }
}

impl TryFrom<v1::JobHistory> for JobHistory {
    type Error = DecodeError;

    fn try_from(history: v1::JobHistory) -> Result<Self, DecodeError> {
        let version =
            |version: v1::RoundVersion| Ok((version.round, required("RoundVersion.parameters", version.parameters)?));
        let stage = |open: v1::OpenStage| Ok((open.stage, open.try_into()?));
        Ok(Self {
            name: bounded_text("JobHistory.name", history.name, NAME_BYTES_MAX)?,
            submitter: bounded_text("JobHistory.submitter", history.submitter, NAME_BYTES_MAX)?,
            input: history.input.map(TryInto::try_into).transpose()?,
            rounds_planned: history.rounds_planned,
            rounds_done: history.rounds_done,
            submitted_ms: history.submitted_ms,
            newest_ms: history.newest_ms,
            finished_ms: history.finished_ms,
            outcome: history.outcome.map(TryInto::try_into).transpose()?,
            validation_error: history.validation_error,
            validation_r2: history.validation_r2,
            rounds: history.rounds.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            rounds_left_out: history.rounds_left_out,
            versions: history.versions.into_iter().map(version).collect::<Result<_, DecodeError>>()?,
            workers: history.workers.into_iter().map(share_value).collect::<Result<_, _>>()?,
            stages: history.stages.into_iter().map(stage).collect::<Result<_, DecodeError>>()?,
            split: history.split.map(TryInto::try_into).transpose()?,
            tasks_planned: history.tasks_planned,
            levels: history.levels.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            results: history.results.map(TryInto::try_into).transpose()?,
            failures: history.failures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            failures_left_out: history.failures_left_out,
        })
    }
}

impl From<&Level> for v1::LevelRow {
    fn from(level: &Level) -> Self {
        let Level { purpose, tasks, done, failed, seconds, cut_off } = *level;
        Self { purpose: Some((&purpose).into()), tasks, done, failed, seconds, cut_off }
    }
}

impl TryFrom<v1::LevelRow> for Level {
    type Error = DecodeError;

    fn try_from(level: v1::LevelRow) -> Result<Self, DecodeError> {
        let v1::LevelRow { purpose, tasks, done, failed, seconds, cut_off } = level;
        Ok(Self { purpose: required("LevelRow.purpose", purpose)?, tasks, done, failed, seconds, cut_off })
    }
}

impl From<&TaskFailure> for v1::FailureRow {
    fn from(failure: &TaskFailure) -> Self {
        let attempt = |failed: &FailedAttempt| v1::AttemptRow {
            attempt: failed.attempt,
            worker: failed.worker.clone(),
            fault: Some((&failed.fault).into()),
        };
        Self {
            stage: failure.stage,
            purpose: Some((&failure.purpose).into()),
            index: failure.index,
            for_good: failure.for_good,
            attempts: failure.attempts.iter().map(attempt).collect(),
        }
    }
}

impl TryFrom<v1::FailureRow> for TaskFailure {
    type Error = DecodeError;

    fn try_from(failure: v1::FailureRow) -> Result<Self, DecodeError> {
        let attempt = |failed: v1::AttemptRow| {
            Ok(FailedAttempt {
                attempt: failed.attempt,
                worker: bounded_text("AttemptRow.worker", failed.worker, NAME_BYTES_MAX)?,
                fault: required("AttemptRow.fault", failed.fault)?,
            })
        };
        Ok(Self {
            stage: failure.stage,
            purpose: required("FailureRow.purpose", failure.purpose)?,
            index: failure.index,
            for_good: failure.for_good,
            attempts: failure.attempts.into_iter().map(attempt).collect::<Result<_, DecodeError>>()?,
        })
    }
}

impl From<&Round> for v1::RoundRow {
    fn from(round: &Round) -> Self {
        let refusal = |refused: &Refusal| v1::RefusalRow {
            index: refused.index,
            worker: refused.worker.clone(),
            reason: refused.reason.clone(),
        };
        Self {
            round: round.round,
            validation_error: round.validation_error,
            validation_r2: round.validation_r2,
            train_error: round.train_error,
            seconds: round.seconds,
            rejections: round.rejections,
            tasks_done: round.tasks_done,
            tasks: round.tasks.iter().map(Into::into).collect(),
            refusals: round.refusals,
            refused: round.refused.iter().map(refusal).collect(),
        }
    }
}

impl TryFrom<v1::RoundRow> for Round {
    type Error = DecodeError;

    fn try_from(row: v1::RoundRow) -> Result<Self, DecodeError> {
        let refusal = |refused: v1::RefusalRow| {
            Ok(Refusal {
                index: refused.index,
                worker: bounded_text("RefusalRow.worker", refused.worker, NAME_BYTES_MAX)?,
                reason: bounded_text("RefusalRow.reason", refused.reason, LISTED_REASON_BYTES_MAX)?,
            })
        };
        Ok(Self {
            round: row.round,
            validation_error: row.validation_error,
            validation_r2: row.validation_r2,
            train_error: row.train_error,
            seconds: row.seconds,
            rejections: row.rejections,
            tasks_done: row.tasks_done,
            tasks: row.tasks.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            refusals: row.refusals,
            refused: row.refused.into_iter().map(refusal).collect::<Result<_, DecodeError>>()?,
        })
    }
}

impl From<&Task> for v1::TaskRow {
    fn from(task: &Task) -> Self {
        Self {
            index: task.index,
            worker: task.worker.clone(),
            attempt: task.attempt,
            samples: task.samples,
            train_error: task.train_error,
            training_epochs: task.training_epochs,
            timing: Some((&task.timing).into()),
        }
    }
}

impl TryFrom<v1::TaskRow> for Task {
    type Error = DecodeError;

    fn try_from(task: v1::TaskRow) -> Result<Self, DecodeError> {
        Ok(Self {
            index: task.index,
            worker: bounded_text("TaskRow.worker", task.worker, NAME_BYTES_MAX)?,
            attempt: task.attempt,
            samples: task.samples,
            train_error: task.train_error,
            training_epochs: task.training_epochs,
            timing: required("TaskRow.timing", task.timing)?,
        })
    }
}

fn share((name, share): (&String, &WorkerShare)) -> v1::WorkerShare {
    let WorkerShare { slots, compute_us, samples, rejections, lost } = *share;
    v1::WorkerShare { name: name.clone(), slots, compute_us, samples, rejections, lost }
}

fn share_value(share: v1::WorkerShare) -> Result<(String, WorkerShare), DecodeError> {
    let v1::WorkerShare { name, slots, compute_us, samples, rejections, lost } = share;
    let name = bounded_text("WorkerShare.name", name, NAME_BYTES_MAX)?;
    Ok((name, WorkerShare { slots, compute_us, samples, rejections, lost }))
}

fn open_stage((stage, open): (&u32, &OpenStage)) -> v1::OpenStage {
    let count = |(name, counted): (&String, &Counted)| {
        let Counted { rejections, lost, faults, fault_ms } = *counted;
        v1::WorkerCount { name: name.clone(), rejections, lost, faults, fault_ms }
    };
    v1::OpenStage {
        stage: *stage,
        purpose: Some((&open.purpose).into()),
        opened_ms: open.opened_ms,
        count: open.count,
        tasks: open.tasks.values().map(Into::into).collect(),
        tasks_left_out: open.left_out.tasks,
        samples_left_out: open.left_out.samples,
        wrong_left_out: open.left_out.wrong,
        counted: open.counted.iter().map(count).collect(),
        failed: open.failed,
    }
}

impl TryFrom<v1::OpenStage> for OpenStage {
    type Error = DecodeError;

    fn try_from(open: v1::OpenStage) -> Result<Self, DecodeError> {
        let task = |task: v1::TaskRow| Ok((task.index, task.try_into()?));
        let count = |counted: v1::WorkerCount| {
            let v1::WorkerCount { name, rejections, lost, faults, fault_ms } = counted;
            let name = bounded_text("WorkerCount.name", name, NAME_BYTES_MAX)?;
            Ok((name, Counted { rejections, lost, faults, fault_ms }))
        };
        Ok(Self {
            purpose: required("OpenStage.purpose", open.purpose)?,
            opened_ms: open.opened_ms,
            count: open.count,
            failed: open.failed,
            tasks: open.tasks.into_iter().map(task).collect::<Result<_, DecodeError>>()?,
            left_out: LeftOut {
                tasks: open.tasks_left_out,
                samples: open.samples_left_out,
                wrong: open.wrong_left_out,
            },
            counted: open.counted.into_iter().map(count).collect::<Result<_, DecodeError>>()?,
        })
    }
}
