//! Snapshots, taken beside the coordinator's loop as the product takes them; and what a journal with some opens to.
//!
//! Folding, encoding and restoring are the product's own. It may die between any two steps, and decides nothing.

use convoke_core::Position;
use convoke_core::event::Event;
use convoke_core::sabotage::{self, Bug};
use convoke_core::snapshot::Snapshot;
use convoke_store::blobs::{Blobs, Durability};
use convoke_store::journal::{Journal, JournalReader, StoreError};
use convoke_store::snapshots::{Folded, HistoryError};

use crate::compute::is_of_the_disk;
use crate::coordinator::{CoordinatorHost, Step};
use crate::happening::Happening;
use crate::invariants::{Violation, replay};
use crate::world::World;

/// How long the history is behind the journal.
const BEHIND_MS: u64 = 100;

impl CoordinatorHost {
    /// Folds what came since the last time.
    pub fn remember(&mut self, blobs: &dyn Blobs) -> Result<(), HistoryError> {
        let reader: &dyn JournalReader = &self.journal;
        self.folded.catch_up(reader, &|digest, bytes_max| blobs.get(digest, bytes_max))
    }

    /// What a process that begins now makes of the journal.
    pub fn replay(&self, blobs: &dyn Blobs) -> Result<Folded, HistoryError> {
        let mut folded = Folded::default();
        folded.catch_up(&self.journal, &|digest, bytes_max| blobs.get(digest, bytes_max))?;
        Ok(folded)
    }
}

impl World {
    /// Something was appended: the history will look.
    pub fn remembers_soon(&mut self) {
        if !std::mem::replace(&mut self.coordinator.remembers, true) {
            self.queue.push(self.now + BEHIND_MS, Happening::Remembers { life: self.coordinator.life });
        }
    }

    pub fn remembers(&mut self) -> Result<(), Violation> {
        self.coordinator.remembers = false;
        self.coordinator.remember(self.blobs.all()).map_err(|error| self.broken(error.into()))?;
        // Now and then sooner than it is due: there can hardly be too many.
        let sooner = self.now < self.scenario.faults_until && self.dice.chance(10);
        if sooner || self.coordinator.folded.is_due(self.scenario.snapshot_every_bytes) {
            let taken = self.coordinator.folded.take_snapshot();
            let (through, bytes) = taken.map_err(|error| self.broken(error.into()))?;
            // It looks again when this one is stored.
            self.coordinator.remembers = true;
            let at = self.now + self.dice.between(0, 200);
            self.queue.push(at, Happening::StoresSnapshot { life: self.coordinator.life, through, bytes });
        }
        Ok(())
    }

    pub fn stores_snapshot(&mut self, through: Position, bytes: &[u8]) -> Result<(), Violation> {
        self.coordinator.remembers = false;
        self.remembers_soon();
        let durability =
            if sabotage::is(Bug::LeaveSnapshotUnsynced) { Durability::Unsynced } else { Durability::Synced };
        let state = match self.blobs.work.put(bytes, durability) {
            Ok(state) => state,
            Err(error) if is_of_the_disk(&error) => {
                self.note("transition.snapshot-not-stored");
                return Ok(());
            }
            Err(error) => return Err(self.broken(error.into())),
        };
        self.observer.line(self.now, "history", format!("a snapshot through position {through} is stored as {state}"));
        if let Some(doom) = self.coordinator.dies_now(Step::OfASnapshot) {
            self.note("fault.crash-after-a-snapshot-is-stored");
            return self.coordinator_dies_beside(doom);
        }
        if sabotage::is(Bug::TrimBeforeRecord) {
            self.trim(through)?;
        }
        let at = self.now + self.dice.between(0, 100);
        self.queue.push(at, Happening::SnapshotStored { life: self.coordinator.life, through, state });
        Ok(())
    }

    /// Lets frames go, some at a time: whoever dies in between leaves the others.
    pub fn trim(&mut self, through: Position) -> Result<(), Violation> {
        let mut reached = self.coordinator.trimmed;
        while reached < through {
            reached = Position(through.0.min(reached.0 + self.dice.between(1, 24)));
            match self.coordinator.journal.trim(reached) {
                Ok(()) => self.coordinator.trimmed = reached,
                Err(StoreError::Disk(_)) => {
                    self.note("transition.trim-failed");
                    return Ok(());
                }
                Err(error) => return Err(self.broken(error.into())),
            }
            if reached < through
                && let Some(doom) = self.coordinator.dies_now(Step::OfASnapshot)
            {
                self.note("fault.crash-in-a-trim");
                return self.coordinator_dies(doom, &[]);
            }
        }
        Ok(())
    }

    /// The journal folds to what the machine lives with, and to what was ever journaled; what was told is among that.
    pub fn check_journal(&mut self, vanished: &[Event]) -> Result<Snapshot, Violation> {
        let replayed = self.coordinator.replay(self.blobs.all()).map_err(|error| self.broken(error.into()))?.snapshot;
        if let Some(machine) = &self.coordinator.machine {
            let checked = replay::check(replayed.durable.clone(), vanished, machine.durable());
            checked.map_err(|why| self.violation(why))?;
        }
        replay::check_whole(&replayed, &self.invariants.record).map_err(|why| self.violation(why))?;
        let acknowledged = self.invariants.acknowledged.on_restart(&replayed.durable, &self.coordinator.journal);
        acknowledged.map_err(|why| self.violation(why))?;
        Ok(replayed)
    }
}
