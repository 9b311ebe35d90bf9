//! `convoke train`: read data, submit a job, follow it, save the model.
//!
//! Without a coordinator it starts an embedded cluster, and is then a client of that one. How a round works it does not
//! know.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::{Counted, JobId, Plan};

use super::conclude::{Conclusion, model_place};
use super::embedded::Cluster;
use super::follow::follow;
use super::signals::{Unsubmitted, asked_to_end, end_when_asked};
use super::worker::load;
use crate::args::{Format, Global, Keep, RunArgs, StepArgs, TrainArgs, Validate};
use crate::failure::{Failure, INTERRUPTED};
use crate::progress::Progress;
use crate::report::Report;
use crate::training_job::Prepared;
use crate::{output, place, step_job, training_job, upload};

/// Runs the command.
pub async fn run(args: TrainArgs, global: &Global) -> Result<ExitCode, Failure> {
    let address = place::named(args.run.at.coordinator.as_deref());
    if args.run.detach && address.is_none() {
        return Err(Failure::bad_input(
            "--detach needs a coordinator that stays: an embedded cluster ends with this process",
        )
        .hint("name one with --coordinator host:port"));
    }
    if address.is_some() {
        check_remote(&args.run)?;
    }
    let began = Instant::now();
    let job = JobId::from_bits(getrandom::u64().map_err(Failure::failed)?);
    let model = model_place(args.model.file.as_deref(), "--model FILE", job)?;
    refuse_data(&args, &model)?;
    let progress = Progress::new(global);
    let unsubmitted = Unsubmitted::begin(&progress)?;
    // Whoever is not there is found out before the data is read.
    let target = match address.as_deref() {
        Some(address) => Some(place::reach_user(Some(address), args.run.at.wait).await?.0),
        None => None,
    };
    progress.doing(format!("reading {}", args.data.display()));
    let prepared = prepare(&args, job)?;
    if prepared.keep == Keep::Best && !prepared.is_measured() {
        return Err(Failure::bad_input("--keep best needs validation data, and there is none")
            .hint("name some with --validate FILE, or a share of the rows with --validate 0.2"));
    }
    if let Some(held_out) = &prepared.held_out {
        progress.say(held_out);
    }
    if let Some(learning) = &prepared.learning {
        progress.say(output::line(&learning.line));
    }
    progress.say(announcement(&prepared, job));
    let report = Report::new(job, prepared.shards.clone()).of_task(prepared.task());
    let (learning, keep) = (prepared.learning.clone(), prepared.keep);
    let Some(target) = target else {
        progress.say(format!("record: {}", place::embedded_state(job)?.display()));
        progress.doing("starting");
        let workers = args.run.workers.unwrap_or_else(place::cores);
        let cluster = Cluster::start(job, workers, load(&args.run.load)?).await?;
        let target = cluster.target();
        let conclusion = Conclusion { target: &target, model, keep, learning, began, global };
        let work = async {
            let client = submit(&target, &prepared, job, &progress, unsubmitted).await?;
            attend(client, report, &progress, &conclusion).await
        };
        return cluster.until(work).await;
    };
    let client = submit(&target, &prepared, job, &progress, unsubmitted).await?;
    if args.run.detach {
        return detached(job, &target, global);
    }
    let conclusion = Conclusion { target: &target, model, keep, learning, began, global };
    attend_remote(client, report, &progress, &conclusion).await
}

/// Reads the data and makes the job of it: of the built-in training, or of a user's own.
fn prepare(args: &TrainArgs, job: JobId) -> Result<Prepared, Failure> {
    if let Some(line) = &args.step.step {
        return step_job::prepare(args, line);
    }
    // These are also other commands' flags, which cannot know of --step.
    let StepArgs { command, needs, .. } = &args.step;
    let given = [
        ("--with", !command.with.is_empty()),
        ("--env", !command.env.is_empty()),
        ("--resource", !needs.resource.is_empty()),
        ("--memory", needs.memory.is_some()),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        let error = format!("{flag} is for the commands of --step, and there is none");
        return Err(Failure::bad_input(error).hint("name a command with --step COMMAND, or leave it out"));
    }
    training_job::prepare(args, job)
}

