//! A task's death certificate: which input, which workers, how each attempt ended, and its last words.
//!
//! It words what a history says; what a task's input is called, whoever asks knows.

use convoke_wire::core::event::Fault;
use convoke_wire::core::history::TaskFailure;
use convoke_wire::core::{Counted, Payload};
use serde::Serialize;

use crate::output;

/// How many of the last lines of a log are shown.
const LOG_LINES: usize = 10;
/// How many characters of each of them.
const LINE_CHARS: usize = 400;

/// A task that failed, as JSON has it.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// The task's place, from 0.
    pub index: u32,
    /// What the task was for: `map`, `reduce, level 1`, `prepare`, `train round 3`.
    pub purpose: String,
    /// What its input is called.
    pub input: String,
    /// Whether it failed for good.
    pub for_good: bool,
    /// Its failed attempts, the last few.
    pub attempts: Vec<Attempt>,
}

/// An attempt that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    attempt: u32,
    worker: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<f64>,
    /// The end of what it wrote to stderr, where that is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
}

impl Certificate {
    /// Of a task whose input has a name. `log` finds the bytes of a log, if they are at hand.
    pub fn new(failure: &TaskFailure, input: String, log: impl Fn(&Payload) -> Option<Vec<u8>>) -> Self {
        use convoke_wire::core::event::Exit;
        let attempts = failure.attempts.iter().map(|failed| {
            let mut attempt = Attempt {
                attempt: failed.attempt,
                worker: failed.worker.clone(),
                reason: failed.fault.to_string(),
                exit_status: None,
                signal: None,
                trap: None,
                peak_memory_bytes: None,
                cpu_seconds: None,
                stderr: None,
            };
            if let Fault::Error(failure) = &failed.fault {
                match failure.exit {
                    Some(Exit::Status(status)) => attempt.exit_status = Some(status),
                    Some(Exit::Signal(signal)) => attempt.signal = Some(signal),
                    Some(Exit::Trap) => attempt.trap = Some(true),
                    None => {}
                }
                let usage = failure.usage;
                attempt.peak_memory_bytes = Some(usage.peak_memory_bytes).filter(|bytes| *bytes > 0);
                attempt.cpu_seconds = Some(usage.cpu_us).filter(|cpu_us| *cpu_us > 0).map(|cpu_us| cpu_us as f64 / 1e6);
                attempt.stderr =
                    failure.log.as_ref().and_then(&log).map(|log| String::from_utf8_lossy(&log).into_owned());
            }
            attempt
        });
        Self {
            index: failure.index,
            purpose: failure.purpose.to_string(),
            input,
            for_good: failure.for_good,
            attempts: attempts.collect(),
        }
    }

    /// The certificate for people, a line each. Some of it is a peer's words.
    pub fn lines(&self) -> Vec<String> {
        let tries = Counted(self.attempts.len(), "attempt");
        let fate = match self.for_good {
            true => format!("failed in {tries}"),
            false => format!("had {tries} that failed"),
        };
        let what = match self.purpose.as_str() {
            "map" => String::new(),
            "prepare" => " of preparing".to_owned(),
            purpose => format!(" of {purpose}"),
        };
        let input = if self.input.is_empty() { String::new() } else { format!(" ({})", output::line(&self.input)) };
        let mut lines = vec![format!("task {}{what}{input} {fate}:", self.index)];
        for attempt in &self.attempts {
            let memory = attempt.peak_memory_bytes.map(|bytes| format!(", peak memory {}", output::bytes(bytes)));
            lines.push(format!(
                "  attempt {} on {}: {}{}",
                attempt.attempt,
                output::line(&attempt.worker),
                output::line(&attempt.reason),
                memory.unwrap_or_default()
            ));
        }
        let log = self.attempts.iter().rev().find_map(|attempt| attempt.stderr.as_deref()).unwrap_or_default();
        let last: Vec<&str> = log.lines().collect();
        let last = &last[last.len().saturating_sub(LOG_LINES)..];
        lines.extend(last.iter().map(|line| format!("  stderr: {}", shortened(&output::line(line)))));
        lines
    }
}

/// The beginning of a line, and how much of it is left out.
fn shortened(line: &str) -> String {
    let Some((end, _)) = line.char_indices().nth(LINE_CHARS) else { return line.to_owned() };
    format!("{}… ({} more)", &line[..end], Counted(line[end..].chars().count(), "character"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_of_a_log_is_cut_for_people() {
        let stderr = format!("{}\nshort", "é".repeat(LINE_CHARS + 1));
        let attempt = Attempt {
            attempt: 1,
            worker: "ann".to_owned(),
            reason: "`x` exited with status 1".to_owned(),
            exit_status: Some(1),
            signal: None,
            trap: None,
            peak_memory_bytes: None,
            cpu_seconds: None,
            stderr: Some(stderr),
        };
        let certificate = Certificate {
            index: 0,
            purpose: "map".to_owned(),
            input: String::new(),
            for_good: true,
            attempts: vec![attempt],
        };
        let cut = format!("  stderr: {}… (1 character more)", "é".repeat(LINE_CHARS));
        assert_eq!(certificate.lines()[2..], [cut, "  stderr: short".to_owned()]);
    }
}
