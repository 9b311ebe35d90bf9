//! Plans: the rule that turns a job, as far as it has come, into its next stage or its end.
//!
//! A plan looks at the durable job alone; it knows no worker and places nothing.

use crate::event::{Outcome, Purpose};
use crate::sabotage::{self, Bug};
use crate::{Payload, Plan, Rounds, Work};

use super::durable::Job;

/// How many versions may wait for their evaluation before training does.
const EVALUATIONS_MAX: usize = 2;

/// What a job needs next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Open { purpose: Purpose, base: Payload, work: Work },
    Finish(Outcome),
}

/// The next step, or none while the job waits for a stage. Taking a step changes the job, so ask again after each.
pub(super) fn next_step(job: &Job) -> Option<Step> {
    if job.outcome.is_some() {
        return None;
    }
    let Plan::Rounds(plan) = &job.spec.plan;
    next_of_rounds(job, plan)
}

/// Each new version is evaluated while the next round trains on it, and the job ends when both are through.
fn next_of_rounds(job: &Job, plan: &Rounds) -> Option<Step> {
    let version = &job.version;
    let base = if sabotage::is(Bug::TrainFromFirstVersion) { &plan.base } else { &version.parameters };
    let open = |purpose, work: &Work| Step::Open { purpose, base: base.clone(), work: work.clone() };
    if let Some(evaluate) = plan.evaluate.as_ref().filter(|_| job.evaluated < version.round) {
        return Some(open(Purpose::Evaluate { round: version.round }, evaluate));
    }
    if version.round == plan.rounds {
        return job.stages.is_empty().then_some(Step::Finish(Outcome::Succeeded));
    }
    let may_train = job.trained == version.round && job.stages.len() < EVALUATIONS_MAX;
    may_train.then(|| open(Purpose::Train { round: version.round + 1 }, &plan.train))
}
