//! A session's frames, to and from core's messages.
//!
//! Everything that a worker may say is checked here, names and counts too; what it means is for the machine.

use convoke_core::event::Completion;
use convoke_core::message::{FromWorker, Hello, REPORT_INLINE_BYTES_MAX, ToWorker};
use convoke_core::{Ability, LeaseId, Term, WorkerId, check_name};
use convoke_proto::{DecodeError, at_most, required, resources_message, resources_value};

use crate::protocol::SESSION_BLOB_BYTES_MAX;
use crate::seen::Seen;
use crate::v1;
use crate::v1::coordinator_frame::Kind as ToWorkerKind;
use crate::v1::worker_frame::Kind as FromWorkerKind;

/// The most abilities that a worker names.
const ABILITIES_MAX: usize = 64;
/// The most tasks that a worker brings along.
const HOLDING_MAX: usize = 16_384;

/// What a worker's frame holds.
#[derive(Debug)]
pub enum WorkerFrame {
    /// Its first words, and what it was told last in an earlier session.
    Hello(Hello, Seen),
    /// Something it says.
    Message(FromWorker),
    /// A small blob, which a later frame names.
    Blob(Vec<u8>),
}

/// What a coordinator's frame holds.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are messages")]
pub enum CoordinatorFrame {
    /// Something it says.
    Message(ToWorker),
    /// A small blob, which a later frame names.
    Blob(Vec<u8>),
}

