//! The coordinator's placement: which waiting task goes to which worker, now.
//!
//! Jobs share workers fairly; a policy picks the worker; idle workers take over what waits elsewhere and get second
//! attempts at what takes too long. It knows paces and queues, never what a task does.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rand_core::Rng;

use crate::message::{Assignment, ORPHANS_GONE_MS, ToWorker};
use crate::sabotage::{self, Bug};
use crate::{Ability, JobId, Millis, Needs, PRIORITY_MAX, Policy, StageNumber, TaskId, Work, WorkerId};

use super::notice::{Notice, Waiting};
use super::worker::Worker;
use super::{Coordinator, KeptFree, Timer};

/// How many workers load balancing compares in detail.
const COMPARED_MAX: usize = 8;
/// What taking a task over has to gain: it costs a message to each side.
const RELIEF_MS_MIN: Millis = 10;
/// How often stragglers are looked for.
const STRAGGLERS_EVERY_MS: Millis = 100;
/// An attempt is no straggler before this, whatever others take.
const STRAGGLER_MS_MIN: Millis = 200;
/// From how many rejections in a row a worker counts as rejecting everything.
const REJECTS_ALL: u32 = 3;

/// Whose turn it is, the least first: whether it is not due, its quotient, its priority, its age.
type Rank = (bool, u64, Reverse<i32>, u64);

/// What a worker must have for a task.
struct Wanted {
    ability: Ability,
    needs: Needs,
}

impl Coordinator {
    /// Places every waiting task that has a worker.
    pub(super) fn place(&mut self) {
        if self.timers.is_set(Timer::Recovered) {
            return;
        }
        let mut stuck = BTreeSet::new();
        // Its turn came before, and it still has it.
        let first = self.kept_free.take().and_then(|kept| self.waiting_task(kept.stage));
        first.into_iter().for_each(|task| self.place_task(task, &mut stuck));
        while self.has_taker() {
            let Some(task) = self.next_task(&stuck) else { break };
            self.place_task(task, &mut stuck);
        }
        self.relieve_queues();
        self.say_who_waits();
        if !self.leases.is_empty() && !self.timers.is_set(Timer::Stragglers) {
            self.timers.set(Timer::Stragglers, self.now + STRAGGLERS_EVERY_MS);
        }
    }

    /// Places a task, or notes that its stage is stuck for now.
    fn place_task(&mut self, task: TaskId, stuck: &mut BTreeSet<(JobId, StageNumber)>) {
        match self.choose(task) {
            Some(worker) => self.assign(task, worker),
            None => {
                self.keep_free_for(task);
                stuck.insert((task.job, task.stage));
            }
        }
    }

    /// The task whose turn it is, of a stage that is not stuck: that of the job with the smallest quotient, then of the
    /// highest priority, then of the oldest job. The jobs that are looked through are those that have not ended.
    ///
    /// Where leases are few, one for a job of little weight may be more than its share at any time; such a job goes first
    /// once as many leases were granted since its last as give it one in the long run, beside the jobs that want workers
    /// or have some.
    fn next_task(&mut self, stuck: &BTreeSet<(JobId, StageNumber)>) -> Option<TaskId> {
        let mut weights = 0;
        let mut waiting = Vec::new();
        for (id, live) in &mut self.live {
            let Some(job) = self.durable.job(*id).filter(|_| live.held_until <= self.now) else { continue };
            let first = live.queues.iter_mut().find_map(|(number, queue)| {
                let stage = job.stages.get(number).filter(|stage| !stage.closed)?;
                if stuck.contains(&(*id, *number)) {
                    return None;
                }
                Some(TaskId { job: *id, stage: *number, index: queue.peek(stage)? })
            });
            if first.is_some() || live.leases > 0 {
                weights += weight(job.spec.priority);
            }
            let since = self.next_lease - live.latest_lease;
            waiting.extend(first.map(|task| (task, live.leases, since, job.spec.priority, job.order)));
        }
        let rank = |(_, leases, since, priority, order): &(TaskId, usize, u64, i32, u64)| -> Rank {
            let is_due = *leases == 0 && since * weight(*priority) >= weights;
            (!is_due, quotient(*leases, *priority), Reverse(*priority), *order)
        };
        waiting.iter().min_by_key(|candidate| rank(candidate)).map(|(task, ..)| *task)
    }

