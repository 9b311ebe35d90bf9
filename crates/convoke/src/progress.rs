//! Progress on stderr: a live line on a terminal, a line for each round otherwise, nothing when it is to be quiet.
//!
//! It shows a report as it grows; how the report came about it does not know.

mod one_row;

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use one_row::OneRow;

use crate::args::Global;
use convoke_wire::core::Counted;
use convoke_wire::core::history::RunningPreparation;

use crate::output::{self, share};
use crate::report::Report;

/// How often the live line is drawn again while nothing happens.
const TICK: Duration = Duration::from_millis(120);

/// Where progress goes.
pub struct Progress {
    quiet: bool,
    /// What was recorded before is known already: unix milliseconds.
    known_ms: u64,
    /// On a terminal.
    live: Option<ProgressBar>,
    /// When the words of a map's line were last made.
    worded: Mutex<Option<Instant>>,
}

impl Progress {
    /// As the command line and the terminal have it.
    pub fn new(global: &Global) -> Self {
        let live = (!global.quiet && stderr().is_terminal()).then(OneRow::live_line);
        Self { quiet: global.quiet, known_ms: 0, live, worded: Mutex::default() }
    }

    /// Without the live line: something else is printed on the terminal.
    pub fn without_live_line(global: &Global) -> Self {
        Self { quiet: global.quiet, known_ms: 0, live: None, worded: Mutex::default() }
    }

    /// For who wants to hear nothing.
    pub fn none() -> Self {
        Self { quiet: true, known_ms: 0, live: None, worded: Mutex::default() }
    }

    /// Says nothing of what is on record by now.
    pub fn skip_past(mut self) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.known_ms = now.as_millis() as u64;
        self
    }

    /// A line that stays.
    pub fn say(&self, line: impl Display) {
        match &self.live {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| output::say(&line)),
            None => output::say(&line),
        }
    }

    /// What takes its time before there are rounds to show; on a terminal only.
    pub fn doing(&self, what: impl Display) {
        if let Some(bar) = &self.live {
            bar.set_style(style("{spinner} {wide_msg}"));
            bar.set_message(what.to_string());
            bar.enable_steady_tick(TICK);
        }
    }

    /// The round or the level under way, as a live line.
    pub fn show(&self, report: &Report) {
        let Some(bar) = &self.live else { return };
        if report.history.tasks_planned > 0 {
            return self.show_level(bar, report);
        }
        if let Some(running) = report.history.running_preparation() {
            let RunningPreparation { tasks, tasks_done } = running;
            return self.doing(format!("preparing: {tasks_done}/{tasks} shards"));
        }
        let Some(running) = report.history.running_round() else { return };
        bar.set_length(u64::from(running.tasks));
        bar.set_position(u64::from(running.tasks_done));
        let words = format!(
            "round {}/{}: {}{}/{} shards, {} samples/s, {} {}",
            running.round,
            report.history.rounds_planned,
            by_workers(running.workers),
            running.tasks_done,
            running.tasks,
            output::rounded(running.samples_per_second),
            report.measure(),
            share(report.history.validation_error),
        );
        let is_wide = OneRow::has_room_for(&words);
        bar.set_style(style(if is_wide { "{spinner} {msg} [{bar:16}] {elapsed}" } else { "{spinner} {wide_msg}" }));
        bar.set_message(words);
        bar.enable_steady_tick(TICK);
    }

    /// Tasks may be done by the thousand a second: the words are made anew when they would be read.
    fn show_level(&self, bar: &ProgressBar, report: &Report) {
        let mut worded = self.worded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = worded.is_some_and(|worded| worded.elapsed() < TICK);
        let Some(open) = report.history.stages.values().next_back() else { return };
        let position = u64::from(open.tasks_done() + open.failed);
        if is_fresh && bar.length() == Some(open.count.into()) {
            bar.set_position(position);
            return;
        }
        let Some(running) = report.history.running_level() else { return };
        *worded = Some(Instant::now());
        bar.set_length(running.tasks.all.into());
        bar.set_position(position);
        let failed = match running.tasks.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let words = format!(
            "{}: {}{} tasks/s{failed}",
            running.purpose,
            by_workers(running.workers),
            output::rounded(running.tasks_per_second),
        );
        let is_wide = OneRow::has_room_for(&words);
        let wide = "{spinner} {msg} [{bar:16}] {pos}/{len} {elapsed}";
        bar.set_style(style(if is_wide { wide } else { "{spinner} {pos}/{len} {wide_msg}" }));
        bar.set_message(words);
        bar.enable_steady_tick(TICK);
    }

    /// A line for a round of which something new is known since `wall_ms`: its version, or its version's error.
    pub fn round(&self, report: &Report, round: u32, wall_ms: u64) {
        let row = report.history.rounds.iter().find(|row| row.round == round);
        let Some(row) = row.filter(|_| wall_ms >= self.known_ms) else { return };
        let (of, measure) = (report.history.rounds_planned, report.measure());
        match (row.validation_error, row.seconds) {
            (Some(error), _) => self.say(format!("round {round}/{of}: validation {measure} {error:.4}")),
            (None, Some(seconds)) => {
                let shards = Counted(row.tasks_done as usize, "shard");
                let error = share(row.train_error);
                self.say(format!("round {round}/{of}: {shards} in {seconds:.2} s, train {measure} {error}"));
            }
            (None, None) => {}
        }
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        self.live.iter().for_each(take_away);
    }

    /// What takes the live line away, wherever this is by then.
    pub fn clearing(&self) -> impl FnOnce() + Send + use<> {
        let live = self.live.clone();
        move || live.iter().for_each(take_away)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn take_away(bar: &ProgressBar) {
    bar.disable_steady_tick();
    bar.finish_and_clear();
}

/// How many workers have done something, which is nothing to say before the first has.
fn by_workers(workers: usize) -> String {
    if workers == 0 { String::new() } else { format!("{}, ", Counted(workers, "worker")) }
}

fn style(template: &str) -> ProgressStyle {
    // The templates stand in this file, and are sound.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.progress_chars("=> ")
}
