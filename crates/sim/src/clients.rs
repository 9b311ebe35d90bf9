//! The clients: each submits its job until that is acknowledged, and some cancel it.
//!
//! A call or its answer may be lost with the coordinator: the client asks again, under the same id. It never looks
//! into the cluster.

use convoke_core::coordinator::{Input, Refusal, Reply};
use convoke_core::{JobSpec, Millis, Payload, RequestId};
use convoke_store::blobs::{Blobs, Durability};

use crate::invariants::Violation;
use crate::network::latency;
use crate::observer::reply_kind;
use crate::world::{Happening, World};

/// What a client has been told so far.
#[derive(Default)]
pub struct Client {
    pub submitted: bool,
    pub cancelled: bool,
}

/// What a client asks for, by its job's place in the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Submit(usize),
    /// The same id with another spec.
    SubmitAnother(usize),
    Cancel(usize),
    /// Of a machine's worker, by its name.
    Drain(usize),
    Inspect,
}

impl World {
    /// Sends the call, unless it is answered, and tries again later.
    pub fn call(&mut self, call: Call) {
        let is_answered = match call {
            Call::Submit(job) => self.clients[job].submitted,
            Call::Cancel(job) => self.clients[job].cancelled,
            Call::SubmitAnother(_) | Call::Drain(_) | Call::Inspect => false,
        };
        if is_answered {
            return;
        }
        self.requests.push(call);
        let request = RequestId(self.requests.len() as u64);
        self.queue.push(self.now + latency(&mut self.dice), Happening::CallArrives { request });
        if matches!(call, Call::Submit(_) | Call::Cancel(_)) {
            self.queue.push(self.now + self.dice.between(700, 2_000), Happening::Calls(call));
        }
    }

    pub fn call_arrives(&mut self, request: RequestId) -> Result<(), Violation> {
        let Some(call) = self.called(request) else { return Ok(()) };
        self.observer.line(self.now, "client", format!("{request}: {call:?}"));
        let input = match call {
            Call::Submit(job) => self.submission(request, job, self.scenario.jobs[job].spec.clone()),
            Call::SubmitAnother(job) => {
                let spec = &self.scenario.jobs[job].spec;
                self.submission(request, job, JobSpec { seed: !spec.seed, ..spec.clone() })
            }
            Call::Cancel(job) => Input::Cancel { request, job: self.scenario.jobs[job].id },
            Call::Drain(host) => Input::Drain { request, worker: self.scenario.workers[host].name.clone() },
            Call::Inspect => Input::Inspect { request },
        };
        self.feed_coordinator(input)
    }

    fn submission(&self, request: RequestId, job: usize, spec: JobSpec) -> Input {
        let stored = |digest| self.blobs.has(digest).unwrap_or(false);
        let missing = spec.payloads().filter_map(Payload::as_blob).filter(|digest| !stored(*digest)).collect();
        let submitter = format!("client {job}");
        Input::Submit { request, job: self.scenario.jobs[job].id, spec, submitter, missing }
    }

    fn called(&self, request: RequestId) -> Option<Call> {
        self.requests.get((request.0 as usize).checked_sub(1)?).copied()
    }

    pub fn reply_arrives(&mut self, request: RequestId, reply: Reply) -> Result<(), Violation> {
        let Some(call) = self.called(request) else { return Ok(()) };
        self.observer.coverage.count(reply_kind(&reply));
        match (call, reply) {
            (Call::Submit(job), Reply::Submitted) => {
                self.invariants.acknowledged.submitted(self.scenario.jobs[job].id);
                if !std::mem::replace(&mut self.clients[job].submitted, true) {
                    self.plan_more(job);
                }
            }
            (Call::Submit(job), Reply::Missing(_)) => {
                if let Some(bytes) = &self.scenario.jobs[job].forgets {
                    self.blobs.put(bytes, Durability::Synced).map_err(|error| self.broken(error.into()))?;
                }
                self.call(call);
            }
            (Call::Cancel(job), Reply::Ended(outcome)) => {
                self.clients[job].cancelled = true;
                self.invariants.acknowledged.ended(self.scenario.jobs[job].id, outcome);
            }
            (Call::SubmitAnother(_), Reply::Refused(Refusal::AnotherSpec(_)))
            | (Call::Drain(_), Reply::Draining { .. } | Reply::Refused(Refusal::NoSuchWorker(_)))
            | (Call::Inspect, Reply::Workers(_)) => {}
            (call, reply) => return Err(self.violation(format!("(3) {call:?} was answered with {reply:?}"))),
        }
        Ok(())
    }

    /// What the client does once its job is on record.
    fn plan_more(&mut self, job: usize) {
        let soon = |world: &mut Self| world.now + world.dice.between(0, 5_000);
        if let Some(at) = self.scenario.jobs[job].cancel_at {
            self.queue.push(at.max(self.now), Happening::Calls(Call::Cancel(job)));
        }
        if self.dice.chance(20) {
            let at: Millis = soon(self);
            self.queue.push(at, Happening::Calls(Call::SubmitAnother(job)));
        }
        let at: Millis = soon(self);
        self.queue.push(at, Happening::Calls(Call::Inspect));
    }
}
