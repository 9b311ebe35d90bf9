//! The coordinator's transitions for sessions: a worker joins, speaks, falls silent, is lost, returns or is given up.
//!
//! Loss and return are one mechanism: a lost session leaves its running attempts as suspects, and a worker that comes
//! back gets a new lease for whatever it brings along that is still wanted. Nothing here knows what a task does.

use std::collections::BTreeSet;

use crate::event::{Fault, bounded};
use crate::message::{FromWorker, Held, Hello, LIVENESS_MS, ORPHANS_GONE_MS, SLOTS_MAX, ToWorker};
use crate::sabotage::{self, Bug};
use crate::{Identity, LeaseId, NAME_BYTES_MAX, RequestId, SessionId, TaskId, WorkerId};

use super::enrolment::REMOVED;
use super::io::Output;
use super::notice::{Notice, Waiting};
use super::queue::DEATHS_MAX;
use super::reply::{Refusal, Reply};
use super::worker::Worker;
use super::{Coordinator, Lease, Timer};

/// Room for the number behind a name that is taken: with it, a name is still one that the journal takes.
const NUMBER_BYTES_MAX: usize = 11;

impl Coordinator {
    pub(super) fn on_connected(&mut self, session: SessionId, hello: Hello, identity: Option<Identity>) {
        // It may have been removed since the shell looked.
        if identity.as_ref().is_some_and(|identity| !self.credentials().accepts(identity)) {
            self.output(Output::Close { session, reason: REMOVED });
            return;
        }
        let id = hello.worker;
        if let Some(old) = self.roster.get(id).and_then(|worker| worker.session) {
            self.output(Output::Close { session: old, reason: "the worker opened another session" });
        }
        // Whatever it held before, it now says what it holds: the rest is gone.
        let leases = self.roster.get(id).map_or_else(Vec::new, |worker| worker.leases().to_vec());
        leases.into_iter().for_each(|number| self.release(number));
        // A name that was granted stays, unless someone else got it meanwhile.
        let own = identity.as_ref().map_or(hello.name, |identity| identity.name.clone());
        let wished = self.roster.get(id).map_or(own, |worker| worker.name.clone());
        let name = self.free_name(id, &wished);
        if self.roster.get(id).is_none() {
            self.roster.insert(id, Worker::new(name.clone(), 1));
        }
        let draining = self.roster.get(id).is_some_and(|worker| worker.draining);
        self.roster.update(id, |worker| {
            worker.name.clone_from(&name);
            worker.identity = identity;
            worker.draining |= hello.draining;
            worker.slots = hello.slots.clamp(1, SLOTS_MAX) as usize;
            worker.abilities = hello.abilities;
            worker.resources = hello.resources;
            worker.profile = hello.profile;
            worker.hardware = hello.hardware;
            worker.heard_at = self.now;
            worker.backs_off = false;
            worker.rejections_in_a_row = 0;
        });
        self.roster.connect(id, Some(session));
        self.timers.cancel(Timer::GivenUp(id));
        self.timers.set(Timer::Silent(id), self.now + LIVENESS_MS);
        let kept = self.keep(id, hello.holding);
        self.welcome_back(&name);
        let slots = hello.slots;
        self.notice(Notice::WorkerJoined { worker: name.clone(), slots, kept: kept.len() });
        self.send(session, ToWorker::Welcome { term: self.term(), name, kept });
        // It may have been lost before it heard.
        if draining && !hello.draining {
            self.send(session, ToWorker::Drain);
        }
    }

    /// Takes a worker out of service: what it runs it brings to an end, what waits there is for others at once.
    pub(super) fn on_drain(&mut self, request: RequestId, name: String) {
        let reply = match self.roster.named(&name) {
            Some(id) => Reply::Draining { running: self.drain(id) },
            None => Reply::Refused(Refusal::NoSuchWorker(name)),
        };
        self.output(Output::Reply { request, reply });
    }

    /// Says how many tasks the worker runs.
    fn drain(&mut self, id: WorkerId) -> usize {
        let Some(worker) = self.roster.get(id) else { return 0 };
        let (name, running, queued) = (worker.name.clone(), worker.running().len(), worker.queued().to_vec());
        let again = self.roster.update(id, |worker| std::mem::replace(&mut worker.draining, true));
        if again == Some(false) {
            self.notice(Notice::WorkerDraining { worker: name, running });
            // What must not run twice stays: it may have started meanwhile.
            let free = queued.into_iter().filter(|number| self.may_be_doubled(*number)).collect::<Vec<_>>();
            free.into_iter().for_each(|number| self.revoke(number));
            self.tell(id, ToWorker::Drain);
        }
        running
    }

