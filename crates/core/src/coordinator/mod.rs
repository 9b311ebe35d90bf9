//! The coordinator's machine: what happened goes in, events and outputs come out.
//!
//! `decide` is the only way in for the living, `Durable::apply` for the journal. The shell appends a decision's events
//! before it performs its outputs, so nothing is told that is not durable. The machine does no IO and never asks the
//! time: it is told.
//!
//! The parts: `durable`, `progress`, `stage` and `credentials` (what the journal folds to), `roots` (which blobs that
//! needs), `plan` (what a job needs next), `roster`, `worker` and `queue` (who is there, what waits), and the transitions
//! in `jobs`, `sessions`, `attempts`, `placement` and `enrolment`.

pub mod credentials;
pub mod durable;
mod progress;
mod stage;
pub mod roots;
mod plan;
mod roster;
mod worker;
mod queue;
mod io;
mod notice;
mod reply;
mod jobs;
mod sessions;
mod attempts;
mod placement;
mod enrolment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rand_pcg::Pcg64Mcg;

use crate::event::Event;
use crate::message::{HEARTBEAT_MS, ToWorker};
use crate::sabotage::{self, Bug};
use crate::timer::Timers;
use crate::{Digest, JobId, Millis, Needs, Policy, Position, SessionId, StageNumber, TaskId, Term, WorkerId};

use durable::Durable;
use queue::Queue;
use roster::Roster;
use stage::Stage;

pub use io::{Combine, CombineOutcome, Decision, Input, Output, Part};
pub use jobs::LIVE_JOBS_MAX;
pub use notice::{Notice, Waiting};
pub use reply::{Refusal, Reply, TokenView, WorkerView};

/// After a restart with jobs to go on with, how long nothing is placed while the workers return.
pub const RECOVERY_MS: Millis = 2_000;

/// How many events due timers may add to one decision, which has to fit into one frame of the journal.
const TIMER_EVENTS_MAX: usize = 256;

/// What a coordinator is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How tasks are placed where the job does not say.
    pub policy: Policy,
    /// How much longer than it may an attempt is let run.
    pub timeout_grace_ms: Millis,
}

impl Default for Config {
    /// A worker ends an attempt in time, and says more of it. Its time begins once everything is fetched and a module is
    /// compiled, which may take a minute; where it takes longer, the attempt ends by this.
    fn default() -> Self {
        Self { policy: Policy::default(), timeout_grace_ms: 75_000 }
    }
}

/// The coordinator's state: the durable part, and what its sessions tell.
pub struct Coordinator {
    config: Config,
    now: Millis,
    durable: Durable,
    roster: Roster,
    leases: BTreeMap<u64, Lease>,
    next_lease: u64,
    live: BTreeMap<JobId, LiveJob>,
    /// Workers that the recovery waits for, by name.
    awaited: BTreeSet<String>,
    /// Whose turn it was last.
    turn: WorkerId,
    /// A worker that is kept free for a task which fits nowhere yet.
    kept_free: Option<KeptFree>,
    timers: Timers<Timer>,
    decision: Decision,
}

/// The volatile side of a job that has not ended.
struct LiveJob {
    /// Leases that stand.
    leases: usize,
    /// The number of its latest lease, or of the next one when the job came: how long ago its last turn was.
    latest_lease: u64,
    queues: BTreeMap<StageNumber, Queue>,
    rng: Pcg64Mcg,
    /// Why it waits, as last said.
    waiting: Option<Waiting>,
    /// Until when nothing of it is placed.
    held_until: Millis,
}

/// That a worker takes nothing more which stands in the way of a task.
struct KeptFree {
    worker: WorkerId,
    /// The task's stage, whose tasks are all alike.
    stage: (JobId, StageNumber),
    /// What it needs.
    needs: Needs,
}

/// The right to one attempt of one task.
#[derive(Debug)]
struct Lease {
    task: TaskId,
    attempt: u32,
    worker: WorkerId,
    /// When it got a slot, if it has.
    started_at: Option<Millis>,
    /// Whether the work began before the lease, so that its time says nothing of the worker's pace.
    brought_along: bool,
    /// Whether its worker was told to end it, and has yet to do so for sure.
    is_ending: bool,
    /// Whether that is for others to have it, and not since it took too long.
    is_taken_back: bool,
}

/// What the machine wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Let the workers hear from the coordinator.
    Beat,
    /// The workers had their time to return.
    Recovered,
    /// Look whether a worker has been silent for too long.
    Silent(WorkerId),
    /// A lost worker had its time to return.
    GivenUp(WorkerId),
    /// A worker that rejected a task may be asked again.
    BackedOff(WorkerId),
    /// An attempt had its time.
    TimedOut(u64),
    /// What ran before a restart, on workers that are not back, runs no more.
    OrphansGone,
    /// Look for attempts that take much longer than others.
    Stragglers,
}

impl Coordinator {
    /// Takes over what the journal folded to: opens a term and takes its jobs up where they stood.
    pub fn start(now: Millis, config: Config, durable: Durable) -> (Self, Decision) {
        let mut coordinator = Self {
            config,
            now,
            durable,
            roster: Roster::default(),
            leases: BTreeMap::new(),
            next_lease: 1,
            live: BTreeMap::new(),
            awaited: BTreeSet::new(),
            turn: WorkerId(0),
            kept_free: None,
            timers: Timers::new(),
            decision: Decision::default(),
        };
        coordinator.record(Event::TermOpened { term: coordinator.durable.term().next() });
        coordinator.timers.set(Timer::Beat, now + HEARTBEAT_MS);
        // A trim that a crash prevented is made up for.
        if let Some(through) = coordinator.durable.snapshot().map(|taken| taken.through) {
            coordinator.output(Output::Trim { through });
        }
        coordinator.recover();
        let decision = coordinator.settle();
        (coordinator, decision)
    }