    fn choose(&mut self, task: TaskId) -> Option<WorkerId> {
        let policy = self.policy(task.job);
        let wanted = self.wanted_of(task)?;
        match policy {
            Policy::Random => self.choose_any(task.job, &wanted),
            Policy::RoundRobin => self.choose_in_turn(&wanted),
            Policy::LoadBalancing => self.choose_first_to_finish(task, &wanted),
        }
    }

    /// The first task of a stage that waits.
    fn waiting_task(&mut self, (job, number): (JobId, StageNumber)) -> Option<TaskId> {
        let live = self.live.get_mut(&job).filter(|live| live.held_until <= self.now)?;
        let stage = self.durable.job(job)?.stages.get(&number).filter(|stage| !stage.closed)?;
        let index = live.queues.get_mut(&number)?.peek(stage)?;
        Some(TaskId { job, stage: number, index })
    }

    /// Whether there is a worker with room that is not kept free of whatever there may be.
    fn has_taker(&self) -> bool {
        let ready = self.roster.ready();
        let kept = self.kept_free.as_ref().map(|kept| kept.worker).filter(|kept| ready.contains(kept));
        ready.len() > 1 || kept.map_or(!ready.is_empty(), |kept| self.may_go(kept, &Needs::default()))
    }

    /// Where a task fits no worker as they are, one that it would fit takes nothing more that stands in its way: else a
    /// stream of smaller tasks would fill each slot as it becomes free, and the large one would wait for ever. Only the
    /// first such task in turn has that, and of the worker that lacks least: that one only comes nearer.
    fn keep_free_for(&mut self, task: TaskId) {
        let Some(wanted) = self.wanted_of(task).filter(|wanted| !wanted.needs.is_one_slot()) else { return };
        if self.kept_free.is_some() || self.roster.by_finish().any(|worker| self.can(worker, &wanted)) {
            return;
        }
        let able = self.roster.iter().filter(|(_, worker)| {
            let in_service = worker.session.is_some() && !worker.draining;
            in_service && worker.abilities.contains(&wanted.ability) && worker.is_able(&wanted.needs)
        });
        // Slots become free sooner than what few tasks have for long.
        let lacks = |worker: &Worker| (worker.lacks_resources(&wanted.needs), worker.slots_beyond(&wanted.needs));
        let nearest = able.min_by_key(|(id, worker)| (lacks(worker), *id)).map(|(id, _)| id);
        self.kept_free = nearest.map(|worker| KeptFree { worker, stage: (task.job, task.stage), needs: wanted.needs });
    }

    /// Whether a task may go to a worker, as far as that is kept free for another.
    fn may_go(&self, worker: WorkerId, needs: &Needs) -> bool {
        let Some(kept) = self.kept_free.as_ref().filter(|kept| kept.worker == worker) else { return true };
        !self.roster.get(worker).is_some_and(|worker| worker.delays(&kept.needs, needs))
    }

    fn policy(&self, job: JobId) -> Policy {
        self.durable.job(job).and_then(|job| job.spec.policy).unwrap_or(self.config.policy)
    }

    fn wanted_of(&self, task: TaskId) -> Option<Wanted> {
        let work = &self.durable.stage(task.job, task.stage)?.work;
        Some(Wanted { ability: work.ability.clone(), needs: work.needs.clone() })
    }

