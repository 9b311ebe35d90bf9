//! How much of a history is kept where it has to fit: in snapshots, and in the coordinator's memory.
//!
//! What is left out is counted. It does not know where the rest could be had.

use super::{JobHistory, Round};

/// A refusal is as long as three tasks.
const REFUSAL_DETAILS: usize = 3;

/// The most that a history keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds: the newest ones, and the best.
    pub rounds: usize,
    /// Tasks of all rounds together, the newest rounds' first, and as many of each open stage.
    pub details: usize,
    /// Workers: those that computed most.
    pub workers: usize,
    /// Tasks of which attempts failed: the first ones.
    pub failures: usize,
}

impl Limits {
    /// Everything is kept.
    pub const NONE: Self = Self { rounds: usize::MAX, details: usize::MAX, workers: usize::MAX, failures: usize::MAX };
    /// Of a job that is live or has just ended. Such a history fits in one message of the wire.
    pub const KEPT: Self = Self { rounds: 1_000, details: 2_048, workers: 256, failures: 128 };
    /// Of a job that ended some jobs ago.
    pub const PAST: Self = Self { rounds: 100, details: 0, workers: 16, failures: 8 };
}

impl JobHistory {
    /// Takes back what was left out and an earlier history of the same job, which was kept whole, still knows.
    pub fn keep_known(&mut self, known: Self) {
        let told = self.rounds.iter().map(|row| row.round).collect::<std::collections::BTreeSet<_>>();
        for row in known.rounds {
            let place = self.rounds.partition_point(|other| other.round < row.round);
            if !told.contains(&row.round) {
                self.rounds.insert(place, row);
                self.rounds_left_out = self.rounds_left_out.saturating_sub(1);
            } else if self.rounds[place].details() < row.details() {
                (self.rounds[place].tasks, self.rounds[place].refused) = (row.tasks, row.refused);
            }
        }
        for (round, version) in known.versions {
            self.versions.entry(round).or_insert(version);
        }
    }

    /// Leaves out what is beyond the limits.
    pub fn keep_to(&mut self, limits: &Limits) {
        let best = self.best_round();
        while self.rounds.len() > limits.rounds.max(1) {
            let place = usize::from(self.rounds.first().map(|row| row.round) == best);
            let row = self.rounds.remove(place);
            self.versions.remove(&row.round);
            self.rounds_left_out += 1;
        }
        let mut details: usize = self.rounds.iter().map(Round::details).sum();
        for row in &mut self.rounds {
            if details <= limits.details {
                break;
            }
            details -= row.details();
            row.tasks.clear();
            row.refused.clear();
        }
        let failures = self.failures.len().saturating_sub(limits.failures);
        self.failures.truncate(limits.failures);
        self.failures_left_out += failures as u32;
        while self.workers.len() > limits.workers {
            let least = self.workers.iter().min_by_key(|(_, share)| share.compute_us).map(|(name, _)| name.clone());
            least.and_then(|least| self.workers.remove(&least));
        }
    }
}

impl Round {
    fn details(&self) -> usize {
        self.tasks.len() + REFUSAL_DETAILS * self.refused.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Combined, Completion, Event, Metrics, Purpose, Refused, TaskRecord, Timing};
    use crate::{Ability, Digest, JobId, Needs, Payload, Split, StageNumber, TaskId, Work};

    use super::*;

    const JOB: JobId = JobId::from_bits(1);
    const FEW: Limits = Limits { rounds: 3, details: 4, workers: 2, failures: 2 };

    fn blob() -> Payload {
        Payload::blob(Digest([1; 32]))
    }

    /// A round of so many tasks, each by a worker of its own, and its evaluation.
    fn tell(history: &mut JobHistory, limits: &Limits, round: u32, tasks: u32, error: f64) {
        let (train, evaluate) = (StageNumber(2 * round - 1), StageNumber(2 * round));
        let opened = |stage, purpose| {
            let (ability, split) = (Ability::new("train").unwrap(), Split::Entries);
            let work = Work {
                ability,
                program: blob(),
                input: blob(),
                split,
                count: tasks,
                combine: blob(),
                needs: Needs::default(),
            };
            Event::StageOpened { job: JOB, stage, purpose, base: blob(), work }
        };
        let done = |index| {
            let metrics = Metrics::from_iter([("train_error", f64::from(index) / 10.0)]);
            let timing = Timing { compute_us: u64::from(index) + 1, ..Timing::default() };
            let completion = Completion { result: blob(), samples: 10, metrics, timing, ..Completion::default() };
            let worker = format!("w{index}");
            let record = TaskRecord { attempt: 1, worker, profile: String::new(), slots: 1, completion };
            Event::TaskDone { task: TaskId { job: JOB, stage: train, index }, record }
        };
        let combined = |stage, metrics| {
            let refused = vec![Refused { index: 0, reason: "it holds NaN".to_owned() }];
            Event::StageCombined { job: JOB, stage, combined: Combined { result: blob(), metrics, refused } }
        };
        let mut events = vec![opened(train, Purpose::Train { round })];
        events.extend((0..tasks).map(done));
        events.push(combined(train, Metrics::default()));
        events.push(opened(evaluate, Purpose::Evaluate { round }));
        events.push(combined(evaluate, Metrics::from_iter([("validation_error", error)])));
        for event in events {
            history.fold(1, &event, limits);
        }
    }

    #[test]
    fn the_newest_rounds_and_the_best_are_kept() {
        let mut history = JobHistory::default();
        for (round, error) in (1..).zip([0.9, 0.1, 0.5, 0.6, 0.7, 0.8]) {
            tell(&mut history, &FEW, round, 1, error);
        }
        let rounds: Vec<_> = history.rounds.iter().map(|row| row.round).collect();
        assert_eq!((rounds, history.rounds_left_out), (vec![2, 5, 6], 3));
        assert_eq!(history.versions.keys().copied().collect::<Vec<_>>(), [2, 5, 6]);
        assert_eq!((history.best_round(), history.rounds_done), (Some(2), 6));
        assert_eq!(history.rounds.iter().map(|row| row.tasks.len()).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(history.rounds.iter().map(|row| row.tasks_done).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn what_is_left_out_still_counts() {
        let [mut few, mut all] = [JobHistory::default(), JobHistory::default()];
        tell(&mut few, &FEW, 1, 9, 0.5);
        tell(&mut all, &Limits::NONE, 1, 9, 0.5);
        assert_eq!((few.rounds[0].tasks_done, few.rounds[0].refusals), (9, 1));
        let errors = [&few, &all].map(|history| history.rounds[0].train_error.unwrap());
        assert!((errors[0] - errors[1]).abs() < 1e-12 && (errors[1] - 0.4).abs() < 1e-12, "{errors:?}");
        assert_eq!(few.workers.keys().collect::<Vec<_>>(), ["w7", "w8"], "who computed most");
        // Four tasks and a refusal are more than four.
        assert_eq!((few.rounds[0].tasks.len(), all.rounds[0].tasks.len()), (0, 9));
    }

    #[test]
    fn what_a_follower_knows_stays() {
        let [mut few, mut all] = [JobHistory::default(), JobHistory::default()];
        for round in 1..=5 {
            tell(&mut few, &FEW, round, 2, 0.5);
            if round < 5 {
                tell(&mut all, &Limits::NONE, round, 2, 0.5);
            }
        }
        few.keep_known(all);
        assert_eq!(few.rounds.iter().map(|row| row.round).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(few.rounds[..4].iter().all(|row| row.tasks.len() == 2));
        assert_eq!((few.rounds_left_out, few.versions.len()), (0, 5));
    }
}
