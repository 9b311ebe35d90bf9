//! The stages of a map-reduce plan, as far as they are: the map, and the levels of its reduction.
//!
//! It reads a history; how that comes about it does not know.

use crate::event::Purpose;

use super::{JobHistory, OpenStage, seconds_between, share};

/// A stage of a map-reduce plan that is through, or was cut off by the job's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Map, or a level of the reduction.
    pub purpose: Purpose,
    /// Its tasks.
    pub tasks: u32,
    /// Those of them that are done.
    pub done: u32,
    /// Those of them that have failed for good.
    pub failed: u32,
    /// From its opening to its combine, or to where it was cut off.
    pub seconds: f64,
    /// Whether the job ended before its results were combined.
    pub cut_off: bool,
}

/// How far the tasks of a map are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// All of them.
    pub all: u32,
    /// Those of them that are done.
    pub done: u32,
    /// Those of them that have failed for good.
    pub failed: u32,
}

/// The stage of a map-reduce plan that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningLevel {
    /// Map, or a level of the reduction.
    pub purpose: Purpose,
    /// Its tasks.
    pub tasks: TaskCounts,
    /// Workers that have done some.
    pub workers: usize,
    /// Tasks done in a second, since it was opened.
    pub tasks_per_second: f64,
}

impl JobHistory {
    /// How far the map's tasks are; `None` in a plan of rounds.
    pub fn task_counts(&self) -> Option<TaskCounts> {
        let all = Some(self.tasks_planned).filter(|tasks| *tasks > 0)?;
        let through = self.levels.iter().find(|level| level.purpose == Purpose::Map);
        let open = || self.stages.values().find(|open| open.purpose == Purpose::Map);
        let (done, failed) = match through {
            Some(level) => (level.done, level.failed),
            None => open().map_or((0, 0), |open| (open.tasks_done(), open.failed)),
        };
        Some(TaskCounts { all, done, failed })
    }

    /// The levels of a map-reduce plan, with the one under way as far as it is.
    pub fn all_levels(&self) -> Vec<Level> {
        let is_level = |open: &&OpenStage| matches!(open.purpose, Purpose::Map | Purpose::Reduce { .. });
        let open = self.stages.values().filter(is_level).map(|open| open.level(self.newest_ms, false));
        self.levels.iter().cloned().chain(open).collect()
    }

    /// The stage of a map-reduce plan that is under way, if one is.
    pub fn running_level(&self) -> Option<RunningLevel> {
        let is_level = |open: &&OpenStage| matches!(open.purpose, Purpose::Map | Purpose::Reduce { .. });
        let open = self.stages.values().rev().find(is_level)?;
        let (done, seconds) = (open.tasks_done(), seconds_between(open.opened_ms, self.newest_ms));
        Some(RunningLevel {
            purpose: open.purpose,
            tasks: TaskCounts { all: open.count, done, failed: open.failed },
            workers: self.workers.values().filter(|share| share.compute_us > 0).count(),
            tasks_per_second: share(f64::from(done), seconds),
        })
    }
}

impl OpenStage {
    /// As a level that goes on no more.
    pub(super) fn level(&self, end_ms: u64, cut_off: bool) -> Level {
        let seconds = seconds_between(self.opened_ms, end_ms);
        let (purpose, tasks) = (self.purpose, self.count);
        Level { purpose, tasks, done: self.tasks_done(), failed: self.failed, seconds, cut_off }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Completion, Event, Outcome, TaskRecord, Timing};
    use crate::history::Limits;
    use crate::{Ability, JobId, Needs, Payload, Split, StageNumber, TaskId, Work};

    use super::*;

    #[test]
    fn a_map_that_is_cut_off_is_a_level_that_says_how_far_it_came() {
        let (job, stage) = (JobId::from_bits(1), StageNumber(1));
        let work = Work {
            ability: Ability::new("command").unwrap(),
            program: Payload::default(),
            input: Payload::default(),
            split: Split::Range,
            count: 5,
            combine: Payload::default(),
            needs: Needs::default(),
        };
        let mut history = JobHistory { tasks_planned: 5, ..JobHistory::default() };
        let mut fold = |wall_ms, event| history.fold(wall_ms, &event, &Limits::PAST);
        fold(1_000, Event::StageOpened { job, stage, purpose: Purpose::Map, base: Payload::default(), work });
        for index in 0..3 {
            let completion =
                Completion { timing: Timing { compute_us: 1, ..Timing::default() }, ..Completion::default() };
            let record = TaskRecord { attempt: 1, worker: "ann".into(), profile: String::new(), slots: 1, completion };
            fold(2_000, Event::TaskDone { task: TaskId { job, stage, index }, record });
        }
        fold(3_000, Event::TaskFailed { task: TaskId { job, stage, index: 3 } });
        let (counts, running) = (history.task_counts().unwrap(), history.running_level().unwrap());
        assert_eq!(counts, TaskCounts { all: 5, done: 3, failed: 1 });
        assert_eq!((running.tasks, running.workers, running.tasks_per_second), (counts, 1, 1.5));
        history.fold(4_000, &Event::JobFinished { job, outcome: Outcome::Cancelled }, &Limits::PAST);
        let level = Level { purpose: Purpose::Map, tasks: 5, done: 3, failed: 1, seconds: 3.0, cut_off: true };
        assert_eq!((&history.levels[..], history.running_level()), (&[level][..], None));
        assert_eq!(history.task_counts(), Some(counts));
    }
}
