//! Invariant 1: one accepted result a task; a result under a revoked lease or a stale term changes nothing.
//!
//! A lease stands from the assignment, or the keeping, that was decided in a session until that session's end, its
//! revocation or its report. It does not know why a lease was revoked.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::coordinator::durable::Durable;
use convoke_core::coordinator::{Decision, Input, Output};
use convoke_core::message::{FromWorker, ToWorker};
use convoke_core::{Event, LeaseId, SessionId, TaskId};

#[derive(Default)]
pub struct OneResult {
    done: BTreeSet<TaskId>,
    /// The leases that stand, by session.
    standing: BTreeMap<SessionId, BTreeMap<LeaseId, TaskId>>,
    granted: BTreeSet<LeaseId>,
    granted_twice: Option<LeaseId>,
}

impl OneResult {
    /// Where a durable state has come to, with no lease.
    pub fn of(durable: &Durable) -> Self {
        let mut done = BTreeSet::new();
        for (job, recorded) in durable.jobs() {
            for (&stage, open) in &recorded.stages {
                done.extend(open.done.keys().map(|&index| TaskId { job, stage, index }));
            }
        }
        Self { done, ..Self::default() }
    }

    pub fn on_event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::TaskDone { task, .. } if !self.done.insert(*task) => Err(format!("(1) a second result of {task}")),
            Event::ResultsLost { job, stage, indices } => {
                let tasks = indices.iter().map(|index| TaskId { job: *job, stage: *stage, index: *index });
                for task in tasks {
                    self.done.remove(&task);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An input was decided on, and nothing else.
    pub fn on_input(&mut self, input: &Input, decision: &Decision) -> Result<(), String> {
        match input {
            Input::Received { session, message } => self.on_report(*session, message, &decision.events)?,
            Input::Disconnected { session } => drop(self.standing.remove(session)),
            Input::Connected { session, .. } => drop(self.standing.insert(*session, BTreeMap::new())),
            _ => {}
        }
        self.on_outputs(&decision.outputs);
        self.granted_twice.map_or(Ok(()), |lease| Err(format!("(1) lease {lease} was granted twice")))
    }

    /// The task of a lease that stands.
    pub fn task_of(&self, lease: LeaseId) -> Option<TaskId> {
        self.standing.values().find_map(|leases| leases.get(&lease)).copied()
    }

    /// Whether a lease on the task stands.
    pub fn is_held(&self, task: TaskId) -> bool {
        self.standing.values().any(|leases| leases.values().any(|held| *held == task))
    }

    fn on_report(&mut self, session: SessionId, message: &FromWorker, events: &[Event]) -> Result<(), String> {
        let (FromWorker::Done { lease, .. } | FromWorker::Failed { lease, .. } | FromWorker::Rejected { lease }) =
            message
        else {
            return Ok(());
        };
        let task = self.standing.get_mut(&session).and_then(|leases| leases.remove(lease));
        match (task, message) {
            (None, _) if events.is_empty() => Ok(()),
            (None, _) => {
                Err(format!("(1) `{message}` in session {session} is under no standing lease, and changed something"))
            }
            (Some(task), FromWorker::Done { completion, .. }) => {
                let accepted = events.iter().any(|event| {
                    matches!(event, Event::TaskDone { task: done, record } if *done == task && record.completion == *completion)
                });
                if accepted {
                    Ok(())
                } else {
                    Err(format!("(1) the result of {task} under {lease}, which stands, was dropped"))
                }
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// Outputs were decided: they grant leases and take them back, even if they are never performed.
    pub fn on_outputs(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Send { session, message: ToWorker::Assign(assignment) } => {
                    self.grant(*session, assignment.lease, assignment.task);
                }
                Output::Send { session, message: ToWorker::Welcome { kept, .. } } => {
                    kept.iter().for_each(|(task, lease)| self.grant(*session, *lease, *task));
                }
                Output::Send { session, message: ToWorker::Revoke { lease } | ToWorker::Accepted { lease } } => {
                    self.standing.get_mut(session).and_then(|leases| leases.remove(lease));
                }
                Output::Close { session, .. } => drop(self.standing.remove(session)),
                _ => {}
            }
        }
    }

    fn grant(&mut self, session: SessionId, lease: LeaseId, task: TaskId) {
        if !self.granted.insert(lease) {
            self.granted_twice = Some(lease);
        }
        self.standing.entry(session).or_default().insert(lease, task);
    }

    /// The coordinator died: no lease stands, whatever a later one is told.
    pub fn on_crash(&mut self) {
        self.standing.clear();
    }
}
