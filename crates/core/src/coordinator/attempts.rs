//! The coordinator's transitions for attempts: done, failed, rejected, timed out; and what becomes of their leases.
//!
//! It accepts the first result of a task and revokes the rest; what a result means it does not know.

use crate::event::{Completion, Event, Fault, Purpose, TaskRecord};
use crate::message::{ORPHANS_GONE_MS, ToWorker};
use crate::sabotage::{self, Bug};
use crate::{Millis, Plan, TaskId, WorkerId};

use super::notice::Notice;
use super::{Coordinator, Lease, Timer};

/// How long a worker that rejected a task is left alone; twice as long for each further rejection in a row.
const BACKOFF_MS: Millis = 50;
/// The longest that it is left alone.
const BACKOFF_MS_MAX: Millis = 2_000;

impl Coordinator {
    /// The first result of a task is accepted; who else is at it may stop.
    pub(super) fn on_done(&mut self, number: u64, completion: Completion) {
        let accepted = self.lease_id(number);
        let Some(lease) = self.drop_lease(number) else { return };
        let ran_ms = lease.started_at.filter(|_| !lease.brought_along).map(|at| self.now - at);
        let task = lease.task;
        let Some(worker) = self.roster.get(lease.worker) else { return };
        let (name, profile, slots) = (worker.name.clone(), worker.profile.clone(), worker.slots as u32);
        let record = TaskRecord { attempt: lease.attempt, worker: name, profile, slots, completion };
        self.record(Event::TaskDone { task, record });
        self.tell(lease.worker, ToWorker::Accepted { lease: accepted });
        self.live.get_mut(&task.job).into_iter().for_each(|live| live.waiting = None);
        self.roster.measure(lease.worker, ran_ms);
        let Some((stage, queue)) = self.stage(task.job, task.stage) else { return };
        let (input, is_complete) = (stage.work.input.as_blob(), stage.is_complete());
        let others = queue.finish(task.index, ran_ms);
        if let Some(input) = input {
            self.roster.update(lease.worker, |worker| worker.remember_input(input, task.index));
        }
        others.into_iter().for_each(|other| self.revoke(other));
        if is_complete {
            self.close(task.job, task.stage);
        }
    }

    /// An attempt ended without a result: the task waits for another, or its job fails.
    pub(super) fn on_failed(&mut self, number: u64, fault: Fault) {
        let Some(lease) = self.leases.get(&number) else { return };
        let (task, attempt, worker) = (lease.task, lease.attempt, lease.worker);
        let name = self.roster.get(worker).map_or_else(String::new, |worker| worker.name.clone());
        let place = self.place_of(task);
        let reason = format!("{place} failed on {name}: {fault}");
        self.record(Event::AttemptFailed { task, attempt, worker: name, fault });
        self.release(number);
        let failures = self.durable.stage(task.job, task.stage).and_then(|stage| stage.failures.get(&task.index));
        let errors = failures.map_or(0, |failures| failures.errors);
        let retries = self.durable.job(task.job).map_or(0, |job| job.spec.attempts.retries);
        if self.is_deadly(task) {
            let deaths = failures.map_or_else(Vec::new, |failures| failures.deaths.clone());
            let reason =
                format!("{place} was running on {} workers when they were lost: {}", deaths.len(), deaths.join(", "));
            self.give_up_task(task, reason);
        } else if errors + u32::from(sabotage::is(Bug::FailJobTooSoon)) > retries {
            let reason = if errors == 1 { reason } else { format!("{reason} (the last of {errors} attempts)") };
            self.give_up_task(task, reason);
        }
    }

    /// A task by its numbers, for reasons. Those who count rounds are told where it is of none.
    fn place_of(&self, task: TaskId) -> String {
        let stage = self.durable.stage(task.job, task.stage);
        let preparing = if stage.is_some_and(|stage| stage.purpose == Purpose::Prepare) { " (preparing)" } else { "" };
        format!("task {} of stage {}{preparing}", task.index, task.stage)
    }

    /// A task has failed for good, and its job with it, unless the plan goes on without.
    fn give_up_task(&mut self, task: TaskId, reason: String) {
        let job = self.durable.job(task.job);
        let is_map = job.and_then(|job| job.stages.get(&task.stage)).is_some_and(|stage| stage.purpose == Purpose::Map);
        let keeps_going = job.is_some_and(|job| matches!(&job.spec.plan, Plan::MapReduce(plan) if plan.keep_going));
        self.record(Event::TaskFailed { task });
        if !(is_map && keeps_going) {
            self.fail(task.job, reason);
            return;
        }
        let Some((stage, queue)) = self.stage(task.job, task.stage) else { return };
        let is_complete = stage.is_complete();
        queue.finish(task.index, None).into_iter().for_each(|other| self.revoke(other));
        if is_complete {
            self.close(task.job, task.stage);
        }
    }

