//! The results of a map-reduce job: as its events tell of them, and as its list names them in the end.
//!
//! What is in a result, and where it goes, it does not know.

use std::collections::{BTreeMap, VecDeque};

use convoke_core::event::{Event, Outcome, Purpose};
use convoke_core::history::{JobHistory, Level};
use convoke_core::{JobId, Payload, Plan, StageNumber};

use crate::following::{Following, Heard};
use crate::program::{Brought, MANIFEST_BYTES_MAX, ProgramError, RESULTS_PAGE_BYTES_MAX};
use crate::result_list::{Page, ResultList};
use crate::{CallError, Client};

/// The most bytes that wait for their turn. What is beyond is had from the job's list when that is there.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What waiting costs beside the bytes.
const HELD_BYTES_EACH: usize = 256;

/// What a task brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// The task's place, from 0; 0 where all results were reduced to this one.
    pub index: u32,
    /// The result: [`Client::bytes_of`] has its bytes, [`Client::blob_reader`] those of a large one. `None`: the task failed
    /// for good.
    pub result: Option<Payload>,
    /// A [`crate::program::Files`], where it left some.
    pub files: Option<Payload>,
    /// The end of what it wrote to its log, where it wrote something.
    pub log: Option<Payload>,
}

impl TaskResult {
    fn failed(index: u32) -> Self {
        Self { index, result: None, files: None, log: None }
    }

    fn held_bytes(&self) -> usize {
        let payloads = [&self.result, &self.files, &self.log].into_iter().flatten();
        payloads.map(|payload| payload.as_inline().map_or(0, <[u8]>::len)).sum::<usize>() + HELD_BYTES_EACH
    }
}

impl From<Brought> for TaskResult {
    fn from(brought: Brought) -> Self {
        Self { index: brought.index, result: Some(brought.result), files: brought.files, log: brought.log }
    }
}

