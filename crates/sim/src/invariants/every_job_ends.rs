//! Invariant 7: when faults stop every job ends, and for a reason that the journal shows.
//!
//! A task may fail for good only if it cost three workers or failed more often than it is tried again, a job only by
//! that or by its deadline, and be cancelled only if its client meant that. It does not know how long things take; the loop's patience does.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::event::{Fault, Outcome};
use convoke_core::{Event, JobId, TaskId, Term};

use crate::scenario::Scenario;

/// After so many deaths of one task it may fail for good.
const DEATHS: u32 = 3;

pub struct EveryJobEnds {
    jobs: BTreeMap<JobId, Job>,
    term: Term,
}

#[derive(Default)]
struct Job {
    may_be_cancelled: bool,
    retries: u32,
    ended: bool,
    failures: BTreeMap<TaskId, Failures>,
    /// Attempts that failed. Their numbers start again with a term, and where a result is lost, from what the journal knows.
    attempts: BTreeSet<(Term, TaskId, u32)>,
}

/// What the journal has of a task's failures, and how often an executor really failed.
#[derive(Default)]
struct Failures {
    deaths: u32,
    timeouts: u32,
    errors: u32,
    real_errors: u32,
}

impl EveryJobEnds {
    pub fn new(scenario: &Scenario) -> Self {
        let job = |may_be_cancelled, retries| Job { may_be_cancelled, retries, ..Job::default() };
        let drawn = scenario.jobs.iter();
        let jobs = drawn.map(|plan| (plan.id, job(plan.cancel_at.is_some(), plan.spec.attempts.retries))).collect();
        Self { jobs, term: Term::default() }
    }

    /// An event of a job of which the deadline has passed, or not.
    pub fn on_event(&mut self, event: &Event, is_late: bool) -> Result<(), String> {
        match event {
            Event::TermOpened { term } => self.term = *term,
            Event::AttemptFailed { task, attempt, fault, .. } => {
                let Some(job) = self.jobs.get_mut(&task.job) else { return Ok(()) };
                let failures = job.failures.entry(*task).or_default();
                match fault {
                    Fault::WorkerLost => failures.deaths += 1,
                    Fault::TimedOut { .. } => failures.timeouts += 1,
                    Fault::Error(_) => failures.errors += 1,
                }
                if failures.errors > failures.real_errors {
                    return Err(format!("(7) an error of {task} counts twice"));
                }
                if !job.attempts.insert((self.term, *task, *attempt)) {
                    return Err(format!("(7) attempt {attempt} of {task} failed twice"));
                }
            }
            Event::TaskFailed { task } => {
                let Some(job) = self.jobs.get(&task.job) else { return Ok(()) };
                if !job.failures.get(task).is_some_and(|failures| failures.suffice(job.retries)) {
                    return Err(format!("(7) {task} failed for good without a cause"));
                }
            }
            Event::JobFinished { job: id, outcome } => {
                let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
                if std::mem::replace(&mut job.ended, true) {
                    return Err(format!("(7) job {id} ended twice"));
                }
                let deadly = is_late || job.failures.values().any(|failures| failures.suffice(job.retries));
                match outcome {
                    Outcome::Failed { reason } if !deadly => {
                        return Err(format!("(7) job {id} failed without a cause: {reason}"));
                    }
                    Outcome::Cancelled if !job.may_be_cancelled => {
                        return Err(format!("(7) nobody cancelled job {id}"));
                    }
                    _ => {}
                }
            }
            Event::ResultsLost { job: id, stage, indices } => {
                let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
                let lost = |task: &TaskId| task.stage == *stage && indices.contains(&task.index);
                job.attempts.retain(|(_, task, _)| !lost(task));
            }
            Event::JobForgotten { job } if self.jobs.get(job).is_some_and(|job| !job.ended) => {
                return Err(format!("(7) job {job} was forgotten before it ended"));
            }
            _ => {}
        }
        Ok(())
    }

    /// An executor failed, whoever will hear of it.
    pub fn executor_failed(&mut self, task: TaskId) {
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.failures.entry(task).or_default().real_errors += 1;
        }
    }

    pub fn all_ended(&self) -> bool {
        self.jobs.values().all(|job| job.ended)
    }

    pub fn who_does_not(&self) -> String {
        let waiting: Vec<String> =
            self.jobs.iter().filter(|(_, job)| !job.ended).map(|(id, _)| id.to_string()).collect();
        format!(
            "(7) long after the last fault, some jobs have not ended, or nobody was told so: {}",
            waiting.join(", ")
        )
    }
}

impl Failures {
    fn suffice(&self, retries: u32) -> bool {
        self.deaths >= DEATHS || self.errors + self.timeouts > retries
    }
}