    /// A busy worker gave a task back: someone else may have it, and the worker is left alone for a while.
    pub(super) fn on_rejected(&mut self, number: u64) {
        let Some(lease) = self.leases.get(&number) else { return };
        let (task, id) = (lease.task, lease.worker);
        let held_ms = lease.started_at.map_or(0, |at| self.now - at);
        match sabotage::is(Bug::LoseReturnedTask) {
            true => drop(self.drop_lease(number)),
            false => self.release(number),
        }
        let Some(worker) = self.roster.reject(id, held_ms) else { return };
        let (name, in_a_row) = (worker.name.clone(), worker.rejections_in_a_row);
        let backoff_ms = BACKOFF_MS.saturating_mul(1 << (in_a_row - 1).min(16)).min(BACKOFF_MS_MAX);
        self.timers.set(Timer::BackedOff(id), self.now + backoff_ms);
        let tally = self.stage(task.job, task.stage).and_then(|(_, queue)| queue.tally(&name));
        tally.into_iter().for_each(|tally| tally.rejections += 1);
        self.notice(Notice::Rejected { task, worker: name });
    }

    /// An attempt had its time. One that must not run twice has failed only when its worker has ended it for sure: it was
    /// told to, or cannot hear anybody.
    pub(super) fn on_timed_out(&mut self, number: u64) {
        let may_be_doubled = self.may_be_doubled(number);
        let Some(lease) = self.leases.get_mut(&number) else { return };
        if lease.is_taken_back {
            self.release(number);
            return;
        }
        let (worker, was_told) = (lease.worker, std::mem::replace(&mut lease.is_ending, true));
        self.tell(worker, ToWorker::Revoke { lease: self.lease_id(number) });
        if !may_be_doubled && !was_told && !sabotage::is(Bug::BelieveRevocation) {
            self.timers.set(Timer::TimedOut(number), self.now.saturating_add(ORPHANS_GONE_MS));
            return;
        }
        let job = self.leases.get(&number).and_then(|lease| self.durable.job(lease.task.job));
        let limit_ms = job.and_then(|job| job.spec.attempts.timeout_ms).unwrap_or(0);
        self.on_failed(number, Fault::TimedOut { limit_ms });
    }

    /// Ends a lease without a result: its task waits again, if nobody else is at it.
    pub(super) fn release(&mut self, number: u64) {
        let Some(lease) = self.drop_lease(number) else { return };
        if let Some((stage, queue)) = self.stage(lease.task.job, lease.task.stage) {
            let unused = lease.started_at.is_none().then_some(lease.attempt);
            queue.release(lease.task.index, number, stage, unused);
        }
    }

    /// Takes a lease out of the books, and lets the worker's next one start.
    pub(super) fn drop_lease(&mut self, number: u64) -> Option<Lease> {
        let lease = self.leases.remove(&number)?;
        self.timers.cancel(Timer::TimedOut(number));
        let connected = self.roster.update(lease.worker, |worker| {
            worker.remove_lease(number);
            worker.session.is_some()
        });
        if connected == Some(true) {
            self.live.get_mut(&lease.task.job).into_iter().for_each(|live| live.leases -= 1);
            self.start_leases(lease.worker);
        }
        Some(lease)
    }

    /// Notes the start of those of a worker's leases that have a slot now.
    pub(super) fn start_leases(&mut self, id: WorkerId) {
        let Some(worker) = self.roster.get(id) else { return };
        // Slots are given in the order of the leases, so those that have yet to start are the last that have one.
        let starts = |number: &&u64| self.leases.get(number).is_none_or(|lease| lease.started_at.is_none());
        let starting: Vec<u64> = worker.running().iter().rev().take_while(starts).copied().collect();
        for number in starting.into_iter().rev() {
            let Some(lease) = self.leases.get_mut(&number) else { continue };
            lease.started_at = Some(self.now);
            let job = self.durable.job(lease.task.job).filter(|_| !lease.is_ending);
            if let Some(timeout_ms) = job.and_then(|job| job.spec.attempts.timeout_ms) {
                let at = self.now.saturating_add(timeout_ms).saturating_add(self.config.timeout_grace_ms);
                self.timers.set(Timer::TimedOut(number), at);
            }
            self.roster.update(id, |worker| worker.busy_since = self.now);
        }
    }
}
