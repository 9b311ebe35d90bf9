//! The journal on a simulated disk: a frame whose sync failed is in doubt until somebody looks again.
//!
//! It does not know what frames hold.

use std::io;
use std::path::PathBuf;

use convoke_core::Position;
use convoke_store::DiskError;
use convoke_store::journal::{
    AppendError, EncodedFrame, Frame, Journal, JournalReader, MemoryJournal, StoreError, Tail,
};

use super::Disk;

/// A journal on the disk. What became of a frame whose sync failed is drawn when the journal looks again.
#[derive(Clone)]
pub struct SimulatedJournal {
    disk: Disk,
    synced: MemoryJournal,
    in_doubt: Option<EncodedFrame>,
}

impl SimulatedJournal {
    pub fn new(disk: Disk) -> Self {
        Self { disk, synced: MemoryJournal::new(), in_doubt: None }
    }

    /// Sees whether the frame that was in doubt is there, and makes it durable if it is.
    pub fn look_again(&mut self) -> Result<(), AppendError> {
        let mut state = self.disk.state();
        let Some(frame) = &self.in_doubt else { return Ok(()) };
        if state.dice.chance(50) {
            state.coverage.count("disk.frame-in-doubt-gone");
            self.in_doubt = None;
            return Ok(());
        }
        state.syncs("disk.journal-sync-failed").map_err(refused)?;
        state.coverage.count("disk.frame-in-doubt-there");
        let at = self.synced.tail().position.next();
        self.synced.append(at, frame)?;
        self.in_doubt = None;
        Ok(())
    }
}

impl Journal for SimulatedJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        self.look_again()?;
        // What is in the way says so, whether or not the disk takes anything.
        if at == self.synced.tail().position.next() {
            let mut state = self.disk.state();
            state.has_room().map_err(refused)?;
            if let Err(error) = state.syncs("disk.journal-sync-failed") {
                self.in_doubt = Some(frame.clone());
                return Err(refused(error));
            }
        }
        self.synced.append(at, frame)
    }

    fn tail(&self) -> Tail {
        self.synced.tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        self.synced.trim(through)
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        self.synced.reader()
    }
}

impl JournalReader for SimulatedJournal {
    fn read(
        &self,
        from: Position,
        frames_max: usize,
    ) -> Result<Vec<(Position, Frame)>, convoke_store::journal::ReadError> {
        self.synced.read(from, frames_max)
    }
}

fn refused(source: io::Error) -> AppendError {
    AppendError::Store(StoreError::Disk(DiskError { doing: "append to", path: PathBuf::from("journal"), source }))
}
