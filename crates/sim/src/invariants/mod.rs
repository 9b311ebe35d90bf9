//! What holds, always (DESIGN.md): a file for each invariant, fed with what was journaled, ordered and said.
//!
//! They keep their own books and do not look into the machines, except where the durable state itself is the matter.

pub mod one_result;
pub mod stages;
pub mod versions;
pub mod acknowledged;
pub mod replay;
pub mod same_bits;
pub mod same_results;
pub mod every_job_ends;
pub mod keeping_going;
pub mod deadlines;
pub mod draining;
pub mod not_twice;
pub mod resources;
pub mod retention;

use std::fmt;

use convoke_core::coordinator::Combine;
use convoke_core::snapshot::Snapshot;
use convoke_core::{Digest, Event, JobId, Millis, Position};

use crate::scenario::Scenario;

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, on the virtual clock.
    pub at: Millis,
    /// The invariant's number in the design, and what was seen.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms: {}", self.at, self.why)
    }
}

pub struct Invariants {
    /// All that was ever journaled, folded as it came.
    pub record: Snapshot,
    pub one_result: one_result::OneResult,
    pub stages: stages::Stages,
    pub versions: versions::Versions,
    pub acknowledged: acknowledged::Acknowledged,
    pub same_bits: same_bits::SameBits,
    pub same_results: same_results::SameResults,
    pub every_job_ends: every_job_ends::EveryJobEnds,
    pub keeping_going: keeping_going::KeepingGoing,
    pub deadlines: deadlines::Deadlines,
    pub draining: draining::Draining,
    pub not_twice: not_twice::NotTwice,
    pub resources: resources::Resources,
    pub retention: retention::Retention,
}

/// A frame, as it was journaled.
#[derive(Clone, Copy)]
pub struct Journaled<'a> {
    pub at: Position,
    pub wall_ms: u64,
    pub events: &'a [Event],
}

impl Invariants {
    pub fn new(scenario: &Scenario) -> Result<Self, anyhow::Error> {
        Ok(Self {
            record: Snapshot::default(),
            one_result: one_result::OneResult::default(),
            stages: stages::Stages::default(),
            versions: versions::Versions::default(),
            acknowledged: acknowledged::Acknowledged::default(),
            same_bits: same_bits::SameBits::new(scenario)?,
            same_results: same_results::SameResults::new(scenario)?,
            every_job_ends: every_job_ends::EveryJobEnds::new(scenario),
            keeping_going: keeping_going::KeepingGoing::new(scenario),
            deadlines: deadlines::Deadlines::default(),
            draining: draining::Draining::default(),
            not_twice: not_twice::NotTwice::default(),
            resources: resources::Resources::default(),
            retention: retention::Retention::new(scenario),
        })
    }

    /// A frame was appended; `has` says which blobs are there, `losses` how often the disk lost something.
    pub fn on_frame(&mut self, frame: Journaled<'_>, has: &dyn Fn(Digest) -> bool, losses: u64) -> Result<(), String> {
        let Journaled { at, wall_ms, events } = frame;
        for event in events {
            self.on_event(event)?;
            self.retention.on_event(event, &self.record.durable, has, losses)?;
        }
        self.record.fold(at, wall_ms, events).map_err(|misfit| format!("(4) {misfit}"))
    }

    /// An event was appended.
    fn on_event(&mut self, event: &Event) -> Result<(), String> {
        self.one_result.on_event(event)?;
        self.same_bits.on_event(event, &self.stages)?;
        self.same_results.on_event(event, &self.stages)?;
        self.keeping_going.on_event(event, &self.stages)?;
        self.stages.on_event(event)?;
        self.versions.on_event(event, &self.stages)?;
        self.acknowledged.on_event(event);
        self.resources.on_event(event);
        self.deadlines.on_event(event)?;
        self.every_job_ends.on_event(event, self.deadlines.has_passed(event.job().unwrap_or(JobId::from_bits(0))))
    }

    /// A combine was ordered.
    pub fn on_combine(&mut self, combine: &Combine) -> Result<(), String> {
        self.stages.on_combine(combine)?;
        self.same_bits.on_combine(combine, &self.stages)
    }
}
