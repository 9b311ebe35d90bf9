//! A process of the binary: what it says, line by line, signals to it, and its end.
//!
//! Waiting is for a line or for the end, with a deadline; a process that is dropped is killed. What its lines mean it
//! does not know.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take before the test fails: far more than it needs on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A running process.
pub struct Process {
    child: Child,
    said: Arc<Said>,
    stdout: Option<JoinHandle<String>>,
}

/// How a process ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; none if a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: Vec<String>,
}

/// The lines on stderr so far.
#[derive(Default)]
struct Said {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts a command, and gives it `input` on stdin.
    pub fn start(mut command: Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // What is given is smaller than a pipe holds; a process that reads nothing may be gone already.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let mut out = child.stdout.take().expect("stdout is a pipe");
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).expect("stdout is text");
            text
        });
        let said = Arc::new(Said::default());
        let (err, saying) = (child.stderr.take().expect("stderr is a pipe"), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines() {
                let line = line.expect("stderr is text");
                saying.change(|lines| lines.lines.push(line));
            }
            saying.change(|lines| lines.ended = true);
        });
        Self { child, said, stdout: Some(stdout) }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stderr that has all of these parts, and returns the first.
    pub fn says(&self, parts: &[&str]) -> String {
        self.says_times(parts, 1)
    }

    /// Waits until so many lines on stderr had all of these parts, and returns the last of them.
    pub fn says_times(&self, parts: &[&str], times: usize) -> String {
        self.said.wait(&(parts, times), |lines| matching(&lines.lines, parts).nth(times - 1).cloned())
    }

    /// The lines on stderr so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// The lines on stderr after so many.
    pub fn said_after(&self, count: usize) -> Vec<String> {
        let said = self.said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        said.lines.get(count..).unwrap_or_default().to_vec()
    }

    /// Whether it is gone, or about to be: it says nothing more.
    pub fn has_ended(&self) -> bool {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // The child has not been waited for, so the id is still its own.
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the process is there");
    }

    /// Waits until it is gone, after a signal.
    pub fn gone(&mut self) {
        self.said.wait(&"its end", |lines| lines.ended.then_some(()));
        self.child.wait().expect("the process ended");
    }

    /// Waits for its end.
    pub fn ends(mut self) -> Ended {
        self.said.wait(&"its end", |lines| lines.ended.then_some(()));
        let status = self.child.wait().expect("the process ended").code();
        let stdout = self.stdout.take().map(|reading| reading.join().expect("stdout was read"));
        Ended { status, stdout: stdout.unwrap_or_default(), stderr: self.said() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that has ended, the child knows, and does nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// The last line on stdout, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("no JSON on stdout: {error}\n{self:#?}"))
    }

    /// Checks the exit status, and shows all if it is another.
    pub fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// How many lines on stderr have all of these parts.
    pub fn count(&self, parts: &[&str]) -> usize {
        matching(&self.stderr, parts).count()
    }

    /// The line on stderr that begins with this.
    pub fn line(&self, start: &str) -> &str {
        let mut found = self.stderr.iter().filter(|line| line.starts_with(start));
        match (found.next(), found.next()) {
            (Some(line), None) => line,
            _ => panic!("not exactly one line begins with {start:?}: {self:#?}"),
        }
    }
}

impl Said {
    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_all();
    }

    fn wait<T>(&self, what: &dyn Debug, found: impl Fn(&Lines) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = found(&lines) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!lines.ended && !left.is_zero(), "waited in vain for {what:?}; it said {:#?}", lines.lines);
            lines = self.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn matching<'a>(lines: &'a [String], parts: &'a [&str]) -> impl Iterator<Item = &'a String> {
    lines.iter().filter(|line| parts.iter().all(|part| line.contains(part)))
}
