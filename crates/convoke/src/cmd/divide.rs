//! Divisible work until it is on record: `run` and `map` share it.
//!
//! Without a coordinator it starts an embedded cluster. What a task does it does not know.

use std::process::ExitCode;
use std::time::Instant;

use convoke_wire::Client;
use convoke_wire::core::{Counted, JobId, NAME_BYTES_MAX, event::bounded};

use super::attendance::{Attendance, Work};
use super::embedded::Cluster;
use super::signals::Unsubmitted;
use super::wanted::{Wanted, check_output};
use super::worker::load;
use crate::args::{Global, RunArgs};
use crate::divisible::Divisible;
use crate::failure::Failure;
use crate::place;
use crate::progress::Progress;

/// Submits a divisible job, writes its results as they come, and says how it ended.
pub async fn divide(job: Divisible<'_>, wanted: &Wanted<'_>, global: &Global) -> Result<ExitCode, Failure> {
    let run = job.run;
    let address = place::named(run.at.coordinator.as_deref());
    check(run, wanted, global, address.is_some())?;
    let began = Instant::now();
    let id = JobId::from_bits(getrandom::u64().map_err(Failure::failed)?);
    let progress = wanted.progress(global);
    let job = Divisible { name: bounded(printable(&job.name), NAME_BYTES_MAX), ..job };
    let attendance = Attendance { id, wanted, progress: &progress, began, global };
    let unsubmitted = Unsubmitted::begin(&progress)?;
    if address.is_some() {
        let (target, client) = place::reach_user(address.as_deref(), run.at.wait).await?;
        let (client, work) = submit(job, client, id, &progress, unsubmitted).await?;
        if run.detach {
            return super::train::detached(id, &target, global);
        }
        return attendance.attend(&target, client, &work, false).await;
    }
    progress.doing("starting");
    let workers = run.workers.unwrap_or_else(place::cores);
    let cluster = Cluster::start(id, workers, load(&run.load)?).await?;
    let target = cluster.target();
    let work = async {
        let client = Client::connect(&target).await?;
        let (client, work) = submit(job, client, id, &progress, unsubmitted).await?;
        attendance.attend(&target, client, &work, true).await
    };
    cluster.until(work).await
}

fn check(run: &RunArgs, wanted: &Wanted<'_>, global: &Global, remote: bool) -> Result<(), Failure> {
    if run.detach && !remote {
        return Err(Failure::bad_input(
            "--detach needs a coordinator that stays: an embedded cluster ends with this process",
        )
        .hint("name one with --coordinator host:port"));
    }
    if !run.detach {
        check_output(wanted, global)?;
    }
    if remote {
        super::train::check_remote(run)?;
    }
    Ok(())
}

async fn submit(
    job: Divisible<'_>,
    mut client: Client,
    id: JobId,
    progress: &Progress,
    unsubmitted: Unsubmitted,
) -> Result<(Client, Work), Failure> {
    let reduces = job.reduce.is_some();
    let prepared = job
        .prepare(&mut client, |items| progress.doing(format!("uploading: {} so far", Counted(items as usize, "task"))))
        .await?;
    unsubmitted.end();
    client.submit(id, &prepared.spec, &place::submitter()).await?;
    progress.say(format!("job {id}: {}", Counted(prepared.count as usize, "task")));
    let results = if reduces { 1 } else { prepared.count };
    Ok((client, Work { tasks: prepared.count, results, labels: Some(prepared.labels) }))
}

/// A name has no control characters.
fn printable(text: &str) -> String {
    let name: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if name.trim().is_empty() { "task".to_owned() } else { name }
}
