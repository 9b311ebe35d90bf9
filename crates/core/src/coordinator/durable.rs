//! The durable state: what the journal's events fold to, and nothing else.
//!
//! Only [`Durable::apply`] changes it, live and in replay alike, so a refolded journal equals the state that wrote it.
//! It knows no worker's session, no lease and no time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::{Event, Extras, Fault, Outcome, Purpose};
use crate::sabotage::{self, Bug};
use crate::{Digest, JobId, JobSpec, Payload, Plan, Position, StageNumber, TaskId, Term, TokenId};

use super::credentials::Credentials;

pub use super::progress::{Best, Progress, Reduction, Results, Training, VERSIONS_MAX, Version};
pub use super::stage::{Done, Failures, Stage};

/// How many finished jobs are remembered; the oldest go first.
pub const FINISHED_JOBS_MAX: usize = 1_000;
/// How many logs of failed attempts a job keeps; the oldest go first.
pub const LOGS_MAX: usize = 100;

/// Everything that a restart brings back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durable(Parts);

/// What the durable state consists of: what a snapshot carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// The last term that was opened.
    pub term: Term,
    /// How many jobs were ever submitted.
    pub submitted: u64,
    /// All jobs that are remembered.
    pub jobs: BTreeMap<JobId, Job>,
    /// Those that ended, the oldest first.
    pub finished: VecDeque<JobId>,
    /// The newest snapshot.
    pub snapshot: Option<TakenSnapshot>,
    /// Who may come in, and who may no more.
    pub credentials: Credentials,
}

/// A snapshot that the journal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenSnapshot {
    /// The position of the last frame that is folded into it.
    pub through: Position,
    /// The blob that holds it.
    pub state: Digest,
}

/// A job, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The how-manieth job it was.
    pub order: u64,
    /// As submitted.
    pub spec: Arc<JobSpec>,
    /// Who submitted it, for people.
    pub submitter: String,
    /// The token that let the submitter in: whose the job is.
    pub owner: TokenId,
    /// How far its plan has come.
    pub progress: Progress,
    /// Stages that are not combined yet.
    pub stages: BTreeMap<StageNumber, Stage>,
    /// The last stage that was opened.
    pub last_stage: StageNumber,
    /// The logs of attempts that failed, where blobs hold them, the newest last, at most [`LOGS_MAX`].
    pub logs: VecDeque<Digest>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

/// An event that cannot follow what is already there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event `{event}` does not fit: {why}")]
pub struct Misfit {
    event: String,
    why: &'static str,
}

impl Durable {
    /// The state of these parts; `None` if they contradict each other.
    pub fn of(parts: Parts) -> Option<Self> {
        let ended = |id: &JobId| parts.jobs.get(id).is_some_and(|job| job.outcome.is_some());
        let listed = parts.jobs.values().filter(|job| job.outcome.is_some()).count() == parts.finished.len();
        let of_plan = parts.jobs.values().all(|job| job.progress.is_of(&job.spec.plan));
        let sound = listed && of_plan && parts.finished.iter().all(ended) && parts.credentials.are_sound();
        sound.then_some(Self(parts))
    }

    /// The last term that was opened.
    pub fn term(&self) -> Term {
        self.0.term
    }

    /// How many jobs were ever submitted.
    pub fn submitted(&self) -> u64 {
        self.0.submitted
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Option<&TakenSnapshot> {
        self.0.snapshot.as_ref()
    }

    /// Who may come in, and who may no more.
    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// A job, live or finished.
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.0.jobs.get(&job)
    }

    /// All jobs that are remembered.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.0.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// The jobs that ended, the oldest first.
    pub fn finished(&self) -> impl DoubleEndedIterator<Item = JobId> {
        self.0.finished.iter().copied()
    }