    pub(super) fn on_received(&mut self, session: SessionId, message: FromWorker) {
        let Some(id) = self.roster.of_session(session) else { return };
        self.roster.update(id, |worker| worker.heard_at = self.now);
        match message {
            FromWorker::Heartbeat => {}
            FromWorker::Leaving => self.on_leaving(session, id),
            FromWorker::Done { lease, .. } | FromWorker::Failed { lease, .. } | FromWorker::Rejected { lease }
                if !self.stands(lease, id) =>
            {
                self.send(session, ToWorker::Revoke { lease });
            }
            FromWorker::Done { lease, completion } => self.on_done(lease.number, completion),
            FromWorker::Failed { lease, failure } => {
                self.send(session, ToWorker::Accepted { lease });
                self.on_failed(lease.number, failure.into());
            }
            FromWorker::Rejected { lease } => self.on_rejected(lease.number),
        }
    }

    /// The worker ends of its own will: what it held is for others, and nobody waits for its return.
    fn on_leaving(&mut self, session: SessionId, id: WorkerId) {
        let Some(worker) = self.roster.get(id) else { return };
        let (name, held) = (worker.name.clone(), worker.leases().to_vec());
        self.notice(Notice::WorkerLeft { worker: name, held: held.len() });
        held.into_iter().for_each(|number| self.release(number));
        self.roster.remove(id);
        self.timers.cancel(Timer::Silent(id));
        self.timers.cancel(Timer::BackedOff(id));
        self.output(Output::Close { session, reason: "the worker left" });
    }

    pub(super) fn on_disconnected(&mut self, session: SessionId) {
        if let Some(id) = self.roster.of_session(session) {
            self.lose(id);
        }
    }

    pub(super) fn on_silent(&mut self, id: WorkerId) {
        let Some(worker) = self.roster.get(id) else { return };
        let Some(session) = worker.session else { return };
        let due = worker.heard_at + LIVENESS_MS;
        if due > self.now {
            self.timers.set(Timer::Silent(id), due);
            return;
        }
        self.output(Output::Close { session, reason: "nothing was heard from the worker" });
        self.lose(id);
    }

    /// The worker did not come back: what it ran has failed with it.
    pub(super) fn on_given_up(&mut self, id: WorkerId) {
        let held = self.roster.get(id).map_or_else(Vec::new, |worker| worker.leases().to_vec());
        for number in held {
            match self.leases.get(&number).map(|lease| lease.started_at.is_some()) {
                Some(true) => self.on_failed(number, Fault::WorkerLost),
                Some(false) => self.release(number),
                None => {}
            }
        }
        self.roster.remove(id);
    }

    /// A session is lost. What waited for a slot is free again; what ran may be tried elsewhere at once, and counts
    /// as the worker's death unless it returns in time. What must not run twice is free only when the worker is given up:
    /// even if it waited, it may have got a slot of which is not known here.
    pub(super) fn lose(&mut self, id: WorkerId) {
        let Some(worker) = self.roster.get(id) else { return };
        let (name, held) = (worker.name.clone(), worker.leases().to_vec());
        let is_running = |number: &u64| worker.running().contains(number) || !self.may_be_doubled(*number);
        let (running, queued): (Vec<_>, Vec<_>) = held.iter().partition(|number| is_running(number));
        let all_may_be_doubled = held.iter().all(|number| self.may_be_doubled(*number));
        let wait_ms = if all_may_be_doubled { LIVENESS_MS } else { ORPHANS_GONE_MS };
        self.timers.cancel(Timer::Silent(id));
        self.timers.set(Timer::GivenUp(id), self.now + wait_ms);
        self.notice(Notice::WorkerLost { worker: name.clone(), held: held.len() });
        let tasks = held.iter().filter_map(|number| self.leases.get(number).map(|lease| lease.task));
        let stages: BTreeSet<_> = tasks.map(|task| (task.job, task.stage)).collect();
        for (job, stage) in stages {
            let tally = self.stage(job, stage).and_then(|(_, queue)| queue.tally(&name));
            tally.into_iter().for_each(|tally| tally.losses += 1);
        }
        queued.into_iter().for_each(|number| self.release(number));
        self.roster.connect(id, None);
        for number in running {
            self.timers.cancel(Timer::TimedOut(number));
            let Some(task) = self.leases.get(&number).map(|lease| lease.task) else { continue };
            let may_run_twice = self.may_run_twice(task.job);
            if let Some((stage, queue)) = self.stage(task.job, task.stage) {
                queue.suspect(task.index, number, stage, may_run_twice);
            }
            self.live.get_mut(&task.job).into_iter().for_each(|live| live.leases -= 1);
        }
    }

