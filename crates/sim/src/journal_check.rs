//! A real journal, held against the invariants that need nothing but events.
//!
//! It reads on from where it was, so a journal can be checked while it grows. Where frames were trimmed it goes on from
//! the first snapshot that the kept ones name: what led to that, it cannot know.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use convoke_core::coordinator::durable::Durable;
use convoke_core::snapshot::Snapshot;
use convoke_core::{Digest, Event, Position};
use convoke_proto::decode_snapshot;
use convoke_store::StateLook;
use convoke_store::journal::{Frame, JournalReader, ReadError};
use convoke_store::snapshots::{FRAMES_MAX, SNAPSHOT_BYTES_MAX};

use crate::invariants::one_result::OneResult;
use crate::invariants::replay;
use crate::invariants::stages::Stages;
use crate::invariants::versions::Versions;

/// Finds a snapshot by its blob; none if it is not there.
type FindSnapshot = Box<dyn Fn(Digest) -> Result<Option<Snapshot>, String> + Send>;

/// Checks a journal.
pub struct JournalCheck {
    reader: Box<dyn JournalReader>,
    find_snapshot: FindSnapshot,
    books: Books,
    checked: Checked,
}

/// What was checked of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The first frame since which none is missing.
    pub since: Position,
    /// How many frames, whether before or after one that was missed.
    pub frames: u64,
    /// How many events they held.
    pub events: u64,
    /// How many snapshots were found to be what the frames up to them fold to.
    pub snapshots: u64,
    /// How often frames were trimmed before they were read.
    pub missed: u64,
}

/// A journal breaks an invariant, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalViolation {
    /// The frame.
    pub at: Position,
    /// The invariant's number in the design, and what was seen.
    pub why: String,
}

/// What the checkers know, each by itself.
#[derive(Default)]
struct Books {
    one_result: OneResult,
    stages: Stages,
    versions: Versions,
    durable: Durable,
    /// The last frame that went in.
    through: Position,
    /// Its hash, unless it is known from a snapshot alone.
    hash: Option<Digest>,
}

impl JournalCheck {
    /// Of the journal in a state directory, whether or not a coordinator holds it. Nothing in it changes.
    pub fn of(state: &Path) -> Self {
        let look = StateLook::new(state);
        let reader = look.journal();
        let find = move |digest| {
            let bytes = look.blob(digest, SNAPSHOT_BYTES_MAX).map_err(|error| error.to_string())?;
            bytes.map(|bytes| decode_snapshot(&bytes).map_err(|error| error.to_string())).transpose()
        };
        Self::new(reader, Box::new(find))
    }

    /// Of any journal.
    pub fn new(reader: Box<dyn JournalReader>, find_snapshot: FindSnapshot) -> Self {
        let checked = Checked { since: Position(1), ..Checked::default() };
        Self { reader, find_snapshot, books: Books::default(), checked }
    }

    /// Checks what came since the last time. Says what was checked so far.
    pub fn read_on(&mut self) -> Result<Checked, JournalViolation> {
        loop {
            let next = self.books.through.next();
            match self.reader.read(next, FRAMES_MAX) {
                Ok(frames) if frames.is_empty() => return Ok(self.checked),
                Ok(frames) => frames.iter().try_for_each(|(position, frame)| self.check(*position, frame))?,
                Err(ReadError::Trimmed { first }) => self.restore(first)?,
                Err(error) => return Err(JournalViolation { at: next, why: error.to_string() }),
            }
        }
    }

    /// The durable state as far as the journal was checked.
    pub fn durable(&self) -> &Durable {
        &self.books.durable
    }

