//! The coordinator's shell, simulated: it appends a decision's events as one frame, then performs its outputs one by one.
//!
//! It may die between any two of these steps, and starts again from what the journal holds. It decides nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use convoke_core::coordinator::{Combine, Config, Coordinator, Decision, Input, Output, durable::Durable};
use convoke_core::message::{FromWorker, ToWorker};
use convoke_core::sabotage::{self, Bug};
use convoke_core::{Event, Millis, Position, SessionId};
use convoke_store::blobs::FolderBlobs;
use convoke_store::journal::{AppendError, EncodedFrame, Frame, Journal, JournalReader, append_once};

use crate::clock::Clock;
use crate::compute::{self, is_of_the_disk};
use crate::disk::{Disk, SimulatedJournal};
use crate::invariants::{Violation, replay};
use crate::network::{Way, latency};
use crate::observer::{down_kind, event_kind, input_kind, notice_kind};
use crate::world::{Happening, World};

/// Where the blobs are.
pub const BLOBS: &str = "blobs";

/// The coordinator's process, and the journal that outlives it.
pub struct CoordinatorHost {
    /// Grows with each death, so that what belongs to an earlier process is told apart.
    pub life: u64,
    pub machine: Option<Coordinator>,
    pub journal: SimulatedJournal,
    /// What was decided, while the disk does not take it.
    stalled: Option<Stalled>,
    /// What the last process died over: it may be in the journal.
    in_doubt: Option<(Position, Vec<Event>)>,
    clock: Clock,
    pub paused_until: Millis,
    /// When the process dies: after so many more steps.
    pub doom: Option<Doom>,
    wakes_at: Option<Millis>,
}

/// A decision whose frame the disk did not take: nobody is told of it, and nothing else is decided.
struct Stalled {
    until: Millis,
    at: Position,
    frame: EncodedFrame,
    events: Vec<Event>,
    outputs: Vec<Output>,
}

#[derive(Clone, Copy)]
pub struct Doom {
    pub steps: u64,
    /// Whether what was not synced goes, too.
    pub power_cut: bool,
}

impl CoordinatorHost {
    pub fn new(disk: Disk) -> Self {
        Self {
            life: 0,
            machine: None,
            journal: SimulatedJournal::new(disk),
            stalled: None,
            in_doubt: None,
            clock: Clock::default(),
            paused_until: 0,
            doom: None,
            wakes_at: None,
        }
    }

    /// When it tries to append again, if the disk did not take a frame.
    pub fn stalled_until(&self) -> Option<Millis> {
        self.stalled.as_ref().map(|stalled| stalled.until)
    }

    /// Whether this is a process that was told to die at this step.
    fn dies_now(&mut self) -> Option<Doom> {
        let doom = self.doom.as_mut()?;
        doom.steps = doom.steps.saturating_sub(1);
        if doom.steps == 0 { self.doom.take() } else { None }
    }

    /// What the journal folds to, by its own encoding.
    pub fn replay(&self) -> Result<Durable, anyhow::Error> {
        let reader: &dyn JournalReader = &self.journal;
        let mut durable = Durable::default();
        let mut from = Position(1);
        loop {
            let frames = reader.read(from, 1_000)?;
            let Some((last, _)) = frames.last() else { return Ok(durable) };
            from = last.next();
            for event in frames.iter().flat_map(|(_, frame)| &frame.records) {
                if matches!(event, Event::AttemptFailed { .. }) && sabotage::is(Bug::SkipEventInReplay) {
                    continue;
                }
                durable.apply(event)?;
            }
        }
    }

    /// The frame that comes next, and its place.
    fn encode(&self, now: Millis, events: &[Event]) -> Result<(Position, EncodedFrame), anyhow::Error> {
        let term = self.machine.as_ref().map(Coordinator::term).unwrap_or_default();
        let tail = self.journal.tail();
        Ok((tail.position.next(), Frame::encode(tail.hash, term, now, events)?))
    }
}

