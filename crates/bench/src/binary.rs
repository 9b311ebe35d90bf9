//! The binary that is measured: where it is, and processes of it that end with whoever started them.
//!
//! It hears what a process says and when; what that means it does not know.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

/// How long a process may take to say something that is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// The `convoke` beside this program.
pub fn find() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe().context("cannot find this program")?;
    let binary = bench.with_file_name("convoke");
    ensure!(binary.is_file(), "{} is not there: `cargo build --release -p convoke` first", binary.display());
    if cfg!(debug_assertions) {
        eprintln!("warning: this is the dev profile; figures come from `cargo run --release -p convoke-bench`");
    }
    Ok(binary)
}

/// A process; it is killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Running {
    /// Starts a command, and listens to its stderr.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("stderr is no pipe")?;
        let (saying, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody may listen any more; the pipe is emptied all the same.
                drop(saying.send((Instant::now(), line)));
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for a line with this in it, soon.
    pub fn says(&self, part: &str) -> anyhow::Result<String> {
        self.says_within(part, DEADLINE)
    }

    /// Waits for a line with this in it.
    pub fn says_within(&self, part: &str, deadline: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (_, line) = self.lines.recv_timeout(left).with_context(|| format!("waited in vain for `{part}`"))?;
            if line.contains(part) {
                return Ok(line);
            }
        }
    }

    /// What it has said since somebody last listened, and when.
    pub fn said(&self) -> impl Iterator<Item = (Instant, String)> {
        self.lines.try_iter()
    }

    /// Its process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, and returns the JSON that it printed.
    pub fn report(mut self) -> anyhow::Result<Value> {
        let mut printed = String::new();
        let stdout = self.child.stdout.as_mut().context("stdout is no pipe")?;
        stdout.read_to_string(&mut printed).context("cannot read what it printed")?;
        let status = self.child.wait().context("cannot wait for its end")?;
        let said: Vec<_> = self.said().map(|(_, line)| line).collect();
        ensure!(status.success(), "it failed: {}", said.join("\n"));
        serde_json::from_str(&printed).context("no JSON was printed")
    }

    /// Kills it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("cannot kill a process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended, the child knows, and does nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
