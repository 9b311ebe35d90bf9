//! Roots: the blobs that the durable state needs, so that everything else may go.
//!
//! It names blobs by what the state says of them. What a manifest lists, and how large a blob is, whoever has the blobs
//! finds out; nothing is read here.

use crate::sabotage::{self, Bug};
use crate::{Digest, JobId, Payload, Split, Work};

use super::durable::{Durable, Job};

/// What the durable state needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The newest snapshot: what was before it the journal has no more.
    pub snapshot: Option<Digest>,
    /// What each job needs: those that are live, then those that have ended, in the order of their ends.
    pub jobs: Vec<JobRoots>,
}

/// What a job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRoots {
    /// The job.
    pub job: JobId,
    /// Whether it has ended, and could be forgotten.
    pub finished: bool,
    /// Blobs that it cannot do without.
    pub blobs: Vec<Digest>,
    /// Manifests whose entries it cannot do without either.
    pub manifests: Vec<Payload>,
    /// Its other versions, the newest first: kept while there is room.
    pub versions: Vec<Digest>,
}

impl Durable {
    /// What has to stay.
    pub fn roots(&self) -> Roots {
        let jobs = self.live_jobs().chain(self.finished_jobs()).map(|(id, job)| job.roots(id)).collect();
        let snapshot = self.snapshot().filter(|_| !sabotage::is(Bug::ForgetSnapshot));
        Roots { snapshot: snapshot.map(|taken| taken.state), jobs }
    }
}

impl Job {
    /// What the job needs: to go on while it is live, to be looked at once it has ended. The data it then needs no more,
    /// only the names in its manifest.
    pub fn roots(&self, id: JobId) -> JobRoots {
        let finished = self.outcome.is_some();
        let best = self.best.as_ref().filter(|_| !sabotage::is(Bug::ForgetBest)).map(|best| &best.version.parameters);
        let mut blobs: Vec<&Payload> = std::iter::once(&self.version.parameters).chain(best).collect();
        let mut manifests = Vec::new();
        for work in self.spec.works() {
            match work.split {
                Split::Entries if finished => blobs.push(&work.input),
                Split::Entries => manifests.push(work.input.clone()),
            }
        }
        if !finished || sabotage::is(Bug::KeepFinished) {
            blobs.extend(self.spec.payloads());
        }
        for stage in self.stages.values() {
            let Work { program, input, combine, .. } = &stage.work;
            blobs.extend([&stage.base, program, input, combine]);
            blobs.extend(stage.done.values().map(|done| &done.result));
        }
        let versions = self.versions.iter().rev().filter_map(|version| version.parameters.as_blob());
        JobRoots {
            job: id,
            finished,
            blobs: blobs.into_iter().filter_map(Payload::as_blob).collect(),
            manifests,
            versions: versions.collect(),
        }
    }
}