    /// Draws among the workers with room; where the draw will not do, the next one that does.
    fn choose_any(&mut self, job: JobId, wanted: &Wanted) -> Option<WorkerId> {
        let ready = self.roster.ready().len();
        if ready == 0 {
            return None;
        }
        let draw = (self.live.get_mut(&job)?.rng.next_u64() % ready as u64) as usize;
        let order = (draw..ready).chain(0..draw);
        order.filter_map(|place| self.roster.ready().get_index(place).copied()).find(|worker| self.can(*worker, wanted))
    }

    fn choose_in_turn(&mut self, wanted: &Wanted) -> Option<WorkerId> {
        let worker = self.roster.turns_after(self.turn).find(|worker| self.can(*worker, wanted))?;
        self.turn = worker;
        Some(worker)
    }

    /// The worker with room where the task is expected to finish first. A worker so slow that the others would be
    /// through with everything that waits before it is passed over, as long as others are at work on the job; where they
    /// could have been through and nothing was placed meanwhile, it was too much to expect of them.
    fn choose_first_to_finish(&mut self, task: TaskId, wanted: &Wanted) -> Option<WorkerId> {
        let candidates = self.roster.by_finish().filter(|worker| self.can(*worker, wanted)).take(COMPARED_MAX);
        let input = self.durable.stage(task.job, task.stage)?.work.input.as_blob();
        let lacks = |worker| {
            let worker = self.roster.get(worker);
            input.is_some_and(|input| !worker.is_some_and(|worker| worker.has_input(input, task.index)))
        };
        // Where two are equal, the one that has the input already.
        let best = candidates.min_by_key(|worker| (self.roster.finish(*worker, self.now), lacks(*worker), *worker))?;
        let finish = self.roster.finish(best, self.now);
        let leases = self.live.get(&task.job).map_or(0, |live| live.leases);
        let (stage, queue) = self.stage(task.job, task.stage)?;
        let waiting = queue.waiting(stage);
        let (now, at_once) = (self.now, Some(best));
        let too_slow = |others_ms: &Millis| leases > 0 && finish > now + others_ms;
        // The totals of all workers are at hand, and seldom say so; then it is those that can run such a task that count.
        if self.roster.others_need_ms(best, waiting).filter(too_slow).is_none() {
            return at_once;
        }
        let is_able = |worker: &Worker| worker.abilities.contains(&wanted.ability) && worker.is_able(&wanted.needs);
        let others = self.roster.able_others_need_ms(best, waiting, is_able).filter(too_slow);
        let Some(others_ms) = others else { return at_once };
        let (_, queue) = self.stage(task.job, task.stage)?;
        if now > queue.pass_over_until(now + others_ms) { at_once } else { None }
    }

    /// Whether the worker has the ability, and room for what the task needs.
    fn can(&self, worker: WorkerId, wanted: &Wanted) -> bool {
        let can = |worker: &Worker| worker.abilities.contains(&wanted.ability) && worker.has_room_for(&wanted.needs);
        self.roster.get(worker).is_some_and(can) && self.may_go(worker, &wanted.needs)
    }

    fn assign(&mut self, task: TaskId, worker: WorkerId) {
        let lease = self.grant(worker, task);
        let Some(job) = self.durable.job(task.job) else { return };
        let Some(stage) = job.stages.get(&task.stage) else { return };
        let may_reject = self.policy(task.job) == Policy::LoadBalancing;
        let attempt = self.leases.get(&lease.number).map_or(1, |lease| lease.attempt);
        let assignment = Assignment {
            lease,
            task,
            ability: stage.work.ability.clone(),
            program: stage.work.program.clone(),
            base: stage.base.clone(),
            input: stage.work.input.clone(),
            split: stage.work.split,
            seed: task_seed(job.spec.seed, task),
            may_reject,
            attempt,
            round: stage.purpose.round(),
            needs: stage.work.needs.clone(),
            timeout_ms: job.spec.attempts.timeout_ms,
            idempotent: job.spec.attempts.idempotent,
        };
        let name = self.roster.get(worker).map_or_else(String::new, |worker| worker.name.clone());
        self.notice(Notice::Assigned { task, worker: name, attempt, round: assignment.round });
        self.tell(worker, ToWorker::Assign(assignment));
    }

