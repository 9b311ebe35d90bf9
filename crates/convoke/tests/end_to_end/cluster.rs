//! Where a test runs: a folder of its own as home, and in it a coordinator with its workers, each a process.
//!
//! It starts them and knows what they say when they are ready; what they are for is each test's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::dataset;
use crate::process::{Ended, Process};

/// A home directory, gone at the end.
pub struct Home {
    folder: tempfile::TempDir,
    /// Of the processes that are started in it.
    variables: Vec<(&'static str, PathBuf)>,
}

impl Home {
    /// An empty one, but for the data set.
    pub fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder"), variables: Vec::new() };
        dataset::write(&home.data());
        home
    }

    /// Sets a variable for the processes that are started in it from now on.
    pub fn set(&mut self, variable: &'static str, value: &Path) {
        self.variables.push((variable, value.to_owned()));
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data set.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the binary in it.
    pub fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, "")
    }

    /// Starts the binary in it, so that it survives files that grow beyond its limit: to write them fails, as on a full
    /// disk, and the signal that would end it is ignored.
    pub fn start_limited(&self, arguments: &[&str]) -> Process {
        let mut command = self.in_it(Command::new("sh"));
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_convoke")]).args(arguments);
        Process::start(command, "")
    }

    /// Runs the binary in it.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).ends()
    }

    /// Runs the binary in it, with a coordinator named by the variable.
    pub fn run_at(&self, variable: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        command.env("CONVOKE_COORDINATOR", variable);
        Process::start(command, "").ends()
    }

    /// Runs the binary in it, with `input` on stdin.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        self.start_with(arguments, input).ends()
    }

    fn start_with(&self, arguments: &[&str], input: &str) -> Process {
        Process::start(self.command(arguments), input)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.in_it(Command::new(env!("CARGO_BIN_EXE_convoke")));
        command.args(arguments);
        command
    }

    fn in_it(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path());
        command.env("HOME", self.folder.path());
        command.env("XDG_STATE_HOME", self.path("state")).env("XDG_CONFIG_HOME", self.path("config"));
        command.env_remove("CONVOKE_COORDINATOR");
        command.envs(self.variables.iter().map(|(variable, value)| (variable, value)));
        command
    }
}

/// A coordinator in a home of its own.
pub struct Cluster {
    pub home: Home,
    pub coordinator: Process,
    /// Where it listens.
    pub address: String,
    /// What else it was started with.
    arguments: Vec<String>,
}

impl Cluster {
    /// Starts a coordinator, and waits until it listens.
    pub fn start() -> Self {
        Self::start_with(Home::new(), &[])
    }

    /// Starts a coordinator that dials these workers, and waits until it listens.
    pub fn dialling(home: Home, nodes: &[String]) -> Self {
        fs::write(home.path("nodes.txt"), nodes.join("\n")).expect("a nodes file");
        Self::start_with(home, &["--nodes", "nodes.txt"])
    }

    /// Starts a coordinator with these arguments, and waits until it listens.
    pub fn start_with(home: Home, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (coordinator, address) = coordinate(&home, "127.0.0.1:0", &arguments);
        Self { home, coordinator, address, arguments }
    }

    /// Kills the coordinator, and starts another on the same port and state.
    pub fn restart(&mut self) {
        self.coordinator.signal(Signal::SIGKILL);
        self.coordinator.gone();
        self.start_again();
    }

    /// Starts another coordinator on the same port and state, after the end of the last.
    pub fn start_again(&mut self) {
        self.coordinator = coordinate(&self.home, &self.address, &self.arguments).0;
    }

    /// Starts a worker with one slot, and waits until it has joined.
    pub fn worker(&self, name: &str, arguments: &[&str]) -> Process {
        let fixed = ["worker", &self.address, "--slots", "1", "--name", name];
        let worker = self.home.start(&[&fixed, arguments].concat());
        worker.says(&["joined as", name]);
        worker
    }

    /// Starts a job on the data set.
    pub fn train(&self, arguments: &[&str]) -> Process {
        let data = self.home.data();
        let fixed = ["train", text(&data), "--coordinator", &self.address, "--output", "json"];
        self.home.start(&[&fixed, arguments].concat())
    }

    /// Runs a command that asks the coordinator.
    pub fn ask(&self, arguments: &[&str]) -> Ended {
        self.home.run(&[arguments, &["--coordinator", &self.address, "--output", "json"]].concat())
    }

    /// The jobs on record.
    pub fn jobs(&self) -> Vec<Value> {
        let listed = self.ask(&["jobs"]).with_status(0).json();
        listed.as_array().expect("a list of jobs").clone()
    }
}

/// Starts a coordinator, and waits until it says where it listens.
fn coordinate(home: &Home, bind: &str, arguments: &[String]) -> (Process, String) {
    let fixed = ["coordinator", "--bind", bind].into_iter();
    let coordinator = home.start_limited(&fixed.chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>());
    let line = coordinator.says(&["coordinator on ", ", state in "]);
    let address = line.trim_start_matches("coordinator on ").split(',').next().unwrap_or_default();
    (coordinator, address.to_owned())
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
