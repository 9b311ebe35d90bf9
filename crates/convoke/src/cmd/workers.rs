//! `convoke workers`: who is there.
//!
//! It shows what the coordinator says, and keeps nothing.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_node::devices::MEMORY;
use convoke_node::executor::COMMAND;
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
    resources: BTreeMap<String, u64>,
    abilities: Vec<String>,
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
            resources: worker.resources.iter().map(|(name, amount)| (name.to_owned(), amount)).collect(),
            abilities: worker.abilities.iter().map(ToString::to_string).collect(),
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
    let headings =
        ["NAME", "STATE", "SLOTS", "RESOURCES", "COMMANDS", "RUNNING", "QUEUED", "DONE", "REJECTED", "HARDWARE"];
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
            resources(&row.resources),
            (if row.abilities.iter().any(|ability| ability == COMMAND) { "yes" } else { "-" }).to_owned(),
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

/// What is counted, for people: `gpu=2, memory=62.5 GiB`.
fn resources(counted: &BTreeMap<String, u64>) -> String {
    let shown = |(name, amount): (&String, &u64)| match name.as_str() {
        MEMORY => format!("{name}={:.1} GiB", *amount as f64 / f64::from(1 << 30)),
        _ => format!("{name}={amount}"),
    };
    let shown: Vec<_> = counted.iter().map(shown).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}