    /// With nothing left to place, idle workers take over tasks that wait for a slot elsewhere and would be through
    /// later there.
    fn relieve_queues(&mut self) {
        loop {
            let is_kept = |id: &WorkerId| self.kept_free.as_ref().is_some_and(|kept| kept.worker == *id);
            let idle = self.roster.by_finish().find(|id| !is_kept(id)).filter(|id| self.is_idle(*id));
            let (Some(idle), Some((through_at, busy))) = (idle, self.roster.most_queued()) else { return };
            let Some(worker) = self.roster.get(busy) else { return };
            // What runs longer than expected is taken to need as long again.
            let overdue_at = self.now + (self.now - worker.busy_since.min(self.now)) + self.roster.pace(busy);
            let through_at = if through_at < self.now { overdue_at } else { through_at };
            let is_ending = |number: &&u64| self.leases.get(number).is_none_or(|lease| lease.is_ending);
            let Some(number) = worker.queued().iter().rev().find(|number| !is_ending(number)).copied() else { return };
            let Some(task) = self.leases.get(&number).map(|lease| lease.task) else { return };
            let wanted = self.wanted_of(task);
            // What must not run twice may have started meanwhile: it is for others once it has ended for sure.
            let waits = !self.may_be_doubled(number) && !sabotage::is(Bug::TakeOverLiveTask);
            let wait_ms = if waits { ORPHANS_GONE_MS } else { 0 };
            let gains = self.roster.finish(idle, self.now) + wait_ms + RELIEF_MS_MIN <= through_at;
            let allowed = self.policy(task.job) == Policy::LoadBalancing;
            if !gains || !allowed || !wanted.is_some_and(|wanted| self.can(idle, &wanted)) {
                return;
            }
            if waits {
                self.take_back(number);
                return;
            }
            self.revoke(number);
            self.assign(task, idle);
        }
    }

    /// Takes back a lease on what must not run twice, one at a time: its task waits again once nobody can be at it.
    fn take_back(&mut self, number: u64) {
        if self.leases.values().any(|lease| lease.is_taken_back) {
            return;
        }
        let Some(lease) = self.leases.get_mut(&number) else { return };
        (lease.is_ending, lease.is_taken_back) = (true, true);
        let worker = lease.worker;
        self.tell(worker, ToWorker::Revoke { lease: self.lease_id(number) });
        self.timers.set(Timer::TimedOut(number), self.now.saturating_add(ORPHANS_GONE_MS));
    }

    fn is_idle(&self, worker: WorkerId) -> bool {
        self.roster.get(worker).is_some_and(|worker| worker.is_idle())
    }

    /// Gives idle workers a second attempt at tasks that run much longer than others did. Called at intervals, since it
    /// looks at every lease.
    pub(super) fn back_up_stragglers(&mut self) {
        let mut stragglers: Vec<(Millis, TaskId, WorkerId)> = Vec::new();
        for (job, live) in &self.live {
            if !self.may_run_twice(*job) {
                continue;
            }
            for (stage, queue) in &live.queues {
                for (index, number) in queue.single() {
                    let Some(lease) = self.leases.get(&number) else { continue };
                    let patience_ms = queue.patience_ms().unwrap_or_else(|| 2 * self.roster.pace(lease.worker));
                    let ran_ms = lease.started_at.map_or(0, |at| self.now - at);
                    if ran_ms > STRAGGLER_MS_MIN.max(patience_ms) {
                        stragglers.push((ran_ms, TaskId { job: *job, stage: *stage, index }, lease.worker));
                    }
                }
            }
        }
        stragglers.sort_by(|one, other| other.cmp(one));
        for (_, task, slow) in stragglers {
            let Some(wanted) = self.wanted_of(task) else { continue };
            let candidates = self.roster.by_finish().take(COMPARED_MAX);
            let idle = candidates.filter(|worker| *worker != slow && self.is_idle(*worker));
            let Some(worker) = idle.into_iter().find(|worker| self.can(*worker, &wanted)) else { continue };
            self.assign(task, worker);
        }
    }

