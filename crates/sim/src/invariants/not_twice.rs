//! A task that must not run twice at a time never does, whatever became of sessions, coordinators and clocks.
//!
//! It looks at what executors do. A process that is stopped runs nothing; when it goes on, what it ran may be somebody
//! else's by then, and has to end at once. It does not know who decides.

use std::collections::BTreeMap;

use convoke_core::TaskId;
use convoke_core::worker::Run;

/// Who runs each task that must not run twice.
#[derive(Default)]
pub struct NotTwice(BTreeMap<TaskId, Vec<(u64, Run)>>);

impl NotTwice {
    pub fn starts(&mut self, task: TaskId, process: u64, run: Run) {
        self.0.entry(task).or_default().push((process, run));
    }

    pub fn ends(&mut self, task: TaskId, process: u64, run: Run) {
        if let Some(runs) = self.0.get_mut(&task) {
            runs.retain(|other| *other != (process, run));
        }
    }

    /// The process is gone, and what it ran with it.
    pub fn gone(&mut self, process: u64) {
        self.0.values_mut().for_each(|runs| runs.retain(|(other, _)| *other != process));
    }

    /// The process has done what followed from something: of what it runs, none may be run by another that is not stopped.
    pub fn check(&self, process: u64, is_stopped: &dyn Fn(u64) -> bool) -> Result<(), String> {
        let twice = |runs: &[(u64, Run)]| {
            let own = runs.iter().any(|(runner, _)| *runner == process);
            own && runs.iter().filter(|(runner, _)| !is_stopped(*runner)).count() > 1
        };
        match self.0.iter().find(|(_, runs)| twice(runs)) {
            Some((task, _)) => Err(format!("(twice) {task} must not run twice at a time, and does")),
            None => Ok(()),
        }
    }
}
