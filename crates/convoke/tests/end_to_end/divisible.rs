//! Divisible jobs: `run` and `map` on a coordinator with workers, all of them processes that fail and are killed.
//!
//! Whatever happens to them, the outputs are those of a loop on one machine. How what is cut is cut is `input`'s, and tested
//! there.

mod outputs;
mod losses;
mod guards;
mod failures;
mod intruders;
mod cancelling;
mod queue;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Home, text};
use crate::process::{DEADLINE, Ended, Process};

/// A coordinator, whose workers run commands in a folder of their own.
struct Farm {
    cluster: Cluster,
}

impl Farm {
    fn start() -> Self {
        let mut home = Home::new();
        let folder = home.path("tmp");
        fs::create_dir(&folder).expect("a folder");
        home.set("TMPDIR", &folder);
        Self { cluster: Cluster::start_with(home, &[]) }
    }

    fn worker(&self, name: &str) -> Process {
        self.cluster.worker(name, &["--allow-command", "-v"])
    }

    /// Begins a job.
    fn begin(&self, arguments: &[&str]) -> Process {
        let at = ["--coordinator", &self.cluster.address];
        self.cluster.home.start(&[&arguments[..1], &at, &arguments[1..]].concat())
    }

    /// Does a job.
    fn does(&self, arguments: &[&str]) -> Ended {
        self.begin(arguments).ends()
    }

    /// Does a job that prints a report, its results going to a file.
    fn reports(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let printed = ["--output", "json", "-o", "results"];
        let ended = self.does(&[&arguments[..1], &printed, &arguments[1..]].concat());
        (ended.status, ended.json())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cluster.home.path(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("a file");
        text(&self.path(name)).to_owned()
    }

    /// Writes a WebAssembly module.
    fn module(&self, name: &str, text: &str) {
        fs::write(self.path(name), wat::parse_str(text).expect("a module")).expect("a file");
    }

    /// What commands have left in their directories, in the folders of all workers. Empty ones may wait for the next command.
    fn scratch(&self) -> Vec<PathBuf> {
        // `convoke-USER` has a folder for each worker.
        let users = entries(&self.path("tmp")).into_iter();
        let all = users.flat_map(|user| entries(&user)).flat_map(|worker| entries(&worker));
        let own = all.filter(|path| !path.ends_with("lock") && !path.ends_with("files"));
        own.flat_map(|directory| entries(&directory)).collect()
    }
}

/// The entries of a directory; of anything else, none.
fn entries(folder: &PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Waits until something is so.
fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process ids that commands have written to a file, once there are so many.
fn pids(file: &PathBuf, count: usize) -> Vec<u32> {
    until("process ids", || {
        let written = fs::read_to_string(file).ok()?;
        let pids: Vec<u32> = written.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() >= count).then_some(pids)
    })
}

/// Whether a process runs: one that is dead and not reaped does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits until none of these run, and says for how long.
fn all_gone(pids: &[u32]) -> Duration {
    let began = Instant::now();
    until(&format!("the end of {pids:?}"), || (!pids.iter().any(|pid| runs(*pid))).then_some(()));
    began.elapsed()
}

/// The numbers from 1, a line each.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}
