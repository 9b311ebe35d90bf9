//! What is kept of a run for people: its trace as text, how often everything happened, and what it is called.
//!
//! It decides nothing and checks nothing; with the trace off it formats nothing.

use std::fmt::{Display, Write};

use convoke_core::coordinator::{CombineOutcome, Input, Notice, Reply, Waiting};
use convoke_core::event::{Event, Fault, Outcome, Purpose};
use convoke_core::message::{FromWorker, ToWorker};
use convoke_core::{Millis, worker};

use crate::coverage::Coverage;

/// Watches one run.
pub struct Observer {
    pub coverage: Coverage,
    trace: Option<String>,
}

impl Observer {
    pub fn new(traced: bool) -> Self {
        Self { coverage: Coverage::default(), trace: traced.then(String::new) }
    }

    /// Writes a line, if anyone wants to read it.
    pub fn line(&mut self, now: Millis, who: impl Display, what: impl Display) {
        if let Some(trace) = &mut self.trace {
            // A text takes any line.
            let _ = writeln!(trace, "{now:>6} {who}: {what}");
        }
    }

    pub fn into_trace(self) -> String {
        self.trace.unwrap_or_default()
    }
}

pub fn event_kind(event: &Event) -> &'static str {
    match event {
        Event::TermOpened { .. } => "event.term-opened",
        Event::JobSubmitted { .. } => "event.job-submitted",
        Event::StageOpened { purpose: Purpose::Prepare, .. } => "event.stage-opened.prepare",
        Event::StageOpened { .. } => "event.stage-opened",
        Event::TaskDone { .. } => "event.task-done",
        Event::AttemptFailed { fault: Fault::Error(_), .. } => "event.attempt-failed.error",
        Event::AttemptFailed { fault: Fault::WorkerLost, .. } => "event.attempt-failed.worker-lost",
        Event::AttemptFailed { fault: Fault::TimedOut { .. }, .. } => "event.attempt-failed.timed-out",
        Event::TaskFailed { .. } => "event.task-failed",
        Event::StageClosed { .. } => "event.stage-closed",
        Event::ResultsLost { .. } => "event.results-lost",
        Event::StageCombined { .. } => "event.stage-combined",
        Event::JobFinished { outcome: Outcome::Succeeded, .. } => "event.job-finished.succeeded",
        Event::JobFinished { outcome: Outcome::Failed { .. }, .. } => "event.job-finished.failed",
        Event::JobFinished { outcome: Outcome::Cancelled, .. } => "event.job-finished.cancelled",
        Event::SnapshotTaken { .. } => "event.snapshot-taken",
        Event::JobForgotten { .. } => "event.job-forgotten",
        Event::TokenCreated { .. } => "event.token-created",
        Event::TokenRevoked { .. } => "event.token-revoked",
        Event::Enrolled { .. } => "event.enrolled",
        Event::IdentityRemoved { .. } => "event.identity-removed",
    }
}

pub fn input_kind(input: &Input) -> &'static str {
    match input {
        Input::Tick => "input.tick",
        Input::Connected { .. } => "input.connected",
        Input::Received { .. } => "input.received",
        Input::Disconnected { .. } => "input.disconnected",
        Input::Submit { .. } => "input.submit",
        Input::Cancel { .. } => "input.cancel",
        Input::Combined { outcome: CombineOutcome::Combined(_), .. } => "input.combined",
        Input::Combined { outcome: CombineOutcome::ResultsLost(_), .. } => "input.combined.results-lost",
        Input::Combined { outcome: CombineOutcome::Failed(_), .. } => "input.combined.failed",
        Input::Drain { .. } => "input.drain",
        Input::Inspect { .. } => "input.inspect",
        Input::WhyWaits { .. } => "input.why-waits",
        Input::SnapshotStored { .. } => "input.snapshot-stored",
        Input::Forget { .. } => "input.forget",
        Input::DeadlinePassed { .. } => "input.deadline-passed",
        Input::CreateToken { .. } => "input.create-token",
        Input::RevokeToken { .. } => "input.revoke-token",
        Input::Enrol { .. } => "input.enrol",
        Input::RemoveIdentity { .. } => "input.remove-identity",
        Input::Tokens { .. } => "input.tokens",
    }
}

pub fn down_kind(message: &ToWorker) -> &'static str {
    match message {
        ToWorker::Welcome { .. } => "message.down.welcome",
        ToWorker::Assign(_) => "message.down.assign",
        ToWorker::Revoke { .. } => "message.down.revoke",
        ToWorker::Accepted { .. } => "message.down.accepted",
        ToWorker::Drain => "message.down.drain",
        ToWorker::Heartbeat => "message.down.heartbeat",
    }
}

pub fn up_kind(message: &FromWorker) -> &'static str {
    match message {
        FromWorker::Heartbeat => "message.up.heartbeat",
        FromWorker::Rejected { .. } => "message.up.rejected",
        FromWorker::Done { .. } => "message.up.done",
        FromWorker::Failed { .. } => "message.up.failed",
        FromWorker::Leaving => "message.up.leaving",
    }
}

pub fn notice_kind(notice: &Notice) -> &'static str {
    match notice {
        Notice::WorkerJoined { kept: 0, .. } => "notice.worker-joined",
        Notice::WorkerJoined { .. } => "notice.worker-back-with-work",
        Notice::WorkerLost { .. } => "notice.worker-lost",
        Notice::WorkerLeft { .. } => "notice.worker-left",
        Notice::WorkerDraining { .. } => "notice.worker-draining",
        Notice::Assigned { attempt: 1, .. } => "notice.assigned",
        Notice::Assigned { .. } => "notice.assigned-again",
        Notice::Rejected { .. } => "notice.rejected",
        Notice::Waiting { reason: Waiting::NoWorkers, .. } => "notice.waiting.no-workers",
        Notice::Waiting { reason: Waiting::AllReject { .. }, .. } => "notice.waiting.all-reject",
        Notice::Waiting { reason: Waiting::AllDrain { .. }, .. } => "notice.waiting.all-drain",
        Notice::Waiting { reason: Waiting::NoAbility(_), .. } => "notice.waiting.no-ability",
        Notice::Waiting { reason: Waiting::NotEnough { .. }, .. } => "notice.waiting.not-enough",
        Notice::Waiting { reason: Waiting::Orphans, .. } => "notice.waiting.orphans",
    }
}

pub fn worker_notice_kind(notice: &worker::Notice) -> &'static str {
    match notice {
        worker::Notice::Joined { .. } => "worker.joined",
        worker::Notice::Lost => "worker.lost-the-coordinator",
        worker::Notice::Draining { .. } => "worker.draining",
        worker::Notice::Leaving { .. } => "worker.leaving",
        worker::Notice::Drained => "worker.drained",
        worker::Notice::Delayed { .. } => "worker.delayed",
        worker::Notice::Orphaned { .. } => "worker.orphaned",
        worker::Notice::Rejected { .. } => "worker.rejected",
    }
}

pub fn reply_kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Submitted => "reply.submitted",
        Reply::Missing(_) => "reply.missing",
        Reply::Refused(_) => "reply.refused",
        Reply::Ended(_) => "reply.ended",
        Reply::Draining { .. } => "reply.draining",
        Reply::Workers(_) => "reply.workers",
        Reply::Waits(_) => "reply.waits",
        Reply::TokenCreated => "reply.token-created",
        Reply::TokenRevoked => "reply.token-revoked",
        Reply::Enrolled(_) => "reply.enrolled",
        Reply::IdentityRemoved => "reply.identity-removed",
        Reply::Tokens(_) => "reply.tokens",
    }
}
