//! `convoke worker remove`: take a worker's credentials out of service.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_wire::CallError;

use crate::args::{Format, Global, RemoveWorkerArgs};
use crate::failure::Failure;
use crate::{output, place};

/// Two workers of one name are told apart by a number, and are removed together.
fn hint(worker: &str) -> String {
    let is_numbered = |number: &str| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    match worker.rsplit_once('-').filter(|(_, number)| is_numbered(number)) {
        Some((name, _)) => {
            format!("where several have one name, all are removed by it: `convoke worker remove {name}`")
        }
        None => "`convoke workers` lists the workers".to_owned(),
    }
}

/// Runs the command.
pub async fn run(args: &RemoveWorkerArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut client = place::connect(&args.at).await?;
    client.remove_worker(&args.worker).await.map_err(|error| match error {
        CallError::NotFound(_) => Failure::bad_input(error).hint(hint(&args.worker)),
        error => error.into(),
    })?;
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("worker", args.worker.as_str()), ("state", "removed")]))?,
        Format::Text => output::print(&format!("{} is removed", output::line(&args.worker)))?,
    }
    Ok(ExitCode::SUCCESS)
}
