//! `convoke train`: read data, submit a job, follow it, save the model.
//!
//! Without a coordinator it starts an embedded cluster, and is then a client of that one. How a round works it does not
//! know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use convoke_ml::Mlp;
use convoke_node::executor::{EVALUATE, TRAIN};
use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::{Ability, Digest, JobId, JobSpec, Payload, Plan, Rounds, Split, Work};
use convoke_wire::program::{self, Combine, Count, FullBatch, Mean, Merge, Train};
use serde::Serialize;

use super::embedded::Cluster;
use super::follow::{Manner, follow};
use super::signals::asked_to_end;
use super::worker::load;
use crate::args::{Format, Global, TrainArgs};
use crate::data::{self, Data, DataError, Shard};
use crate::failure::{Failure, INTERRUPTED};
use crate::report::Report;
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

/// A job, ready to be submitted.
struct Prepared {
    spec: JobSpec,
    blobs: Vec<(Digest, Bytes)>,
    shards: Vec<String>,
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

/// Reads the data and makes the job of it. Everything that can be wrong with the input is found here.
fn prepare(args: &TrainArgs, job: JobId) -> Result<Prepared, Failure> {
    let data = data::read_directory(&args.data).map_err(explain)?;
    let base = start(args, &data, job)?;
    let base = Bytes::from(base.to_safetensors());
    let base_digest = data::digest_of(&base);
    let (train_input, train_manifest) = data::manifest(&data.shards);
    let (validation_input, validation_manifest) = data::manifest(&data.validation);
    let full_batch = FullBatch { training_epochs: args.epochs, eta: args.eta, early_stop: args.early_stop };
    let train = Train { kind: Some(program::v1::train::Kind::FullBatch(full_batch)) };
    let merge = Merge { rule: Some(program::v1::merge::Rule::Mean(Mean {})) };
    let merge = Combine { kind: Some(program::v1::combine::Kind::Merge(merge)) };
    let count = Combine { kind: Some(program::v1::combine::Kind::Count(Count::default())) };
    let evaluate = work(EVALUATE, &Count::default(), validation_input, &data.validation, &count)?;
    let plan = Rounds {
        rounds: args.rounds,
        base: Payload::blob(base_digest),
        train: work(TRAIN, &train, train_input, &data.shards, &merge)?,
        evaluate: Some(evaluate).filter(|_| !data.validation.is_empty()),
    };
    let spec = JobSpec {
        name: job_name(&args.data),
        plan: Plan::Rounds(plan),
        policy: args.policy,
        seed: args.seed,
        attempt_timeout_ms: None,
    };
    let shards = data.shards.iter().map(|shard| shard.name.clone()).collect();
    let manifests = [(train_input, train_manifest), (validation_input, validation_manifest), (base_digest, base)];
    let pieces = data.shards.into_iter().chain(data.validation).map(|shard| (shard.digest, shard.blob));
    Ok(Prepared { spec, blobs: pieces.chain(manifests).collect(), shards })
}

fn start(args: &TrainArgs, data: &Data, job: JobId) -> Result<Mlp, Failure> {
    let sizes: Vec<usize> =
        [data.width].into_iter().chain(args.hidden.0.iter().copied()).chain([data.labels.names().len()]).collect();
    let labels = data.labels.names().to_vec();
    let mut base = Mlp::uniform_start(&sizes, labels, args.seed).map_err(Failure::bad_input)?;
    base.metadata_mut().insert("job".to_owned(), job.to_string());
    Ok(base)
}

fn work(
    ability: &str,
    task: &impl program::Message,
    input: Digest,
    shards: &[Shard],
    combine: &Combine,
) -> Result<Work, Failure> {
    let count = u32::try_from(shards.len()).map_err(Failure::bad_input)?;
    let ability = Ability::new(ability).map_err(Failure::failed)?;
    let (program, combine) = (program::inline(task), program::inline(combine));
    Ok(Work { ability, program, input: Payload::blob(input), split: Split::Entries, count, combine })
}

/// What the job is about, for people.
fn job_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let name: String = path.display().to_string().chars().filter(|c| !c.is_control()).collect();
    // The end of a long path says more than its beginning.
    let skip = name.chars().count().saturating_sub(32);
    name.chars().skip(skip).collect()
}

fn explain(error: DataError) -> Failure {
    let hint = match &error {
        DataError::Read { .. } => "check the path and its permissions",
        DataError::NoShards { .. } | DataError::NoValidation { .. } => {
            "DATA is a directory with files such as train_1.txt and validate_1.txt"
        }
        DataError::NotADirectory { .. } => "put shards into a directory, as train_1.txt, train_2.txt and so on",
        DataError::Row(_) => "a row is comma-separated numbers with the label last",
        DataError::Widths { .. } => "all rows need the same columns",
    };
    Failure::bad_input(&error).hint(hint)
}
