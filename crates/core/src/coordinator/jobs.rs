//! The coordinator's transitions for jobs: submitted, cancelled, staged, combined, ended; and taking them up again.
//!
//! It follows the plan without knowing what a plan is for.

use std::collections::BTreeMap;

use rand_pcg::Pcg64Mcg;

use crate::event::{Event, LOST_MAX, Outcome, Purpose, REASON_BYTES_MAX, bounded};
use crate::message::{ORPHANS_GONE_MS, ToWorker};
use crate::sabotage::{self, Bug};
use crate::{Caller, Digest, JobId, JobSpec, RequestId, StageNumber, TokenId};

use super::io::{Combine, CombineOutcome, Output, Part};
use super::plan::{Step, next_step};
use super::reply::{Refusal, Reply, WorkerView};
use super::{Coordinator, LiveJob, Queue, RECOVERY_MS, Timer};

/// How many events say at a time that results are lost.
const LOST_CHUNKS_MAX: usize = 8;
/// How many jobs may be under way.
pub const LIVE_JOBS_MAX: usize = 1_000;

impl Coordinator {
    /// Takes up the jobs that the journal left unfinished. Nothing is placed until the workers that are known from
    /// their open stages are back, or had time to be.
    pub(super) fn recover(&mut self) {
        let jobs: Vec<JobId> = self.durable.live_jobs().map(|(id, _)| id).collect();
        for id in &jobs {
            let Some(job) = self.durable.job(*id) else { continue };
            let queues = job.stages.keys().map(|stage| (*stage, Queue::default())).collect();
            let closed: Vec<_> = job.stages.iter().filter(|(_, stage)| stage.closed).map(|(id, _)| *id).collect();
            let done = job.stages.values().flat_map(|stage| stage.done.values());
            self.awaited.extend(done.map(|done| done.worker.to_string()));
            let mut live = LiveJob::new(self.next_lease, job.spec.seed, queues);
            // Workers that are not back may yet run what was placed before: they end it before this.
            if !job.spec.attempts.idempotent && !sabotage::is(Bug::ForgetOrphans) {
                live.held_until = self.now + ORPHANS_GONE_MS;
                self.timers.set(Timer::OrphansGone, live.held_until);
            }
            self.live.insert(*id, live);
            closed.into_iter().for_each(|stage| self.combine(*id, stage));
            self.advance(*id);
        }
        if !jobs.is_empty() {
            self.timers.set(Timer::Recovered, self.now + RECOVERY_MS);
        }
    }

    pub(super) fn on_submit(
        &mut self,
        request: RequestId,
        id: JobId,
        spec: JobSpec,
        submitter: String,
        owner: TokenId,
        missing: Vec<Digest>,
    ) {
        let reply = match self.durable.job(id) {
            Some(job) if *job.spec == spec && job.owner == owner => Reply::Submitted,
            Some(_) => Reply::Refused(Refusal::AnotherSpec(id)),
            None => match spec.check() {
                Err(error) => Reply::Refused(error.into()),
                Ok(()) if self.live.len() >= LIVE_JOBS_MAX => Reply::Refused(Refusal::TooManyJobs),
                Ok(()) if !missing.is_empty() => Reply::Missing(missing),
                Ok(()) => {
                    self.live.insert(id, LiveJob::new(self.next_lease, spec.seed, BTreeMap::new()));
                    self.record(Event::JobSubmitted { job: id, spec: Box::new(spec), submitter, owner });
                    self.advance(id);
                    Reply::Submitted
                }
            },
        };
        self.output(Output::Reply { request, reply });
    }

    pub(super) fn on_cancel(&mut self, request: RequestId, id: JobId, by: Caller) {
        let ended = self.cancel(id, by);
        self.reply(request, ended.map(Reply::Ended));
    }

    /// Ends a job, unless it has ended already, and says how.
    fn cancel(&mut self, id: JobId, by: Caller) -> Result<Outcome, Refusal> {
        let job = self.durable.job(id).ok_or(Refusal::NoSuchJob(id))?;
        if !by.may_act_for(job.owner) {
            return Err(Refusal::NotYours(id));
        }
        if self.live.contains_key(&id) {
            self.finish(id, Outcome::Cancelled);
        }
        self.durable.job(id).and_then(|job| job.outcome.clone()).ok_or(Refusal::NoSuchJob(id))
    }

    pub(super) fn on_forget(&mut self, job: JobId) {
        if self.durable.job(job).is_some_and(|job| job.outcome.is_some()) {
            self.record(Event::JobForgotten { job });
        }
    }

    /// The time that the job was given is over.
    pub(super) fn on_deadline(&mut self, job: JobId) {
        if self.live.contains_key(&job) && !sabotage::is(Bug::IgnoreDeadline) {
            self.fail(job, "its deadline has passed".to_owned());
        }
    }

