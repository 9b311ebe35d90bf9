//! The coordinator's shell, simulated: it appends a decision's events as one frame, then performs its outputs one by one.
//!
//! It may die between any two of these steps (`life`), and starts again from what the journal holds. How outputs are
//! performed is in `outputs`. It decides nothing.

mod life;
mod outputs;

use std::collections::BTreeSet;

use convoke_core::coordinator::{Coordinator, Decision, Input, Output};
use convoke_core::message::{FromWorker, ToWorker};
use convoke_core::sabotage::{self, Bug};
use convoke_core::{Event, Millis, Position};
use convoke_store::journal::{AppendError, EncodedFrame, Frame, Journal, append_once};
use convoke_store::snapshots::Folded;

use crate::clock::Clock;
use crate::disk::{Disk, SimulatedJournal};
use crate::happening::Happening;
use crate::invariants::{Journaled, Violation};
use crate::observer::{event_kind, input_kind};
use crate::world::World;

/// The coordinator's process, and the journal that outlives it.
pub struct CoordinatorHost {
    /// Grows with each death, so that what belongs to an earlier process is told apart.
    pub life: u64,
    pub machine: Option<Coordinator>,
    pub journal: SimulatedJournal,
    /// What was decided, while the disk does not take it.
    stalled: Option<Stalled>,
    /// What the last process died over: it may be in the journal.
    in_doubt: Option<Decided>,
    /// What the history has made of the journal.
    pub folded: Folded,
    /// Whether the history will look again.
    pub remembers: bool,
    /// How far the journal is trimmed.
    pub trimmed: Position,
    clock: Clock,
    pub paused_until: Millis,
    /// When the process dies: after so many more steps.
    pub doom: Option<Doom>,
    wakes_at: Option<Millis>,
}

/// Events, and the frame that they make.
#[derive(Clone)]
struct Decided {
    at: Position,
    wall_ms: Millis,
    frame: EncodedFrame,
    events: Vec<Event>,
}

/// A decision whose frame the disk did not take: nobody is told of it, and nothing else is decided.
struct Stalled {
    until: Millis,
    decided: Decided,
    outputs: Vec<Output>,
}

/// A step of the process, between two of which it may die.
#[derive(Clone, Copy, PartialEq)]
pub enum Step {
    /// Storing, recording or trimming.
    OfASnapshot,
    Other,
}

#[derive(Clone, Copy)]
pub struct Doom {
    pub steps: u64,
    /// Whether only steps of a snapshot count.
    pub at_a_snapshot: bool,
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
            folded: Folded::default(),
            remembers: false,
            trimmed: Position(0),
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
    pub fn dies_now(&mut self, step: Step) -> Option<Doom> {
        let doom = self.doom.as_mut().filter(|doom| !doom.at_a_snapshot || step == Step::OfASnapshot)?;
        doom.steps = doom.steps.saturating_sub(1);
        if doom.steps == 0 { self.doom.take() } else { None }
    }

    /// What its clock shows.
    pub fn time(&self, now: Millis) -> Millis {
        if self.machine.is_some() { self.clock.read(now) } else { 0 }
    }

    /// The frame that comes next.
    fn encode(&self, now: Millis, events: Vec<Event>) -> Result<Decided, anyhow::Error> {
        let term = self.machine.as_ref().map(Coordinator::term).unwrap_or_default();
        let tail = self.journal.tail();
        let frame = Frame::encode(tail.hash, term, now, &events)?;
        Ok(Decided { at: tail.position.next(), wall_ms: now, frame, events })
    }
}

