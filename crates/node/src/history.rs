//! The history: what the journal says of each job, for lists and followers. It never touches the deciding loop.
//!
//! It is folded when somebody asks, from where the last question left off. It knows no worker and no lease.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use convoke_core::coordinator::durable::FINISHED_JOBS_MAX;
use convoke_core::event::{Event, Purpose};
use convoke_core::{JobId, Plan, Position};
use convoke_store::journal::{Frame, JournalReader, ReadError};
use convoke_wire::JobSummary;

/// How many frames are read at a time.
const FRAMES: usize = 256;

/// Reads the journal for people.
pub(crate) struct History {
    reader: Box<dyn JournalReader>,
    folded: Mutex<Folded>,
}

#[derive(Default)]
struct Folded {
    through: Position,
    jobs: BTreeMap<JobId, Entry>,
    /// Jobs that have ended, the oldest first.
    finished: VecDeque<JobId>,
}

struct Entry {
    /// Where the job was submitted.
    position: Position,
    summary: JobSummary,
    /// What the stages that are not combined are for.
    stages: BTreeMap<u32, Purpose>,
}

impl History {
    pub(crate) fn new(reader: Box<dyn JournalReader>) -> Self {
        Self { reader, folded: Mutex::default() }
    }

    /// The jobs on record, in the order of submission.
    pub(crate) fn jobs(&self) -> Result<Vec<JobSummary>, ReadError> {
        self.with_folded(|folded| {
            let mut entries: Vec<_> = folded.jobs.values().collect();
            entries.sort_by_key(|entry| (entry.position, entry.summary.submitted_wall_ms));
            entries.into_iter().map(|entry| entry.summary.clone()).collect()
        })
    }

    /// Where a job was submitted, if it is on record.
    pub(crate) fn position_of(&self, job: JobId) -> Result<Option<Position>, ReadError> {
        self.with_folded(|folded| folded.jobs.get(&job).map(|entry| entry.position))
    }

    /// A job's events in the frames from a position on, and the position to go on from; `None` at the end.
    #[expect(clippy::type_complexity, reason = "a list of what was recorded when")]
    pub(crate) fn events(
        &self,
        job: JobId,
        from: Position,
    ) -> Result<Option<(Vec<(Position, u64, Event)>, Position)>, ReadError> {
        let frames = self.reader.read(from, FRAMES)?;
        let Some(next) = frames.last().map(|(last, _)| last.next()) else { return Ok(None) };
        let of_job = |(position, frame): (Position, Frame)| {
            let events = frame.records.into_iter().filter(move |event| job_of(event) == Some(job));
            events.map(move |event| (position, frame.wall_ms, event))
        };
        Ok(Some((frames.into_iter().flat_map(of_job).collect(), next)))
    }

    fn with_folded<T>(&self, look: impl FnOnce(&Folded) -> T) -> Result<T, ReadError> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let frames = self.reader.read(folded.through.next(), FRAMES)?;
            let Some((last, _)) = frames.last() else { return Ok(look(&folded)) };
            let last = *last;
            for (position, frame) in &frames {
                frame.records.iter().for_each(|event| folded.fold(*position, frame.wall_ms, event));
            }
            folded.through = last;
        }
    }
}

impl Folded {
    fn fold(&mut self, position: Position, wall_ms: u64, event: &Event) {
        let Some(id) = job_of(event) else { return };
        if let Event::JobSubmitted { spec, submitter, .. } = event {
            let Plan::Rounds(plan) = &spec.plan;
            let summary = JobSummary {
                job: id,
                name: spec.name.clone(),
                submitter: submitter.clone(),
                rounds_done: 0,
                rounds: plan.rounds,
                validation_error: None,
                submitted_wall_ms: wall_ms,
                finished_wall_ms: None,
                outcome: None,
            };
            self.jobs.insert(id, Entry { position, summary, stages: BTreeMap::new() });
        }
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        match event {
            Event::StageOpened { stage, purpose, .. } => drop(entry.stages.insert(stage.0, *purpose)),
            Event::StageCombined { stage, combined, .. } => match entry.stages.remove(&stage.0) {
                Some(Purpose::Train { round }) => entry.summary.rounds_done = round,
                Some(Purpose::Evaluate { .. }) => {
                    entry.summary.validation_error = combined.metrics.get("validation_error");
                }
                None => {}
            },
            Event::JobFinished { outcome, .. } => {
                entry.summary.outcome = Some(outcome.clone());
                entry.summary.finished_wall_ms = Some(wall_ms);
                self.finished.push_back(id);
                if self.finished.len() > FINISHED_JOBS_MAX {
                    self.finished.pop_front().and_then(|oldest| self.jobs.remove(&oldest));
                }
            }
            _ => {}
        }
    }
}

/// The job that an event is about.
pub(crate) fn job_of(event: &Event) -> Option<JobId> {
    match event {
        Event::TermOpened { .. } => None,
        Event::TaskDone { task, .. } | Event::AttemptFailed { task, .. } => Some(task.job),
        Event::JobSubmitted { job, .. }
        | Event::StageOpened { job, .. }
        | Event::StageClosed { job, .. }
        | Event::ResultsLost { job, .. }
        | Event::StageCombined { job, .. }
        | Event::JobFinished { job, .. } => Some(*job),
    }
}