impl World {
    pub fn coordinator_starts(&mut self) -> Result<(), Violation> {
        if self.coordinator.machine.is_some() {
            return Ok(());
        }
        if let Err(error) = self.open_disk() {
            if !error.downcast_ref().is_some_and(is_of_the_disk) && !error.downcast_ref().is_some_and(is_of_the_store) {
                return Err(self.broken(error));
            }
            self.note("transition.start-refused-by-the-disk");
            let at = self.now + self.dice.between(200, 2_000);
            self.queue.push(at, Happening::CoordinatorStarts);
            return Ok(());
        }
        if let Some((at, events)) = self.coordinator.in_doubt.take()
            && self.coordinator.journal.tail().position >= at
        {
            self.journaled(&events)?;
        }
        let durable = self.coordinator.replay().map_err(|error| self.broken(error))?;
        self.invariants.acknowledged.on_restart(&durable).map_err(|why| self.violation(why))?;
        for (_, job) in durable.live_jobs() {
            self.observer.coverage.count("transition.job-taken-up");
            let closed = job.stages.values().filter(|stage| stage.closed);
            closed.for_each(|_| self.observer.coverage.count("transition.combine-taken-up"));
        }
        let config = Config { policy: self.scenario.default_policy };
        self.coordinator.clock = Clock::start(self.now, &mut self.dice);
        let (machine, decision) = Coordinator::start(0, config, durable);
        self.observer.line(self.now, "coordinator", "starts");
        self.coordinator.machine = Some(machine);
        self.coordinator.wakes_at = None;
        self.perform(decision)
    }

    /// What a process does before it takes anything over.
    fn open_disk(&mut self) -> Result<(), anyhow::Error> {
        self.blobs = FolderBlobs::open_over(Arc::new(self.disk.clone()), Path::new(BLOBS))?;
        Ok(self.coordinator.journal.look_again()?)
    }

    /// Due timers first, then the input: so that what follows from the input alone can be told.
    pub fn feed_coordinator(&mut self, input: Input) -> Result<(), Violation> {
        let now = self.coordinator.clock.read(self.now);
        let Some(machine) = &mut self.coordinator.machine else { return Ok(()) };
        if machine.poll_timeout().is_some_and(|due| due <= now) {
            let decision = machine.decide(now, Input::Tick);
            self.count_transitions(&Input::Tick, &decision);
            self.invariants.one_result.on_outputs(&decision.outputs);
            self.perform(decision)?;
        }
        if let Some(until) = self.coordinator.stalled_until() {
            self.queue.push(
                until.max(self.now + 1),
                Happening::Waited { life: self.coordinator.life, input: Box::new(input) },
            );
            return Ok(());
        }
        let Some(machine) = &mut self.coordinator.machine else { return Ok(()) };
        self.invariants.draining.on_input(&input);
        self.observer.coverage.count(input_kind(&input));
        let decision = machine.decide(now, input.clone());
        self.count_transitions(&input, &decision);
        let checked = self.invariants.one_result.on_input(&input, &decision);
        checked.map_err(|why| self.violation(why))?;
        self.perform(decision)
    }

    /// What is worth knowing of a decision, beside what it says itself.
    fn count_transitions(&mut self, input: &Input, decision: &Decision) {
        let mut taken_back = BTreeSet::new();
        for output in &decision.outputs {
            let Output::Send { message, .. } = output else { continue };
            match message {
                ToWorker::Revoke { lease } => match self.invariants.one_result.task_of(*lease) {
                    Some(task) => drop(taken_back.insert(task)),
                    None => self.observer.coverage.count("transition.stale-report-fenced"),
                },
                ToWorker::Assign(assignment) if taken_back.remove(&assignment.task) => {
                    self.observer.coverage.count("transition.taken-over-from-a-queue");
                }
                ToWorker::Assign(assignment) if self.invariants.one_result.is_held(assignment.task) => {
                    self.observer.coverage.count("transition.second-attempt-beside-the-first");
                }
                _ => {}
            }
        }
        if matches!(input, Input::Received { message: FromWorker::Done { .. }, .. }) {
            taken_back.iter().for_each(|_| self.observer.coverage.count("transition.other-attempt-revoked"));
        }
    }

    /// Only the last wake that was asked for counts.
    pub fn coordinator_wakes(&mut self, at: Millis) -> Result<(), Violation> {
        if self.coordinator.wakes_at != Some(at) {
            return Ok(());
        }
        self.coordinator.wakes_at = None;
        self.feed_coordinator(Input::Tick)
    }

    fn perform(&mut self, decision: Decision) -> Result<(), Violation> {
        let Decision { events, mut outputs } = decision;
        if sabotage::is(Bug::TellBeforeAppend) {
            for output in std::mem::take(&mut outputs) {
                self.perform_output(output)?;
            }
        }
        if !events.is_empty() {
            if let Some(doom) = self.coordinator.dies_now() {
                return self.coordinator_dies(doom, &events);
            }
            let (at, frame) = self.coordinator.encode(self.now, &events).map_err(|error| self.broken(error))?;
            return self.append(Stalled { until: self.now, at, frame, events, outputs });
        }
        self.tell(outputs)
    }

