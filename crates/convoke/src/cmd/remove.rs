//! `convoke worker remove`: take a worker's credentials out of service.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_wire::CallError;

use crate::args::{Format, Global, RemoveWorkerArgs};
use crate::failure::Failure;
use crate::{output, place};

/// Runs the command.
pub async fn run(args: &RemoveWorkerArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut client = place::connect(&args.at).await?;
    client.remove_worker(&args.worker).await.map_err(|error| match error {
        CallError::NotFound(_) => Failure::bad_input(error).hint("`convoke workers` lists the workers"),
        error => error.into(),
    })?;
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("worker", args.worker.as_str()), ("state", "removed")]))?,
        Format::Text => output::print(&format!("{} is removed", output::line(&args.worker)))?,
    }
    Ok(ExitCode::SUCCESS)
}