    /// The same, with what is known of them.
    pub fn finished_jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.finished().filter_map(|id| Some((id, self.job(id)?)))
    }

    /// Jobs that have not ended.
    pub fn live_jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs().filter(|(_, job)| job.outcome.is_none())
    }

    /// A stage that is not combined yet.
    pub fn stage(&self, job: JobId, stage: StageNumber) -> Option<&Stage> {
        self.0.jobs.get(&job)?.stages.get(&stage)
    }

    /// The stage of a task that still needs a result.
    pub fn wanted(&self, task: TaskId) -> Option<&Stage> {
        let stage = self.stage(task.job, task.stage)?;
        let is_done = stage.done.contains_key(&task.index) && !sabotage::is(Bug::CountReturnedTaskTwice);
        let is_dead = stage.dead.contains(&task.index);
        let open = !stage.closed && task.index < stage.work.count && !is_done && !is_dead;
        open.then_some(stage)
    }

    /// Folds one event in. On an error nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        self.fold(event).ok_or_else(|| Misfit { event: event.to_string(), why: expectation(event) })
    }

    fn fold(&mut self, event: &Event) -> Option<()> {
        match event {
            Event::TermOpened { term } => {
                self.0.term = Some(*term).filter(|term| *term == self.0.term.next())?;
            }
            Event::JobSubmitted { job, spec, submitter, owner } => {
                if self.0.jobs.contains_key(job) {
                    return None;
                }
                self.0.submitted += 1;
                self.0.jobs.insert(*job, Job::new(self.0.submitted, spec, submitter, *owner));
            }
            Event::StageOpened { job, stage, purpose, base, work } => {
                let job = self.live(*job).filter(|job| *stage == job.last_stage.next())?;
                // Nothing runs beside a preparation, and only a plan that has one prepares.
                let prepares = job.stages.values().any(|stage| stage.purpose == Purpose::Prepare);
                let may_prepare =
                    job.stages.is_empty() && matches!(&job.spec.plan, Plan::Rounds(plan) if plan.prepare.is_some());
                if prepares || (*purpose == Purpose::Prepare && !may_prepare) {
                    return None;
                }
                job.progress.open(*purpose)?;
                job.last_stage = *stage;
                job.stages.insert(*stage, Stage::new(*purpose, base, work));
            }
            Event::TaskDone { task, record } => {
                self.wanted(*task)?;
                let completion = &record.completion;
                let done = Done {
                    result: completion.result.clone(),
                    samples: completion.samples,
                    worker: record.worker.as_str().into(),
                    extras: (completion.extras != Extras::default()).then(|| Box::new(completion.extras.clone())),
                };
                self.stage_mut(task.job, task.stage)?.done.insert(task.index, done);
            }
            Event::AttemptFailed { task, worker, fault, .. } => {
                self.wanted(*task)?;
                let failures = self.stage_mut(task.job, task.stage)?.failures.entry(task.index).or_default();
                match fault {
                    Fault::WorkerLost => failures.deaths.push(worker.clone()),
                    Fault::Error(_) | Fault::TimedOut { .. } => failures.errors += 1,
                }
                if let Fault::Error(failure) = fault
                    && let Some(log) = failure.log.as_ref().and_then(Payload::as_blob)
                {
                    self.live(task.job)?.keep_log(log);
                }
            }
            Event::TaskFailed { task } => {
                self.wanted(*task)?.failures.get(&task.index)?;
                self.stage_mut(task.job, task.stage)?.dead.insert(task.index);
            }
            Event::StageClosed { job, stage, .. } => {
                let stage = self.stage_mut(*job, *stage).filter(|stage| !stage.closed && stage.is_complete())?;
                stage.closed = true;
            }
            Event::ResultsLost { job, stage, indices } => {
                let stage = self.stage_mut(*job, *stage)?;
                if !indices.iter().all(|index| stage.done.contains_key(index)) {
                    return None;
                }
                stage.closed = false;
                indices.iter().for_each(|index| drop(stage.done.remove(index)));
            }
            Event::StageCombined { job, stage, combined } => {
                let job = self.live(*job)?;
                let closed = job.stages.get(stage).is_some_and(|stage| stage.closed);
                let stage = closed.then(|| job.stages.remove(stage))??;
                job.progress.combine(stage, combined);
            }
            Event::JobFinished { job: id, outcome } => {
                let job = self.live(*id)?;
                job.outcome = Some(outcome.clone());
                job.stages.clear();
                self.0.finished.push_back(*id);
                if self.0.finished.len() > FINISHED_JOBS_MAX {
                    self.0.finished.pop_front().and_then(|oldest| self.0.jobs.remove(&oldest));
                }
            }
            Event::SnapshotTaken { through, state } => {
                let newer = self.0.snapshot.is_none_or(|taken| taken.through < *through);
                self.0.snapshot = Some(newer.then_some(TakenSnapshot { through: *through, state: *state })?);
            }
            Event::JobForgotten { job } => {
                self.0.jobs.get(job)?.outcome.as_ref()?;
                self.0.jobs.remove(job);
                self.0.finished.retain(|finished| finished != job);
            }
            Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::Enrolled { .. }
            | Event::IdentityRemoved { .. } => self.0.credentials.fold(event)?,
        }
        Some(())
    }

    fn live(&mut self, job: JobId) -> Option<&mut Job> {
        self.0.jobs.get_mut(&job).filter(|job| job.outcome.is_none())
    }

    fn stage_mut(&mut self, job: JobId, stage: StageNumber) -> Option<&mut Stage> {
        self.live(job)?.stages.get_mut(&stage)
    }
}

impl Job {
    fn new(order: u64, spec: &JobSpec, submitter: &str, owner: TokenId) -> Self {
        Self {
            order,
            progress: Progress::new(&spec.plan),
            spec: Arc::new(spec.clone()),
            submitter: submitter.to_owned(),
            owner,
            stages: BTreeMap::new(),
            last_stage: StageNumber(0),
            logs: VecDeque::new(),
            outcome: None,
        }
    }

    fn keep_log(&mut self, log: Digest) {
        if self.logs.len() == LOGS_MAX {
            self.logs.pop_front();
        }
        self.logs.push_back(log);
    }

    /// How far training has come, where the job trains.
    pub fn training(&self) -> Option<&Training> {
        match &self.progress {
            Progress::Rounds(training) => Some(training),
            Progress::MapReduce(_) => None,
        }
    }
}

/// What has to hold for an event to follow.
fn expectation(event: &Event) -> &'static str {
    match event {
        Event::TermOpened { .. } => "a term is one more than the last",
        Event::JobSubmitted { .. } => "the job is there already",
        Event::StageOpened { .. } => {
            "the job is live and has such stages, and a stage's number is one more than the last"
        }
        Event::TaskDone { .. } | Event::AttemptFailed { .. } => "the task is one of an open stage and has no result",
        Event::TaskFailed { .. } => "the task is one of an open stage, has failed before and has no result",
        Event::StageClosed { .. } => "the stage is open and every task of it is done, or has failed for good",
        Event::ResultsLost { .. } => "the stage is not combined and has those results",
        Event::StageCombined { .. } => "the stage is closed",
        Event::JobFinished { .. } => "the job is live",
        Event::SnapshotTaken { .. } => "a snapshot reaches further than the last",
        Event::JobForgotten { .. } => "the job has ended",
        Event::TokenCreated { .. } => "the token is new, and there is room",
        Event::TokenRevoked { .. } => "the token is there",
        Event::Enrolled { .. } => "the token is there and not used up, and a serial is one more than the last",
        Event::IdentityRemoved { .. } => "serials that were given are removed, and there is room",
    }
}
