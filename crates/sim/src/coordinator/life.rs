//! How the coordinator's process begins and ends: from what the disk holds, and in the middle of anything.
//!
//! Whoever dies is checked at once: what is on the disk has to come to what it lived with. It does not know why it dies.

use convoke_core::coordinator::{Config, Coordinator};
use convoke_core::{Event, Position, SessionId};
use convoke_store::journal::{Journal, JournalReader, ReadError};
use convoke_store::snapshots::Folded;

use super::{Decided, Doom, is_of_the_store};
use crate::blobs::CoordinatorBlobs;
use crate::clock::Clock;
use crate::compute::is_of_the_disk;
use crate::happening::Happening;
use crate::invariants::Violation;
use crate::world::World;

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
        if let Some(decided) = self.coordinator.in_doubt.take()
            && self.coordinator.journal.tail().position >= decided.at
        {
            self.journaled(&decided)?;
        }
        let durable = self.check_journal(&[])?.durable;
        self.coordinator.folded = Folded::default();
        self.coordinator.remember(self.blobs.all()).map_err(|error| self.broken(error.into()))?;
        for (_, job) in durable.live_jobs() {
            self.observer.coverage.count("transition.job-taken-up");
            let closed = job.stages.values().filter(|stage| stage.closed);
            closed.for_each(|_| self.observer.coverage.count("transition.combine-taken-up"));
        }
        // Here nothing is compiled, and executors that do not keep their time are to be met often.
        let config = Config { policy: self.scenario.default_policy, timeout_grace_ms: 1_000 };
        let (machine, decision) = Coordinator::start(0, config, durable);
        self.observer.line(self.now, "coordinator", "starts");
        self.coordinator.machine = Some(machine);
        self.coordinator.wakes_at = None;
        let life = self.coordinator.life;
        self.queue.push(self.now + self.scenario.retention.times.turn_ms, Happening::CollectorTurns { life });
        self.perform(decision)
    }

    /// What a process does before it takes anything over.
    fn open_disk(&mut self) -> Result<(), anyhow::Error> {
        self.coordinator.clock = Clock::start(self.now, &mut self.dice);
        self.blobs = CoordinatorBlobs::open(&self.disk, &self.scenario.retention)?;
        self.coordinator.journal.look_again()?;
        let reader: &dyn JournalReader = &self.coordinator.journal;
        self.coordinator.trimmed = match reader.read(Position(1), 0) {
            Err(ReadError::Trimmed { first }) => {
                self.observer.coverage.count("transition.restored-from-a-snapshot");
                Position(first.0 - 1)
            }
            read => read.map(|_| Position(0))?,
        };
        Ok(())
    }

    /// Before it has appended, or while it does.
    pub(super) fn dies_at_an_append(&mut self, doom: Doom, decided: Decided) -> Result<(), Violation> {
        if self.dice.chance(50) {
            return self.coordinator_dies(doom, &decided.events);
        }
        self.note("fault.crash-in-an-append");
        self.coordinator.journal.write(&decided.frame);
        self.dies_in_doubt(doom, decided)
    }

    /// It dies for something that is done beside the loop, which may wait for the disk with a frame.
    pub fn coordinator_dies_beside(&mut self, doom: Doom) -> Result<(), Violation> {
        match self.coordinator.stalled.take() {
            Some(stalled) => self.dies_in_doubt(doom, stalled.decided),
            None => self.coordinator_dies(doom, &[]),
        }
    }

    /// It dies over a frame that may be in the journal.
    pub(super) fn dies_in_doubt(&mut self, doom: Doom, decided: Decided) -> Result<(), Violation> {
        self.coordinator.in_doubt = Some(decided.clone());
        self.coordinator_dies(doom, &decided.events)
    }

    /// The process is gone, and what it had decided but not appended with it.
    pub fn coordinator_dies(&mut self, doom: Doom, vanished: &[Event]) -> Result<(), Violation> {
        self.happens(if vanished.is_empty() { "fault.crash" } else { "fault.crash-before-append" });
        self.observer.line(self.now, "coordinator", format!("dies; {} events vanish", vanished.len()));
        self.check_journal(vanished)?;
        self.coordinator.machine = None;
        if doom.power_cut {
            self.happens("fault.power-cut");
            self.disk.cut_power();
            self.coordinator.journal.cut_power();
        }
        self.invariants.one_result.on_crash();
        self.coordinator.life += 1;
        self.coordinator.paused_until = 0;
        self.coordinator.stalled = None;
        self.coordinator.remembers = false;
        let sessions: Vec<SessionId> = self.network.links.keys().copied().collect();
        for session in sessions {
            self.cut(session, 0);
            if !doom.power_cut {
                self.tell_worker_gone(session, 100);
            }
        }
        // Now and then what it dies of is not its own.
        if self.now < self.scenario.faults_until && self.dice.chance(30) {
            self.any_process().into_iter().for_each(|process| self.partition(process));
        }
        let at = self.now + self.dice.between(20, 4_000);
        self.queue.push(at, Happening::CoordinatorStarts);
        Ok(())
    }
}