impl World {
    /// Due timers first, then the input: so that what follows from the input alone can be told.
    pub fn feed_coordinator(&mut self, input: Input) -> Result<(), Violation> {
        let now = self.coordinator.clock.read(self.now);
        let Some(machine) = &mut self.coordinator.machine else { return Ok(()) };
        if machine.poll_timeout().is_some_and(|due| due <= now) {
            let decision = machine.decide(now, Input::Tick);
            self.count_transitions(&Input::Tick, &decision);
            self.invariants.one_result.on_outputs(&decision.outputs);
            let checked = self.invariants.resources.on_outputs(&decision.outputs);
            checked.map_err(|why| self.violation(why))?;
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
        self.invariants.resources.on_input(&input);
        let checked = self.invariants.resources.on_outputs(&decision.outputs);
        checked.map_err(|why| self.violation(why))?;
        let deadlines = &mut self.invariants.deadlines;
        let checked = deadlines.on_input(&input, &decision, &self.invariants.record.durable);
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
            let decided = self.coordinator.encode(self.now, events).map_err(|error| self.broken(error))?;
            let is_taken = |event: &Event| matches!(event, Event::SnapshotTaken { .. });
            let step = if decided.events.iter().any(is_taken) { Step::OfASnapshot } else { Step::Other };
            if let Some(doom) = self.coordinator.dies_now(step) {
                return self.dies_at_an_append(doom, decided);
            }
            return self.append(Stalled { until: self.now, decided, outputs });
        }
        self.tell(outputs)
    }

    /// Appends what was decided, then tells it; or waits, if the disk does not take it.
    fn append(&mut self, mut stalled: Stalled) -> Result<(), Violation> {
        let Decided { at, frame, events, .. } = &stalled.decided;
        match append_once(&mut self.coordinator.journal, *at, frame) {
            Ok(()) => {
                events.iter().for_each(|event| self.blobs.holds.hear(event));
                self.journaled(&stalled.decided)?;
                self.remembers_soon();
                self.invariants.acknowledged.told(self.coordinator.journal.tail());
                self.tell(stalled.outputs)
            }
            Err(error) if is_of_the_store(&error) => {
                self.note("transition.append-failed");
                if sabotage::is(Bug::TellAfterFailedAppend) {
                    return self.tell(stalled.outputs);
                }
                if self.now < self.scenario.faults_until && self.dice.chance(10) {
                    self.happens("fault.append-kills");
                    let power_cut = self.dice.chance(50);
                    return self.dies_in_doubt(Doom { steps: 0, at_a_snapshot: false, power_cut }, stalled.decided);
                }
                stalled.until = self.now + self.dice.between(50, 1_000);
                self.queue.push(stalled.until, Happening::AppendAgain { life: self.coordinator.life });
                self.coordinator.stalled = Some(stalled);
                Ok(())
            }
            Err(error) => Err(self.broken(error.into())),
        }
    }

    /// The same frame again. The workers hear meanwhile that the coordinator is there, and nothing else.
    pub fn append_again(&mut self) -> Result<(), Violation> {
        let Some(stalled) = self.coordinator.stalled.take() else { return Ok(()) };
        if let Some(doom) = self.coordinator.dies_now(Step::Other) {
            return self.dies_in_doubt(doom, stalled.decided);
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
    fn journaled(&mut self, decided: &Decided) -> Result<(), Violation> {
        for event in &decided.events {
            self.observer.coverage.count(event_kind(event));
            self.observer.line(self.now, "journal", event);
        }
        let Decided { at, wall_ms, events, .. } = decided;
        let frame = Journaled { at: *at, wall_ms: *wall_ms, events };
        let has = |digest| self.blobs.all().has(digest).unwrap_or(false);
        self.invariants.on_frame(frame, &has, self.disk.losses()).map_err(|why| self.violation(why))
    }

    fn tell(&mut self, outputs: Vec<Output>) -> Result<(), Violation> {
        for output in outputs {
            let step = if matches!(output, Output::Trim { .. }) { Step::OfASnapshot } else { Step::Other };
            if let Some(doom) = self.coordinator.dies_now(step) {
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
}

/// Whether it is the disk that failed, which may be over the next time.
fn is_of_the_store(error: &AppendError) -> bool {
    matches!(error, AppendError::Store(_))
}
