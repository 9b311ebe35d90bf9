//! The worker's machine: what it is told and what its executors report goes in, orders to its shell come out.
//!
//! It dials, greets, queues, starts, reports and, after a loss, brings its work along to the next session. It does no
//! IO, and never knows what a task computes.

mod io;
mod slots;
#[cfg(test)]
mod tests;

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::event::{Completion, Failure, REASON_BYTES_MAX, bounded};
use crate::message::{Assignment, FromWorker, HEARTBEAT_MS, Held, Hello, LIVENESS_MS, ORPHAN_MS, ToWorker};
use crate::sabotage::{self, Bug};
use crate::timer::Timers;
use crate::{LeaseId, Millis, TaskId};

pub use io::{Config, Input, Load, Notice, Output, Run};

/// The first pause before dialling again; doubled after each failure.
const REDIAL_MS: Millis = 100;
/// The longest pause before dialling again.
const REDIAL_MS_MAX: Millis = 5_000;
/// How long a coordinator has for its welcome. Short enough that a wrong address is told within five seconds.
const WELCOME_MS: Millis = 4_000;
/// How many tasks beyond its slots a worker takes on before it gives them back.
const QUEUE_MAX: usize = 64;

/// A worker's state.
pub struct Worker {
    config: Config,
    now: Millis,
    link: Link,
    /// What it was given and has not been thanked for, oldest first.
    holding: Vec<Holding>,
    next_run: u64,
    /// How often in a row dialling has failed.
    failures: u32,
    rng: Pcg64Mcg,
    timers: Timers<Timer>,
    outputs: Vec<Output>,
}

/// How it stands with the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// There is no connection; a timer says when to dial.
    Down,
    /// The shell is dialling.
    Dialling,
    /// The hello is on its way.
    Greeting,
    /// The session stands.
    Up,
}

/// A task in the worker's hands.
#[derive(Debug)]
struct Holding {
    assignment: Assignment,
    given_at: Millis,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for a slot.
    Queued,
    /// Has a slot, and waits out the load before it starts or is rejected.
    Delayed { run: Run, rejects: bool },
    /// Its executor is at it.
    Running { run: Run },
    /// Has its result, which the coordinator has not acknowledged.
    Done(Completion),
    /// Failed, which the coordinator has not acknowledged.
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Dial,
    Beat,
    /// The coordinator was silent for too long.
    Silence,
    /// The coordinator was not heard for so long that it may give what runs here to others.
    Orphaned,
    /// A delayed task's load is over.
    Loaded(Run),
}

impl Worker {
    /// A worker that has yet to dial: ask it for its timeout.
    pub fn new(now: Millis, config: Config) -> Self {
        let mut timers = Timers::new();
        timers.set(Timer::Dial, now);
        let rng = Pcg64Mcg::new(u128::from(config.load.seed) << 1 | 1);
        Self {
            config,
            now,
            link: Link::Down,
            holding: Vec::new(),
            next_run: 1,
            failures: 0,
            rng,
            timers,
            outputs: Vec::new(),
        }
    }