    /// Grants a new lease for each piece of held work that is still wanted.
    fn keep(&mut self, id: WorkerId, holding: Vec<Held>) -> Vec<(TaskId, LeaseId)> {
        let most = self.roster.get(id).map_or(0, |worker| worker.slots * 2 + 64);
        let mut kept: Vec<(TaskId, LeaseId)> = Vec::new();
        for held in holding.into_iter().take(most) {
            let wanted = self.durable.wanted(held.task);
            let same = wanted.is_some_and(|stage| {
                let work = &stage.work;
                let program = work.ability == held.ability && work.program == held.program;
                let input = work.input == held.input && work.split == held.split;
                program && input && stage.base == held.base
            });
            if same && !kept.iter().any(|(task, _)| *task == held.task) {
                let lease = self.grant(id, held.task);
                self.leases.get_mut(&lease.number).into_iter().for_each(|lease| lease.brought_along = true);
                self.next_lease -= u64::from(sabotage::is(Bug::ReuseLeaseNumber));
                kept.push((held.task, lease));
            }
        }
        kept
    }

    /// The recovery waits no longer for this worker; with the last one back, it is over.
    fn welcome_back(&mut self, name: &str) {
        if self.awaited.remove(name) && self.awaited.is_empty() {
            self.timers.cancel(Timer::Recovered);
        }
    }

    /// The name, with a number behind it if another connected worker has it.
    fn free_name(&self, id: WorkerId, wished: &str) -> String {
        let taken = |name: &str| self.roster.connected_as(name).is_some_and(|other| other != id);
        let stem = bounded(wished.to_owned(), NAME_BYTES_MAX - NUMBER_BYTES_MAX);
        let numbered = (2..).map(|number: u32| format!("{stem}-{number}"));
        std::iter::once(wished.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    /// Whether the lease is this worker's right, now and in this term.
    fn stands(&self, lease: LeaseId, worker: WorkerId) -> bool {
        let standing = self.leases.get(&lease.number).filter(|lease| !lease.is_ending);
        let is_of_term = lease.term == self.term() || sabotage::is(Bug::ForgetTerm);
        is_of_term && standing.is_some_and(|lease| lease.worker == worker || sabotage::is(Bug::AcceptAnothersLease))
    }

    /// Grants a lease on a task to a worker.
    pub(super) fn grant(&mut self, worker: WorkerId, task: TaskId) -> LeaseId {
        let number = self.next_lease;
        self.next_lease += 1;
        let attempt =
            self.stage(task.job, task.stage).map_or(1, |(stage, queue)| queue.lease(task.index, number, stage));
        let lease = Lease {
            task,
            attempt,
            worker,
            started_at: None,
            brought_along: false,
            is_ending: false,
            is_taken_back: false,
        };
        self.leases.insert(number, lease);
        if let Some(live) = self.live.get_mut(&task.job) {
            live.leases += 1;
            live.latest_lease = number;
            // That all reject its tasks stays said until one of them brings a result.
            live.waiting.take_if(|waiting| !matches!(waiting, Waiting::AllReject { .. }));
        }
        let needs = self.durable.stage(task.job, task.stage).map(|stage| stage.work.needs.clone()).unwrap_or_default();
        self.roster.update(worker, |worker| worker.add_lease(number, needs));
        self.start_leases(worker);
        self.lease_id(number)
    }

    pub(super) fn lease_id(&self, number: u64) -> LeaseId {
        LeaseId { term: self.term(), number }
    }

    /// Whether a task has cost as many workers as may be.
    pub(super) fn is_deadly(&self, task: TaskId) -> bool {
        !sabotage::is(Bug::NeverCallTaskDeadly)
            && self.durable.stage(task.job, task.stage).is_some_and(|stage| stage.deaths(task.index) >= DEATHS_MAX)
    }
}
