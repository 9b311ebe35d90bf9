//! Roots: the blobs that the durable state needs, so that everything else may go.
//!
//! It names blobs by what the state says of them. What a manifest lists, and how large a blob is, whoever has the blobs
//! finds out; nothing is read here.

use crate::sabotage::{self, Bug};
use crate::{Ability, Digest, JobId, JobSpec, MapReduce, Payload, Plan, Split, Work};

use super::durable::{Durable, Job};
use super::progress::Progress;

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
    /// Lists of which it cannot do without the entries either.
    pub lists: Vec<List>,
    /// Its other versions, the newest first: kept while there is room.
    pub versions: Vec<Digest>,
}

/// A payload that names blobs, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// An input's pieces.
    Manifest(Payload),
    /// A stage's results.
    Results(Payload),
    /// The files that a task left.
    Files(Payload),
    /// What an executor of this ability is to run.
    Program(Ability, Payload),
}

impl Durable {
    /// What has to stay.
    pub fn roots(&self) -> Roots {
        let jobs = self.live_jobs().chain(self.finished_jobs()).map(|(id, job)| job.roots(id)).collect();
        let snapshot = self.snapshot().filter(|_| !sabotage::is(Bug::ForgetSnapshot));
        Roots { snapshot: snapshot.map(|taken| taken.state), jobs }
    }
}

impl List {
    /// The payload.
    pub fn payload(&self) -> &Payload {
        match self {
            Self::Manifest(payload) | Self::Results(payload) | Self::Files(payload) | Self::Program(_, payload) => {
                payload
            }
        }
    }
}

impl JobSpec {
    /// The lists that the job starts from.
    pub fn lists(&self) -> Vec<List> {
        let manifests = self.works().filter(|work| matches!(work.split, Split::Entries | Split::Items));
        let mut lists: Vec<_> = manifests.map(|work| List::Manifest(work.input.clone())).collect();
        lists.extend(self.works().map(|work| List::Program(work.ability.clone(), work.program.clone())));
        if let Plan::MapReduce(MapReduce { reduce: Some(reduce), .. }) = &self.plan {
            lists.push(List::Program(reduce.ability.clone(), reduce.program.clone()));
        }
        lists
    }
}

impl Job {
    /// What the job needs: to go on while it is live, to be looked at once it has ended. The data it then needs no more,
    /// only the names in its manifest.
    pub fn roots(&self, id: JobId) -> JobRoots {
        let finished = self.outcome.is_some();
        let mut blobs: Vec<&Payload> = Vec::new();
        let mut lists = Vec::new();
        let mut versions = Vec::new();
        match &self.progress {
            Progress::Rounds(training) => {
                let best = training.best.as_ref().filter(|_| !sabotage::is(Bug::ForgetBest));
                blobs.push(&training.version.parameters);
                blobs.extend(best.map(|best| &best.version.parameters));
                versions.extend(training.versions.iter().rev().filter_map(|version| version.parameters.as_blob()));
            }
            Progress::MapReduce(reduction) => {
                lists.extend(reduction.results.iter().map(|results| List::Results(results.list.clone())));
            }
        }
        blobs.extend(self.spec.works().map(|work| &work.input));
        if !finished || sabotage::is(Bug::KeepFinished) {
            blobs.extend(self.spec.payloads());
            lists.extend(self.spec.lists());
        }
        for stage in self.stages.values() {
            let Work { program, input, combine, split, .. } = &stage.work;
            blobs.extend([&stage.base, program, input, combine]);
            if let Split::Groups { .. } = split {
                lists.push(List::Results(input.clone()));
            }
            for done in stage.done.values() {
                blobs.push(&done.result);
                let Some(extras) = &done.extras else { continue };
                blobs.extend(&extras.log);
                lists.extend(extras.files.clone().map(List::Files));
            }
        }
        let blobs = blobs.into_iter().filter_map(Payload::as_blob).chain(self.logs.iter().copied()).collect();
        JobRoots { job: id, finished, blobs, lists, versions }
    }
}
