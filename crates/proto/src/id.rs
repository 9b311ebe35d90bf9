//! Ids and payloads, as messages and back.
//!
//! A digest is checked for its length alone: nothing here can say whether such a blob exists.

use convoke_core::{Form, LeaseId, Payload, StageNumber, TaskId, Term};

use crate::check::{digest, job_id};
use crate::{DecodeError, v1};

impl From<&TaskId> for v1::TaskId {
    fn from(task: &TaskId) -> Self {
        Self { job: task.job.bits(), stage: task.stage.0, index: task.index }
    }
}

impl TryFrom<v1::TaskId> for TaskId {
    type Error = DecodeError;

    fn try_from(task: v1::TaskId) -> Result<Self, DecodeError> {
        let job = job_id("TaskId.job", task.job)?;
        Ok(Self { job, stage: StageNumber(task.stage), index: task.index })
    }
}

impl From<&LeaseId> for v1::LeaseId {
    fn from(lease: &LeaseId) -> Self {
        Self { term: lease.term.0, number: lease.number }
    }
}

impl TryFrom<v1::LeaseId> for LeaseId {
    type Error = DecodeError;

    fn try_from(lease: v1::LeaseId) -> Result<Self, DecodeError> {
        Ok(Self { term: Term(lease.term), number: lease.number })
    }
}

impl From<&Payload> for v1::Payload {
    fn from(payload: &Payload) -> Self {
        let form = match payload.form() {
            Form::Inline(bytes) => v1::payload::Form::Inline(bytes.to_vec()),
            Form::Blob(digest) => v1::payload::Form::Blob(digest.0.to_vec()),
        };
        Self { form: Some(form) }
    }
}

impl TryFrom<v1::Payload> for Payload {
    type Error = DecodeError;

    fn try_from(payload: v1::Payload) -> Result<Self, DecodeError> {
        match payload.form.ok_or(DecodeError::Missing { field: "Payload.form" })? {
            v1::payload::Form::Inline(bytes) => Ok(Self::inline(&bytes)?),
            v1::payload::Form::Blob(bytes) => Ok(Self::blob(digest("Payload.blob", &bytes)?)),
        }
    }
}
