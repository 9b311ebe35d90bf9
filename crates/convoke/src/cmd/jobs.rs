//! `convoke jobs`: the jobs on record, in the order of submission.
//!
//! It shows what the coordinator says, and keeps nothing.

use std::process::ExitCode;

use convoke_wire::JobSummary;
use convoke_wire::core::event::Outcome;
use serde::Serialize;

use crate::args::{Format, Global, JobsArgs};
use crate::failure::Failure;
use crate::{output, place};

#[derive(Serialize)]
struct Row {
    job: String,
    state: &'static str,
    rounds_done: u32,
    rounds: u32,
    validation_error: Option<f64>,
    submitted_unix_ms: u64,
    finished_unix_ms: Option<u64>,
    submitter: String,
    name: String,
}

/// Runs the command.
pub async fn run(args: &JobsArgs, global: &Global) -> Result<ExitCode, Failure> {
    let jobs = place::connect(&args.at).await?.jobs().await?;
    let rows: Vec<Row> = jobs.into_iter().map(row).collect();
    if global.output == Format::Json {
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cells = |row: &Row| {
        [
            row.job.clone(),
            row.state.to_owned(),
            format!("{}/{}", row.rounds_done, row.rounds),
            output::share(row.validation_error),
            row.submitter.clone(),
            row.name.clone(),
        ]
    };
    let headings = ["JOB", "STATE", "ROUNDS", "ERROR", "SUBMITTER", "NAME"];
    output::print(&output::table(headings, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    Ok(ExitCode::SUCCESS)
}

fn row(job: JobSummary) -> Row {
    Row {
        job: job.job.to_string(),
        state: match job.outcome {
            None => "running",
            Some(Outcome::Succeeded) => "succeeded",
            Some(Outcome::Failed { .. }) => "failed",
            Some(Outcome::Cancelled) => "cancelled",
        },
        rounds_done: job.rounds_done,
        rounds: job.rounds,
        validation_error: job.validation_error,
        submitted_unix_ms: job.submitted_wall_ms,
        finished_unix_ms: job.finished_wall_ms,
        submitter: job.submitter,
        name: job.name,
    }
}
