//! A snapshot: all that the journal folds to, through a position, so that what was before may go.
//!
//! The durable state goes on from it as from the journal's beginning, and the histories tell of the jobs that are on
//! record. How it is encoded, and where it is kept, it does not know.

use std::collections::BTreeMap;

use crate::coordinator::durable::{Durable, Misfit};
use crate::history::{JobHistory, Limits};
use crate::sabotage::{self, Bug};
use crate::{Event, JobId, Position};

/// How many of the jobs that ended last keep as much as live ones.
const RECENT_JOBS: usize = 16;

/// What the journal folds to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The last frame that is folded in.
    pub through: Position,
    /// The durable state.
    pub durable: Durable,
    /// The histories of the jobs that the durable state remembers.
    pub jobs: BTreeMap<JobId, RecordedJob>,
}

/// A job on record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedJob {
    /// The frame that holds its submission.
    pub submitted_at: Position,
    /// What it has come to.
    pub history: JobHistory,
}

impl Snapshot {
    /// Folds the next frame in.
    pub fn fold(&mut self, position: Position, wall_ms: u64, events: &[Event]) -> Result<(), Misfit> {
        for event in events {
            if matches!(event, Event::AttemptFailed { .. }) && sabotage::is(Bug::SkipEventInReplay) {
                continue;
            }
            let oldest = self.durable.finished().next();
            self.durable.apply(event)?;
            let Some(id) = event.job() else { continue };
            if let Event::JobSubmitted { .. } = event {
                self.jobs.insert(id, RecordedJob { submitted_at: position, ..RecordedJob::default() });
            }
            self.jobs.get_mut(&id).and_then(|job| job.history.fold(wall_ms, event, &Limits::KEPT));
            if let Event::JobFinished { .. } | Event::JobForgotten { .. } = event {
                // Nobody else can be forgotten now: all that are remembered need not be looked through.
                self.retire([Some(id), oldest].into_iter().flatten());
            }
        }
        self.through = position;
        Ok(())
    }

    /// Forgets whom of these the durable state forgot, and keeps less of whoever ended some jobs ago.
    fn retire(&mut self, perhaps: impl Iterator<Item = JobId>) {
        for id in perhaps.filter(|id| self.durable.job(*id).is_none()) {
            self.jobs.remove(&id);
        }
        if let Some(past) = self.durable.finished().rev().nth(RECENT_JOBS)
            && let Some(job) = self.jobs.get_mut(&past)
        {
            job.history.keep_to(&Limits::PAST);
        }
    }
}
