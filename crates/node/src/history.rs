//! The history: what the journal says, folded once more beside the deciding loop, for lists, followers and snapshots.
//!
//! Whoever asks folds what came since the last question, so an answer is never behind what was acknowledged. Where the
//! journal was trimmed, it goes on from the snapshot that stands for what is gone. It knows no worker and no lease.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use convoke_core::coordinator::durable::{Durable, TakenSnapshot};
use convoke_core::event::Event;
use convoke_core::history::JobHistory;
use convoke_core::snapshot::{RecordedJob, Snapshot};
use convoke_core::{Caller, Digest, JobId, Position, TokenId};
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_store::journal::{Frame, JournalReader, ReadError};
pub use convoke_store::snapshots::{DamagedSnapshot, HistoryError};
use convoke_store::snapshots::{FRAMES_MAX, Folded};
use convoke_wire::JobSummary;

/// How many frames are folded while a call waits for them.
const RECENT_MAX: usize = 16;

/// Finds a blob of at most so many bytes.
pub(crate) type FindBlob = Box<dyn Fn(Digest, u64) -> Result<Option<Bytes>, BlobError> + Send + Sync>;

/// Reads the journal for people.
pub(crate) struct History {
    reader: Box<dyn JournalReader>,
    blobs: FindBlob,
    folded: Mutex<Folded>,
}

/// What is told of a job.
pub enum Told {
    /// All that is known, in place of events that are gone.
    History(Box<JobHistory>),
    /// Events, each with its frame's position and time in unix milliseconds.
    Events(Vec<(Position, u64, Event)>),
}

impl History {
    pub(crate) fn new(reader: Box<dyn JournalReader>, blobs: FindBlob) -> Self {
        Self { reader, blobs, folded: Mutex::default() }
    }

    /// The durable state through the journal's end.
    pub(crate) fn durable(&self) -> Result<Durable, HistoryError> {
        self.with_folded(|folded| folded.snapshot.durable.clone())
    }

    /// The jobs on record, in the order of submission.
    pub(crate) fn jobs(&self) -> Result<Vec<JobSummary>, HistoryError> {
        self.jobs_of(Caller::LOCAL)
    }

    /// Those of them that the caller has a say in.
    pub(crate) fn jobs_of(&self, caller: Caller) -> Result<Vec<JobSummary>, HistoryError> {
        self.with_folded(|folded| {
            let Snapshot { durable, jobs, .. } = &folded.snapshot;
            let own = durable.jobs().filter(|(_, job)| caller.may_act_for(job.owner));
            let mut jobs: Vec<_> = own.filter_map(|(id, job)| Some((job.order, id, jobs.get(&id)?))).collect();
            jobs.sort_by_key(|(order, ..)| *order);
            jobs.into_iter().map(|(_, id, job)| summary(id, job)).collect()
        })
    }

    /// Where a job was submitted, and by whose token, if it is on record.
    pub(crate) fn submission_of(&self, job: JobId) -> Result<Option<(Position, TokenId)>, HistoryError> {
        self.with_folded(|folded| submission(folded, job))
    }

    /// The same without waiting for a disk or for others; `None` if that takes either.
    pub(crate) fn recent_submission_of(&self, job: JobId) -> Option<(Position, TokenId)> {
        let mut folded = self.folded.try_lock().ok()?;
        let behind = self.reader.read_recent(folded.snapshot.through.next(), RECENT_MAX).ok()??.len();
        // Many are another thread's work.
        if behind < RECENT_MAX {
            folded.catch_up(&*self.reader, &self.blobs).ok()?;
        }
        submission(&folded, job)
    }

    /// What is told of a job from a position on, and the position to go on from; `None` at the end.
    pub(crate) fn tell(&self, job: JobId, from: Position) -> Result<Option<(Told, Position)>, HistoryError> {
        let frames = match self.reader.read(from, FRAMES_MAX) {
            Err(ReadError::Trimmed { .. }) => return self.tell_all(job),
            frames => frames?,
        };
        Ok(events_of(job, frames))
    }

    /// The same without waiting for a disk; `None` if that takes one.
    pub(crate) fn tell_recent(&self, job: JobId, from: Position) -> Option<Option<(Told, Position)>> {
        let frames = self.reader.read_recent(from, FRAMES_MAX).ok()??;
        Some(events_of(job, frames))
    }