    fn check(&mut self, position: Position, frame: &Frame) -> Result<(), JournalViolation> {
        let at = |why| JournalViolation { at: position, why };
        if self.books.hash.is_some_and(|hash| hash != frame.previous) {
            return Err(at("(3) it follows another frame than the one that was read before it".to_owned()));
        }
        for event in &frame.records {
            self.books.on_event(event).map_err(at)?;
            self.checked.events += 1;
        }
        (self.books.through, self.books.hash) = (position, Some(frame.hash));
        self.checked.frames += 1;
        for event in &frame.records {
            // The one that was gone on from says nothing new.
            if let Event::SnapshotTaken { through, state } = *event
                && through >= self.checked.since
            {
                self.check_snapshot(through, state).map_err(at)?;
            }
        }
        Ok(())
    }

    /// A snapshot and the frames after it fold to the same as all frames. One that is gone, or whose next frames are, has
    /// been followed by another.
    fn check_snapshot(&mut self, through: Position, state: Digest) -> Result<(), String> {
        let Some(snapshot) = (self.find_snapshot)(state)? else { return Ok(()) };
        let Snapshot { durable: mut folded, mut through, .. } = named(through, snapshot)?;
        while through < self.books.through {
            let frames = match self.reader.read(through.next(), FRAMES_MAX) {
                Err(ReadError::Trimmed { .. }) => return Ok(()),
                frames => frames.map_err(|error| error.to_string())?,
            };
            for (position, frame) in frames.into_iter().filter(|(position, _)| *position <= self.books.through) {
                let misfit = |misfit| format!("(4) after the snapshot, {misfit}");
                frame.records.iter().try_for_each(|event| folded.apply(event)).map_err(misfit)?;
                through = position;
            }
        }
        replay::check(folded, &[], &self.books.durable)?;
        self.checked.snapshots += 1;
        Ok(())
    }

    /// Goes on from the first snapshot that the kept frames name and that is there.
    fn restore(&mut self, first: Position) -> Result<(), JournalViolation> {
        let at = |why: String| JournalViolation { at: first, why };
        let mut next = first;
        loop {
            let frames = match self.reader.read(next, FRAMES_MAX) {
                // Trimmed again meanwhile: that is found out by reading on.
                Err(ReadError::Trimmed { .. }) => return Ok(()),
                frames => frames.map_err(|error| at(error.to_string()))?,
            };
            let Some((last, _)) = frames.last() else {
                return Err(at("it names no snapshot that is there".to_owned()));
            };
            next = last.next();
            for event in frames.iter().flat_map(|(_, frame)| &frame.records) {
                if let Event::SnapshotTaken { through, state } = *event
                    && through.next() >= first
                    && let Some(snapshot) = (self.find_snapshot)(state).map_err(at)?
                {
                    let snapshot = named(through, snapshot).map_err(at)?;
                    self.checked.missed += u64::from(self.books.through > Position(0));
                    self.checked.since = through.next();
                    self.books = Books::of(snapshot);
                    return Ok(());
                }
            }
        }
    }
}

impl Books {
    fn of(snapshot: Snapshot) -> Self {
        let Snapshot { through, durable, .. } = snapshot;
        let (one_result, stages) = (OneResult::of(&durable), Stages::of(&durable));
        Self { one_result, stages, versions: Versions::of(&durable), durable, through, hash: None }
    }

    fn on_event(&mut self, event: &Event) -> Result<(), String> {
        self.one_result.on_event(event)?;
        self.stages.on_event(event)?;
        self.versions.on_event(event, &self.stages)?;
        self.durable.apply(event).map_err(|misfit| format!("(4) {misfit}"))
    }
}

/// The snapshot, if it is the one that its event names.
fn named(through: Position, snapshot: Snapshot) -> Result<Snapshot, String> {
    if snapshot.through == through {
        return Ok(snapshot);
    }
    Err(format!("(4) the snapshot through position {through} is one through {}", snapshot.through))
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, frames, events, snapshots, missed } = self;
        write!(
            f,
            "{frames} frames with {events} events and {snapshots} snapshots, without a gap since position {since}"
        )?;
        if *missed > 0 {
            write!(f, "; {missed} times some were trimmed unread")?;
        }
        Ok(())
    }
}

impl fmt::Display for JournalViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal at position {}: {}", self.at, self.why)
    }
}
