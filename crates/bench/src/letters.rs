//! The reference's example as its users run it: one command, from its start to its end.
//!
//! It knows the command line, and nothing of what happens behind it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::binary;
use crate::cluster::folder_in;
use crate::figures::{Spread, Table, percentile};

/// Jobs whose errors the reference's report gives: rounds, training epochs, hidden units.
const REPORTED: [(u32, u32, u32); 2] = [(15, 50, 24), (25, 15, 20)];
const SEEDS: std::ops::RangeInclusive<u32> = 1..=9;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A directory of shards with validation data [default: the built-in letters]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Train from nine starts each instead, and show the errors
    #[arg(long)]
    pub starts: bool,
    /// Embedded workers
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// How often the example runs
    #[arg(long, default_value_t = 5)]
    times: u32,
}

/// Whole processes: 3 rounds of 75 training epochs with 24 hidden units.
#[derive(Debug, Serialize)]
pub struct Times {
    process: Spread,
    /// All rounds of a run, without what comes before and after.
    rounds: Spread,
    /// User and system time, all threads together.
    cpu_seconds: f64,
    validation_error: f64,
    /// Names the parameters: the same in every run.
    parameters: String,
}

/// The jobs of the reference's report.
#[derive(Debug, Serialize)]
pub struct Starts {
    jobs: Vec<Job>,
}

#[derive(Debug, Serialize)]
struct Job {
    rounds: u32,
    epochs: u32,
    hidden: u32,
    /// By seed, from 1.
    validation_errors: Vec<f64>,
    median: f64,
    median_seconds: f64,
}

/// Runs the example some times.
pub fn measure_times(arguments: &Arguments) -> anyhow::Result<Times> {
    let runs = (0..arguments.times).map(|_| train(arguments, &[]));
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    let (_, first) = runs.first().context("it has to run once at least")?;
    let parameters = first["parameters"].as_str().context("no parameters")?.to_owned();
    ensure!(runs.iter().all(|(_, report)| report["parameters"] == parameters), "two runs differ in their parameters");
    let number = |report: &Value, name: &str| report[name].as_f64().unwrap_or(f64::NAN);
    let cpu = |report| number(report, "user_seconds") + number(report, "system_seconds");
    let times: Vec<_> = runs.iter().map(|(took, _)| *took).collect();
    let cpu_seconds = percentile(runs.iter().map(|(_, report)| cpu(report)).collect(), 0.5);
    let validation_error = number(first, "validation_error");
    let rounds = Spread::of_ms(runs.iter().map(|(_, report)| in_rounds(report) * 1e3).collect());
    Ok(Times { process: Spread::of(&times), rounds, cpu_seconds, validation_error, parameters })
}

/// The seconds of all rounds together.
fn in_rounds(report: &Value) -> f64 {
    let rounds = report["rounds"].as_array().map_or(&[][..], Vec::as_slice);
    rounds.iter().map(|round| round["seconds"].as_f64().unwrap_or(f64::NAN)).sum()
}

/// Runs the jobs of the reference's report, from nine starts each.
pub fn measure_starts(arguments: &Arguments) -> anyhow::Result<Starts> {
    let jobs = REPORTED.iter().map(|job| measure_job(arguments, *job));
    Ok(Starts { jobs: jobs.collect::<anyhow::Result<_>>()? })
}

fn measure_job(arguments: &Arguments, (rounds, epochs, hidden): (u32, u32, u32)) -> anyhow::Result<Job> {
    let (mut seconds, mut validation_errors) = (Vec::new(), Vec::new());
    for seed in SEEDS {
        let options = [("--rounds", rounds), ("--epochs", epochs), ("--hidden", hidden), ("--seed", seed)];
        let (took, report) = train(arguments, &options.map(|(name, value)| format!("{name}={value}")))?;
        seconds.push(took.as_secs_f64());
        validation_errors.push(report["validation_error"].as_f64().context("no validation data")?);
    }
    let (median, median_seconds) = (percentile(validation_errors.clone(), 0.5), percentile(seconds, 0.5));
    Ok(Job { rounds, epochs, hidden, validation_errors, median, median_seconds })
}

/// Trains in a folder of its own, and says how long the process took and what it printed.
fn train(arguments: &Arguments, options: &[String]) -> anyhow::Result<(Duration, Value)> {
    let (binary, folder) = (binary::find()?, folder_in(None)?);
    let data = arguments.data.as_deref().unwrap_or(Path::new("@letters"));
    let mut command = Command::new(binary);
    command.arg("train").arg(data).args(["--preset", "reference"]).args(options);
    command.args(["--workers", &arguments.workers.to_string(), "--output", "json", "--model"]);
    command.arg(folder.path().join("model.safetensors")).env("XDG_STATE_HOME", folder.path());
    let began = Instant::now();
    let output = command.output().context("cannot run `convoke train`")?;
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "training on {} failed: {said}", data.display());
    Ok((took, serde_json::from_slice(&output.stdout).context("no JSON was printed")?))
}

impl Table for Times {
    fn table(&self) -> String {
        let Self { process, rounds, cpu_seconds, validation_error, parameters } = self;
        let lines = [
            format!("process           {process}; {cpu_seconds:.2} s of CPU"),
            format!("in rounds         {rounds}"),
            format!("validation error  {validation_error:.4}"),
            format!("parameters        {parameters}"),
        ];
        lines.join("\n")
    }
}

impl Table for Starts {
    fn table(&self) -> String {
        let line = |job: &Job| {
            let errors: Vec<_> = job.validation_errors.iter().map(|error| format!("{error:.4}")).collect();
            let Job { rounds, epochs, hidden, median, median_seconds, .. } = job;
            format!(
                "{rounds} x {epochs}, {hidden} hidden: median {median:.4} in {median_seconds:.2} s\n  {}",
                errors.join(" ")
            )
        };
        self.jobs.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_added_up() {
        let report = serde_json::json!({ "rounds": [{ "seconds": 0.25 }, { "seconds": 0.5 }] });
        assert_eq!(in_rounds(&report), 0.75);
    }
}
