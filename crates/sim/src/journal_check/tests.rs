//! Journals that break an invariant, each found out by its own check, and snapshots of them.

use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::event::{Combined, Completion, Metrics, Purpose, TaskRecord};
use convoke_core::{
    Ability, Attempts, JobId, JobSpec, Needs, Payload, Plan, Rounds, Split, StageNumber, TaskId, Term, TokenId, Work,
};
use convoke_store::journal::{Journal, MemoryJournal, Tail};

use super::*;

const JOB: JobId = JobId::from_bits(1);

fn version(round: u32) -> Payload {
    Payload::inline(&round.to_le_bytes()).unwrap()
}

fn work() -> Work {
    let (ability, inline) = (Ability::new("train").unwrap(), || Payload::inline(b"x").unwrap());
    Work {
        ability,
        program: inline(),
        input: inline(),
        split: Split::Entries,
        count: 2,
        combine: inline(),
        needs: Needs::default(),
    }
}

fn submission() -> Vec<Event> {
    let plan = Plan::Rounds(Rounds { rounds: 9, base: version(0), prepare: None, train: work(), evaluate: None });
    let name = "tiny".to_owned();
    let spec =
        JobSpec { name, plan, policy: None, seed: 1, attempts: Attempts::default(), deadline_ms: None, priority: 0 };
    let (submitter, owner) = ("ann".to_owned(), TokenId::LOCAL);
    let submitted = Event::JobSubmitted { job: JOB, spec: Box::new(spec), submitter, owner };
    vec![Event::TermOpened { term: Term(1) }, submitted]
}

fn opened(stage: u32, round: u32, from: u32) -> Event {
    let (stage, purpose) = (StageNumber(stage), Purpose::Train { round });
    Event::StageOpened { job: JOB, stage, purpose, base: version(from), work: work() }
}

fn done(stage: u32, index: u32) -> Event {
    let completion = Completion { result: Payload::inline(b"delta").unwrap(), samples: 10, ..Completion::default() };
    let record = TaskRecord { attempt: 1, worker: "ann".to_owned(), profile: String::new(), slots: 1, completion };
    Event::TaskDone { task: TaskId { job: JOB, stage: StageNumber(stage), index }, record }
}

fn closed(stage: u32) -> Event {
    Event::StageClosed { job: JOB, stage: StageNumber(stage), tallies: Vec::new() }
}

fn combined(stage: u32, round: u32) -> Event {
    let combined = Combined { result: version(round), metrics: Metrics::default(), refused: Vec::new() };
    Event::StageCombined { job: JOB, stage: StageNumber(stage), combined }
}

fn round(number: u32) -> Vec<Event> {
    let (from, stage) = (number - 1, number);
    vec![opened(stage, number, from), done(stage, 1), done(stage, 0), closed(stage), combined(stage, number)]
}

/// A journal, and beside it the snapshots that it names.
struct Written {
    journal: MemoryJournal,
    snapshots: Arc<Mutex<Vec<Snapshot>>>,
    folded: Snapshot,
}

impl Written {
    /// One with a submission and a round.
    fn new() -> Self {
        let mut written =
            Self { journal: MemoryJournal::new(), snapshots: Arc::default(), folded: Snapshot::default() };
        written.append(&submission());
        written.append(&round(1));
        written
    }

    fn append(&mut self, events: &[Event]) {
        let Tail { position, hash } = self.journal.tail();
        let frame = Frame::encode(hash, Term(1), position.0, events).unwrap();
        self.journal.append(position.next(), &frame).unwrap();
        // What does not fit is for the checkers to find.
        drop(self.folded.fold(position.next(), 0, events));
    }

    /// Stores a snapshot of what the frames fold to, or of something else, and records it.
    fn snapshot(&mut self, change: impl FnOnce(&mut Snapshot)) -> Position {
        let mut snapshot = self.folded.clone();
        change(&mut snapshot);
        let (through, mut snapshots) = (snapshot.through, self.snapshots.lock().unwrap());
        snapshots.push(snapshot);
        let state = Digest([snapshots.len() as u8; 32]);
        drop(snapshots);
        self.append(&[Event::SnapshotTaken { through, state }]);
        through
    }

    fn check(&self) -> JournalCheck {
        let snapshots = self.snapshots.clone();
        let find = move |Digest(bytes)| Ok(snapshots.lock().unwrap().get(bytes[0] as usize - 1).cloned());
        JournalCheck::new(self.journal.reader(), Box::new(find))
    }

    fn refused(&self) -> String {
        self.check().read_on().unwrap_err().to_string()
    }
}

