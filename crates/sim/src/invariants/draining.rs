//! Draining: in a session whose worker drains, nothing more is assigned.
//!
//! A session drains from its hello, or from the coordinator's word on. It does not know when the worker leaves.

use std::collections::BTreeSet;

use convoke_core::SessionId;
use convoke_core::coordinator::{Input, Output};
use convoke_core::message::ToWorker;

#[derive(Default)]
pub struct Draining {
    sessions: BTreeSet<SessionId>,
}

impl Draining {
    pub fn on_input(&mut self, input: &Input) {
        if let Input::Connected { session, hello, .. } = input
            && hello.draining
        {
            self.sessions.insert(*session);
        }
    }

    pub fn on_output(&mut self, output: &Output) -> Result<(), String> {
        match output {
            Output::Send { session, message: ToWorker::Drain } => drop(self.sessions.insert(*session)),
            Output::Send { session, message: ToWorker::Assign(assignment) } if self.sessions.contains(session) => {
                return Err(format!("(draining) {} is assigned in session {session}, which drains", assignment.task));
            }
            _ => {}
        }
        Ok(())
    }
}