/// A model is not to take the place of the data that it is trained on.
fn refuse_data(args: &TrainArgs, model: &Path) -> Result<(), Failure> {
    let Ok(model) = model.canonicalize() else { return Ok(()) };
    let validation = match &args.split.validate {
        Some(Validate::File(file)) => Some(file.as_path()),
        _ => None,
    };
    let data = [Some(args.data.as_path()), validation].into_iter().flatten();
    let mut places = data.filter_map(|path| path.canonicalize().ok());
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    // For a user's own training any file of the directory may be data.
    let is_shard = name.starts_with("train_") || name.starts_with("validate_") || args.step.step.is_some();
    if places.any(|place| model == place || is_shard && model.parent() == Some(&place)) {
        let error = format!("the model would take the place of the data in {}", model.display());
        return Err(Failure::bad_input(error).hint("name another file with --model FILE"));
    }
    Ok(())
}

/// Follows a job at a coordinator to its end, or until this process is asked to end: then the job goes on without it.
async fn attend_remote(
    client: Client,
    mut report: Report,
    progress: &Progress,
    conclusion: &Conclusion<'_>,
) -> Result<ExitCode, Failure> {
    let (job, target) = (report.job, conclusion.target);
    tokio::select! {
        followed = follow(&client, &mut report, true, progress) => followed?,
        asked = asked_to_end() => {
            asked?;
            progress.clear();
            output::note(format!("interrupted: job {job} goes on at {target}"));
            output::note(format!("follow it with:   convoke job {job} --follow --coordinator {target}"));
            output::note(format!("cancel it with:   convoke cancel {job} --coordinator {target}"));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    end_when_asked();
    progress.clear();
    conclusion.conclude(report).await
}

/// Follows a job on an embedded cluster to its end, or until this process is asked to end: then the job is left as it is, to
/// be resumed.
pub async fn attend(
    client: Client,
    mut report: Report,
    progress: &Progress,
    conclusion: &Conclusion<'_>,
) -> Result<ExitCode, Failure> {
    let interrupted = tokio::select! {
        followed = follow(&client, &mut report, true, progress) => followed.map(|()| false)?,
        asked = asked_to_end() => asked.map(|()| true)?,
    };
    if !interrupted {
        end_when_asked();
    }
    progress.clear();
    if interrupted {
        report.interrupted();
    }
    conclusion.conclude(report).await
}

async fn submit(
    target: &Target,
    prepared: &Prepared,
    job: JobId,
    progress: &Progress,
    unsubmitted: Unsubmitted,
) -> Result<Client, Failure> {
    let mut client = Client::connect(target).await?;
    let count = prepared.contents.len();
    let tell = |done| progress.doing(format!("uploading: {done} of {count} blobs"));
    upload::store_all(&mut client, &prepared.contents, tell).await?;
    unsubmitted.end();
    client.submit(job, &prepared.spec, &place::submitter()).await?;
    Ok(client)
}

/// What is for an embedded cluster means nothing to a coordinator elsewhere.
pub fn check_remote(run: &RunArgs) -> Result<(), Failure> {
    let flag = match (run.workers, run.load.load_seed) {
        (Some(_), _) => "--workers",
        (None, Some(_)) => "--load-seed",
        (None, None) if run.load.load_probability > 0.0 => "--load-probability",
        (None, None) => return Ok(()),
    };
    let (named, hint) = match &run.at.coordinator {
        Some(address) => (format!("--coordinator {address}"), "leave out one of both".to_owned()),
        None => (place::VARIABLE.to_owned(), format!("unset {}, or leave out {flag}", place::VARIABLE)),
    };
    let error = format!("{flag} is for an embedded cluster, and {named} names a coordinator elsewhere");
    Err(Failure::bad_input(error).hint(hint))
}

/// Says how a job is followed that goes on without this process.
pub fn detached(job: JobId, target: &Target, global: &Global) -> Result<ExitCode, Failure> {
    output::note(format!("follow it with:   convoke job {job} --follow --coordinator {target}"));
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("job", job.to_string())]))?,
        Format::Text => output::print(&job.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn announcement(prepared: &Prepared, job: JobId) -> String {
    let shards = Counted(prepared.shards.len(), "shard");
    let rounds = match &prepared.spec.plan {
        Plan::Rounds(plan) => plan.rounds,
        Plan::MapReduce(_) => 0,
    };
    let rounds = Counted(rounds as usize, "round");
    format!("job {job}: {shards}, {rounds} of {}, seed {}", prepared.what, prepared.spec.seed)
}
