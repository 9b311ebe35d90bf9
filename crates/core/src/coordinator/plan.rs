//! Plans: the rule that turns a job, as far as it has come, into its next stage or its end.
//!
//! A plan looks at the durable job alone; it knows no worker and places nothing.

use crate::event::{Outcome, Purpose};
use crate::sabotage::{self, Bug};
use crate::{MapReduce, Payload, Plan, Reduce, Rounds, Split, Work};

use super::durable::Job;
use super::progress::{Progress, Reduction, Results, Training};

/// How many versions may wait for their evaluation before training does.
const EVALUATIONS_MAX: usize = 2;

/// What a job needs next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a step is handed over once, and nearly all of them open a stage")]
pub(super) enum Step {
    Open { purpose: Purpose, base: Payload, work: Work },
    Finish(Outcome),
}

/// The next step, or none while the job waits for a stage. Taking a step changes the job, so ask again after each.
pub(super) fn next_step(job: &Job) -> Option<Step> {
    if job.outcome.is_some() {
        return None;
    }
    match (&job.spec.plan, &job.progress) {
        (Plan::Rounds(plan), Progress::Rounds(training)) => next_of_rounds(plan, training, job.stages.len()),
        (Plan::MapReduce(plan), Progress::MapReduce(reduction)) => {
            // One stage at a time: each works on what the one before brought.
            job.stages.is_empty().then(|| next_of_map_reduce(plan, reduction))
        }
        (Plan::Rounds(_), Progress::MapReduce(_)) | (Plan::MapReduce(_), Progress::Rounds(_)) => None,
    }
}

/// What comes before the first round comes alone. Then each new version is evaluated while the next round trains on it, and the job ends when both are through.
fn next_of_rounds(plan: &Rounds, training: &Training, stages: usize) -> Option<Step> {
    let version = &training.version;
    let is_unprepared = version.round == 0 && sabotage::is(Bug::TrainUnprepared);
    let base = match sabotage::is(Bug::TrainFromFirstVersion) || is_unprepared {
        true => &plan.base,
        false => &version.parameters,
    };
    let open = |purpose, work: &Work| Step::Open { purpose, base: base.clone(), work: work.clone() };
    if let Some(prepare) = plan.prepare.as_ref().filter(|_| !training.prepared) {
        return (stages == 0).then(|| open(Purpose::Prepare, prepare));
    }
    if let Some(evaluate) = plan.evaluate.as_ref().filter(|_| training.evaluated < version.round) {
        return Some(open(Purpose::Evaluate { round: version.round }, evaluate));
    }
    if version.round == plan.rounds {
        return (stages == 0).then_some(Step::Finish(Outcome::Succeeded));
    }
    let may_train = training.trained == version.round && stages < EVALUATIONS_MAX;
    may_train.then(|| open(Purpose::Train { round: version.round + 1 }, &plan.train))
}

/// The map, then levels of the reduction until one result is left. Even one result is reduced once, so that what the job
/// brings is always what the reduction makes.
fn next_of_map_reduce(plan: &MapReduce, reduction: &Reduction) -> Step {
    let open = |purpose, work| Step::Open { purpose, base: plan.base.clone(), work };
    let Some(results) = &reduction.results else { return open(Purpose::Map, plan.map.clone()) };
    let level = reduction.opened;
    match &plan.reduce {
        Some(reduce) if results.count > 1 || (level == 1 && results.count == 1) => {
            open(Purpose::Reduce { level }, level_of(plan, reduce, results))
        }
        _ if reduction.failed > 0 => {
            Step::Finish(Outcome::Failed { reason: some_failed(reduction.failed, plan.map.count) })
        }
        _ => Step::Finish(Outcome::Succeeded),
    }
}

/// Why a job failed that went on without some of its tasks.
fn some_failed(failed: u32, tasks: u32) -> String {
    if tasks == 1 { "its only task failed".to_owned() } else { format!("{failed} of {tasks} tasks failed") }
}

fn level_of(plan: &MapReduce, reduce: &Reduce, results: &Results) -> Work {
    Work {
        ability: reduce.ability.clone(),
        program: reduce.program.clone(),
        input: results.list.clone(),
        split: Split::Groups { fan_in: reduce.fan_in },
        count: results.count.div_ceil(reduce.fan_in),
        combine: plan.map.combine.clone(),
        needs: reduce.needs.clone(),
    }
}
