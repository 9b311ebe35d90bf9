//! What holds, always (DESIGN.md): a file for each invariant, fed with what was journaled, ordered and said.
//!
//! They keep their own books and do not look into the machines, except where the durable state itself is the matter.

pub mod one_result;
pub mod stages;
pub mod versions;
pub mod acknowledged;
pub mod replay;
pub mod same_bits;
pub mod every_job_ends;
pub mod draining;

use std::fmt;

use convoke_core::coordinator::Combine;
use convoke_core::{Event, Millis};
use convoke_store::blobs::Blobs;

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
    pub one_result: one_result::OneResult,
    pub stages: stages::Stages,
    pub versions: versions::Versions,
    pub acknowledged: acknowledged::Acknowledged,
    pub same_bits: same_bits::SameBits,
    pub every_job_ends: every_job_ends::EveryJobEnds,
    pub draining: draining::Draining,
}

impl Invariants {
    pub fn new(scenario: &Scenario, blobs: &dyn Blobs) -> Result<Self, anyhow::Error> {
        Ok(Self {
            one_result: one_result::OneResult::default(),
            stages: stages::Stages::default(),
            versions: versions::Versions::default(),
            acknowledged: acknowledged::Acknowledged::default(),
            same_bits: same_bits::SameBits::new(scenario, blobs)?,
            every_job_ends: every_job_ends::EveryJobEnds::new(scenario),
            draining: draining::Draining::default(),
        })
    }

    /// An event was appended.
    pub fn on_event(&mut self, event: &Event) -> Result<(), String> {
        self.one_result.on_event(event)?;
        self.same_bits.on_event(event, &self.stages)?;
        self.stages.on_event(event)?;
        self.versions.on_event(event, &self.stages)?;
        self.every_job_ends.on_event(event)
    }

    /// A combine was ordered.
    pub fn on_combine(&mut self, combine: &Combine) -> Result<(), String> {
        self.stages.on_combine(combine)?;
        self.same_bits.on_combine(combine, &self.stages)
    }
}