    fn tell_all(&self, job: JobId) -> Result<Option<(Told, Position)>, HistoryError> {
        self.with_folded(|folded| {
            let next = folded.snapshot.through.next();
            Some(match folded.snapshot.jobs.get(&job) {
                Some(job) => (Told::History(Box::new(job.history.clone())), next),
                None => (Told::Events(Vec::new()), next),
            })
        })
    }

    /// Stores a snapshot if one is due ([`Folded::is_due`]): the position that it reaches, and its blob.
    pub(crate) fn take_snapshot(
        &self,
        every_bytes: u64,
        blobs: &dyn Blobs,
    ) -> Result<Option<(Position, Digest)>, HistoryError> {
        let taken = self.with_folded(|folded| folded.is_due(every_bytes).then(|| folded.take_snapshot()))?;
        let Some((through, bytes)) = taken.transpose()? else { return Ok(None) };
        let state = blobs.put(&bytes, Durability::Synced).map_err(HistoryError::Store)?;
        Ok(Some((through, state)))
    }

    /// Opens the newest snapshot on record, unless the frames that it stands for are gone already: before they are trimmed,
    /// nothing else shows whether it can take their place.
    pub(crate) fn check_snapshot(&self) -> Result<(), HistoryError> {
        let durable = self.durable()?;
        let Some(&TakenSnapshot { through, state }) = durable.snapshot() else { return Ok(()) };
        match self.reader.read(through, 1) {
            Err(ReadError::Trimmed { .. }) => Ok(()),
            frames => {
                frames?;
                Folded::open(through, state, &self.blobs).map(drop)
            }
        }
    }

    fn with_folded<T>(&self, look: impl FnOnce(&mut Folded) -> T) -> Result<T, HistoryError> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        folded.catch_up(&*self.reader, &self.blobs)?;
        Ok(look(&mut folded))
    }
}

fn submission(folded: &Folded, job: JobId) -> Option<(Position, TokenId)> {
    let Snapshot { durable, jobs, .. } = &folded.snapshot;
    Some((jobs.get(&job)?.submitted_at, durable.job(job)?.owner))
}

/// A job's events, and the position after them; `None` where there are no frames.
fn events_of(job: JobId, frames: Vec<(Position, Frame)>) -> Option<(Told, Position)> {
    let next = frames.last()?.0.next();
    let of_job = |(position, frame): (Position, Frame)| {
        let events = frame.records.into_iter().filter(move |event| event.job() == Some(job));
        events.map(move |event| (position, frame.wall_ms, event))
    };
    Some((Told::Events(frames.into_iter().flat_map(of_job).collect()), next))
}

