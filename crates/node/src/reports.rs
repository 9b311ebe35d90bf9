//! When a worker's reports go: at once while they are few, together while they are many.
//!
//! Each that comes alone wakes half a dozen threads from here to the client, and is a commit of its own. Where tasks take a
//! millisecond that is as much work as the tasks are; so a report waits a moment for the next, but only where others are to
//! come, and one has just gone or the task was so short that the next is about to end. What is in them it does not know.

use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::event::Timing;
use convoke_core::message::FromWorker;
use convoke_wire::session::WorkerFrame;

use crate::link::Frames;

/// How long reports that go together are apart. Nobody waits for them: the worker has more to do.
const APART: Duration = Duration::from_millis(10);
/// From how short a task on the next is waited for though none has just gone, and for how long.
const SHORT_US: u64 = 1_000;
const SHORT_APART: Duration = Duration::from_millis(2);
/// How many reports go together: half of what the threads that compute have before them.
const TOGETHER_MAX: usize = 8;

/// A session's messages to the coordinator. What waits in it goes with the session: in the next,
/// what is done is reported again, and what failed runs again.
pub(crate) struct Reports {
    frames: Frames,
    waiting: Vec<WorkerFrame>,
    /// How many of those that wait are reports.
    count: usize,
    sent_at: Option<Instant>,
    /// When what waits is to go.
    due: Option<Instant>,
}

impl Reports {
    pub(crate) fn new(frames: Frames) -> Self {
        Self { frames, waiting: Vec::new(), count: 0, sent_at: None, due: None }
    }

    /// Sends a message after the small blobs that it names. A report may wait, where `more` says that others are to come; no
    /// message overtakes it. False if the coordinator does not keep up and they do not fit.
    pub(crate) fn send(&mut self, blobs: &[Bytes], message: FromWorker, more: bool, now: Instant) -> bool {
        let is_report = matches!(message, FromWorker::Done { .. } | FromWorker::Failed { .. });
        let is_short = matches!(&message, FromWorker::Done { completion, .. } if is_short(&completion.timing));
        self.waiting.extend(blobs.iter().map(|blob| WorkerFrame::Blob(blob.to_vec())));
        self.waiting.push(WorkerFrame::Message(message));
        self.count += 1;
        let after_last = self.sent_at.map(|sent_at| sent_at + APART).filter(|due| now < *due);
        // The first that waits says for how long all do.
        self.due = self.due.or(after_last).or(is_short.then(|| now + SHORT_APART));
        let waits = more && is_report && self.due.is_some_and(|due| now < due) && self.count < TOGETHER_MAX;
        waits || self.flush(now)
    }

    /// When what waits is to go.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Sends what waits. False if it does not fit.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        (self.count, self.sent_at, self.due) = (0, Some(now), None);
        self.waiting.drain(..).all(|frame| self.frames.send(frame))
    }
}

/// Whether a task takes less than it takes to report it.
fn is_short(timing: &Timing) -> bool {
    timing.fetch_us + timing.compute_us + timing.report_us < SHORT_US
}

#[cfg(test)]
mod tests {
    use convoke_core::event::{Completion, Failure};
    use convoke_core::{LeaseId, Term};
    use convoke_wire::v1;
    use tokio::sync::mpsc;

    use super::*;

    fn report(number: u64) -> FromWorker {
        FromWorker::Failed { lease: LeaseId { term: Term(1), number }, failure: Failure::of("no luck") }
    }

    fn reports(room: usize) -> (Reports, mpsc::Receiver<v1::WorkerFrame>) {
        let (frames, sent) = mpsc::channel(room);
        (Reports::new(Frames(frames)), sent)
    }

    #[test]
    fn a_report_goes_at_once_unless_one_has_just_gone_and_others_come() {
        let (mut reports, mut sent) = reports(100);
        let mut sent = move || std::iter::from_fn(|| sent.try_recv().ok()).count();
        let began = Instant::now();
        let blob = [Bytes::from_static(b"x")];
        assert!(reports.send(&blob, report(1), true, began));
        assert_eq!((sent(), reports.due()), (2, None), "the first");
        assert!(reports.send(&blob, report(2), true, began + APART / 2));
        assert_eq!((sent(), reports.due()), (0, Some(began + APART)), "one that comes soon after, and is not the last");
        assert!(reports.flush(began + APART));
        assert_eq!((sent(), reports.due()), (2, None), "it is due");
        assert!(reports.send(&[], report(3), true, began + 3 * APART));
        assert_eq!(sent(), 1, "one after a while");
        assert!(reports.send(&[], report(4), true, began + 3 * APART));
        assert!(reports.send(&[], report(5), false, began + 3 * APART));
        assert_eq!((sent(), reports.due()), (2, None), "the last, and what waited");
        assert!(reports.send(&[], report(6), true, began + 3 * APART));
        assert!(reports.send(&[], FromWorker::Heartbeat, true, began + 3 * APART));
        assert_eq!((sent(), reports.due()), (2, None), "what is no report, and what it must not overtake");
    }

    #[test]
    fn the_first_of_short_tasks_waits_for_the_next_where_there_is_one() {
        let (mut reports, mut sent) = reports(100);
        let mut sent = move || std::iter::from_fn(|| sent.try_recv().ok()).count();
        let done = |compute_us| FromWorker::Done {
            lease: LeaseId { term: Term(1), number: 1 },
            completion: Completion { timing: Timing { compute_us, ..Timing::default() }, ..Completion::default() },
        };
        let began = Instant::now();
        assert!(reports.send(&[], done(SHORT_US), true, began));
        assert_eq!((sent(), reports.due()), (1, None), "a long one");
        let later = began + APART;
        assert!(reports.send(&[], done(10), true, later));
        assert!(reports.send(&[], done(10), true, later + SHORT_APART / 2));
        assert_eq!((sent(), reports.due()), (0, Some(later + SHORT_APART)), "short ones");
        assert!(reports.send(&[], done(10), false, later + SHORT_APART / 2));
        assert_eq!((sent(), reports.due()), (3, None), "the last");
        assert!(reports.send(&[], done(10), false, later + 3 * APART));
        assert_eq!(sent(), 1, "one alone");
    }

    #[test]
    fn many_do_not_wait_and_what_does_not_fit_is_said() {
        let (mut reports, mut sent) = reports(TOGETHER_MAX);
        let now = Instant::now();
        assert!(reports.flush(now));
        assert!((1..=TOGETHER_MAX as u64).all(|number| reports.send(&[], report(number), true, now)));
        assert_eq!(sent.len(), TOGETHER_MAX);
        assert!(!reports.send(&[], report(0), false, now));
        assert!(sent.try_recv().is_ok());
        assert!(reports.send(&[], report(0), false, now));
    }
}
