//! `convoke train`: read data, submit a job, follow it, save the model.
//!
//! Without a coordinator it starts an embedded cluster, and is then a client of that one. How a round works it does not
//! know.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use convoke_ml::Mlp;
use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::{Digest, JobId};
use serde::Serialize;

use super::embedded::Cluster;
use super::follow::{Manner, follow};
use super::signals::asked_to_end;
use super::worker::load;
use crate::args::{Format, Global, TrainArgs};
use crate::failure::{Failure, INTERRUPTED};
use crate::report::Report;
use crate::training_job::{Prepared, prepare};
use crate::{model, output, place};

/// What `--output json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    user_seconds: f64,
    system_seconds: f64,
    model: Option<&'a Path>,
    /// The BLAKE3 digest of the parameters alone.
    parameters: Option<String>,
}

/// Runs the command.
pub async fn run(args: TrainArgs, global: &Global) -> Result<ExitCode, Failure> {
    let address = place::named(args.at.coordinator.as_deref());
    if args.detach && address.is_none() {
        return Err(Failure::bad_input(
            "--detach needs a coordinator that stays: an embedded cluster ends with this process",
        )
        .hint("name one with --coordinator host:port"));
    }
    if address.is_some() {
        check_remote(&args)?;
    }
    let began = Instant::now();
    let job = JobId::from_bits(getrandom::u64().map_err(Failure::failed)?);
    let model_path = args.model.clone().unwrap_or_else(|| place::default_model(job));
    model::check_place(&model_path)?;
    let prepared = prepare(&args, job)?;
    let lines = !global.quiet;
    if lines {
        announce(&args, &prepared, job);
    }
    let Some(address) = address else {
        let workers = args.workers.unwrap_or_else(place::cores);
        let mut cluster = Cluster::start(job, workers, load(&args.load)?).await?;
        let target = cluster.target();
        let work = async {
            let ended = on_cluster(&target, prepared, job, lines, Interrupt::Save).await?;
            conclude(ended, &target, &model_path, began, global).await
        };
        // A coordinator that has ended explains more than what is missing without it.
        let result = tokio::select! {
            biased;
            failure = cluster.failed() => Err(failure),
            result = work => result,
        };
        cluster.stop().await;
        return result;
    };
    let target = Target::parse(&address)?;
    if args.detach {
        submit(&target, &prepared, job).await?;
        return detached(job, &target, global);
    }
    let ended = on_cluster(&target, prepared, job, lines, Interrupt::Detach).await?;
    if let Ended::Interrupted { .. } = ended {
        eprintln!("interrupted: job {job} goes on at {target}");
        eprintln!("follow it with:   convoke job {job} --follow --coordinator {target}");
        eprintln!("cancel it with:   convoke cancel {job} --coordinator {target}");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    conclude(ended, &target, &model_path, began, global).await
}

/// What Ctrl-C means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    /// The job goes on without this process.
    Detach,
    /// The job ends with this process: cancel it, and save what there is.
    Save,
}

/// How following came to its end.
enum Ended {
    Done(Report),
    Interrupted { report: Report },
}

async fn on_cluster(
    target: &Target,
    prepared: Prepared,
    job: JobId,
    lines: bool,
    interrupt: Interrupt,
) -> Result<Ended, Failure> {
    let mut report = Report::new(job, prepared.shards.clone());
    let work = async {
        let client = submit(target, &prepared, job).await?;
        follow(target, client, &mut report, Manner { live: true, lines }).await
    };
    tokio::select! {
        followed = work => followed.map(|()| Ended::Done(report)),
        asked = asked_to_end() => {
            asked?;
            if interrupt == Interrupt::Save {
                let mut client = Client::connect(target).await?;
                // It may never have been submitted; then there is nothing to cancel, nor to save.
                drop(client.cancel(job).await);
            }
            Ok(Ended::Interrupted { report })
        }
    }
}