fn summary(id: JobId, job: &RecordedJob) -> JobSummary {
    let history = &job.history;
    JobSummary {
        job: id,
        name: history.name.clone(),
        submitter: history.submitter.clone(),
        rounds_done: history.rounds_done,
        rounds: history.rounds_planned,
        tasks: history.task_counts(),
        validation_error: history.validation_error,
        submitted_wall_ms: history.submitted_ms.unwrap_or_default(),
        finished_wall_ms: history.finished_ms,
        outcome: history.outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use convoke_core::event::{Combined, Completion, Metrics, Purpose, TaskRecord, Timing};
    use convoke_core::history::Limits;
    use convoke_core::{
        Ability, Attempts, JobSpec, Needs, Payload, Plan, Rounds, Split, StageNumber, TaskId, Term, TokenId, Work,
    };
    use convoke_proto::encode_snapshot;
    use convoke_store::blobs::MemoryBlobs;
    use convoke_store::journal::{Journal, MemoryJournal, Tail};

    use super::*;

    const JOB: JobId = JobId::from_bits(1);

    fn work() -> Work {
        let (ability, inline) = (Ability::new("train").unwrap(), || Payload::inline(b"x").unwrap());
        Work {
            ability,
            program: inline(),
            input: inline(),
            split: Split::Entries,
            count: 1,
            combine: inline(),
            needs: Needs::default(),
        }
    }

    fn submission(rounds: u32) -> Vec<Event> {
        let plan = Plan::Rounds(Rounds {
            rounds,
            base: Payload::inline(b"x").unwrap(),
            prepare: None,
            train: work(),
            evaluate: None,
        });
        let name = "tiny".to_owned();
        let spec = JobSpec {
            name,
            plan,
            policy: None,
            seed: 1,
            attempts: Attempts::default(),
            deadline_ms: None,
            priority: 0,
        };
        let (submitter, owner) = ("ann".to_owned(), TokenId::LOCAL);
        let submitted = Event::JobSubmitted { job: JOB, spec: Box::new(spec), submitter, owner };
        vec![Event::TermOpened { term: Term(1) }, submitted]
    }

    fn round(round: u32) -> Vec<Event> {
        let stage = StageNumber(round);
        let version = Payload::blob(Digest([round as u8; 32]));
        let (metrics, timing) = (Metrics::default(), Timing::default());
        let completion = Completion {
            result: version.clone(),
            samples: 10,
            metrics: metrics.clone(),
            timing,
            ..Completion::default()
        };
        let record = TaskRecord { attempt: 1, worker: "ann".to_owned(), profile: String::new(), slots: 1, completion };
        let (base, combined) = (version.clone(), Combined { result: version, metrics, refused: Vec::new() });
        vec![
            Event::StageOpened { job: JOB, stage, purpose: Purpose::Train { round }, base, work: work() },
            Event::TaskDone { task: TaskId { job: JOB, stage, index: 0 }, record },
            Event::StageClosed { job: JOB, stage, tallies: Vec::new() },
            Event::StageCombined { job: JOB, stage, combined },
        ]
    }

    fn append(journal: &mut MemoryJournal, events: &[Event]) {
        let Tail { position, hash } = journal.tail();
        let frame = Frame::encode(hash, Term(1), position.0, events).unwrap();
        journal.append(position.next(), &frame).unwrap();
    }

    fn history(journal: &MemoryJournal, blobs: &Arc<MemoryBlobs>) -> History {
        let blobs = blobs.clone();
        History::new(journal.reader(), Box::new(move |digest, bytes_max| blobs.get(digest, bytes_max)))
    }

    /// Runs a job of tiny rounds; says how many bytes of frames there were each time before a trim.
    fn run(rounds: u32, journal: &mut MemoryJournal, blobs: &Arc<MemoryBlobs>, every_bytes: u64) -> Vec<usize> {
        let (history, mut kept) = (history(journal, blobs), Vec::new());
        append(journal, &submission(rounds));
        for number in 1..=rounds {
            append(journal, &round(number));
            if let Some((through, state)) = history.take_snapshot(every_bytes, &**blobs).unwrap() {
                append(journal, &[Event::SnapshotTaken { through, state }]);
                kept.push(kept_bytes(journal));
                journal.trim(through).unwrap();
            }
        }
        kept
    }

    fn kept_bytes(journal: &MemoryJournal) -> usize {
        let (mut next, mut bytes) = (Position(1), 0);
        loop {
            match journal.reader().read(next, FRAMES_MAX) {
                Err(ReadError::Trimmed { first }) => next = first,
                frames => {
                    let frames = frames.unwrap();
                    let Some((last, _)) = frames.last() else { return bytes };
                    next = last.next();
                    bytes += frames.iter().map(|(_, frame)| frame.size_bytes).sum::<usize>();
                }
            }
        }
    }

    #[test]
    fn ten_thousand_rounds_stay_small() {
        const ROUNDS: u32 = 10_000;
        let (mut journal, blobs) = (MemoryJournal::new(), Arc::new(MemoryBlobs::default()));
        let kept = run(ROUNDS, &mut journal, &blobs, 64 * 1024);
        let (middle, last) = (kept[kept.len() / 2], kept[kept.len() - 1]);
        assert!(kept.len() > 10 && last < middle + middle / 10, "the journal grows on: {kept:?}");
        let summary = history(&journal, &blobs).jobs().unwrap().remove(0);
        assert_eq!((summary.rounds_done, summary.rounds), (ROUNDS, ROUNDS));
        let told = history(&journal, &blobs).tell(JOB, Position(1)).unwrap().unwrap();
        let (Told::History(told), next) = told else { panic!("the first events are gone") };
        assert_eq!((told.rounds.len(), next), (Limits::KEPT.rounds, journal.tail().position.next()));
        assert_eq!(told.rounds_left_out as usize, ROUNDS as usize - Limits::KEPT.rounds);
    }

    #[test]
    fn a_snapshot_and_the_rest_fold_to_the_same_as_the_whole() {
        let blobs = Arc::new(MemoryBlobs::default());
        let [mut whole, mut trimmed] = [MemoryJournal::new(), MemoryJournal::new()];
        run(200, &mut whole, &blobs, u64::MAX);
        run(200, &mut trimmed, &blobs, 4_096);
        // The one knows nothing of the snapshots that were taken of the other.
        let fold = |journal: &MemoryJournal| {
            let history = history(journal, &blobs);
            let jobs = history.with_folded(|folded| folded.snapshot.jobs.clone()).unwrap();
            let mut jobs: Vec<_> = jobs.into_values().map(|job| job.history).collect();
            jobs.iter_mut().for_each(|history| history.newest_ms = 0);
            jobs.iter_mut().flat_map(|history| &mut history.rounds).for_each(|round| round.seconds = None);
            jobs.iter_mut().for_each(|history| history.submitted_ms = None);
            (jobs, history.durable().unwrap().job(JOB).cloned())
        };
        assert!(whole.reader().read(Position(1), 1).is_ok());
        assert!(matches!(trimmed.reader().read(Position(1), 1), Err(ReadError::Trimmed { .. })));
        assert_eq!(fold(&whole), fold(&trimmed));
    }

    #[test]
    fn a_crash_between_record_and_trim_is_no_loss() {
        let (mut journal, blobs) = (MemoryJournal::new(), Arc::new(MemoryBlobs::default()));
        append(&mut journal, &submission(9));
        append(&mut journal, &round(1));
        let before = history(&journal, &blobs);
        let (through, state) = before.take_snapshot(1, &*blobs).unwrap().unwrap();
        // Stored and not recorded; recorded and not trimmed; trimmed.
        assert!(history(&journal, &blobs).durable().is_ok());
        append(&mut journal, &[Event::SnapshotTaken { through, state }]);
        let recorded = history(&journal, &blobs).durable().unwrap();
        journal.trim(through).unwrap();
        assert_eq!(history(&journal, &blobs).durable().unwrap(), recorded);
        assert_eq!(before.durable().unwrap(), recorded);
    }

    #[test]
    fn a_snapshot_that_is_gone_or_spoiled_is_named() {
        let (mut journal, blobs) = (MemoryJournal::new(), Arc::new(MemoryBlobs::default()));
        append(&mut journal, &submission(9));
        journal.trim(Position(1)).unwrap();
        let said = |journal: &MemoryJournal| history(journal, &blobs).durable().unwrap_err().to_string();
        assert_eq!(said(&journal), "the journal begins at position 2, and names no snapshot of what was before");
        let state = Digest([7; 32]);
        append(&mut journal, &[Event::SnapshotTaken { through: Position(1), state }]);
        let missing = said(&journal);
        assert!(
            missing.contains("through position 1, blob 0707") && missing.contains("is missing: bring it"),
            "{missing}"
        );
        let state = blobs.put(b"no snapshot", Durability::Synced).unwrap();
        append(&mut journal, &[Event::SnapshotTaken { through: Position(2), state }]);
        assert!(said(&journal).contains("cannot be read: no message `Snapshot`"), "{}", said(&journal));
        let state = blobs.put(&encode_snapshot(&Snapshot::default()), Durability::Synced).unwrap();
        append(&mut journal, &[Event::SnapshotTaken { through: Position(3), state }]);
        assert!(said(&journal).contains("it is one through position 0"), "{}", said(&journal));
        // A later one that is there has taken the place of all of them.
        let whole = Snapshot { through: Position(4), ..Snapshot::default() };
        let state = blobs.put(&encode_snapshot(&whole), Durability::Synced).unwrap();
        append(&mut journal, &[Event::SnapshotTaken { through: Position(4), state }]);
        assert_eq!(
            history(&journal, &blobs).durable().unwrap().snapshot().map(|taken| taken.through),
            Some(Position(4))
        );
    }
}
