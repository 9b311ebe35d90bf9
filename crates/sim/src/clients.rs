//! The clients: each submits its job until that is acknowledged, and some cancel it.
//!
//! A call or its answer may be lost with the coordinator: the client asks again, under the same id. It never looks
//! into the cluster.

use convoke_core::coordinator::{Input, Refusal, Reply};
use convoke_core::{Caller, JobSpec, Millis, RequestId, TokenId};
use convoke_store::blobs::Durability;
use convoke_store::collector::{self, CollectError};

use crate::blobs::entries;
use crate::compute::is_of_the_disk;
use crate::happening::Happening;
use crate::invariants::Violation;
use crate::network::latency;
use crate::observer::reply_kind;
use crate::scenario::JobPlan;
use crate::world::World;

/// What a client has been told so far.
#[derive(Default)]
pub struct Client {
    /// Whether all that the job starts from is stored, as far as it knows.
    uploaded: bool,
    was_told_of_missing: bool,
    pub submitted: bool,
    pub cancelled: bool,
}

/// What a client asks for, by its job's place in the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Stores what the job starts from, as far as it is not stored already.
    Upload(usize),
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
            Call::Upload(job) => self.clients[job].uploaded,
            Call::Submit(job) => self.clients[job].submitted,
            Call::Cancel(job) => self.clients[job].cancelled,
            Call::SubmitAnother(_) | Call::Drain(_) | Call::Inspect => false,
        };
        if is_answered {
            return;
        }
        self.requests.push(call);
        let request = RequestId(self.requests.len() as u64);
        let at = self.now + latency(&mut self.dice);
        let weather = if self.now < self.scenario.faults_until { self.dice.between(0, 19) } else { u64::MAX };
        match weather {
            0 => self.note("fault.call-lost"),
            1 | 2 => {
                self.note("fault.call-duplicated");
                self.queue.push(at, Happening::CallArrives { request });
                self.queue.push(at + self.dice.between(0, 6_000), Happening::CallArrives { request });
            }
            3 | 4 => {
                self.note("fault.call-late");
                self.queue.push(at + self.dice.between(100, 8_000), Happening::CallArrives { request });
            }
            _ => self.queue.push(at, Happening::CallArrives { request }),
        }
        if matches!(call, Call::Upload(_) | Call::Submit(_) | Call::Cancel(_)) {
            self.queue.push(self.now + self.dice.between(700, 2_000), Happening::Calls(call));
        }
    }

    pub fn call_arrives(&mut self, request: RequestId) -> Result<(), Violation> {
        let Some(call) = self.called(request).filter(|_| self.coordinator.machine.is_some()) else { return Ok(()) };
        self.observer.line(self.now, "client", format!("{request}: {call:?}"));
        let input = match call {
            Call::Upload(job) => return self.upload(job),
            // It was forgotten long after its client knew that it had ended: no call is that late.
            Call::Submit(job) | Call::SubmitAnother(job) if self.is_forgotten(job) => return Ok(()),
            Call::Submit(job) | Call::SubmitAnother(job) => {
                let spec = self.scenario.jobs[job].spec.clone();
                let seed = if matches!(call, Call::Submit(_)) { spec.seed } else { !spec.seed };
                match self.submission(request, job, JobSpec { seed, ..spec }) {
                    Ok(input) => {
                        let missing = if let Input::Submit { missing, .. } = &input { missing } else { &Vec::new() };
                        let checked = self.invariants.retention.on_missing(self.now, missing, self.disk.losses());
                        checked.map_err(|why| self.violation(why))?;
                        input
                    }
                    // The call is answered with an error, and the client asks again.
                    Err(CollectError::Blob(error)) if is_of_the_disk(&error) => {
                        self.note("reply.disk-failed");
                        return Ok(());
                    }
                    Err(error) => return Err(self.broken(error.into())),
                }
            }
            Call::Cancel(job) => Input::Cancel { request, job: self.scenario.jobs[job].id, by: Caller::LOCAL },
            Call::Drain(host) => Input::Drain { request, worker: self.scenario.workers[host].name.clone() },
            Call::Inspect => Input::Inspect { request },
        };
        self.feed_coordinator(input)
    }

    /// Looks for each blob, and puts what is missing; then, at some time, it submits.
    fn upload(&mut self, job: usize) -> Result<(), Violation> {
        self.note("client.uploads");
        let plan = &self.scenario.jobs[job];
        let forgotten = usize::from(plan.forgets && !self.clients[job].was_told_of_missing);
        for (digest, bytes) in &plan.blobs[forgotten..] {
            let uploads = &self.blobs.uploads;
            let stored = uploads.has(*digest).and_then(|has| match has {
                true => Ok(*digest),
                false => uploads.put(bytes, Durability::Synced),
            });
            match stored {
                Ok(digest) => self.invariants.retention.touched(self.now, digest, self.disk.losses()),
                // The client asks again anyhow.
                Err(error) if is_of_the_disk(&error) => {
                    self.note("reply.disk-failed");
                    return Ok(());
                }
                Err(error) => return Err(self.broken(error.into())),
            }
        }
        if !std::mem::replace(&mut self.clients[job].uploaded, true) {
            let hold_ms = self.scenario.retention.times.hold_ms;
            let later = match self.dice.between(0, 19) {
                0 => hold_ms + self.dice.between(0, 8_000),
                1..=4 => self.dice.between(0, 4_000),
                _ => self.dice.between(0, 500),
            };
            self.queue.push(self.now + later, Happening::Calls(Call::Submit(job)));
        }
        Ok(())
    }

    /// As the real shell: what is there is made durable before the job is.
    fn submission(&mut self, request: RequestId, place: usize, spec: JobSpec) -> Result<Input, CollectError> {
        let plan = &self.scenario.jobs[place];
        let JobPlan { id, blobs, .. } = plan;
        let missing = collector::unpinned(&*self.blobs.uploads, &spec, &entries, usize::MAX)?;
        // Where the manifest is missing, nobody looks for the shards.
        let looked_for =
            if plan.manifest().is_some_and(|manifest| missing.contains(&manifest)) { &blobs[..1] } else { &blobs[..] };
        let there = looked_for.iter().map(|(digest, _)| *digest).filter(|digest| !missing.contains(digest));
        there.for_each(|digest| self.invariants.retention.touched(self.now, digest, self.disk.losses()));
        let submitter = format!("client {place}");
        let owner = TokenId::LOCAL;
        Ok(Input::Submit { request, job: *id, spec, submitter, owner, missing })
    }

    fn is_forgotten(&self, job: usize) -> bool {
        self.invariants.acknowledged.is_forgotten(self.scenario.jobs[job].id)
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
                (self.clients[job].uploaded, self.clients[job].was_told_of_missing) = (false, true);
                self.call(Call::Upload(job));
            }
            (Call::Cancel(job), Reply::Refused(Refusal::NoSuchJob(_))) if self.is_forgotten(job) => {
                self.clients[job].cancelled = true;
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
        if let Some(at) = self.scenario.jobs[job].spec.deadline_ms {
            self.queue.push(at.max(self.now), Happening::DeadlinePasses { place: job });
        }
        if self.dice.chance(20) {
            let at: Millis = soon(self);
            self.queue.push(at, Happening::Calls(Call::SubmitAnother(job)));
        }
        let at: Millis = soon(self);
        self.queue.push(at, Happening::Calls(Call::Inspect));
    }
}