    /// Decides what follows from `input`. Due timers go first.
    pub fn decide(&mut self, now: Millis, input: Input) -> Decision {
        self.now = self.now.max(now);
        // Those beyond the limit stay due: the next call comes at once.
        while self.decision.events.len() < TIMER_EVENTS_MAX
            && let Some(timer) = self.timers.pop_due(self.now)
        {
            self.on_timer(timer);
        }
        match input {
            Input::Tick => {}
            Input::Connected { session, hello, identity } => self.on_connected(session, hello, identity),
            Input::Received { session, message } => self.on_received(session, message),
            Input::Disconnected { session } => self.on_disconnected(session),
            Input::Submit { request, job, spec, submitter, owner, missing } => {
                self.on_submit(request, job, spec, submitter, owner, missing);
            }
            Input::Cancel { request, job, by } => self.on_cancel(request, job, by),
            Input::Forget { job } => self.on_forget(job),
            Input::DeadlinePassed { job } => self.on_deadline(job),
            Input::Combined { job, stage, outcome } => self.on_combined(job, stage, outcome),
            Input::SnapshotStored { through, state } => self.on_snapshot_stored(through, state),
            Input::Drain { request, worker } => self.on_drain(request, worker),
            Input::Inspect { request } => self.on_inspect(request),
            Input::WhyWaits { request, job, by } => self.on_why_waits(request, job, by),
            Input::CreateToken { request, token, wall_ms } => self.on_create_token(request, token, wall_ms),
            Input::RevokeToken { request, token } => self.on_revoke_token(request, token),
            Input::Enrol { request, token, secret, name, key, wall_ms } => {
                self.on_enrol(request, token, secret, name, key, wall_ms);
            }
            Input::RemoveIdentity { request, role, name } => self.on_remove_identity(request, role, name),
            Input::Tokens { request } => self.on_tokens(request),
        }
        self.settle()
    }

    /// When to call `decide` with a tick, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// The state that a replay of the journal gives.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The term that this coordinator opened.
    pub fn term(&self) -> Term {
        self.durable.term()
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Beat => {
                let sessions: Vec<_> = self.roster.sessions().collect();
                sessions.into_iter().for_each(|session| self.send(session, ToWorker::Heartbeat));
                self.timers.set(Timer::Beat, self.now + HEARTBEAT_MS);
            }
            Timer::Recovered => self.awaited.clear(),
            // What was held is placed.
            Timer::OrphansGone => {}
            Timer::Silent(worker) => self.on_silent(worker),
            Timer::GivenUp(worker) => self.on_given_up(worker),
            Timer::BackedOff(worker) => drop(self.roster.update(worker, |worker| worker.backs_off = false)),
            Timer::TimedOut(lease) => self.on_timed_out(lease),
            Timer::Stragglers => self.back_up_stragglers(),
        }
    }

    /// Records a snapshot, unless there is one that reaches as far, and lets go what it stands for.
    fn on_snapshot_stored(&mut self, through: Position, state: Digest) {
        if self.durable.snapshot().is_none_or(|taken| taken.through < through) {
            self.record(Event::SnapshotTaken { through, state });
            self.output(Output::Trim { through });
        }
    }

    /// Places what can be placed, and hands over what was decided.
    fn settle(&mut self) -> Decision {
        self.place();
        std::mem::take(&mut self.decision)
    }

    /// Records an event, and folds it in at once: what follows builds on it.
    fn record(&mut self, event: Event) {
        let applied = self.durable.apply(&event);
        assert!(applied.is_ok(), "a decided event fits: {applied:?}");
        if !(matches!(event, Event::AttemptFailed { .. }) && sabotage::is(Bug::KeepFailureFromJournal)) {
            self.decision.events.push(event);
        }
    }

    fn output(&mut self, output: Output) {
        self.decision.outputs.push(output);
    }

    fn notice(&mut self, notice: Notice) {
        self.output(Output::Notice(notice));
    }

    fn send(&mut self, session: SessionId, message: ToWorker) {
        self.output(Output::Send { session, message });
    }

    /// Sends to a worker, if it is connected.
    fn tell(&mut self, worker: WorkerId, message: ToWorker) {
        if let Some(session) = self.roster.get(worker).and_then(|worker| worker.session) {
            self.send(session, message);
        }
    }

    /// Whether someone else may be at a task of the job while a worker may be.
    fn may_run_twice(&self, job: JobId) -> bool {
        self.durable.job(job).is_none_or(|job| job.spec.attempts.idempotent)
    }

    /// Whether a lease is one on a task of which a second attempt may run beside it.
    fn may_be_doubled(&self, number: u64) -> bool {
        self.leases.get(&number).is_none_or(|lease| self.may_run_twice(lease.task.job))
    }

    /// Both sides of a stage that is not combined yet.
    fn stage(&mut self, job: JobId, stage: StageNumber) -> Option<(&Stage, &mut Queue)> {
        let queue = self.live.get_mut(&job)?.queues.get_mut(&stage)?;
        Some((self.durable.stage(job, stage)?, queue))
    }
}