#[test]
fn a_sound_journal_passes_while_it_grows() {
    let mut written = Written::new();
    let mut check = written.check();
    assert_eq!(check.read_on().unwrap().events, 7);
    written.append(&round(2));
    written.snapshot(|_| ());
    written.append(&round(3));
    let checked = check.read_on().unwrap();
    assert_eq!(checked, Checked { since: Position(1), frames: 5, events: 18, snapshots: 1, missed: 0 });
    assert_eq!(check.durable(), &written.folded.durable);
}

#[test]
fn a_trimmed_journal_is_checked_from_its_snapshot() {
    let mut written = Written::new();
    let mut before = written.check();
    before.read_on().unwrap();
    written.append(&[opened(2, 2, 1), done(2, 1)]);
    let through = written.snapshot(|_| ());
    written.journal.trim(through).unwrap();
    written.append(&[done(2, 0), closed(2), combined(2, 2)]);
    let mut check = written.check();
    assert_eq!(check.read_on().unwrap(), Checked { since: Position(4), frames: 2, events: 4, snapshots: 0, missed: 0 });
    assert_eq!(check.durable(), &written.folded.durable);
    assert_eq!(before.read_on().unwrap().missed, 1);
    assert_eq!(before.durable(), &written.folded.durable);
    // What the snapshot knows is known.
    written.append(&[opened(3, 3, 1)]);
    assert!(written.refused().contains("position 6: (6) stage") && before.read_on().is_err(), "{}", written.refused());
}

#[test]
fn what_must_not_be_is_found() {
    let check = |events: &[Event], part: &str| {
        let mut written = Written::new();
        written.append(events);
        assert!(written.refused().starts_with("the journal at position 3: "), "{}", written.refused());
        assert!(written.refused().contains(part), "{} has not {part}", written.refused());
    };
    check(&[opened(2, 2, 1), done(2, 1), done(2, 1)], "(1) a second result");
    check(&[done(1, 1)], "(1) a second result");
    check(&[opened(2, 2, 1), done(2, 1), closed(2)], "(2) stage 00000001/2 closed with 1 of 2 tasks");
    check(&[opened(2, 2, 1), done(2, 1), done(2, 0), combined(2, 2)], "without a close");
    check(&[opened(2, 1, 0)], "(6) stage");
    check(&[opened(2, 2, 0)], "(6) stage");
    check(&[opened(2, 3, 1)], "(6) stage");
    check(&[Event::TermOpened { term: Term(1) }], "(4) the event");
}

#[test]
fn a_result_that_a_snapshot_knows_is_not_accepted_again() {
    let mut written = Written::new();
    written.append(&[opened(2, 2, 1), done(2, 1)]);
    let through = written.snapshot(|_| ());
    written.journal.trim(through).unwrap();
    written.append(&[done(2, 1)]);
    assert!(written.refused().contains("(1) a second result"), "{}", written.refused());
}

#[test]
fn a_snapshot_that_is_not_what_was_journaled_is_found() {
    let mut written = Written::new();
    let earlier = written.folded.durable.clone();
    written.append(&round(2));
    written.snapshot(|snapshot| snapshot.durable = earlier);
    assert!(written.refused().contains("(4) the replayed state has"), "{}", written.refused());
    let mut written = Written::new();
    let through = written.snapshot(|_| ());
    written.snapshots.lock().unwrap()[0].through = Position(1);
    written.journal.trim(through).unwrap();
    assert!(
        written.refused().contains("(4) the snapshot through position 2 is one through 1"),
        "{}",
        written.refused()
    );
}

/// A journal that can be exchanged while it is read.
#[derive(Clone)]
struct Exchanged(Arc<Mutex<MemoryJournal>>);

impl JournalReader for Exchanged {
    fn read(&self, from: Position, frames_max: usize) -> Result<Vec<(Position, Frame)>, ReadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reader().read(from, frames_max)
    }
}

#[test]
fn a_frame_that_was_read_and_is_another_now_is_found() {
    let (mut before, mut after) = (Written::new(), Written::new());
    before.append(&[opened(2, 2, 1)]);
    after.append(&[opened(2, 2, 1), done(2, 1)]);
    after.append(&[done(2, 0)]);
    let journal = Exchanged(Arc::new(Mutex::new(before.journal)));
    let mut check = JournalCheck::new(Box::new(journal.clone()), Box::new(|_| Ok(None)));
    check.read_on().unwrap();
    *journal.0.lock().unwrap() = after.journal;
    let refused = check.read_on().unwrap_err().to_string();
    assert!(refused.contains("position 4: (3) it follows another frame"), "{refused}");
}
