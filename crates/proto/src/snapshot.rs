//! Snapshots, as bytes and back.
//!
//! Nothing here knows where they are kept, nor when one is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use convoke_core::coordinator::durable::{
    Best, Done, Durable, Failures, Job, Parts, Progress, Reduction, Results, Stage, TakenSnapshot, Training, Version,
};
use convoke_core::event::Extras;
use convoke_core::sabotage::{self, Bug};
use convoke_core::snapshot::{RecordedJob, Snapshot};
use convoke_core::{JobId, Position, StageNumber, Term, Work};
use prost::Message;

use crate::check::{digest, job_id, name, required, token_id};
use crate::result::extra;
use crate::{DecodeError, v1};

/// A snapshot's bytes.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    v1::Snapshot::from(snapshot).encode_to_vec()
}

/// The snapshot that the bytes stand for.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    let snapshot =
        v1::Snapshot::decode(bytes).map_err(|source| DecodeError::Malformed { message: "Snapshot", source })?;
    snapshot.try_into()
}

impl From<&Snapshot> for v1::Snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let durable = &snapshot.durable;
        let taken =
            |taken: &TakenSnapshot| v1::TakenSnapshot { through: taken.through.0, state: taken.state.0.to_vec() };
        Self {
            through: snapshot.through.0,
            term: durable.term().0,
            submitted: durable.submitted(),
            jobs: durable.jobs().map(|(id, job)| recorded(id, job, snapshot.jobs.get(&id))).collect(),
            finished: durable.finished().map(JobId::bits).collect(),
            taken: durable.snapshot().map(taken),
            credentials: Some(durable.credentials().into()),
        }
    }
}

impl TryFrom<v1::Snapshot> for Snapshot {
    type Error = DecodeError;

    fn try_from(snapshot: v1::Snapshot) -> Result<Self, DecodeError> {
        let mut parts = Parts {
            term: Term(snapshot.term),
            submitted: snapshot.submitted,
            finished: snapshot
                .finished
                .iter()
                .map(|job| job_id("Snapshot.finished", *job))
                .collect::<Result<_, _>>()?,
            snapshot: snapshot.taken.map(TryInto::try_into).transpose()?,
            credentials: snapshot.credentials.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            ..Parts::default()
        };
        let mut jobs = BTreeMap::new();
        for mut message in snapshot.jobs {
            let id = job_id("SnapshotJob.job", message.job)?;
            let history = required("SnapshotJob.history", message.history.take())?;
            jobs.insert(id, RecordedJob { submitted_at: Position(message.submitted_at), history });
            parts.jobs.insert(id, message.try_into()?);
        }
        let durable = Durable::of(parts).ok_or(DecodeError::Contradiction { message: "Snapshot" })?;
        Ok(Self { through: Position(snapshot.through), durable, jobs })
    }
}

impl TryFrom<v1::TakenSnapshot> for TakenSnapshot {
    type Error = DecodeError;

    fn try_from(taken: v1::TakenSnapshot) -> Result<Self, DecodeError> {
        Ok(Self { through: Position(taken.through), state: digest("TakenSnapshot.state", &taken.state)? })
    }
}

fn recorded(id: JobId, job: &Job, record: Option<&RecordedJob>) -> v1::SnapshotJob {
    let (training, reduction) = match &job.progress {
        Progress::Rounds(training) => (Some(training), None),
        Progress::MapReduce(reduction) => (None, Some(reduction)),
    };
    v1::SnapshotJob {
        job: id.bits(),
        order: job.order,
        spec: Some((&*job.spec).into()),
        submitter: job.submitter.clone(),
        owner: job.owner.bits(),
        version: training.map(|training| (&training.version).into()),
        versions: training.into_iter().flat_map(|training| &training.versions).map(Into::into).collect(),
        best: training
            .and_then(|training| training.best.as_ref())
            .map(|best| v1::BestVersion { version: Some((&best.version).into()), error: best.error }),
        prepared: training.is_some_and(|training| training.prepared),
        trained: training.map_or(0, |training| training.trained),
        evaluated: training.map_or(0, |training| training.evaluated),
        reduction: reduction.map(Into::into),
        logs: job.logs.iter().map(|log| log.0.to_vec()).collect(),
        stages: job.stages.iter().map(open_stage).collect(),
        last_stage: job.last_stage.0,
        outcome: job.outcome.as_ref().map(Into::into),
        submitted_at: record.map_or(0, |record| record.submitted_at.0),
        history: record.map(|record| (&record.history).into()),
    }
}

impl TryFrom<v1::SnapshotJob> for Job {
    type Error = DecodeError;

