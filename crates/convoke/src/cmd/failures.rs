//! The death certificates of a job's tasks, with what they wrote last.
//!
//! What they say is worded by `certificate`; why a task failed it does not know.

use convoke_wire::core::Payload;
use convoke_wire::core::event::{Fault, Purpose};
use convoke_wire::core::history::TaskFailure;

use super::results::bytes_of;
use crate::certificate::Certificate;
use crate::divisible::Labels;
use crate::report::Report;
use crate::source::Source;

/// The most bytes of a log that is shown.
pub const LOG_BYTES_MAX: u64 = 64 * 1024;
/// How many certificates people are shown.
const SHOWN_MAX: usize = 50;

/// The certificates of the tasks of which attempts failed, as far as they are kept. A log that cannot be had is left out.
pub async fn certificates(report: &Report, labels: Option<&Labels>, source: &mut Source) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    for failure in &report.history.failures {
        let input = match failure.purpose {
            Purpose::Map => labels.map_or_else(String::new, |labels| labels.label(failure.index)),
            Purpose::Prepare | Purpose::Train { .. } => report.shard(failure.index),
            Purpose::Evaluate { .. } | Purpose::Reduce { .. } => String::new(),
        };
        let log = log_of(failure);
        let bytes = match log {
            Some(log) => bytes_of(log, source, LOG_BYTES_MAX).await.ok(),
            None => None,
        };
        certificates.push(Certificate::new(failure, input, |asked| {
            bytes.as_ref().filter(|_| log == Some(asked)).map(|bytes| bytes.to_vec())
        }));
    }
    certificates
}

/// The log of the task that has an index among those of a map or a round, if it failed: of several, of the one that failed
/// for good, or last.
pub fn log_at(failures: &[TaskFailure], index: u32) -> Option<&Payload> {
    let is_it = |failure: &&TaskFailure| failure.index == index && !matches!(failure.purpose, Purpose::Reduce { .. });
    failures
        .iter()
        .filter(is_it)
        .filter(|failure| log_of(failure).is_some())
        .max_by_key(|failure| failure.for_good)
        .and_then(log_of)
}

/// The log of a task's last failed attempt.
fn log_of(failure: &TaskFailure) -> Option<&Payload> {
    match failure.attempts.last().map(|failed| &failed.fault) {
        Some(Fault::Error(error)) => error.log.as_ref(),
        _ => None,
    }
}

/// Certificates for people of what counts in the end: tasks that failed for good, and all where the job failed.
pub fn lines_of_interest(report: &Report, certificates: &[Certificate]) -> Vec<String> {
    let is_fatal = report.history.failure().is_some();
    let of_interest = certificates.iter().filter(|certificate| certificate.for_good || is_fatal);
    lines(of_interest, report.history.failures_left_out)
}

/// Certificates for people: the first ones, and how many more there are.
pub fn lines<'a>(certificates: impl Iterator<Item = &'a Certificate>, left_out: u32) -> Vec<String> {
    let all: Vec<_> = certificates.collect();
    let mut lines: Vec<_> = all.iter().take(SHOWN_MAX).flat_map(|certificate| certificate.lines()).collect();
    let more = all.len().saturating_sub(SHOWN_MAX) + left_out as usize;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
