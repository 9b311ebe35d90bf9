//! How others are run: PyTorch, Flower, Dask, Ray, HyperQueue, xargs and the limit of the machine.
//!
//! Each is given the work once and brings a figure. Installing them, and comparing, is done elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::binary::Running;
use crate::cluster::folder_in;
use crate::figures::percentile;

/// How long a server may take to be there.
const DEADLINE: Duration = Duration::from_secs(60);
/// The packages that matter.
const PACKAGES: [&str; 6] = ["torch", "numpy", "flwr", "dask", "distributed", "ray"];
/// What PyTorch can be run with on two cores.
const WAYS: [(&str, [&str; 4]); 3] = [
    ("1 thread", ["--threads", "1", "--processes", "1"]),
    ("2 threads", ["--threads", "2", "--processes", "1"]),
    ("2 processes", ["--threads", "1", "--processes", "2"]),
];

/// An environment of Python's.
pub struct Python {
    folder: PathBuf,
    /// What it holds of the packages that matter, with their versions.
    pub packages: BTreeMap<String, String>,
}

impl Python {
    /// An environment, which may be empty or not there.
    pub fn find(folder: &Path) -> Self {
        // Some are started in a folder of their own.
        let folder = std::path::absolute(folder).unwrap_or(folder.to_owned());
        let mut python = Self { folder, packages: BTreeMap::new() };
        let program = "import sys, importlib.metadata as m\n\
                       for d in m.distributions():\n \
                        if d.name in sys.argv[1:]: print(d.name, d.version)";
        let listed = printed(python.command("python").args(["-c", program]).args(PACKAGES)).unwrap_or_default();
        let packages = listed.lines().filter_map(|line| line.split_once(' '));
        python.packages = packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        python
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join("bin").join(program))
    }

    fn script(&self, script: &Path) -> Command {
        let mut command = self.command("python");
        command.arg(script);
        command
    }
}

/// What a command prints; an error with the end of what else it says if it fails.
pub fn printed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.trim().lines().rev().take(3).collect();
    let said = said.into_iter().rev().collect::<Vec<_>>().join("; ");
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The numbers that a script prints as NAME=NUMBER.
fn numbers(text: &str, name: &str) -> Vec<f64> {
    let words = text.split_whitespace().filter_map(|word| word.split_once('='));
    words.filter(|(key, _)| *key == name).filter_map(|(_, number)| number.parse().ok()).collect()
}

/// Seconds of PyTorch, each way: the median of what a script repeats, after the first.
pub fn pytorch(
    python: &Python,
    script: &Path,
    options: &str,
    data: Option<&Path>,
) -> anyhow::Result<Vec<(String, f64)>> {
    let run = |(way, arguments): (&str, [&str; 4])| {
        let text = printed(python.script(script).args(data).args(options.split(' ')).args(arguments))?;
        let seconds = numbers(&text, "seconds");
        ensure!(seconds.len() > 1, "{way}: it says too few figures: {text}");
        Ok((way.to_owned(), percentile(seconds[1..].to_vec(), 0.5)))
    };
    WAYS.into_iter().map(run).collect()
}

/// Seconds of a job of Flower's simulation, from the command to the result.
pub fn flower(python: &Python, script: &Path, data: &Path) -> anyhow::Result<Vec<(String, f64)>> {
    let began = Instant::now();
    let text = printed(python.script(script).arg(data))?;
    let took = began.elapsed().as_secs_f64();
    ensure!(!numbers(&text, "validation_error").is_empty(), "it says no error: {text}");
    Ok(vec![(String::new(), took)])
}

/// Empty tasks a second of Dask, on two workers of one thread each.
pub fn dask(python: &Python, script: &Path, count: u32) -> anyhow::Result<f64> {
    let folder = folder_in(None)?;
    let command = |arguments: &[&str]| {
        let mut command = python.command("dask");
        command.args(arguments).current_dir(folder.path());
        Running::start(command)
    };
    let scheduler = command(&["scheduler", "--no-dashboard", "--host", "127.0.0.1", "--port", "0"])?;
    let line = scheduler.says_within("Scheduler at:", DEADLINE)?;
    let address = line.split_whitespace().next_back().context("no address")?.to_owned();
    let worker = ["worker", &address, "--nthreads", "1", "--no-nanny", "--no-dashboard"];
    let _workers = [command(&worker)?, command(&worker)?];
    tasks_a_second(&printed(python.script(script).args([&address, &count.to_string()]))?)
}

/// Empty tasks a second of Ray, on two cores.
pub fn ray(python: &Python, script: &Path, count: u32) -> anyhow::Result<f64> {
    tasks_a_second(&printed(python.script(script).arg(count.to_string()))?)
}

fn tasks_a_second(text: &str) -> anyhow::Result<f64> {
    numbers(text, "tasks_per_second").pop().with_context(|| format!("it says no figure: {text}"))
}

/// Seconds of so many processes of `/bin/true`, two at a time.
pub fn xargs(count: u32) -> anyhow::Result<f64> {
    seconds(Command::new("sh").args(["-c", &format!("seq {count} | xargs -P2 -n1 /bin/true")]))
}

/// Seconds of the same by a program whose C source is given, run as `LIMIT N`.
pub fn spawn_limit(source: &Path, count: u32) -> anyhow::Result<f64> {
    let folder = folder_in(None)?;
    let program = folder.path().join("limit");
    printed(Command::new("cc").args(["-O2", "-pthread"]).arg(source).arg("-o").arg(&program))?;
    seconds(Command::new(program).arg(count.to_string()))
}

/// Seconds of the same as tasks of HyperQueue's, on a worker of two cores.
pub fn hyperqueue(count: u32) -> anyhow::Result<f64> {
    let folder = folder_in(None)?;
    let command = || {
        let mut command = Command::new("hq");
        command.arg("--server-dir").arg(folder.path()).current_dir(folder.path());
        command
    };
    let start = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments);
        Running::start(command)
    };
    let submit = |count: u32| {
        let array = format!("1-{count}");
        let quiet = ["--wait", "--stdout", "none", "--stderr", "none"];
        seconds(command().args(["submit", "--array", &array]).args(quiet).arg("/bin/true"))
    };
    let _server = start(&["server", "start"])?;
    let began = Instant::now();
    while printed(command().args(["server", "info"])).is_err() {
        if began.elapsed() > DEADLINE {
            bail!("its server is not there after {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _worker = start(&["worker", "start", "--cpus", "2"])?;
    // A few first: then the worker is there.
    submit(100)?;
    submit(count)
}

/// How long a command takes.
fn seconds(command: &mut Command) -> anyhow::Result<f64> {
    let began = Instant::now();
    printed(command)?;
    Ok(began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_scripts_print() {
        let text = "threads=1 seconds=0.250 gflops=3\nthreads=1 seconds=0.5\nn=7 tasks_per_second=12\nnoise";
        assert_eq!(numbers(text, "seconds"), [0.25, 0.5]);
        assert_eq!(tasks_a_second(text).unwrap(), 12.0);
        assert!(tasks_a_second("nothing").is_err());
    }

    #[test]
    fn an_environment_that_is_not_there_holds_nothing() {
        assert!(Python::find(Path::new("/nowhere")).packages.is_empty());
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let error = printed(Command::new("sh").args(["-c", "echo because >&2; exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "exit status: 3: because");
    }
}