    /// Says of each job that has no task with a worker why that is, when it is new.
    fn say_who_waits(&mut self) {
        let idle: Vec<JobId> = self.live.iter().filter(|(_, live)| live.leases == 0).map(|(id, _)| *id).collect();
        for id in idle {
            let reason = self.why_it_waits(id);
            let Some(live) = self.live.get_mut(&id) else { continue };
            if let Some(reason) = reason.filter(|reason| live.waiting.as_ref() != Some(reason)) {
                live.waiting = Some(reason.clone());
                self.notice(Notice::Waiting { job: id, reason });
            }
        }
    }

    /// Why no task of a job is with a worker, where none is.
    pub(super) fn waits(&self, id: JobId) -> Option<Waiting> {
        self.live.get(&id).filter(|live| live.leases == 0)?;
        self.why_it_waits(id)
    }

    fn why_it_waits(&self, id: JobId) -> Option<Waiting> {
        let stages = &self.durable.job(id)?.stages;
        let stage = stages.values().find(|stage| !stage.closed)?;
        let connected = self.roster.connected();
        let in_service = connected.workers - connected.draining;
        if connected.workers == 0 {
            return Some(Waiting::NoWorkers);
        }
        if in_service == 0 {
            return Some(Waiting::AllDrain { workers: connected.workers });
        }
        let workers = self.roster.iter().map(|(_, worker)| worker);
        let mut workers = workers.filter(|worker| worker.session.is_some() && !worker.draining);
        if connected.backing_off == in_service {
            let all_reject = workers.all(|worker| worker.rejections_in_a_row >= REJECTS_ALL);
            return all_reject.then_some(Waiting::AllReject { workers: in_service });
        }
        if self.live.get(&id)?.held_until > self.now {
            return Some(Waiting::Orphans);
        }
        let Work { ability, needs, .. } = &stage.work;
        let can: Vec<&Worker> = workers.filter(|worker| worker.abilities.contains(ability)).collect();
        if can.is_empty() {
            return Some(Waiting::NoAbility(ability.clone()));
        }
        if can.iter().any(|worker| worker.is_able(needs)) {
            return None;
        }
        // Of what none of them has enough; where each lacks something else, of what the first one lacks.
        let amounts = needs.resources.iter().map(|(name, needed)| {
            let has: Vec<u64> = can.iter().map(|worker| worker.resources.get(name)).collect();
            (name, needed, has)
        });
        let slots = ("slots", u64::from(needs.slots), can.iter().map(|worker| worker.slots as u64).collect());
        let lacks: Vec<(&str, u64, Vec<u64>)> = std::iter::once(slots)
            .chain(amounts)
            .filter(|(_, needed, has)| has.iter().any(|has| has < needed))
            .collect();
        let by_all = lacks.iter().find(|(_, needed, has)| has.iter().all(|has| has < needed));
        let (what, needed, has) = by_all.or(lacks.first())?;
        let most = has.iter().copied().max().unwrap_or(0);
        Some(Waiting::NotEnough { what: (*what).to_owned(), needed: *needed, most })
    }
}

/// A job's weight among jobs, 2^priority, in units of the least.
fn weight(priority: i32) -> u64 {
    1 << (PRIORITY_MAX + priority)
}

/// What one more lease would make of a job's leases for its weight: always giving the next one where this is smallest is
/// the divisor method of D'Hondt, which shares in proportion to the weights.
fn quotient(leases: usize, priority: i32) -> u64 {
    (leases as u64 + 1) << (PRIORITY_MAX - priority)
}

/// A task's own seed: the job's, mixed with the task's place (SplitMix64's finaliser, Steele 2014).
fn task_seed(seed: u64, task: TaskId) -> u64 {
    let place = u64::from(task.stage.0) << 32 | u64::from(task.index);
    let mut bits = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
