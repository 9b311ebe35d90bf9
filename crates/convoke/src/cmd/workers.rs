//! `convoke workers`: who is there.
//!
//! It shows what the coordinator says, and keeps nothing.

use std::process::ExitCode;

use serde::Serialize;

use crate::args::{Format, Global, WorkersArgs};
use crate::failure::Failure;
use crate::{output, place};

#[derive(Serialize)]
struct Row {
    name: String,
    connected: bool,
    draining: bool,
    slots: u32,
    running: u32,
    queued: u32,
    tasks_done: u64,
    rejections: u64,
    seconds_a_task: Option<f64>,
    hardware: String,
    numeric_profile: String,
}

/// Runs the command.
pub async fn run(args: &WorkersArgs, global: &Global) -> Result<ExitCode, Failure> {
    let workers = place::connect(&args.at).await?.workers().await?;
    let rows: Vec<Row> = workers
        .into_iter()
        .map(|worker| Row {
            name: worker.name,
            connected: worker.connected,
            draining: worker.draining,
            slots: worker.slots,
            running: worker.running,
            queued: worker.queued,
            tasks_done: worker.tasks_done,
            rejections: worker.rejections,
            seconds_a_task: worker.pace_ms.map(|pace_ms| pace_ms as f64 / 1_000.0),
            hardware: worker.hardware,
            numeric_profile: worker.profile,
        })
        .collect();
    if global.output == Format::Json {
        output::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["NAME", "STATE", "SLOTS", "RUNNING", "QUEUED", "DONE", "REJECTED", "HARDWARE"];
    let cells = |row: &Row| {
        let state = match (row.connected, row.draining) {
            (false, _) => "lost",
            (true, true) => "draining",
            (true, false) => "connected",
        };
        [
            row.name.clone(),
            state.to_owned(),
            row.slots.to_string(),
            row.running.to_string(),
            row.queued.to_string(),
            row.tasks_done.to_string(),
            row.rejections.to_string(),
            row.hardware.clone(),
        ]
    };
    output::print(&output::table(headings, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    Ok(ExitCode::SUCCESS)
}
