//! `convoke result`: save a version of a job's model, or write the results of a map, from a coordinator or from an embedded
//! job's record.
//!
//! What is in a version it does not know.

use std::process::ExitCode;

use bytes::Bytes;
use convoke_wire::core::Payload;
use convoke_wire::core::coordinator::durable::VERSIONS_MAX;
use convoke_wire::results::Arrivals;
use serde::Serialize;

use super::conclude::{model_place, print_model};
use super::job::report_of;
use super::task_results;
use super::wanted::check_file;
use crate::args::{Format, Global, ResultArgs, Version};
use crate::failure::Failure;
use crate::output::share;
use crate::progress::Progress;
use crate::report::Report;
use crate::source::Source;
use crate::{model, output, place};

#[derive(Serialize)]
struct Printed {
    job: String,
    state: &'static str,
    round: u32,
    validation_error: Option<f64>,
    model: String,
}

/// Runs the command.
pub async fn run(args: &ResultArgs, global: &Global) -> Result<ExitCode, Failure> {
    // What cannot be written is found out before anything is asked.
    args.file.as_deref().map_or(Ok(()), |path| check_file(path, "-o FILE"))?;
    let mut source = Source::of(args.id, &args.at).await?;
    let mut arrivals = Arrivals::default();
    let report = report_of(&mut source, args.id, false, &Progress::none(), &mut arrivals).await?;
    if report.history.tasks_planned > 0 {
        return task_results::write(args, &report, &arrivals, source, global).await;
    }
    if args.task.is_some() || args.files.is_some() {
        return Err(Failure::bad_input(format!("job {} has rounds: its result is a model", args.id))
            .hint("leave out --task and --files"));
    }
    let path = model_place(args.file.as_deref(), "-o FILE", args.id)?;
    let (round, version) = choose(&report, args)?;
    let bytes = match version.as_blob() {
        Some(digest) => source.version(digest).await?.ok_or_else(|| not_kept(args, round))?,
        None => Bytes::copy_from_slice(version.as_inline().unwrap_or_default()),
    };
    model::write(&path, &bytes)?;
    let validation_error =
        report.history.rounds.iter().find(|row| row.round == round).and_then(|row| row.validation_error);
    if global.output == Format::Json {
        let (job, model) = (args.id.to_string(), path.display().to_string());
        output::json(&Printed { job, state: report.state(), round, validation_error, model })?;
    } else {
        let of = report.history.rounds_planned;
        let (state, error) = (report.state(), share(validation_error));
        output::note(format!("round {round}/{of} of job {} ({state}): error {error}", args.id));
        print_model(&path)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn not_kept(args: &ResultArgs, round: u32) -> Failure {
    let (job, at) = (args.id, place::flag(&args.at));
    let error = format!(
        "the version of round {round} of job {job} is not kept any more: of a job's versions the last, the best and the \
         newest others are, at most {VERSIONS_MAX} and 256 MiB"
    );
    Failure::bad_input(error).hint(format!(
        "`convoke result {job}{at}` saves the last version, with `--round best` the one of the smallest error"
    ))
}

/// The version that is asked for, and the round that made it.
fn choose<'a>(report: &'a Report, args: &ResultArgs) -> Result<(u32, &'a Payload), Failure> {
    let newest = report.history.version().map_or(0, |(round, _)| round);
    let (job, at) = (report.job, place::flag(&args.at));
    if newest == 0 && report.has_ended() {
        return Err(Failure::bad_input(format!("job {job} has no version: it ended before its first round was done"))
            .hint(format!("`convoke job {job}{at}` shows what happened")));
    }
    if newest == 0 {
        let hint = match report.state() {
            "interrupted" => format!("`convoke resume {job}` goes on with it"),
            _ => format!("`convoke job {job} --follow{at}` waits for it"),
        };
        return Err(Failure::bad_input(format!("job {job} has no version yet: its first round is not done")).hint(hint));
    }
    let round = match args.round {
        Version::Newest => newest,
        Version::Round(round) => round,
        Version::Best => report.history.best_round().ok_or_else(|| {
            Failure::bad_input(format!("no round of job {job} was measured, so that none is the best"))
                .hint("leave out --round to save the newest version")
        })?,
    };
    let version = report.history.versions.get(&round).ok_or_else(|| {
        Failure::bad_input(format!("job {job} has no version of round {round}: its rounds are 1 to {newest}"))
            .hint("name one of them, or `best`")
    })?;
    Ok((round, version))
}
