//! What attempts and combines bring, as messages and back.
//!
//! Nothing here knows the events that carry them.

use convoke_core::event::{
    Combined, Completion, EXTRA_INLINE_BYTES_MAX, Exit, Extras, Failure, Fault, LISTED_MAX, LISTED_REASON_BYTES_MAX,
    Metrics, Outcome, REASON_BYTES_MAX, Refused, Tally, TaskRecord, Timing, Usage,
};
use convoke_core::message::SLOTS_MAX;
use convoke_core::{NAME_BYTES_MAX, Payload};

use crate::check::{at_most, at_most_number, bounded_text, name, required};
use crate::{DecodeError, v1};

impl From<&Completion> for v1::Completion {
    fn from(completion: &Completion) -> Self {
        Self {
            result: Some((&completion.result).into()),
            samples: completion.samples,
            metrics: to_pairs(&completion.metrics),
            timing: Some((&completion.timing).into()),
            usage: Some((&completion.usage).into()),
            files: completion.extras.files.as_ref().map(Into::into),
            log: completion.extras.log.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Completion> for Completion {
    type Error = DecodeError;

    fn try_from(completion: v1::Completion) -> Result<Self, DecodeError> {
        Ok(Self {
            result: required("Completion.result", completion.result)?,
            samples: completion.samples,
            metrics: from_pairs("Completion.metrics", completion.metrics)?,
            timing: required("Completion.timing", completion.timing)?,
            // Older builds did not say.
            usage: completion.usage.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            extras: Extras {
                files: extra("Completion.files", completion.files)?,
                log: extra("Completion.log", completion.log)?,
            },
        })
    }
}

/// A payload that stands beside a result: short where it is in place, so that both fit into one record.
pub(crate) fn extra(field: &'static str, payload: Option<v1::Payload>) -> Result<Option<Payload>, DecodeError> {
    let payload: Option<Payload> = payload.map(TryInto::try_into).transpose()?;
    let bytes = payload.as_ref().and_then(Payload::as_inline).map_or(0, <[u8]>::len);
    if bytes > EXTRA_INLINE_BYTES_MAX {
        return Err(DecodeError::TooLong { field, bytes, bytes_max: EXTRA_INLINE_BYTES_MAX });
    }
    Ok(payload)
}

impl From<&Usage> for v1::Usage {
    fn from(usage: &Usage) -> Self {
        Self { cpu_us: usage.cpu_us, peak_memory_bytes: usage.peak_memory_bytes }
    }
}

impl TryFrom<v1::Usage> for Usage {
    type Error = DecodeError;

    fn try_from(usage: v1::Usage) -> Result<Self, DecodeError> {
        Ok(Self { cpu_us: usage.cpu_us, peak_memory_bytes: usage.peak_memory_bytes })
    }
}

impl From<&Failure> for v1::Failure {
    fn from(failure: &Failure) -> Self {
        use v1::exit::Kind;
        let kind = |exit| match exit {
            Exit::Status(status) => Kind::Status(status),
            Exit::Signal(signal) => Kind::Signal(signal),
            Exit::Trap => Kind::Trap(v1::Nothing {}),
        };
        Self {
            reason: failure.reason.clone(),
            exit: failure.exit.map(|exit| v1::Exit { kind: Some(kind(exit)) }),
            usage: Some((&failure.usage).into()),
            log: failure.log.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = DecodeError;

    fn try_from(failure: v1::Failure) -> Result<Self, DecodeError> {
        use v1::exit::Kind;
        let exit = |exit: v1::Exit| match exit.kind.ok_or(DecodeError::Missing { field: "Exit.kind" })? {
            Kind::Status(status) => Ok::<_, DecodeError>(Exit::Status(status)),
            Kind::Signal(signal) => Ok(Exit::Signal(signal)),
            Kind::Trap(v1::Nothing {}) => Ok(Exit::Trap),
        };
        Ok(Self {
            reason: bounded_text("Failure.reason", failure.reason, REASON_BYTES_MAX)?,
            exit: failure.exit.map(exit).transpose()?,
            usage: required("Failure.usage", failure.usage)?,
            log: extra("Failure.log", failure.log)?,
        })
    }
}

fn to_pairs(metrics: &Metrics) -> Vec<v1::Metric> {
    metrics.iter().map(|(name, value)| v1::Metric { name: name.to_owned(), value: Some(value) }).collect()
}

fn from_pairs(field: &'static str, pairs: Vec<v1::Metric>) -> Result<Metrics, DecodeError> {
    at_most(field, pairs.len(), Metrics::COUNT_MAX)?;
    let mut metrics = Metrics::default();
    let mut before: Option<String> = None;
    for pair in pairs {
        let name = bounded_text("Metric.name", pair.name, Metrics::NAME_BYTES_MAX)?;
        let value = pair.value.ok_or(DecodeError::Missing { field: "Metric.value" })?;
        if !value.is_finite() {
            return Err(DecodeError::NotFinite { name, value: value.to_string() });
        }
        if let Some(before) = before.filter(|before| *before >= name) {
            return Err(DecodeError::Disorder { name, before });
        }
        metrics.insert(&name, value);
        before = Some(name);
    }
    Ok(metrics)
}

impl From<&Timing> for v1::Timing {
    fn from(timing: &Timing) -> Self {
        let Timing { queued_us, fetch_us, compute_us, report_us } = *timing;
        Self { queued_us, fetch_us, compute_us, report_us }
    }
}

impl TryFrom<v1::Timing> for Timing {
    type Error = DecodeError;

    fn try_from(timing: v1::Timing) -> Result<Self, DecodeError> {
        let v1::Timing { queued_us, fetch_us, compute_us, report_us } = timing;
        Ok(Self { queued_us, fetch_us, compute_us, report_us })
    }
}

impl From<&TaskRecord> for v1::TaskRecord {
    fn from(record: &TaskRecord) -> Self {
        Self {
            attempt: record.attempt,
            worker: record.worker.clone(),
            profile: record.profile.clone(),
            completion: Some((&record.completion).into()),
            slots: record.slots,
        }
    }
}

impl TryFrom<v1::TaskRecord> for TaskRecord {
    type Error = DecodeError;

    fn try_from(record: v1::TaskRecord) -> Result<Self, DecodeError> {
        Ok(Self {
            attempt: record.attempt,
            worker: name("worker", record.worker)?,
            profile: bounded_text("TaskRecord.profile", record.profile, NAME_BYTES_MAX)?,
            slots: at_most_number("TaskRecord.slots", record.slots, SLOTS_MAX)?,
            completion: required("TaskRecord.completion", record.completion)?,
        })
    }
}

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        use v1::fault::Kind;
        let kind = match fault {
            Fault::Error(failure) => Kind::Failure((&**failure).into()),
            Fault::WorkerLost => Kind::WorkerLost(v1::Nothing {}),
            Fault::TimedOut { limit_ms } => Kind::TimedOut(v1::TimedOut { limit_ms: *limit_ms }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Fault> for Fault {
    type Error = DecodeError;

    fn try_from(fault: v1::Fault) -> Result<Self, DecodeError> {
        use v1::fault::Kind;
        match fault.kind.ok_or(DecodeError::Missing { field: "Fault.kind" })? {
            Kind::Error(reason) => Ok(Failure::of(bounded_text("Fault.error", reason, REASON_BYTES_MAX)?).into()),
            Kind::Failure(failure) => Ok(Self::Error(Box::new(failure.try_into()?))),
            Kind::WorkerLost(v1::Nothing {}) => Ok(Self::WorkerLost),
            Kind::TimedOut(v1::TimedOut { limit_ms }) => Ok(Self::TimedOut { limit_ms }),
        }
    }
}

impl From<&Tally> for v1::Tally {
    fn from(tally: &Tally) -> Self {
        Self { worker: tally.worker.clone(), rejections: tally.rejections, losses: tally.losses }
    }
}

impl TryFrom<v1::Tally> for Tally {
    type Error = DecodeError;

    fn try_from(tally: v1::Tally) -> Result<Self, DecodeError> {
        Ok(Self { worker: name("worker", tally.worker)?, rejections: tally.rejections, losses: tally.losses })
    }
}

impl From<&Combined> for v1::Combined {
    fn from(combined: &Combined) -> Self {
        Self {
            result: Some((&combined.result).into()),
            metrics: to_pairs(&combined.metrics),
            refused: combined.refused.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Combined> for Combined {
    type Error = DecodeError;

    fn try_from(combined: v1::Combined) -> Result<Self, DecodeError> {
        at_most("Combined.refused", combined.refused.len(), LISTED_MAX)?;
        Ok(Self {
            result: required("Combined.result", combined.result)?,
            metrics: from_pairs("Combined.metrics", combined.metrics)?,
            refused: combined.refused.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Refused> for v1::Refused {
    fn from(refused: &Refused) -> Self {
        Self { index: refused.index, reason: refused.reason.clone() }
    }
}

impl TryFrom<v1::Refused> for Refused {
    type Error = DecodeError;

    fn try_from(refused: v1::Refused) -> Result<Self, DecodeError> {
        let reason = bounded_text("Refused.reason", refused.reason, LISTED_REASON_BYTES_MAX)?;
        Ok(Self { index: refused.index, reason })
    }
}

impl From<&Outcome> for v1::Outcome {
    fn from(outcome: &Outcome) -> Self {
        use v1::outcome::Kind;
        let kind = match outcome {
            Outcome::Succeeded => Kind::Succeeded(v1::Nothing {}),
            Outcome::Failed { reason } => Kind::Failed(reason.clone()),
            Outcome::Cancelled => Kind::Cancelled(v1::Nothing {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = DecodeError;

    fn try_from(outcome: v1::Outcome) -> Result<Self, DecodeError> {
        use v1::outcome::Kind;
        match outcome.kind.ok_or(DecodeError::Missing { field: "Outcome.kind" })? {
            Kind::Succeeded(v1::Nothing {}) => Ok(Self::Succeeded),
            Kind::Failed(reason) => {
                Ok(Self::Failed { reason: bounded_text("Outcome.failed", reason, REASON_BYTES_MAX)? })
            }
            Kind::Cancelled(v1::Nothing {}) => Ok(Self::Cancelled),
        }
    }
}