impl From<WorkerFrame> for v1::WorkerFrame {
    fn from(frame: WorkerFrame) -> Self {
        let kind = match frame {
            WorkerFrame::Hello(hello, seen) => FromWorkerKind::Hello(hello_message(hello, seen)),
            WorkerFrame::Blob(bytes) => FromWorkerKind::Blob(bytes),
            WorkerFrame::Message(FromWorker::Heartbeat) => FromWorkerKind::Heartbeat(Default::default()),
            WorkerFrame::Message(FromWorker::Leaving) => FromWorkerKind::Leaving(Default::default()),
            WorkerFrame::Message(FromWorker::Rejected { lease }) => FromWorkerKind::Rejected((&lease).into()),
            WorkerFrame::Message(FromWorker::Done { lease, completion }) => {
                FromWorkerKind::Done(v1::Done { lease: Some((&lease).into()), completion: Some((&completion).into()) })
            }
            WorkerFrame::Message(FromWorker::Failed { lease, failure }) => {
                FromWorkerKind::Failed(v1::Failed { lease: Some((&lease).into()), failure: Some((&failure).into()) })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::WorkerFrame> for WorkerFrame {
    type Error = DecodeError;

    fn try_from(frame: v1::WorkerFrame) -> Result<Self, DecodeError> {
        let message = match frame.kind.ok_or(DecodeError::Missing { field: "WorkerFrame.kind" })? {
            FromWorkerKind::Hello(mut hello) => {
                let seen = hello.seen.take().map(Seen::from).unwrap_or_default();
                return Ok(Self::Hello(hello_value(hello)?, seen));
            }
            FromWorkerKind::Blob(bytes) => return Ok(Self::Blob(session_blob("WorkerFrame.blob", bytes)?)),
            FromWorkerKind::Heartbeat(_) => FromWorker::Heartbeat,
            FromWorkerKind::Leaving(_) => FromWorker::Leaving,
            FromWorkerKind::Rejected(lease) => FromWorker::Rejected { lease: lease.try_into()? },
            FromWorkerKind::Done(done) => FromWorker::Done {
                lease: required("Done.lease", done.lease)?,
                completion: reported(required("Done.completion", done.completion)?)?,
            },
            FromWorkerKind::Failed(failed) => FromWorker::Failed {
                lease: required("Failed.lease", failed.lease)?,
                failure: required("Failed.failure", failed.failure)?,
            },
        };
        Ok(Self::Message(message))
    }
}

impl From<CoordinatorFrame> for v1::CoordinatorFrame {
    fn from(frame: CoordinatorFrame) -> Self {
        let kind = match frame {
            CoordinatorFrame::Blob(bytes) => ToWorkerKind::Blob(bytes),
            CoordinatorFrame::Message(ToWorker::Heartbeat) => ToWorkerKind::Heartbeat(Default::default()),
            CoordinatorFrame::Message(ToWorker::Drain) => ToWorkerKind::Drain(Default::default()),
            CoordinatorFrame::Message(ToWorker::Assign(assignment)) => ToWorkerKind::Assign((&assignment).into()),
            CoordinatorFrame::Message(ToWorker::Revoke { lease }) => ToWorkerKind::Revoke((&lease).into()),
            CoordinatorFrame::Message(ToWorker::Accepted { lease }) => ToWorkerKind::Accepted((&lease).into()),
            CoordinatorFrame::Message(ToWorker::Welcome { term, name, kept }) => {
                let kept =
                    kept.iter().map(|(task, lease)| v1::Kept { task: Some(task.into()), lease: Some(lease.into()) });
                ToWorkerKind::Welcome(v1::Welcome { term: term.0, name, kept: kept.collect() })
            }
        };
        Self { kind: Some(kind), seen: None }
    }
}

impl TryFrom<v1::CoordinatorFrame> for CoordinatorFrame {
    type Error = DecodeError;

    fn try_from(frame: v1::CoordinatorFrame) -> Result<Self, DecodeError> {
        let message = match frame.kind.ok_or(DecodeError::Missing { field: "CoordinatorFrame.kind" })? {
            ToWorkerKind::Blob(bytes) => return Ok(Self::Blob(session_blob("CoordinatorFrame.blob", bytes)?)),
            ToWorkerKind::Heartbeat(_) => ToWorker::Heartbeat,
            ToWorkerKind::Drain(_) => ToWorker::Drain,
            ToWorkerKind::Assign(assignment) => ToWorker::Assign(assignment.try_into()?),
            ToWorkerKind::Revoke(lease) => ToWorker::Revoke { lease: lease.try_into()? },
            ToWorkerKind::Accepted(lease) => ToWorker::Accepted { lease: lease.try_into()? },
            ToWorkerKind::Welcome(welcome) => ToWorker::Welcome {
                term: Term(welcome.term),
                name: welcome.name,
                kept: welcome.kept.into_iter().map(kept_value).collect::<Result<_, _>>()?,
            },
        };
        Ok(Self::Message(message))
    }
}

fn kept_value(kept: v1::Kept) -> Result<(convoke_core::TaskId, LeaseId), DecodeError> {
    Ok((required("Kept.task", kept.task)?, required("Kept.lease", kept.lease)?))
}

fn hello_message(hello: Hello, seen: Seen) -> v1::Hello {
    v1::Hello {
        worker: hello.worker.0,
        name: hello.name,
        slots: hello.slots,
        abilities: hello.abilities.iter().map(|ability| ability.as_str().to_owned()).collect(),
        profile: hello.profile,
        hardware: hello.hardware,
        holding: hello.holding.iter().map(Into::into).collect(),
        draining: hello.draining,
        resources: resources_message(&hello.resources),
        seen: Some(seen.into()),
    }
}

fn hello_value(hello: v1::Hello) -> Result<Hello, DecodeError> {
    check_name("worker", &hello.name)?;
    check_name("numeric profile", &hello.profile)?;
    check_name("hardware", &hello.hardware)?;
    at_most("Hello.abilities", hello.abilities.len(), ABILITIES_MAX)?;
    at_most("Hello.holding", hello.holding.len(), HOLDING_MAX)?;
    Ok(Hello {
        worker: WorkerId(hello.worker),
        name: hello.name,
        slots: hello.slots,
        abilities: hello.abilities.iter().map(|name| Ability::new(name)).collect::<Result<_, _>>()?,
        profile: hello.profile,
        hardware: hello.hardware,
        holding: hello.holding.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        draining: hello.draining,
        resources: resources_value(hello.resources)?,
    })
}

/// What a worker reports. The journal takes larger results in place than any executor brings.
fn reported(completion: Completion) -> Result<Completion, DecodeError> {
    let bytes = completion.result.as_inline().map_or(0, <[u8]>::len);
    if bytes > REPORT_INLINE_BYTES_MAX {
        return Err(DecodeError::TooLong { field: "Completion.result", bytes, bytes_max: REPORT_INLINE_BYTES_MAX });
    }
    Ok(completion)
}

fn session_blob(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    if bytes.len() > SESSION_BLOB_BYTES_MAX {
        return Err(DecodeError::TooLong { field, bytes: bytes.len(), bytes_max: SESSION_BLOB_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use convoke_core::Payload;

    use super::*;

    #[test]
    fn a_report_has_a_small_result_in_place() {
        let heard = |bytes: usize| {
            let lease = LeaseId { term: Term(1), number: 1 };
            let completion = Completion { result: Payload::inline(&vec![7; bytes]).unwrap(), ..Completion::default() };
            let said = WorkerFrame::Message(FromWorker::Done { lease, completion });
            WorkerFrame::try_from(v1::WorkerFrame::from(said)).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(heard(4096), Ok(()));
        assert_eq!(heard(4097), Err("Completion.result: 4097 bytes, at most 4096 are allowed".to_owned()));
    }
}
