//! What both measurements share: an event to append, and how times are shown.
//!
//! It does not know what is timed.

use std::time::Duration;

use convoke_core::event::{Completion, Event, Metrics, TaskRecord, Timing};
use convoke_core::{Digest, JobId, Payload, StageNumber, TaskId};

/// A task's event, as a training round has it.
pub fn task_done(index: u32) -> Event {
    let completion = Completion {
        result: Payload::blob(Digest([7; 32])),
        samples: 1_000,
        metrics: Metrics::from_iter([("loss", 0.25), ("accuracy", 0.9)]),
        timing: Timing { queued_us: 100, fetch_us: 2_000, compute_us: 300_000, report_us: 900 },
        ..Completion::default()
    };
    let (worker, profile) = ("lab-3".to_owned(), "x86_64 avx2".to_owned());
    let record = TaskRecord { attempt: 1, worker, profile, slots: 8, completion };
    Event::TaskDone { task: TaskId { job: JobId::from_bits(7), stage: StageNumber(1), index }, record }
}

/// A line with the median and the 99th percentile.
pub fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    println!("{what:>22}: median {:8.1} µs, 99th percentile {:8.1} µs", at(50), at(99));
}
