//! The journal on a simulated disk: a frame whose sync failed, or was not waited for, is in doubt until somebody looks
//! again; a power cut takes frames that are not synced, from the end.
//!
//! Each append is synced before it returns, so that one frame is in doubt at most. It does not know what frames hold.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::Position;
use convoke_core::sabotage::{self, Bug};
use convoke_store::DiskError;
use convoke_store::journal::{
    AppendError, EncodedFrame, Frame, Journal, JournalReader, MemoryJournal, ReadError, StoreError, Tail,
};

use super::Disk;

/// A journal on the disk. Clones are the same one.
#[derive(Clone)]
pub struct SimulatedJournal {
    disk: Disk,
    /// What readers see.
    frames: MemoryJournal,
    written: Arc<Mutex<Written>>,
}

/// What the disk has of the journal.
#[derive(Default)]
struct Written {
    /// Through where a power cut takes nothing.
    synced: Position,
    /// A frame after the last that readers see. What became of it is drawn when somebody looks.
    in_doubt: Option<EncodedFrame>,
    /// A trim whose sync failed, likewise.
    trim_in_doubt: Option<Position>,
}

impl SimulatedJournal {
    pub fn new(disk: Disk) -> Self {
        Self { disk, frames: MemoryJournal::new(), written: Arc::default() }
    }

    /// Writes the frame that comes next, and waits for nothing.
    pub fn write(&self, frame: &EncodedFrame) {
        self.written().in_doubt = Some(frame.clone());
    }

    /// Sees whether what was in doubt is there, and makes it durable if it is.
    pub fn look_again(&mut self) -> Result<(), AppendError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disk = self.disk.state();
        if let Some(through) = written.trim_in_doubt.take()
            && disk.dice.chance(50)
        {
            disk.coverage.count("disk.trim-in-doubt-done");
            self.frames.trim(through)?;
        }
        let Some(frame) = &written.in_doubt else { return Ok(()) };
        if disk.dice.chance(50) {
            disk.coverage.count("disk.frame-in-doubt-gone");
            written.in_doubt = None;
            return Ok(());
        }
        disk.syncs("disk.journal-sync-failed").map_err(refused)?;
        disk.coverage.count("disk.frame-in-doubt-there");
        let at = self.frames.tail().position.next();
        self.frames.append(at, frame)?;
        (written.in_doubt, written.synced) = (None, at);
        Ok(())
    }

    /// Loses frames that were not synced: some of the last, never one in the middle.
    pub fn cut_power(&self) {
        let mut written = self.written();
        let unsynced = self.frames.tail().position.0.saturating_sub(written.synced.0);
        if unsynced > 0 {
            let kept = Position(written.synced.0 + self.disk.state().dice.between(0, unsynced));
            self.frames.lose_after(kept);
            (written.in_doubt, written.synced) = (None, kept);
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for SimulatedJournal {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        self.look_again()?;
        // What is in the way says so, whether or not the disk takes anything.
        if at == self.frames.tail().position.next() {
            let mut disk = self.disk.state();
            disk.has_room().map_err(refused)?;
            if let Err(error) = disk.syncs("disk.journal-sync-failed") {
                self.write(frame);
                return Err(refused(error));
            }
        }
        self.frames.append(at, frame)?;
        if !sabotage::is(Bug::LeaveFramesUnsynced) {
            self.written().synced = at;
        }
        Ok(())
    }

    fn tail(&self) -> Tail {
        self.frames.tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        let mut disk = self.disk.state();
        disk.has_room().map_err(|source| failed("trim", source))?;
        if let Err(error) = disk.syncs("disk.trim-failed") {
            self.written().trim_in_doubt = Some(through);
            return Err(failed("trim", error));
        }
        self.frames.trim(through)
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        self.frames.reader()
    }
}

impl JournalReader for SimulatedJournal {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        self.frames.read(from, frames_max)
    }
}

fn refused(source: io::Error) -> AppendError {
    AppendError::Store(failed("append to", source))
}

fn failed(doing: &'static str, source: io::Error) -> StoreError {
    StoreError::Disk(DiskError { doing, path: PathBuf::from("journal"), source })
}
