//! `convoke worker remove` and `convoke client remove`: take credentials out of service.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_wire::CallError;
use convoke_wire::core::Role;

use crate::args::{At, Format, Global, RemoveClientArgs, RemoveWorkerArgs};
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

/// Runs `worker remove`.
pub async fn worker(args: &RemoveWorkerArgs, global: &Global) -> Result<ExitCode, Failure> {
    remove(Role::Worker, &args.worker, hint(&args.worker), &args.at, global).await
}

/// Runs `client remove`.
pub async fn client(args: &RemoveClientArgs, global: &Global) -> Result<ExitCode, Failure> {
    let role = args.role.parse().map_err(Failure::bad_input)?;
    remove(role, &args.client, "the coordinator's log names who joined".to_owned(), &args.at, global).await
}

async fn remove(role: Role, name: &str, hint: String, at: &At, global: &Global) -> Result<ExitCode, Failure> {
    let mut client = place::connect(at).await?;
    client.remove(role, name).await.map_err(|error| match error {
        CallError::NotFound(_) => Failure::bad_input(error).hint(hint),
        error => error.into(),
    })?;
    match global.output {
        Format::Json => output::json(&BTreeMap::from([(role.as_str(), name), ("state", "removed")]))?,
        Format::Text => output::print(&format!("{} is removed", output::line(name)))?,
    }
    Ok(ExitCode::SUCCESS)
}