/// There are no further results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A call did not succeed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The list of results cannot be read.
    #[error(transparent)]
    List(#[from] ProgramError),
    /// The job did not succeed: what there is has been told.
    #[error("job {job} {outcome}")]
    Job {
        /// The job.
        job: JobId,
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a job's events tell of its results: each as its task is done, in no order, some of them twice. Of a job that reduces
/// them, and of one whose first events the journal does not hold any more, they tell nothing: its list does, in the end.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    plan: Option<Told>,
    /// Whether the job goes on without tasks that fail for good.
    keeps_going: bool,
    /// The stage that was opened last.
    open: Option<(StageNumber, Purpose, u32)>,
    /// What the stage that was combined last was for, its tasks, and what it brought.
    through: Option<(Purpose, u32, Payload)>,
}

/// What a submission says.
#[derive(Clone, Copy, Debug)]
struct Told {
    tasks: u32,
    /// `None` where only a history was heard, which does not say so before it happens.
    reduces: Option<bool>,
}

impl Arrivals {
    /// Hears an event of the job's.
    pub fn hear(&mut self, event: &Event) -> Option<TaskResult> {
        match event {
            Event::JobSubmitted { spec, .. } => {
                if let Plan::MapReduce(plan) = &spec.plan {
                    self.plan = Some(Told { tasks: plan.map.count, reduces: Some(plan.reduce.is_some()) });
                    self.keeps_going = plan.keep_going;
                }
            }
            Event::StageOpened { stage, purpose, work, .. } => {
                self.open = Some((*stage, *purpose, work.count));
                if let (Some(plan), Purpose::Reduce { .. }) = (&mut self.plan, purpose) {
                    plan.reduces = Some(true);
                }
            }
            Event::StageCombined { stage, combined, .. } => {
                let open = self.open.filter(|(open, ..)| open == stage);
                self.through =
                    open.map(|(_, purpose, tasks)| (purpose, tasks, combined.result.clone())).or(self.through.take());
            }
            Event::TaskDone { task, record } if self.tells_of(task.stage) => {
                let completion = &record.completion;
                let (files, log) = (completion.extras.files.clone(), completion.extras.log.clone());
                return Some(TaskResult { index: task.index, result: Some(completion.result.clone()), files, log });
            }
            // Of a task that ends its job there is nothing to tell: nothing comes after it.
            Event::TaskFailed { task } if self.keeps_going && self.tells_of(task.stage) => {
                return Some(TaskResult::failed(task.index));
            }
            _ => {}
        }
        None
    }

    /// Takes a history for events that are not told.
    pub fn hear_history(&mut self, history: &JobHistory) {
        let reduces = history.levels.iter().any(|level| level.purpose != Purpose::Map).then_some(true);
        self.plan = self.plan.or(Some(Told { tasks: history.tasks_planned, reduces }));
        self.open =
            history.stages.last_key_value().map(|(stage, open)| (StageNumber(*stage), open.purpose, open.count));
        // One that was cut off may have all of its tasks done or failed; its results were never combined.
        let is_whole = |level: &&Level| !level.cut_off && level.done + level.failed == level.tasks;
        let whole = history.levels.iter().rev().find(is_whole);
        self.through = whole.zip(history.results.clone()).map(|(level, list)| (level.purpose, level.tasks, list));
    }

    /// How many results the job has, failed ones among them, once that is known.
    pub fn count(&self) -> Option<u32> {
        self.plan.map(|plan| if plan.reduces == Some(true) { 1 } else { plan.tasks })
    }

    /// The list of the job's results, once its last stage is through.
    pub fn list(&self) -> Option<&Payload> {
        let (purpose, tasks, list) = self.through.as_ref()?;
        let is_last = match purpose {
            Purpose::Map => self.plan.is_some_and(|plan| plan.reduces != Some(true)),
            Purpose::Reduce { .. } => *tasks == 1,
            Purpose::Prepare | Purpose::Train { .. } | Purpose::Evaluate { .. } => false,
        };
        is_last.then_some(list)
    }

    fn tells_of(&self, stage: StageNumber) -> bool {
        let is_map = self.open.is_some_and(|(open, purpose, _)| open == stage && purpose == Purpose::Map);
        is_map && self.plan.is_some_and(|plan| plan.reduces == Some(false))
    }
}

/// The results of a job in task order: [`Client::results`].
///
/// Memory is bounded: what comes long before its turn is read again from the job's list. To stop, drop it; the job goes on
/// unless it is cancelled ([`Client::cancel`]).
pub struct Results {
    client: Client,
    job: JobId,
    following: Following,
    arrivals: Arrivals,
    /// The task whose turn it is.
    next: u32,
    held: BTreeMap<u32, TaskResult>,
    held_bytes: usize,
    /// Once the job has ended: how, and what its list has yet to tell.
    ended: Option<Outcome>,
    list: Option<ResultList>,
    /// Whether the list was read, if there is one.
    list_read: bool,
    page: VecDeque<Brought>,
}

impl Results {
    pub(crate) fn new(client: Client, job: JobId) -> Self {
        Self {
            following: client.watch(job, true),
            client,
            job,
            arrivals: Arrivals::default(),
            next: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            ended: None,
            list: None,
            list_read: false,
            page: VecDeque::new(),
        }
    }

    /// The next result in task order, as soon as it is there; `None` after the last. A job that failed or was cancelled ends
    /// with an error, after what there is: of tasks that were not done, nothing is told.
    ///
    /// A lost coordinator is looked for, as by [`Following::next`].
    pub async fn next(&mut self) -> Result<Option<TaskResult>, ResultsError> {
        loop {
            if let Some(result) = self.held.remove(&self.next) {
                self.held_bytes -= result.held_bytes();
                return Ok(Some(self.hand_out(result)));
            }
            if let Some(outcome) = self.ended.clone() {
                return self.next_of_list(outcome).await;
            }
            match self.following.next().await? {
                Some(Heard::Event { event, .. }) => {
                    if let Event::JobFinished { outcome, .. } = &event {
                        self.ended = Some(outcome.clone());
                    } else if let Some(result) = self.arrivals.hear(&event) {
                        self.hold(result);
                    }
                }
                Some(Heard::History(history)) => {
                    self.arrivals.hear_history(&history);
                    if let Some(outcome) = history.outcome {
                        self.ended = Some(outcome);
                    }
                }
                Some(Heard::Notice(_) | Heard::Lost) => {}
                None => return Ok(None),
            }
        }
    }

    /// What was not told is on the list. It is read here, so that whoever asks again after an error goes on.
    async fn next_of_list(&mut self, outcome: Outcome) -> Result<Option<TaskResult>, ResultsError> {
        if let Some(list) = self.arrivals.list().filter(|_| !self.list_read) {
            let bytes = self.client.bytes_of(list, MANIFEST_BYTES_MAX).await?;
            self.list = Some(ResultList::read(&bytes)?);
        }
        self.list_read = true;
        let count = self.arrivals.count().unwrap_or(0);
        while self.next < count {
            // Of a list, only what was not handed out is of use.
            while self.page.front().is_some_and(|brought| brought.index < self.next) {
                self.page.pop_front();
            }
            match self.page.front() {
                Some(brought) if brought.index > self.next => {
                    return Ok(Some(self.hand_out(TaskResult::failed(self.next))));
                }
                Some(_) => {}
                None => match self.next_page().await? {
                    Some(page) => {
                        self.page = page.into();
                        continue;
                    }
                    None => break,
                },
            }
            if let Some(brought) = self.page.pop_front() {
                return Ok(Some(self.hand_out(brought.into())));
            }
        }
        // A list ends before the last that failed; where there is none, the job ended before it was made.
        if self.next < count {
            let held = self.held.pop_first().map(|(_, result)| result);
            let failed = || self.list.is_some().then(|| TaskResult::failed(self.next));
            if let Some(result) = held.or_else(failed) {
                return Ok(Some(self.hand_out(result)));
            }
        }
        match outcome {
            Outcome::Succeeded => Ok(None),
            outcome => {
                self.ended = Some(Outcome::Succeeded);
                (self.next, self.list) = (count, None);
                Err(ResultsError::Job { job: self.job, outcome })
            }
        }
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Brought>>, ResultsError> {
        let Some(page) = self.list.as_mut().map(ResultList::next_page).transpose()?.flatten() else { return Ok(None) };
        match page {
            Page::Read(page) => Ok(Some(page)),
            Page::Stored(digest) => {
                let bytes = self.client.blobs().get(digest, RESULTS_PAGE_BYTES_MAX).await?;
                Ok(Some(ResultList::read_page(&bytes)?))
            }
        }
    }

    fn hold(&mut self, result: TaskResult) {
        let bytes = result.held_bytes();
        let is_turn = result.index == self.next;
        if result.index < self.next || !is_turn && self.held_bytes + bytes > HELD_BYTES_MAX {
            return;
        }
        self.held_bytes += bytes;
        if let Some(known) = self.held.insert(result.index, result) {
            self.held_bytes -= known.held_bytes();
        }
    }

    fn hand_out(&mut self, result: TaskResult) -> TaskResult {
        self.next = result.index + 1;
        result
    }
}

#[cfg(test)]
#[path = "results/tests.rs"]
mod tests;