    /// Appends what was decided, then tells it; or waits, if the disk does not take it.
    fn append(&mut self, mut decided: Stalled) -> Result<(), Violation> {
        match append_once(&mut self.coordinator.journal, decided.at, &decided.frame) {
            Ok(()) => {
                self.journaled(&decided.events)?;
                self.tell(decided.outputs)
            }
            Err(error) if is_of_the_store(&error) => {
                self.note("transition.append-failed");
                if sabotage::is(Bug::TellAfterFailedAppend) {
                    return self.tell(decided.outputs);
                }
                if self.now < self.scenario.faults_until && self.dice.chance(10) {
                    self.happens("fault.append-kills");
                    self.coordinator.in_doubt = Some((decided.at, decided.events.clone()));
                    let power_cut = self.dice.chance(50);
                    return self.coordinator_dies(Doom { steps: 0, power_cut }, &decided.events);
                }
                decided.until = self.now + self.dice.between(50, 1_000);
                self.queue.push(decided.until, Happening::AppendAgain { life: self.coordinator.life });
                self.coordinator.stalled = Some(decided);
                Ok(())
            }
            Err(error) => Err(self.broken(error.into())),
        }
    }

    /// The same frame again. The workers hear meanwhile that the coordinator is there, and nothing else.
    pub fn append_again(&mut self) -> Result<(), Violation> {
        let Some(stalled) = self.coordinator.stalled.take() else { return Ok(()) };
        if let Some(doom) = self.coordinator.dies_now() {
            self.coordinator.in_doubt = Some((stalled.at, stalled.events.clone()));
            return self.coordinator_dies(doom, &stalled.events);
        }
        self.append(stalled)?;
        if self.coordinator.stalled.is_none() {
            self.note("transition.append-succeeded-later");
            return Ok(());
        }
        for session in self.network.standing() {
            self.perform_output(Output::Send { session, message: ToWorker::Heartbeat })?;
        }
        Ok(())
    }

    /// Events are in the journal.
    fn journaled(&mut self, events: &[Event]) -> Result<(), Violation> {
        for event in events {
            self.observer.coverage.count(event_kind(event));
            self.observer.line(self.now, "journal", event);
            self.invariants.on_event(event).map_err(|why| self.violation(why))?;
        }
        Ok(())
    }

    fn tell(&mut self, outputs: Vec<Output>) -> Result<(), Violation> {
        for output in outputs {
            if let Some(doom) = self.coordinator.dies_now() {
                return self.coordinator_dies(doom, &[]);
            }
            self.perform_output(output)?;
        }
        let due = self.coordinator.machine.as_ref().and_then(Coordinator::poll_timeout);
        let due = due.map(|due| self.coordinator.clock.when(due).max(self.now + 1));
        if let Some(at) = due.filter(|due| self.coordinator.wakes_at.is_none_or(|at| *due < at)) {
            self.coordinator.wakes_at = Some(at);
            self.queue.push(at, Happening::CoordinatorWakes { life: self.coordinator.life, at });
        }
        Ok(())
    }

    fn perform_output(&mut self, output: Output) -> Result<(), Violation> {
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
            // No snapshot is taken here yet, so none is asked for.
            Output::Trim { through } => {
                self.coordinator.journal.trim(through).map_err(|error| self.broken(error.into()))?
            }
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
        let outcome = match compute::combine(&self.blobs, &combine) {
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

    /// The process is gone, and what it had decided but not appended with it.
    fn coordinator_dies(&mut self, doom: Doom, vanished: &[Event]) -> Result<(), Violation> {
        let Some(machine) = self.coordinator.machine.take() else { return Ok(()) };
        self.happens(if vanished.is_empty() { "fault.crash" } else { "fault.crash-before-append" });
        self.observer.line(self.now, "coordinator", format!("dies; {} events vanish", vanished.len()));
        let replayed = self.coordinator.replay().map_err(|error| self.broken(error))?;
        replay::check(replayed, vanished, machine.durable()).map_err(|why| self.violation(why))?;
        if doom.power_cut {
            self.happens("fault.power-cut");
            self.disk.cut_power();
        }
        self.invariants.one_result.on_crash();
        self.coordinator.life += 1;
        self.coordinator.paused_until = 0;
        self.coordinator.stalled = None;
        let sessions: Vec<SessionId> = self.network.links.keys().copied().collect();
        for session in sessions {
            self.cut(session, 0);
            if !doom.power_cut {
                self.tell_worker_gone(session, 100);
            }
        }
        let at = self.now + self.dice.between(20, 4_000);
        self.queue.push(at, Happening::CoordinatorStarts);
        Ok(())
    }
}

/// Whether it is the disk that failed, which may be over the next time.
fn is_of_the_store(error: &AppendError) -> bool {
    matches!(error, AppendError::Store(_))
}
