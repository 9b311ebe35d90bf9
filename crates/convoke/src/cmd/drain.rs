//! `convoke drain`: take a worker out of service, and wait until it has left.
//!
//! The coordinator is told once and the rest is between it and the worker: whoever stops waiting stops nothing.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use convoke_wire::core::Counted;
use convoke_wire::{CallError, Client};
use serde::Serialize;

use super::signals::asked_to_end;
use crate::args::{DrainArgs, Format, Global};
use crate::failure::{Failure, INTERRUPTED};
use crate::{output, place};

/// A worker that was lost for less was not given up: it left.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(4);
/// How long to wait before each look.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many workers are named where the one that was meant is not there.
const NAMED_MAX: usize = 10;

/// What `--output json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    worker: &'a str,
    state: &'static str,
    running: usize,
}

/// Runs the command.
pub async fn run(args: &DrainArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut client = place::connect(&args.at).await?;
    let worker = &args.worker;
    let running = match client.drain(worker).await {
        Ok(running) => running,
        Err(CallError::NotFound(error)) => return Err(no_such_worker(&error, &mut client).await),
        Err(error) => return Err(error.into()),
    };
    let (tasks, run) = (Counted(running, "task"), if running == 1 { "runs" } else { "run" });
    output::note(format!("draining {}: {tasks} {run} on", output::line(worker)));
    if args.detach {
        return print(Printed { worker, state: "draining", running }, global);
    }
    tokio::select! {
        left = left(&mut client, worker) => left?,
        asked = asked_to_end() => {
            asked?;
            output::note(format!("interrupted: {} goes on draining", output::line(worker)));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    print(Printed { worker, state: "drained", running: 0 }, global)
}

/// Waits until no draining worker of that name is there.
async fn left(client: &mut Client, worker: &str) -> Result<(), Failure> {
    let mut lost_at = None;
    loop {
        let workers = client.workers().await?;
        match workers.iter().find(|view| view.name == worker && view.draining) {
            Some(view) if view.connected => lost_at = None,
            Some(_) => drop(lost_at.get_or_insert_with(Instant::now)),
            // One that came back may have left at once; one that is lost is given up after a while.
            None if lost_at.is_some_and(|lost_at: Instant| lost_at.elapsed() >= GIVEN_UP_AFTER) => {
                let error = format!("worker `{worker}` was lost before it was drained");
                return Err(Failure::failed(error).hint("its tasks are done by others; see what became of its process"));
            }
            None => return Ok(()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Names those that are there instead.
async fn no_such_worker(error: &str, client: &mut Client) -> Failure {
    let workers = client.workers().await.unwrap_or_default();
    let names: Vec<_> = workers.iter().filter(|view| view.connected).map(|view| view.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let connected = match (names.len(), more) {
        (0, _) => "no worker is connected".to_owned(),
        (_, 0) => format!("connected are {named}"),
        (_, more) => format!("connected are {named} and {more} more"),
    };
    Failure::bad_input(format!("{error}: {connected}")).hint("`convoke workers` lists the workers")
}

fn print(printed: Printed<'_>, global: &Global) -> Result<ExitCode, Failure> {
    match global.output {
        Format::Json => output::json(&printed)?,
        Format::Text => output::print(&format!("{} is {}", output::line(printed.worker), printed.state))?,
    }
    Ok(ExitCode::SUCCESS)
}
