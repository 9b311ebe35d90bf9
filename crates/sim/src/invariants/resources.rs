//! Resources: what runs on a worker never takes more than it has, and what needs more than a slot is placed where it can
//! start.
//!
//! Tasks of one slot may wait for it at the worker. It does not know who else could have taken a task.

use std::collections::BTreeMap;

use convoke_core::coordinator::{Input, Output};
use convoke_core::message::{FromWorker, ToWorker};
use convoke_core::{Event, JobId, LeaseId, Needs, Resources as Amounts, SessionId, StageNumber};

#[derive(Default)]
pub struct Resources {
    sessions: BTreeMap<SessionId, Session>,
    /// What the tasks of each stage need.
    needs: BTreeMap<(JobId, StageNumber), Needs>,
}

/// What a session's worker has, and what its leases take of that.
struct Session {
    has: Needs,
    leases: BTreeMap<LeaseId, Needs>,
}

impl Resources {
    pub fn on_event(&mut self, event: &Event) {
        if let Event::StageOpened { job, stage, work, .. } = event {
            self.needs.insert((*job, *stage), work.needs.clone());
        }
    }

    pub fn on_input(&mut self, input: &Input) {
        match input {
            Input::Connected { session, hello, .. } => {
                let has = Needs { slots: hello.slots, resources: hello.resources.clone() };
                self.sessions.insert(*session, Session { has, leases: BTreeMap::new() });
            }
            Input::Disconnected { session } => drop(self.sessions.remove(session)),
            Input::Received {
                session,
                message:
                    FromWorker::Done { lease, .. } | FromWorker::Failed { lease, .. } | FromWorker::Rejected { lease },
            } => self.end(*session, *lease),
            _ => {}
        }
    }

    /// Outputs were decided, even if they are never performed.
    pub fn on_outputs(&mut self, outputs: &[Output]) -> Result<(), String> {
        for output in outputs {
            match output {
                Output::Send { session, message: ToWorker::Assign(assignment) } => {
                    let Some(place) = self.sessions.get_mut(session) else { continue };
                    let taken = sum(place.leases.values().chain([&assignment.needs]));
                    let needs = if assignment.needs.is_one_slot() { &assignment.needs } else { &taken };
                    if !holds(&place.has, needs) {
                        let (task, has) = (assignment.task, &place.has);
                        return Err(format!("(resources) {task} is placed, which makes {taken:?} of {has:?}"));
                    }
                    place.leases.insert(assignment.lease, assignment.needs.clone());
                }
                Output::Send { session, message: ToWorker::Welcome { kept, .. } } => {
                    let Some(place) = self.sessions.get_mut(session) else { continue };
                    let needs = |job, stage| self.needs.get(&(job, stage)).cloned().unwrap_or_default();
                    place.leases.extend(kept.iter().map(|(task, lease)| (*lease, needs(task.job, task.stage))));
                }
                Output::Send { session, message: ToWorker::Revoke { lease } | ToWorker::Accepted { lease } } => {
                    self.end(*session, *lease);
                }
                Output::Close { session, .. } => drop(self.sessions.remove(session)),
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, session: SessionId, lease: LeaseId) {
        self.sessions.get_mut(&session).and_then(|place| place.leases.remove(&lease));
    }
}

/// What runs on a worker, and what that has.
pub fn check_running<'a>(running: impl Iterator<Item = &'a Needs>, has: &Needs) -> Result<(), String> {
    let taken = sum(running);
    if holds(has, &taken) { Ok(()) } else { Err(format!("(resources) what runs takes {taken:?} of {has:?}")) }
}

fn sum<'a>(all: impl Iterator<Item = &'a Needs>) -> Needs {
    let (mut slots, mut resources) = (0, Amounts::default());
    for needs in all {
        slots += needs.slots;
        resources.add(&needs.resources);
    }
    Needs { slots, resources }
}

fn holds(has: &Needs, needs: &Needs) -> bool {
    needs.slots <= has.slots && has.resources.hold(&needs.resources)
}
