//! `convoke cancel`: end a job; its last committed version is kept.
//!
//! A job that has ended before stays as it is.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_node::record::Record;
use convoke_wire::Client;
use convoke_wire::core::JobId;
use convoke_wire::core::event::Outcome;
use convoke_wire::core::worker::Load;

use super::embedded::Cluster;
use crate::args::{CancelArgs, Format, Global};
use crate::failure::Failure;
use crate::source::Source;
use crate::{output, place};

/// Runs the command.
pub async fn run(args: &CancelArgs, global: &Global) -> Result<ExitCode, Failure> {
    let outcome = match Source::of(args.id, &args.at).await? {
        Source::Coordinator(mut client) => client.cancel(args.id).await?,
        Source::Record(record) => cancel_embedded(&record, args.id).await?,
    };
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
            Err(Failure::failed(error).hint(format!(
                "`convoke job {}{}` shows what happened",
                args.id,
                place::flag(&args.at)
            )))
        }
    }
}

/// Cancels an embedded job that was interrupted. Only a coordinator may write into a record.
async fn cancel_embedded(record: &Record, job: JobId) -> Result<Outcome, Failure> {
    if record.is_held()? {
        return Err(Failure::failed(format!("job {job} is embedded in a process that is at it"))
            .hint("end that process with Ctrl-C; then `convoke cancel` ends the job for good"));
    }
    let cluster = Cluster::start(job, 0, Load::default()).await?;
    let target = cluster.target();
    cluster.until(async { Ok(Client::connect(&target).await?.cancel(job).await?) }).await
}
