//! `convoke cancel`: end a job; its last committed version is kept.
//!
//! A job that has ended before stays as it is.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_wire::core::event::Outcome;

use crate::args::{CancelArgs, Format, Global};
use crate::failure::Failure;
use crate::{output, place};

/// Runs the command.
pub async fn run(args: &CancelArgs, global: &Global) -> Result<ExitCode, Failure> {
    let outcome = place::connect(&args.at).await?.cancel(args.id).await?;
    let state = match outcome {
        Outcome::Cancelled => "cancelled",
        Outcome::Succeeded => "succeeded",
        Outcome::Failed { .. } => "failed",
    };
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("job", args.id.to_string()), ("state", state.to_owned())]))?,
        Format::Text => output::print(&format!("job {} {state}", args.id))?,
    }
    match outcome {
        Outcome::Cancelled => Ok(ExitCode::SUCCESS),
        ended => {
            let error = format!("job {} had ended before it could be cancelled: it {ended}", args.id);
            Err(Failure::failed(error).hint(format!("`convoke job {}` shows what happened", args.id)))
        }
    }
}
