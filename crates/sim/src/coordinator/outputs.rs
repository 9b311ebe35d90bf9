//! What the coordinator orders: messages, combines, trims and replies, one by one.
//!
//! It does not know why they were ordered.

use convoke_core::coordinator::{Combine, CombineOutcome, Input, Output};
use convoke_core::message::ToWorker;
use convoke_core::sabotage::{self, Bug};

use crate::compute::{self, Gone, is_of_the_disk};
use crate::happening::Happening;
use crate::invariants::Violation;
use crate::network::{Way, latency};
use crate::observer::{down_kind, notice_kind};
use crate::world::World;

impl World {
    pub fn perform_output(&mut self, output: Output) -> Result<(), Violation> {
        let is_beat = matches!(&output, Output::Send { message: ToWorker::Heartbeat, .. });
        if !is_beat {
            self.observer.line(self.now, "coordinator", &output);
        }
        self.invariants.draining.on_output(&output).map_err(|why| self.violation(why))?;
        match output {
            Output::Send { session, message } => {
                self.observer.coverage.count(down_kind(&message));
                if let Some(link) = self.network.links.get_mut(&session) {
                    let at = link.down.send(self.now, message, &mut self.dice);
                    self.queue.push(at, Happening::Moves { session, way: Way::Down });
                }
            }
            Output::Close { session, reason } => {
                match reason {
                    "the worker opened another session" => self.observer.coverage.count("transition.session-replaced"),
                    "nothing was heard from the worker" => {
                        self.observer.coverage.count("transition.silent-worker-given-up");
                    }
                    _ => {}
                }
                self.observer.coverage.count("network.closed-by-the-coordinator");
                self.cut(session, 100);
                self.tell_worker_gone(session, 100);
                let at = self.now + self.dice.between(0, 50);
                self.queue.push(at, Happening::GoneForCoordinator { life: self.coordinator.life, session });
            }
            Output::Combine(combine) => {
                self.invariants.on_combine(&combine).map_err(|why| self.violation(why))?;
                let at = self.now + self.dice.between(1, 800);
                self.queue.push(at, Happening::CombineEnds { life: self.coordinator.life, combine });
            }
            Output::Trim { through } => self.trim(through)?,
            Output::Reply { request, reply } => {
                if self.now < self.scenario.faults_until && self.dice.chance(5) {
                    self.note("fault.reply-lost");
                    return Ok(());
                }
                self.queue.push(self.now + latency(&mut self.dice), Happening::ReplyArrives { request, reply });
            }
            Output::Notice(notice) => self.observer.coverage.count(notice_kind(&notice)),
        }
        Ok(())
    }

    pub fn combine_ends(&mut self, combine: &Combine) -> Result<(), Violation> {
        let mut combine = combine.clone();
        if sabotage::is(Bug::CombineInOrderOfArrival) {
            self.invariants.stages.sort_by_arrival(&mut combine);
        }
        let outcome = match compute::combine(&*self.blobs.work, &combine) {
            // What it was for has ended meanwhile, so that nobody needs its blobs.
            Err(error) if error.is::<Gone>() && !self.is_on_record(&combine) => {
                self.note("transition.combine-of-an-ended-job");
                CombineOutcome::Failed(error.to_string())
            }
            Err(error) if error.downcast_ref().is_some_and(is_of_the_disk) => {
                self.note("transition.combine-waits-for-the-disk");
                let at = self.now + self.dice.between(100, 1_000);
                self.queue.push(at, Happening::CombineEnds { life: self.coordinator.life, combine });
                return Ok(());
            }
            outcome => outcome.map_err(|error| self.broken(error))?,
        };
        self.feed_coordinator(Input::Combined { job: combine.job, stage: combine.stage, outcome })
    }

    fn is_on_record(&self, combine: &Combine) -> bool {
        self.invariants.record.durable.stage(combine.job, combine.stage).is_some()
    }
}