async fn submit(target: &Target, prepared: &Prepared, job: JobId) -> Result<Client, Failure> {
    let mut client = Client::connect(target).await?;
    client.upload(&prepared.blobs).await?;
    client.submit(job, &prepared.spec, &place::submitter()).await?;
    Ok(client)
}

/// Saves the newest version, and prints what came of the job.
async fn conclude(
    ended: Ended,
    target: &Target,
    path: &Path,
    began: Instant,
    global: &Global,
) -> Result<ExitCode, Failure> {
    let (mut report, interrupted) = match ended {
        Ended::Done(report) => (report, false),
        Ended::Interrupted { report } => (report, true),
    };
    // No round, no model: the start is not worth a file.
    let version = report.version().filter(|(round, _)| *round > 0).and_then(|(_, payload)| payload.as_blob());
    let saved = match version {
        Some(digest) => save(target, digest, path).await.map(Some),
        None => Ok(None),
    };
    // What came of the job is told even if the model cannot be kept.
    let (saved, unsaved) = match saved {
        Ok(saved) => (saved, None),
        Err(failure) => (None, Some(failure)),
    };
    if interrupted {
        report.cancelled();
    }
    report.wall_seconds = began.elapsed().as_secs_f64();
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).map_err(Failure::failed)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    if global.output == Format::Json {
        output::json(&Printed {
            report: &report,
            user_seconds: seconds(usage.user_time()),
            system_seconds: seconds(usage.system_time()),
            model: saved.as_ref().map(|_| path),
            parameters: saved.clone(),
        })?;
    } else {
        if let Some(error) = report.validation_error {
            eprintln!("validation error {error:.4} after {:.2} s", report.wall_seconds);
        }
        if saved.is_some() {
            eprint!("model: ");
            output::print(&path.display().to_string())?;
        }
    }
    if let Some(failure) = unsaved {
        return Err(failure);
    }
    if interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    report.success().map_err(|failure| match target {
        Target::InProcess(_) => failure.hint(match place::embedded_state(report.job) {
            Ok(state) => format!("the job's record is in {}", state.display()),
            Err(_) => "--output json tells what happened, task by task".to_owned(),
        }),
        _ => failure.hint(format!("`convoke job {} --coordinator {target}` shows what happened", report.job)),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Fetches a version and writes it. Returns the digest of its parameters.
async fn save(target: &Target, digest: Digest, path: &Path) -> Result<String, Failure> {
    let mut client = Client::connect(target).await?;
    let bytes = client.blobs().get(digest, model::MODEL_BYTES_MAX).await?;
    model::write(path, &bytes)?;
    let model = Mlp::from_safetensors(&bytes).map_err(Failure::failed)?;
    Ok(model::parameters_digest(&model))
}

/// What is for an embedded cluster means nothing to a coordinator elsewhere.
fn check_remote(args: &TrainArgs) -> Result<(), Failure> {
    let flag = match (args.workers, args.load.load_seed) {
        (Some(_), _) => "--workers",
        (None, Some(_)) => "--load-seed",
        (None, None) if args.load.load_probability > 0.0 => "--load-probability",
        (None, None) => return Ok(()),
    };
    let (named, hint) = match &args.at.coordinator {
        Some(address) => (format!("--coordinator {address}"), "leave out one of both".to_owned()),
        None => (place::VARIABLE.to_owned(), format!("unset {}, or leave out {flag}", place::VARIABLE)),
    };
    let error = format!("{flag} is for an embedded cluster, and {named} names a coordinator elsewhere");
    Err(Failure::bad_input(error).hint(hint))
}

fn detached(job: JobId, target: &Target, global: &Global) -> Result<ExitCode, Failure> {
    eprintln!("follow it with:   convoke job {job} --follow --coordinator {target}");
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("job", job.to_string())]))?,
        Format::Text => output::print(&job.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn announce(args: &TrainArgs, prepared: &Prepared, job: JobId) {
    let shards = prepared.shards.len();
    let (rounds, epochs, seed) = (args.rounds, args.epochs, args.seed);
    eprintln!("job {job}: {shards} shards, {rounds} rounds of {epochs} training epochs, seed {seed}");
}