    /// Says what follows from `input`. Due timers go first.
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Output> {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            self.on_timer(timer);
        }
        match input {
            Input::Tick => {}
            Input::Connected => self.on_connected(),
            Input::Disconnected => self.on_disconnected(),
            Input::Received(message) => self.on_message(message),
            Input::Finished { run, outcome } => self.on_finished(run, outcome),
            Input::Leave => {
                let held = self.holding.iter().filter(|held| !held.has_ended()).count();
                self.outputs.push(Output::Notice(Notice::Leaving { held }));
                self.on_leave();
            }
        }
        self.start_waiting();
        self.end_if_drained();
        std::mem::take(&mut self.outputs)
    }

    /// When to call `handle` with a tick, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Dial => {
                self.link = Link::Dialling;
                self.outputs.push(Output::Dial);
            }
            Timer::Beat => {
                self.outputs.push(Output::Send(FromWorker::Heartbeat));
                self.timers.set(Timer::Beat, self.now + HEARTBEAT_MS);
            }
            Timer::Silence => {
                self.outputs.push(Output::HangUp);
                self.on_disconnected();
            }
            Timer::Orphaned => self.on_orphaned(),
            Timer::Loaded(run) => self.on_loaded(run),
        }
    }

    /// The connection stands: the worker says who it is and what it brings along. What failed is left out: if the report
    /// was heard, it would count twice; if not, the task runs again.
    fn on_connected(&mut self) {
        if self.link != Link::Dialling {
            return;
        }
        self.link = Link::Greeting;
        self.holding.retain(|held| !matches!(held.state, State::Failed(_)) || sabotage::is(Bug::CountFailureTwice));
        let bring = |held: &Holding| Held {
            ability: held.assignment.ability.clone(),
            program: held.assignment.program.clone(),
            split: held.assignment.split,
            task: held.assignment.task,
            base: held.assignment.base.clone(),
            input: held.assignment.input.clone(),
        };
        let hello = Hello { holding: self.holding.iter().map(bring).collect(), ..self.config.hello.clone() };
        self.outputs.push(Output::Greet(hello));
        self.timers.set(Timer::Silence, self.now + WELCOME_MS);
    }

    /// The connection is gone, or could not be made: what runs goes on, what waited is for others, and the worker dials
    /// again, later each time.
    fn on_disconnected(&mut self) {
        if self.link == Link::Down {
            return;
        }
        if self.link == Link::Up {
            self.outputs.push(Output::Notice(Notice::Lost));
        }
        self.link = Link::Down;
        self.holding.retain(|held| !matches!(held.state, State::Queued));
        self.timers.cancel(Timer::Beat);
        self.timers.cancel(Timer::Silence);
        let pause_ms = REDIAL_MS.saturating_mul(1 << self.failures.min(16)).min(REDIAL_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        // Jitter keeps a thousand workers that lost one coordinator from dialling in step.
        let jitter_ms = self.rng.next_u64() % (pause_ms / 2 + 1);
        self.timers.set(Timer::Dial, self.now + pause_ms / 2 + jitter_ms);
    }

    fn on_message(&mut self, message: ToWorker) {
        if !matches!(self.link, Link::Greeting | Link::Up) {
            return;
        }
        self.timers.set(Timer::Silence, self.now + LIVENESS_MS);
        self.timers.set(Timer::Orphaned, self.now + ORPHAN_MS);
        match message {
            ToWorker::Heartbeat => {}
            ToWorker::Welcome { name, kept, .. } => self.on_welcome(name, &kept),
            ToWorker::Assign(assignment) => self.on_assign(assignment),
            ToWorker::Revoke { lease } | ToWorker::Accepted { lease } => self.forget(lease),
            ToWorker::Drain => self.on_drain(),
        }
    }

    /// The session stands: work with a new lease goes on, the rest is dropped, and what was done is reported again.
    fn on_welcome(&mut self, name: String, kept: &[(TaskId, LeaseId)]) {
        self.link = Link::Up;
        self.failures = 0;
        self.timers.set(Timer::Beat, self.now + HEARTBEAT_MS);
        self.config.hello.name.clone_from(&name);
        self.outputs.push(Output::Notice(Notice::Joined { name, kept: kept.len() }));
        for mut held in std::mem::take(&mut self.holding) {
            match kept.iter().find(|(task, _)| *task == held.assignment.task) {
                Some((_, lease)) => {
                    held.assignment.lease = *lease;
                    self.report(&held);
                    self.holding.push(held);
                }
                None => self.drop_held(held),
            }
        }
    }

    fn on_assign(&mut self, assignment: Assignment) {
        if self.config.hello.draining || self.holding.len() >= self.config.hello.slots as usize + QUEUE_MAX {
            self.outputs.push(Output::Send(FromWorker::Rejected { lease: assignment.lease }));
            return;
        }
        self.holding.push(Holding { assignment, given_at: self.now, state: State::Queued });
    }

    /// Ends what must not run twice at a time: someone else may soon be given it. A session in which the coordinator takes it
    /// for running ends with it.
    fn on_orphaned(&mut self) {
        if !self.holding.iter().any(Holding::is_orphan) {
            return;
        }
        if matches!(self.link, Link::Greeting | Link::Up) {
            self.outputs.push(Output::HangUp);
            self.on_disconnected();
        }
        for held in std::mem::take(&mut self.holding) {
            if held.is_orphan() {
                self.outputs.push(Output::Notice(Notice::Orphaned { task: held.assignment.task }));
                self.drop_held(held);
            } else {
                self.holding.push(held);
            }
        }
    }

    /// The lease is over, by acknowledgement or by revocation.
    fn forget(&mut self, lease: LeaseId) {
        if let Some(place) = self.holding.iter().position(|held| held.assignment.lease == lease) {
            let held = self.holding.remove(place);
            self.drop_held(held);
        }
    }

    fn drop_held(&mut self, held: Holding) {
        match held.state {
            State::Running { run } => self.outputs.push(Output::Abort(run)),
            State::Delayed { run, .. } => self.timers.cancel(Timer::Loaded(run)),
            State::Queued | State::Done(_) | State::Failed(_) => {}
        }
    }

    /// An executor came to its end. That of a dropped task is news to nobody.
    fn on_finished(&mut self, run: Run, outcome: Result<Completion, Failure>) {
        let is_it = |held: &&mut Holding| matches!(held.state, State::Running { run: other } if other == run);
        let Some(held) = self.holding.iter_mut().find(is_it) else { return };
        held.state = match outcome {
            Ok(completion) => State::Done(completion),
            Err(failure) => State::Failed(Failure { reason: bounded(failure.reason, REASON_BYTES_MAX), ..failure }),
        };
        if self.link == Link::Up
            && let Some(message) = held.report()
        {
            self.outputs.push(Output::Send(message));
        }
    }

    /// The worker is taken out of service, and says so in every hello from now on.
    fn on_drain(&mut self) {
        if !std::mem::replace(&mut self.config.hello.draining, true) {
            self.outputs.push(Output::Notice(Notice::Draining { held: self.holding.len() }));
        }
    }

    /// With nothing left that runs or is not accepted, a draining worker leaves. It does so in a session, where the
    /// coordinator hears of it and takes nothing for lost.
    fn end_if_drained(&mut self) {
        if self.config.hello.draining && self.link == Link::Up && self.holding.is_empty() {
            self.on_leave();
            self.outputs.push(Output::Notice(Notice::Drained));
            self.outputs.push(Output::End);
        }
    }

    /// The worker ends: it gives back what it holds, and never dials again. The coordinator ends the session.
    fn on_leave(&mut self) {
        if self.link == Link::Up {
            self.outputs.push(Output::Send(FromWorker::Leaving));
        }
        for held in std::mem::take(&mut self.holding) {
            self.drop_held(held);
        }
        self.link = Link::Down;
        self.timers = Timers::new();
    }

    fn report(&mut self, held: &Holding) {
        self.outputs.extend(held.report().map(Output::Send));
    }
}

impl Holding {
    /// Whether it has to end where nobody is heard.
    fn is_orphan(&self) -> bool {
        let runs = matches!(self.state, State::Delayed { .. } | State::Running { .. });
        runs && !self.assignment.idempotent && !sabotage::is(Bug::KeepOrphans)
    }

    /// Whether there is nothing left to do.
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Done(_) | State::Failed(_))
    }

    /// What there is to tell of it.
    fn report(&self) -> Option<FromWorker> {
        let lease = self.assignment.lease;
        match &self.state {
            State::Queued | State::Delayed { .. } | State::Running { .. } => None,
            State::Done(completion) => Some(FromWorker::Done { lease, completion: completion.clone() }),
            State::Failed(failure) => Some(FromWorker::Failed { lease, failure: failure.clone() }),
        }
    }
}
