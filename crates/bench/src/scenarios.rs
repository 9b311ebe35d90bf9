//! The cases of the reference system's report, and one with a slow worker, under each placement policy.
//!
//! Workers that are busy with other things behave as the reference has it: a task is delayed with the load's probability,
//! and rejected with the same under load balancing. What a policy does it does not know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::Value;

use crate::binary::{self, Running};
use crate::cluster::Cluster;
use crate::figures::Table;

const POLICIES: [&str; 3] = ["random", "round-robin", "load-balancing"];
/// A slow worker runs for so long, then is stopped for three times as long.
const SLICE: Duration = Duration::from_millis(5);
const SLOWER: u32 = 4;
/// How long a round may take: under load every attempt may be delayed and then rejected.
const ROUND_DEADLINE: Duration = Duration::from_secs(600);

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The letters: a directory of shards with validation data [default: the built-in ones]
    directory: Option<PathBuf>,
    /// How long a busy worker delays a task
    #[arg(long, default_value = "3s")]
    load_delay: String,
    /// Only the cases whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
}

/// A case: who works, on what.
struct Case {
    name: &'static str,
    /// Each worker's load.
    loads: &'static [f64],
    /// How many of them join only when the first round is done.
    late: usize,
    /// Whether the last worker is four times slower than the others.
    slow: bool,
    rounds: u32,
    epochs: u32,
    hidden: u32,
    /// The reference's report: its error, and its time.
    reference: &'static str,
}

/// The report gives one error and the span of the times for its six cases of 5 rounds.
const FIVE_ROUNDS: &str = "0.805, 2 m 0 s to 5 m 29 s";
const FIVE: Case =
    Case { name: "", loads: &[], late: 0, slow: false, rounds: 5, epochs: 15, hidden: 20, reference: FIVE_ROUNDS };
const CASES: [Case; 9] = [
    Case { name: "four workers, load 0.2", loads: &[0.2; 4], ..FIVE },
    Case { name: "four workers, load 0.8", loads: &[0.8; 4], ..FIVE },
    Case { name: "four workers, loads 0.2 0.8 0.2 0.8", loads: &[0.2, 0.8, 0.2, 0.8], ..FIVE },
    Case { name: "four workers, load 0.5", loads: &[0.5; 4], ..FIVE },
    Case { name: "two workers, load 0.5", loads: &[0.5; 2], ..FIVE },
    Case { name: "two workers, two more after a round, load 0.5", loads: &[0.5; 4], late: 2, ..FIVE },
    Case {
        name: "25 rounds, four workers, load 0.2",
        loads: &[0.2; 4],
        rounds: 25,
        reference: "0.324, 10 m 38 s",
        ..FIVE
    },
    Case {
        name: "15 rounds of 50, hidden 24, four workers, load 0.2",
        loads: &[0.2; 4],
        rounds: 15,
        epochs: 50,
        hidden: 24,
        reference: "0.270, 18 m 46 s",
        ..FIVE
    },
    Case {
        // Three, so that on two cores the fast ones are fast.
        name: "5 rounds of 400, three workers, one of them four times slower",
        loads: &[0.0; 3],
        slow: true,
        epochs: 400,
        reference: "(ours)",
        ..FIVE
    },
];

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    load_delay: String,
    cases: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    case: &'static str,
    validation_error: f64,
    /// Under each policy.
    runs: Vec<Run>,
    reference: &'static str,
}

#[derive(Debug, Serialize)]
struct Run {
    policy: &'static str,
    seconds: f64,
    rejections: u64,
}

/// Runs every case under every policy.
pub fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let folder = crate::cluster::folder_in(None)?;
    let data = match &arguments.directory {
        Some(directory) => directory.clone(),
        None => built_in(&folder.path().join("letters"))?,
    };
    let chosen = CASES.iter().filter(|case| case.name.contains(&arguments.only));
    let cases = chosen.map(|case| {
        let run = |policy: &&'static str| run(case, policy, &data, &arguments.load_delay);
        let runs = POLICIES.iter().map(run).collect::<anyhow::Result<Vec<_>>>()?;
        let (error, parameters) = (&runs[0].1["validation_error"], &runs[0].1["parameters"]);
        ensure!(
            runs.iter().all(|(_, report)| report["parameters"] == *parameters),
            "the policies differ in their bits"
        );
        let validation_error = error.as_f64().context("no validation data")?;
        let runs = runs.into_iter().map(|(run, _)| run).collect();
        Ok(Measured { case: case.name, validation_error, runs, reference: case.reference })
    });
    Ok(Figures { load_delay: arguments.load_delay.clone(), cases: cases.collect::<anyhow::Result<_>>()? })
}

fn built_in(directory: &Path) -> anyhow::Result<PathBuf> {
    let made = Command::new(binary::find()?).args(["data", "letters"]).arg(directory).output()?;
    ensure!(made.status.success(), "no letters: {}", String::from_utf8_lossy(&made.stderr));
    Ok(directory.to_owned())
}

/// Runs a case on a cluster of its own, and says how long its job took and what it printed.
fn run(case: &Case, policy: &'static str, data: &Path, load_delay: &str) -> anyhow::Result<(Run, Value)> {
    let cluster = Cluster::start(None)?;
    let start = |number: usize| {
        let (load, seed) = (case.loads[number].to_string(), (number + 1).to_string());
        let load = ["--load-probability", &load, "--load-delay", load_delay, "--load-seed", &seed];
        let worker = cluster.worker_with(&format!("worker-{}", number + 1), &load)?;
        worker.says("joined as")?;
        anyhow::Ok(worker)
    };
    let early = case.loads.len() - case.late;
    let mut workers: Vec<Running> = (0..early).map(start).collect::<anyhow::Result<_>>()?;
    let _slow = workers.last().filter(|_| case.slow).map(|worker| Slowed::start(worker.id()));
    let mut options = vec![format!("--policy={policy}"), format!("--rounds={}", case.rounds)];
    options.extend([format!("--epochs={}", case.epochs), format!("--hidden={}", case.hidden)]);
    let train = cluster.train(data, &options)?;
    if case.late > 0 {
        train.says_within("round 1/", ROUND_DEADLINE)?;
        workers.extend((early..case.loads.len()).map(start).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let report = train.report()?;
    let seconds = report["wall_seconds"].as_f64().context("no time")?;
    let rounds = report["rounds"].as_array().context("no rounds")?;
    let rejections = rounds.iter().filter_map(|round| round["rejections"].as_u64()).sum();
    eprintln!("{}, {policy}: {seconds:.1} s", case.name);
    Ok((Run { policy, seconds, rejections }, report))
}

/// A process that has a quarter of the time, until this is dropped.
struct Slowed {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slowed {
    fn start(process: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            let process = Pid::from_raw(process.cast_signed());
            while !told.load(Ordering::Relaxed) {
                for (signal, pause) in [(Signal::SIGSTOP, SLICE * (SLOWER - 1)), (Signal::SIGCONT, SLICE)] {
                    // A process that has ended needs neither.
                    kill(process, signal).ok();
                    std::thread::sleep(pause);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let heading = format!("| case | {} | error | reference: error, time |", POLICIES.join(" | "));
        let rule = "|---|---|---|---|---|---|".to_owned();
        let rows = self.cases.iter().map(|measured| {
            let seconds: Vec<_> = measured.runs.iter().map(|run| format!("{:.1} s", run.seconds)).collect();
            let (error, reference) = (measured.validation_error, measured.reference);
            format!("| {} | {} | {error:.4} | {reference} |", measured.case, seconds.join(" | "))
        });
        [heading, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }
}
