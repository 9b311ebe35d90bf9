//! Retention: nothing goes that a job or a restart needs, or that a client has just uploaded; and in the end, all else does.
//!
//! What is needed is found in the record of what was journaled, not asked of the machine. A result that was not synced
//! may be lost with the power, or with a sync that failed: never otherwise.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::coordinator::durable::{Durable, Job, Progress, Reduction};
use convoke_core::coordinator::roots::Roots;
use convoke_core::{Digest, Event, JobId, Millis, Payload};

use crate::scenario::Scenario;

pub struct Retention {
    /// What each manifest lists.
    manifests: BTreeMap<Digest, Vec<Digest>>,
    /// Until when what a client touched is held, whatever the coordinator's clock is like; and how often the disk had lost
    /// something by then.
    touched: BTreeMap<Digest, (Millis, u64)>,
    hold_ms: Millis,
    /// How often the disk had lost something when a result was kept.
    kept: BTreeMap<Digest, u64>,
    /// The blobs of each map-reduce job's newest list of results.
    results: BTreeMap<JobId, Vec<Digest>>,
}

impl Retention {
    pub fn new(scenario: &Scenario) -> Self {
        let listed = |job: &crate::scenario::JobPlan| {
            Some((job.manifest()?, job.pieces().iter().map(|(digest, _)| *digest).collect()))
        };
        Self {
            manifests: scenario.jobs.iter().filter_map(listed).collect(),
            touched: BTreeMap::new(),
            // A clock may be a tenth too fast.
            hold_ms: scenario.retention.times.hold_ms * 10 / 11 - 1,
            kept: BTreeMap::new(),
            results: BTreeMap::new(),
        }
    }

    /// A client has looked for a blob and found it, or put it.
    pub fn touched(&mut self, now: Millis, digest: Digest, losses: u64) {
        self.touched.insert(digest, (now + self.hold_ms, losses));
    }

    /// A client is told that blobs are missing. What was found and never synced a power cut may have taken meanwhile.
    pub fn on_missing(&self, now: Millis, missing: &[Digest], losses: u64) -> Result<(), String> {
        let is_there = |digest: &&Digest| {
            self.touched.get(digest).is_some_and(|(until, lost_before)| now < *until && *lost_before == losses)
        };
        match missing.iter().find(is_there) {
            Some(digest) => Err(format!("(retention) blob {digest} was uploaded, and is missing")),
            None => Ok(()),
        }
    }

    /// A result was kept, and not synced.
    pub fn result_kept(&mut self, digest: Digest, losses: u64) {
        self.kept.insert(digest, losses);
    }

    /// An event was appended to this record; `has` says which blobs are there, `losses` how often the disk lost something.
    pub fn on_event(
        &mut self,
        event: &Event,
        record: &Durable,
        has: &dyn Fn(Digest) -> bool,
        losses: u64,
    ) -> Result<(), String> {
        match event {
            Event::JobSubmitted { spec, .. } => {
                let named = spec.payloads().filter_map(Payload::as_blob);
                let listed = spec.works().filter_map(|work| self.manifests.get(&work.input.as_blob()?)).flatten();
                named.chain(listed.copied()).try_for_each(|digest| there(digest, event, has))
            }
            Event::StageCombined { job: id, stage, combined } => {
                combined.result.as_blob().map_or(Ok(()), |digest| there(digest, event, has))?;
                let Some((job, stage)) = record.job(*id).zip(record.stage(*id, *stage)) else { return Ok(()) };
                if job.training().is_some() {
                    return Ok(());
                }
                let listed: Vec<_> = stage.done.values().filter_map(|done| done.result.as_blob()).collect();
                listed.iter().try_for_each(|digest| there(*digest, event, has))?;
                self.results.insert(*id, listed);
                Ok(())
            }
            Event::SnapshotTaken { state, .. } => there(*state, event, has),
            Event::ResultsLost { job, stage, indices } => {
                let done = record.stage(*job, *stage).map(|stage| &stage.done);
                let results = done.into_iter().flat_map(|done| indices.iter().filter_map(|index| done.get(index)));
                let mut digests = results.filter_map(|done| done.result.as_blob());
                match digests.find(|digest| self.kept.get(digest) == Some(&losses)) {
                    Some(digest) => Err(format!("(retention) result {digest} is gone, and the disk lost nothing")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Blobs were removed, with this on record.
    pub fn on_removed(&self, now: Millis, removed: &[Digest], record: &Durable) -> Result<(), String> {
        if removed.is_empty() {
            return Ok(());
        }
        let needed = self.needed(record);
        for digest in removed {
            if needed.contains(digest) {
                return Err(format!("(retention) blob {digest} was removed, and is needed"));
            }
            if self.is_held(now, *digest) {
                return Err(format!("(retention) blob {digest} was removed soon after it was uploaded"));
            }
        }
        Ok(())
    }

    /// Nobody holds anything any more.
    pub fn at_end(&self, left: &[(Digest, u64)], record: &Durable, roots: &Roots) -> Result<(), String> {
        let mut needed = self.needed(record);
        // As many of them as there is room for.
        needed.extend(roots.jobs.iter().flat_map(|job| &job.versions));
        match left.iter().find(|(digest, _)| !needed.contains(digest)) {
            Some((digest, _)) => Err(format!("(retention) blob {digest} stays, and nobody needs it")),
            None => Ok(()),
        }
    }

    fn is_held(&self, now: Millis, digest: Digest) -> bool {
        self.touched.get(&digest).is_some_and(|(until, _)| now < *until)
    }

    fn needed(&self, record: &Durable) -> BTreeSet<Digest> {
        let mut needed: BTreeSet<Digest> = record.snapshot().map(|taken| taken.state).into_iter().collect();
        record.jobs().for_each(|(id, job)| self.add_needed(id, job, &mut needed));
        needed
    }

    fn add_needed(&self, id: JobId, job: &Job, needed: &mut BTreeSet<Digest>) {
        needed.extend(self.results.get(&id).into_iter().flatten());
        let mut add = |payload: &Payload| needed.extend(payload.as_blob());
        if let Some(training) = job.training() {
            add(&training.version.parameters);
            training.best.iter().for_each(|best| add(&best.version.parameters));
        }
        if let Progress::MapReduce(Reduction { results: Some(results), .. }) = &job.progress {
            add(&results.list);
        }
        job.spec.works().for_each(|work| add(&work.input));
        if job.outcome.is_some() {
            return;
        }
        job.spec.payloads().for_each(&mut add);
        for stage in job.stages.values() {
            add(&stage.base);
            stage.done.values().for_each(|done| add(&done.result));
        }
        let listed = job.spec.works().filter_map(|work| self.manifests.get(&work.input.as_blob()?));
        needed.extend(listed.flatten());
    }
}

fn there(digest: Digest, event: &Event, has: &dyn Fn(Digest) -> bool) -> Result<(), String> {
    if has(digest) { Ok(()) } else { Err(format!("(retention) `{event}`, and blob {digest} is not there")) }
}
