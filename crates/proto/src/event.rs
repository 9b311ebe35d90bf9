//! Events, as messages and as bytes, and back.
//!
//! Equal events have equal bytes. What a frame of them looks like is the store's.

use convoke_core::event::{LISTED_MAX, LOST_MAX, Purpose};
use convoke_core::{Event, Position, StageNumber, Term, Work, check_uses};
use prost::Message;
use v1::event::{
    AttemptFailed, Enrolled, IdentityRemoved, JobFinished, JobForgotten, JobSubmitted, Kind, ResultsLost,
    SnapshotTaken, StageClosed, StageCombined, StageOpened, TaskDone, TaskFailed, TermOpened, TokenCreated,
    TokenRevoked,
};

use crate::check::{at_most, digest, job_id, name, required, token_id};
use crate::credentials::role;
use crate::{DecodeError, v1};

/// An event's bytes, as a record of the journal has them.
pub fn encode_event(event: &Event) -> Vec<u8> {
    v1::Event::from(event).encode_to_vec()
}

/// The event that the bytes stand for.
pub fn decode_event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let event = v1::Event::decode(bytes).map_err(|source| DecodeError::Malformed { message: "Event", source })?;
    event.try_into()
}

impl From<&Event> for v1::Event {
    fn from(event: &Event) -> Self {
        let kind = match event {
            Event::TermOpened { term } => Kind::TermOpened(TermOpened { term: term.0 }),
            Event::JobSubmitted { job, spec, submitter, owner } => Kind::JobSubmitted(JobSubmitted {
                job: job.bits(),
                spec: Some((&**spec).into()),
                submitter: submitter.clone(),
                owner: owner.bits(),
            }),
            Event::StageOpened { job, stage, purpose, base, work } => Kind::StageOpened(StageOpened {
                job: job.bits(),
                stage: stage.0,
                purpose: Some(purpose.into()),
                base: Some(base.into()),
                work: Some(work.into()),
            }),
            Event::TaskDone { task, record } => {
                Kind::TaskDone(TaskDone { task: Some(task.into()), record: Some(record.into()) })
            }
            Event::AttemptFailed { task, attempt, worker, fault } => Kind::AttemptFailed(AttemptFailed {
                task: Some(task.into()),
                attempt: *attempt,
                worker: worker.clone(),
                fault: Some(fault.into()),
            }),
            Event::TaskFailed { task } => Kind::TaskFailed(TaskFailed { task: Some(task.into()) }),
            Event::StageClosed { job, stage, tallies } => Kind::StageClosed(StageClosed {
                job: job.bits(),
                stage: stage.0,
                tallies: tallies.iter().map(Into::into).collect(),
            }),
            Event::ResultsLost { job, stage, indices } => {
                Kind::ResultsLost(ResultsLost { job: job.bits(), stage: stage.0, indices: indices.clone() })
            }
            Event::StageCombined { job, stage, combined } => {
                Kind::StageCombined(StageCombined { job: job.bits(), stage: stage.0, combined: Some(combined.into()) })
            }
            Event::JobFinished { job, outcome } => {
                Kind::JobFinished(JobFinished { job: job.bits(), outcome: Some(outcome.into()) })
            }
            Event::SnapshotTaken { through, state } => {
                Kind::SnapshotTaken(SnapshotTaken { through: through.0, state: state.0.to_vec() })
            }
            Event::JobForgotten { job } => Kind::JobForgotten(JobForgotten { job: job.bits() }),
            Event::TokenCreated { token, role, commands, name, secret, expires_ms, uses, by } => {
                Kind::TokenCreated(TokenCreated {
                    token: token.bits(),
                    role: v1::Role::from(*role).into(),
                    commands: *commands,
                    name: name.clone(),
                    secret: secret.0.to_vec(),
                    expires_ms: *expires_ms,
                    uses: *uses,
                    by: by.clone(),
                })
            }
            Event::TokenRevoked { token } => Kind::TokenRevoked(TokenRevoked { token: token.bits() }),
            Event::Enrolled { token, serial, name, key } => Kind::Enrolled(Enrolled {
                token: token.bits(),
                serial: *serial,
                name: name.clone(),
                key: key.0.to_vec(),
            }),
            Event::IdentityRemoved { role, name, through } => Kind::IdentityRemoved(IdentityRemoved {
                role: v1::Role::from(*role).into(),
                name: name.clone(),
                through: *through,
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = DecodeError;

    fn try_from(event: v1::Event) -> Result<Self, DecodeError> {
        Ok(match event.kind.ok_or(DecodeError::Missing { field: "Event.kind" })? {
            Kind::TermOpened(event) => Self::TermOpened { term: Term(event.term) },
            Kind::JobSubmitted(event) => Self::JobSubmitted {
                job: job_id("JobSubmitted.job", event.job)?,
                spec: Box::new(required("JobSubmitted.spec", event.spec)?),
                submitter: name("submitter", event.submitter)?,
                owner: token_id("JobSubmitted.owner", event.owner)?,
            },
            Kind::StageOpened(event) => {
                let work: Work = required("StageOpened.work", event.work)?;
                work.check("the stage's tasks")?;
                Self::StageOpened {
                    job: job_id("StageOpened.job", event.job)?,
                    stage: StageNumber(event.stage),
                    purpose: required("StageOpened.purpose", event.purpose)?,
                    base: required("StageOpened.base", event.base)?,
                    work,
                }
            }
            Kind::TaskDone(event) => Self::TaskDone {
                task: required("TaskDone.task", event.task)?,
                record: required("TaskDone.record", event.record)?,
            },
            Kind::AttemptFailed(event) => Self::AttemptFailed {
                task: required("AttemptFailed.task", event.task)?,
                attempt: event.attempt,
                worker: name("worker", event.worker)?,
                fault: required("AttemptFailed.fault", event.fault)?,
            },
            Kind::TaskFailed(event) => Self::TaskFailed { task: required("TaskFailed.task", event.task)? },
            Kind::StageClosed(event) => {
                at_most("StageClosed.tallies", event.tallies.len(), LISTED_MAX)?;
                Self::StageClosed {
                    job: job_id("StageClosed.job", event.job)?,
                    stage: StageNumber(event.stage),
                    tallies: event.tallies.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
                }
            }
            Kind::ResultsLost(event) => {
                at_most("ResultsLost.indices", event.indices.len(), LOST_MAX)?;
                Self::ResultsLost {
                    job: job_id("ResultsLost.job", event.job)?,
                    stage: StageNumber(event.stage),
                    indices: event.indices,
                }
            }
            Kind::StageCombined(event) => Self::StageCombined {
                job: job_id("StageCombined.job", event.job)?,
                stage: StageNumber(event.stage),
                combined: required("StageCombined.combined", event.combined)?,
            },
            Kind::JobFinished(event) => Self::JobFinished {
                job: job_id("JobFinished.job", event.job)?,
                outcome: required("JobFinished.outcome", event.outcome)?,
            },
            Kind::SnapshotTaken(event) => Self::SnapshotTaken {
                through: Position(event.through),
                state: digest("SnapshotTaken.state", &event.state)?,
            },
            Kind::JobForgotten(event) => Self::JobForgotten { job: job_id("JobForgotten.job", event.job)? },
            Kind::TokenCreated(event) => {
                check_uses(event.uses)?;
                Self::TokenCreated {
                    token: token_id("TokenCreated.token", event.token)?,
                    role: role("TokenCreated.role", event.role)?,
                    commands: event.commands,
                    name: event.name.map(|text| name("token", text)).transpose()?,
                    secret: digest("TokenCreated.secret", &event.secret)?,
                    expires_ms: event.expires_ms,
                    uses: event.uses,
                    by: name("creator", event.by)?,
                }
            }
            Kind::TokenRevoked(event) => Self::TokenRevoked { token: token_id("TokenRevoked.token", event.token)? },
            Kind::Enrolled(event) => Self::Enrolled {
                token: token_id("Enrolled.token", event.token)?,
                serial: event.serial,
                name: name("identity", event.name)?,
                key: digest("Enrolled.key", &event.key)?,
            },
            Kind::IdentityRemoved(event) => Self::IdentityRemoved {
                role: role("IdentityRemoved.role", event.role)?,
                name: name("identity", event.name)?,
                through: event.through,
            },
        })
    }
}

impl From<&Purpose> for v1::Purpose {
    fn from(purpose: &Purpose) -> Self {
        use v1::purpose::Kind;
        let kind = match purpose {
            Purpose::Prepare => Kind::Prepare(v1::Nothing {}),
            Purpose::Train { round } => Kind::TrainRound(*round),
            Purpose::Evaluate { round } => Kind::EvaluateRound(*round),
            Purpose::Map => Kind::Map(v1::Nothing {}),
            Purpose::Reduce { level } => Kind::ReduceLevel(*level),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Purpose> for Purpose {
    type Error = DecodeError;

    fn try_from(purpose: v1::Purpose) -> Result<Self, DecodeError> {
        use v1::purpose::Kind;
        match purpose.kind.ok_or(DecodeError::Missing { field: "Purpose.kind" })? {
            Kind::Prepare(v1::Nothing {}) => Ok(Self::Prepare),
            Kind::TrainRound(round) => Ok(Self::Train { round }),
            Kind::EvaluateRound(round) => Ok(Self::Evaluate { round }),
            Kind::Map(v1::Nothing {}) => Ok(Self::Map),
            Kind::ReduceLevel(level) => Ok(Self::Reduce { level }),
        }
    }
}
