//! How far a job's plan has come: the versions that training made, or the levels of a reduction.
//!
//! Only the durable state changes it, stage by stage. It does not know what the plan needs next, nor a task or an
//! attempt.

use std::collections::VecDeque;

use crate::event::{Combined, Purpose};
use crate::sabotage::{self, Bug};
use crate::{Payload, Plan};

use super::stage::Stage;

/// How many versions of a job are remembered beside the last and the best; the oldest go first.
pub const VERSIONS_MAX: usize = 100;
/// The metric by which the best version is the best.
const ERROR: &str = "validation_error";

/// How far a job's plan has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Training in rounds.
    Rounds(Training),
    /// A map and its reduction.
    MapReduce(Reduction),
}

/// Training, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The newest model version.
    pub version: Version,
    /// Whether version 0 is what a prepare stage made of the spec's base.
    pub prepared: bool,
    /// Versions before the newest, the newest of them last, at most [`VERSIONS_MAX`].
    pub versions: VecDeque<Version>,
    /// The version with the smallest error, the first of several, once one was measured.
    pub best: Option<Best>,
    /// The last round whose training was opened.
    pub trained: u32,
    /// The last version whose evaluation was opened.
    pub evaluated: u32,
}

/// A map and its reduction, as far as they have come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reduction {
    /// How many stages were opened: the map, then the levels of the reduction.
    pub opened: u32,
    /// What the newest stage that was combined brought.
    pub results: Option<Results>,
    /// How many pieces have failed for good, of all combined stages.
    pub failed: u32,
}

/// What a stage brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The list of them.
    pub list: Payload,
    /// How many there are.
    pub count: u32,
}

/// Parameters after a committed round; version 0 is what the first one starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The round that made it.
    pub round: u32,
    /// The parameters.
    pub parameters: Payload,
}

/// A version, and how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The version.
    pub version: Version,
    /// Its validation error.
    pub error: f64,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Self {
        match plan {
            Plan::Rounds(plan) => Self::Rounds(Training {
                version: Version { round: 0, parameters: plan.base.clone() },
                prepared: false,
                versions: VecDeque::new(),
                best: None,
                trained: 0,
                evaluated: 0,
            }),
            Plan::MapReduce(_) => Self::MapReduce(Reduction::default()),
        }
    }

    /// Whether it is of that plan's kind.
    pub fn is_of(&self, plan: &Plan) -> bool {
        match (self, plan) {
            (Self::Rounds(training), Plan::Rounds(plan)) => !training.prepared || plan.prepare.is_some(),
            (Self::MapReduce(_), Plan::MapReduce(_)) => true,
            (Self::Rounds(_), Plan::MapReduce(_)) | (Self::MapReduce(_), Plan::Rounds(_)) => false,
        }
    }

    /// Notes that a stage was opened; `None` if it is not one of this plan's.
    pub(super) fn open(&mut self, purpose: Purpose) -> Option<()> {
        match (self, purpose) {
            (Self::Rounds(training), Purpose::Prepare) if !training.prepared && training.trained == 0 => {}
            (Self::Rounds(training), Purpose::Train { round }) => training.trained = round,
            (Self::Rounds(training), Purpose::Evaluate { round }) => training.evaluated = round,
            (Self::MapReduce(reduction), Purpose::Map | Purpose::Reduce { .. }) => reduction.opened += 1,
            _ => return None,
        }
        Some(())
    }

    pub(super) fn combine(&mut self, stage: Stage, combined: &Combined) {
        match (self, stage.purpose) {
            (Self::Rounds(training), Purpose::Prepare) => {
                training.version.parameters = combined.result.clone();
                training.prepared = true;
            }
            (Self::Rounds(training), Purpose::Train { round }) => training.add_version(round, &combined.result),
            (Self::Rounds(training), Purpose::Evaluate { round }) => {
                let version = Version { round, parameters: stage.base };
                combined.metrics.get(ERROR).into_iter().for_each(|error| training.measure(version.clone(), error));
            }
            (Self::MapReduce(reduction), _) => {
                reduction.failed += if sabotage::is(Bug::ForgetDeadTask) { 0 } else { stage.dead.len() as u32 };
                reduction.results = Some(Results { list: combined.result.clone(), count: stage.done.len() as u32 });
            }
            (Self::Rounds(_), Purpose::Map | Purpose::Reduce { .. }) => {}
        }
    }
}

impl Training {
    fn add_version(&mut self, round: u32, parameters: &Payload) {
        let version = Version { round, parameters: parameters.clone() };
        let before = std::mem::replace(&mut self.version, version);
        // Version 0 is nobody's to ask for: the spec's base, or what it was prepared to.
        if before.round > 0 {
            self.versions.push_back(before);
        }
        if self.versions.len() > VERSIONS_MAX {
            self.versions.pop_front();
        }
    }

    fn measure(&mut self, version: Version, error: f64) {
        let beats = |best: &Best| error.total_cmp(&best.error).then(version.round.cmp(&best.version.round)).is_lt();
        if self.best.as_ref().is_none_or(beats) {
            self.best = Some(Best { version, error });
        }
    }
}
