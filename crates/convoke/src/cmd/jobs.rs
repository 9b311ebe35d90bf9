//! `convoke jobs`: the jobs on record, in the order of submission: a coordinator's, or those of this machine.
//!
//! It shows what the records say, and keeps nothing.

use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_node::record::Record;
use convoke_wire::core::JobId;
use convoke_wire::core::event::Outcome;
use convoke_wire::core::history::TaskCounts;
use convoke_wire::{Client, JobSummary};
use serde::Serialize;

use crate::args::{Format, Global, JobsArgs};
use crate::failure::Failure;
use crate::{output, place};

/// How long a coordinator that nobody named has to answer.
const UNNAMED_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Row {
    job: String,
    state: &'static str,
    #[serde(flatten)]
    extent: Extent,
    submitted_unix_ms: u64,
    finished_unix_ms: Option<u64>,
    submitter: String,
    name: String,
    /// Where it is: absent for an embedded job.
    coordinator: Option<String>,
}

/// How far it is.
#[derive(Serialize)]
#[serde(untagged)]
enum Extent {
    Rounds {
        rounds_done: u32,
        rounds: u32,
        validation_error: Option<f64>,
    },
    /// Of a map.
    Tasks {
        tasks_done: u32,
        tasks_failed: u32,
        tasks: u32,
    },
}

/// Runs the command.
pub async fn run(args: &JobsArgs, global: &Global) -> Result<ExitCode, Failure> {
    let target = place::target(args.at.coordinator.as_deref())?;
    let of_coordinator = |job| row(job, "running", Some(target.to_string()));
    let mut rows: Vec<Row> = Vec::new();
    if place::named(args.at.coordinator.as_deref()).is_some() {
        rows.extend(place::connect(&args.at).await?.jobs().await?.into_iter().map(of_coordinator));
    } else {
        // There may be none on this machine.
        if let Ok(Ok(mut client)) = tokio::time::timeout(UNNAMED_TIMEOUT, Client::connect(&target)).await {
            match client.jobs().await {
                Ok(jobs) => rows.extend(jobs.into_iter().map(of_coordinator)),
                Err(error) => output::say(format!("warning: the jobs at {target} are left out: {error}")),
            }
        }
        rows.extend(embedded(place::embedded_jobs()?));
    }
    rows.sort_by(|one, other| (one.submitted_unix_ms, &one.job).cmp(&(other.submitted_unix_ms, &other.job)));
    match global.output {
        Format::Json => output::json(&rows)?,
        Format::Text if rows.is_empty() => output::note("no jobs on record; `convoke train DATA` makes one"),
        Format::Text => output::print(&table(&rows))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The embedded jobs. One that cannot be read is named, and does not hide the others.
fn embedded(jobs: Vec<JobId>) -> Vec<Row> {
    let read = |job: JobId| -> Result<Vec<Row>, Failure> {
        let record = Record::new(&place::embedded_state(job)?);
        let unfinished = if record.is_held()? { "running" } else { "interrupted" };
        let jobs = record.jobs()?;
        Ok(jobs.into_iter().map(|job| row(job, unfinished, None)).collect())
    };
    let mut rows = Vec::new();
    for job in jobs {
        match read(job) {
            Ok(read) => rows.extend(read),
            Err(failure) => output::say(format!("warning: job {job} is left out: {failure}")),
        }
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    let seconds = |from: u64, to: u64| output::duration(to.saturating_sub(from) as f64 / 1_000.0);
    let cells = |row: &Row| {
        [
            row.job.clone(),
            row.state.to_owned(),
            row.extent.to_string(),
            output::share(row.extent.error()),
            format!("{} ago", seconds(row.submitted_unix_ms, now_ms)),
            row.finished_unix_ms.map_or_else(|| "-".to_owned(), |end| seconds(row.submitted_unix_ms, end)),
            row.coordinator.clone().unwrap_or_else(|| "embedded".to_owned()),
            output::line(&row.submitter),
            output::line(&row.name),
        ]
    };
    let headings = ["JOB", "STATE", "DONE", "ERROR", "SUBMITTED", "TOOK", "WHERE", "SUBMITTER", "NAME"];
    output::table(headings, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn row(job: JobSummary, unfinished: &'static str, coordinator: Option<String>) -> Row {
    Row {
        job: job.job.to_string(),
        state: match job.outcome {
            None => unfinished,
            Some(Outcome::Succeeded) => "succeeded",
            Some(Outcome::Failed { .. }) => "failed",
            Some(Outcome::Cancelled) => "cancelled",
        },
        extent: Extent::of(&job),
        submitted_unix_ms: job.submitted_wall_ms,
        finished_unix_ms: job.finished_wall_ms,
        submitter: job.submitter,
        name: job.name,
        coordinator,
    }
}

impl Extent {
    fn of(job: &JobSummary) -> Self {
        match job.tasks {
            Some(TaskCounts { all, done, failed }) => {
                Self::Tasks { tasks_done: done, tasks_failed: failed, tasks: all }
            }
            None => Self::Rounds {
                rounds_done: job.rounds_done,
                rounds: job.rounds,
                validation_error: job.validation_error,
            },
        }
    }

    fn error(&self) -> Option<f64> {
        match self {
            Self::Rounds { validation_error, .. } => *validation_error,
            Self::Tasks { .. } => None,
        }
    }
}

impl Display for Extent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds { rounds_done, rounds, .. } => write!(f, "{rounds_done}/{rounds} rounds"),
            Self::Tasks { tasks_done, tasks_failed: 0, tasks } => write!(f, "{tasks_done}/{tasks} tasks"),
            Self::Tasks { tasks_done, tasks_failed, tasks } => {
                write!(f, "{tasks_done}/{tasks} tasks, {tasks_failed} failed")
            }
        }
    }
}