    pub(super) fn on_combined(&mut self, job: JobId, stage: StageNumber, outcome: CombineOutcome) {
        let Some(closed) = self.durable.stage(job, stage).filter(|stage| stage.closed) else { return };
        let preparing = if closed.purpose == Purpose::Prepare { "preparing: " } else { "" };
        match outcome {
            CombineOutcome::Combined(combined) => {
                self.record(Event::StageCombined { job, stage, combined });
                self.live.get_mut(&job).map(|live| live.queues.remove(&stage));
                self.advance(job);
            }
            // A combine that fails for a reason of its own says so; one that lost nothing has failed.
            CombineOutcome::ResultsLost(indices) if indices.is_empty() => {
                self.fail(job, format!("{preparing}stage {stage} could not be combined"));
            }
            // One decision fits into one frame; what is left out is found to be lost again.
            CombineOutcome::ResultsLost(indices) => {
                for indices in indices.chunks(LOST_MAX).take(LOST_CHUNKS_MAX) {
                    self.record(Event::ResultsLost { job, stage, indices: indices.to_vec() });
                    self.stage(job, stage).into_iter().for_each(|(_, queue)| queue.lose(indices));
                }
            }
            CombineOutcome::Failed(reason) => self.fail(job, format!("{preparing}{reason}")),
        }
    }

    pub(super) fn on_inspect(&mut self, request: RequestId) {
        let view = self.roster.iter().map(|(_, worker)| WorkerView {
            name: worker.name.clone(),
            connected: worker.session.is_some(),
            draining: worker.draining,
            slots: worker.slots as u32,
            abilities: worker.abilities.clone(),
            resources: worker.resources.clone(),
            running: worker.running().len() as u32,
            queued: worker.queued().len() as u32,
            tasks_done: worker.tasks_done,
            rejections: worker.rejections,
            pace_ms: worker.pace_ms(),
            hardware: worker.hardware.clone(),
            profile: worker.profile.clone(),
        });
        let mut view: Vec<_> = view.collect();
        view.sort_by(|one, other| one.name.cmp(&other.name));
        self.output(Output::Reply { request, reply: Reply::Workers(view) });
    }

    pub(super) fn on_why_waits(&mut self, request: RequestId, id: JobId, by: Caller) {
        let job = self.durable.job(id).ok_or(Refusal::NoSuchJob(id));
        let waits = job.and_then(|job| match by.may_act_for(job.owner) {
            true => Ok(Reply::Waits(self.waits(id))),
            false => Err(Refusal::NotYours(id)),
        });
        self.reply(request, waits);
    }

    /// Takes every step that the job's plan has ready.
    pub(super) fn advance(&mut self, id: JobId) {
        while let Some(step) = self.durable.job(id).and_then(next_step) {
            match step {
                Step::Open { purpose, base, work } => {
                    let stage = self.durable.job(id).map_or(StageNumber(1), |job| job.last_stage.next());
                    self.record(Event::StageOpened { job: id, stage, purpose, base, work });
                    self.live.get_mut(&id).map(|live| live.queues.insert(stage, Queue::default()));
                }
                Step::Finish(outcome) => self.finish(id, outcome),
            }
        }
    }

    /// Settles who takes part in a stage, now that every task of it is done, and combines.
    pub(super) fn close(&mut self, job: JobId, stage: StageNumber) {
        let tallies = self.stage(job, stage).map_or_else(Vec::new, |(_, queue)| queue.tallies());
        self.record(Event::StageClosed { job, stage, tallies });
        self.combine(job, stage);
    }

    fn combine(&mut self, job: JobId, number: StageNumber) {
        let Some(stage) = self.durable.stage(job, number) else { return };
        let part = |(index, done): (&u32, &super::stage::Done)| Part {
            index: *index,
            result: done.result.clone(),
            samples: done.samples,
            extras: done.extras.as_deref().cloned().unwrap_or_default(),
        };
        let combine = Combine {
            job,
            stage: number,
            rule: stage.work.combine.clone(),
            base: stage.base.clone(),
            input: stage.work.input.clone(),
            parts: stage.done.iter().map(part).collect(),
        };
        self.output(Output::Combine(combine));
    }

    pub(super) fn fail(&mut self, job: JobId, reason: String) {
        self.finish(job, Outcome::Failed { reason: bounded(reason, REASON_BYTES_MAX) });
    }

    /// Ends a job: its leases are revoked, and what still comes is dropped.
    fn finish(&mut self, id: JobId, outcome: Outcome) {
        let held: Vec<u64> =
            self.leases.iter().filter(|(_, lease)| lease.task.job == id).map(|(number, _)| *number).collect();
        for number in held {
            self.revoke(number);
        }
        self.live.remove(&id);
        self.record(Event::JobFinished { job: id, outcome });
    }

    /// Takes a lease back, and tells its worker.
    pub(super) fn revoke(&mut self, number: u64) {
        let lease = self.lease_id(number);
        if let Some(worker) = self.leases.get(&number).map(|lease| lease.worker) {
            if !sabotage::is(Bug::AcceptRevokedLease) {
                self.release(number);
            }
            self.tell(worker, ToWorker::Revoke { lease });
        }
    }
}

impl LiveJob {
    fn new(latest_lease: u64, seed: u64, queues: BTreeMap<StageNumber, Queue>) -> Self {
        // PCG's multiplicative state has to be odd; the shift keeps every bit of the seed.
        let rng = Pcg64Mcg::new(u128::from(seed) << 1 | 1);
        Self { leases: 0, latest_lease, queues, rng, waiting: None, held_until: 0 }
    }
}