    fn try_from(job: v1::SnapshotJob) -> Result<Self, DecodeError> {
        let stage = |stage: v1::SnapshotStage| Ok((StageNumber(stage.stage), stage.try_into()?));
        let progress = match job.reduction {
            Some(reduction) => Progress::MapReduce(reduction.try_into()?),
            None => Progress::Rounds(Training {
                version: required("SnapshotJob.version", job.version)?,
                versions: job.versions.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
                best: job.best.map(TryInto::try_into).transpose()?,
                prepared: job.prepared,
                trained: job.trained,
                evaluated: job.evaluated,
            }),
        };
        Ok(Self {
            order: job.order,
            spec: Arc::new(required("SnapshotJob.spec", job.spec)?),
            submitter: name("submitter", job.submitter)?,
            owner: token_id("SnapshotJob.owner", job.owner)?,
            progress,
            logs: job.logs.iter().map(|log| digest("SnapshotJob.logs", log)).collect::<Result<_, _>>()?,
            stages: job.stages.into_iter().map(stage).collect::<Result<_, DecodeError>>()?,
            last_stage: StageNumber(job.last_stage),
            outcome: job.outcome.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Reduction> for v1::SnapshotReduction {
    fn from(reduction: &Reduction) -> Self {
        Self {
            opened: reduction.opened,
            results: reduction.results.as_ref().map(|results| (&results.list).into()),
            results_count: reduction.results.as_ref().map_or(0, |results| results.count),
            failed: reduction.failed,
        }
    }
}

impl TryFrom<v1::SnapshotReduction> for Reduction {
    type Error = DecodeError;

    fn try_from(reduction: v1::SnapshotReduction) -> Result<Self, DecodeError> {
        let results = |list: v1::Payload| {
            Ok::<_, DecodeError>(Results { list: list.try_into()?, count: reduction.results_count })
        };
        Ok(Self {
            opened: reduction.opened,
            results: reduction.results.map(results).transpose()?,
            failed: reduction.failed,
        })
    }
}

impl From<&Version> for v1::ModelVersion {
    fn from(version: &Version) -> Self {
        Self { round: version.round, parameters: Some((&version.parameters).into()) }
    }
}

impl TryFrom<v1::ModelVersion> for Version {
    type Error = DecodeError;

    fn try_from(version: v1::ModelVersion) -> Result<Self, DecodeError> {
        Ok(Self { round: version.round, parameters: required("ModelVersion.parameters", version.parameters)? })
    }
}

impl TryFrom<v1::BestVersion> for Best {
    type Error = DecodeError;

    fn try_from(best: v1::BestVersion) -> Result<Self, DecodeError> {
        Ok(Self { version: required("BestVersion.version", best.version)?, error: best.error })
    }
}

/// Each worker is named once, however many tasks it did.
fn open_stage((number, stage): (&StageNumber, &Stage)) -> v1::SnapshotStage {
    let mut places: BTreeMap<&str, u32> = BTreeMap::new();
    let mut workers = Vec::new();
    let done = stage.done.iter().map(|(index, done)| {
        let worker = *places.entry(&done.worker).or_insert_with(|| {
            workers.push(done.worker.to_string());
            workers.len() as u32 - 1
        });
        let extras = done.extras.as_deref();
        v1::SnapshotDone {
            index: *index,
            result: Some((&done.result).into()),
            samples: done.samples,
            worker,
            files: extras.and_then(|extras| extras.files.as_ref()).map(Into::into),
            log: extras.and_then(|extras| extras.log.as_ref()).map(Into::into),
        }
    });
    let done = done.filter(|_| !sabotage::is(Bug::LeaveResultsOutOfSnapshot)).collect();
    let failures = stage.failures.iter().map(|(index, failures)| v1::SnapshotFailures {
        index: *index,
        errors: failures.errors,
        deaths: failures.deaths.clone(),
    });
    v1::SnapshotStage {
        stage: number.0,
        purpose: Some((&stage.purpose).into()),
        base: Some((&stage.base).into()),
        work: Some((&stage.work).into()),
        closed: stage.closed,
        done,
        failures: failures.collect(),
        workers,
        dead: stage.dead.iter().copied().collect(),
    }
}

impl TryFrom<v1::SnapshotStage> for Stage {
    type Error = DecodeError;

    fn try_from(stage: v1::SnapshotStage) -> Result<Self, DecodeError> {
        let work: Work = required("SnapshotStage.work", stage.work)?;
        work.check("the stage's tasks")?;
        let workers: Vec<Arc<str>> = stage.workers.into_iter().map(Into::into).collect();
        let done = |done: v1::SnapshotDone| {
            let worker = workers.get(done.worker as usize);
            let worker = worker.ok_or(DecodeError::Missing { field: "SnapshotDone.worker" })?.clone();
            let result = required("SnapshotDone.result", done.result)?;
            let extras =
                Extras { files: extra("SnapshotDone.files", done.files)?, log: extra("SnapshotDone.log", done.log)? };
            let extras = (extras != Extras::default()).then(|| Box::new(extras));
            Ok((done.index, Done { result, samples: done.samples, worker, extras }))
        };
        let failures = |failures: v1::SnapshotFailures| {
            (failures.index, Failures { errors: failures.errors, deaths: failures.deaths })
        };
        Ok(Self {
            purpose: required("SnapshotStage.purpose", stage.purpose)?,
            base: required("SnapshotStage.base", stage.base)?,
            work,
            closed: stage.closed,
            done: stage.done.into_iter().map(done).collect::<Result<_, DecodeError>>()?,
            failures: stage.failures.into_iter().map(failures).collect(),
            dead: stage.dead.into_iter().collect(),
        })
    }
}
