//! What a worker's shell keeps for each run: how to stop it, and then its result until the coordinator has it.
//!
//! It follows the machine, which decides when a run is stopped, reported or forgotten, and says so only by lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use convoke_core::message::{Assignment, ToWorker};
use convoke_core::worker::Run;
use convoke_core::{LeaseId, TaskId};

/// The runs that the machine has not forgotten.
#[derive(Default)]
pub(crate) struct Runs(BTreeMap<Run, Kept>);

struct Kept {
    task: TaskId,
    /// The lease of the day: a new session gives a new one.
    lease: LeaseId,
    state: State,
}

enum State {
    Running {
        stop: Arc<AtomicBool>,
    },
    /// With the bytes of the blobs that go ahead of its report.
    Ended(Vec<Bytes>),
}

impl Runs {
    /// A run begins; what is returned is set when it is to stop.
    pub(crate) fn start(&mut self, run: Run, assignment: &Assignment) -> Arc<AtomicBool> {
        let stop = Arc::new(AtomicBool::new(false));
        let state = State::Running { stop: stop.clone() };
        self.0.insert(run, Kept { task: assignment.task, lease: assignment.lease, state });
        stop
    }

    /// A run is to stop, and its end is of no interest.
    pub(crate) fn abort(&mut self, run: Run) {
        if let Some(Kept { state: State::Running { stop }, .. }) = self.0.remove(&run) {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Every run is to stop.
    pub(crate) fn stop_all(&self) {
        for kept in self.0.values() {
            if let State::Running { stop } = &kept.state {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A run came to its end. The bytes of what it brought are kept until the coordinator has thanked for them or wants
    /// them no more.
    pub(crate) fn ended(&mut self, run: Run, blobs: Vec<Bytes>) {
        if let Some(kept) = self.0.get_mut(&run) {
            kept.state = State::Ended(blobs);
        }
    }

    /// What the coordinator's words say about leases. Runs that are not done go when the machine aborts them.
    pub(crate) fn hear(&mut self, message: &ToWorker) {
        match message {
            ToWorker::Welcome { kept: renewed, .. } => {
                let renewed: BTreeMap<TaskId, LeaseId> = renewed.iter().copied().collect();
                self.0.retain(|_, kept| match renewed.get(&kept.task) {
                    Some(lease) => {
                        kept.lease = *lease;
                        true
                    }
                    None => kept.is_running(),
                });
            }
            ToWorker::Revoke { lease } | ToWorker::Accepted { lease } => {
                self.0.retain(|_, kept| kept.lease != *lease || kept.is_running());
            }
            ToWorker::Assign(_) | ToWorker::Drain | ToWorker::Heartbeat => {}
        }
    }

    /// The blobs that go ahead of the report of a lease's run; `None` where it has not ended, or is forgotten.
    pub(crate) fn blobs(&self, lease: LeaseId) -> Option<&[Bytes]> {
        self.0.values().find_map(|kept| match &kept.state {
            State::Ended(blobs) if kept.lease == lease => Some(&blobs[..]),
            State::Ended(_) | State::Running { .. } => None,
        })
    }
}

impl Kept {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::{Ability, JobId, Needs, Payload, Split, StageNumber, Term};

    use super::*;

    fn lease(number: u64) -> LeaseId {
        LeaseId { term: Term(1), number }
    }

    fn assignment(index: u32) -> Assignment {
        Assignment {
            lease: lease(u64::from(index)),
            task: TaskId { job: JobId::from_bits(1), stage: StageNumber(1), index },
            ability: Ability::new("train").unwrap(),
            program: Payload::inline(b"").unwrap(),
            base: Payload::inline(b"").unwrap(),
            input: Payload::inline(b"").unwrap(),
            split: Split::Entries,
            seed: 0,
            may_reject: false,
            attempt: 1,
            round: 0,
            needs: Needs::default(),
            timeout_ms: None,
            idempotent: true,
        }
    }

    #[test]
    fn a_result_is_kept_across_sessions_until_it_is_accepted() {
        let mut runs = Runs::default();
        let [kept, unwanted] = [assignment(1), assignment(2)];
        runs.start(Run(1), &kept);
        runs.start(Run(2), &unwanted);
        let bytes = Bytes::from_static(b"delta");
        runs.ended(Run(1), vec![bytes.clone()]);
        runs.ended(Run(2), vec![bytes.clone()]);
        let renewed = vec![(kept.task, lease(7))];
        runs.hear(&ToWorker::Welcome { term: Term(2), name: "ann".to_owned(), kept: renewed });
        assert_eq!([1, 2, 7].map(|number| runs.blobs(lease(number))), [None, None, Some(&[bytes][..])]);
        runs.hear(&ToWorker::Accepted { lease: lease(7) });
        assert!(runs.0.is_empty());
    }

    #[test]
    fn what_runs_goes_when_it_is_aborted_and_then_has_no_result() {
        let mut runs = Runs::default();
        let revoked = assignment(1);
        let stop = runs.start(Run(1), &revoked);
        runs.hear(&ToWorker::Revoke { lease: revoked.lease });
        runs.abort(Run(1));
        assert!(stop.load(Ordering::Relaxed));
        runs.ended(Run(1), Vec::new());
        assert_eq!(runs.blobs(revoked.lease), None);
    }
}
