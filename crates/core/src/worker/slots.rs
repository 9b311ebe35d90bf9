//! The worker's slots: which of what waits has room, and what starts or goes back after its load.
//!
//! It takes tasks as they come, oldest first. It does not know how the session came to be, nor how a task ends.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::Needs;
use crate::message::FromWorker;
use crate::sabotage::{self, Bug};

use super::{Holding, Link, Notice, Output, Run, State, Timer, Worker};

impl Worker {
    /// Gives free slots to what waits. The load's two draws are made for every task, so that one does not shift the
    /// other's sequence.
    pub(super) fn start_waiting(&mut self) {
        loop {
            let waits = |held: &Holding| matches!(held.state, State::Queued);
            let Some(next) = self.holding.iter().position(waits) else { return };
            if !self.fits(&self.holding[next].assignment.needs) {
                return;
            }
            let held = &mut self.holding[next];
            let run = Run(self.next_run);
            self.next_run += 1;
            let probability = self.config.load.probability;
            let delays = draw(&mut self.rng) < probability;
            let rejects = draw(&mut self.rng) < probability && held.assignment.may_reject;
            held.state = State::Delayed { run, rejects };
            if delays {
                let task = held.assignment.task;
                self.timers.set(Timer::Loaded(run), self.now + self.config.load.delay_ms);
                self.outputs.push(Output::Notice(Notice::Delayed { task, delay_ms: self.config.load.delay_ms }));
            } else {
                self.on_loaded(run);
            }
        }
    }

    /// Whether there is room for a task beside those that have slots.
    fn fits(&self, needs: &Needs) -> bool {
        let busy = |held: &&Holding| matches!(held.state, State::Delayed { .. } | State::Running { .. });
        let (mut slots, mut resources) = (needs.slots, needs.resources.clone());
        for held in self.holding.iter().filter(busy) {
            let taken = if sabotage::is(Bug::RunBeyondSlots) { 1 } else { held.assignment.needs.slots };
            slots = slots.saturating_add(taken);
            resources.add(&held.assignment.needs.resources);
        }
        let has = &self.config.hello;
        let is_small = |held: &Holding| held.assignment.needs.is_one_slot();
        let are_small = needs.is_one_slot() && self.holding.iter().filter(busy).all(is_small);
        let ahead = if are_small { self.config.ahead } else { 0 };
        slots <= has.slots + ahead && has.resources.hold(&resources)
    }

    /// A task's load is over: it starts, or goes back.
    pub(super) fn on_loaded(&mut self, loaded: Run) {
        let is_it = |held: &Holding| matches!(held.state, State::Delayed { run, .. } if run == loaded);
        let Some(place) = self.holding.iter().position(is_it) else { return };
        let held = &mut self.holding[place];
        let task = held.assignment.task;
        if matches!(held.state, State::Delayed { rejects: true, .. }) && self.link == Link::Up {
            let lease = held.assignment.lease;
            self.holding.remove(place);
            self.outputs.push(Output::Notice(Notice::Rejected { task }));
            self.outputs.push(Output::Send(FromWorker::Rejected { lease }));
        } else {
            held.state = State::Running { run: loaded };
            let queued_ms = self.now - held.given_at;
            self.outputs.push(Output::Start { run: loaded, assignment: held.assignment.clone(), queued_ms });
        }
    }
}

/// A number in [0, 1).
fn draw(rng: &mut Pcg64Mcg) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
