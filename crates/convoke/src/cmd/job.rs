//! `convoke job`: what happened in a job, round by round and task by task.
//!
//! It folds the job's events; it asks nobody how things stand.

use std::process::ExitCode;

use convoke_wire::core::{JobId, Payload};
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, Manifest};

use super::follow::follow;
use super::signals::asked_to_end;
use crate::args::{Format, Global, JobArgs};
use crate::failure::{Failure, INTERRUPTED};
use crate::output;
use crate::progress::Progress;
use crate::report::{Report, Round};
use crate::source::{Source, follow_record};

/// Runs the command.
pub async fn run(args: &JobArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut source = Source::of(args.id, &args.at).await?;
    let progress = if args.follow { Progress::new(global) } else { Progress::none() };
    let report = tokio::select! {
        report = report_of(&mut source, args.id, args.follow, &progress) => report?,
        asked = asked_to_end() => {
            asked?;
            progress.clear();
            output::note(format!("interrupted: job {} goes on", args.id));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    progress.clear();
    match global.output {
        Format::Json => output::json(&report)?,
        Format::Text => print(&report)?,
    }
    if args.follow {
        // Whoever waits for the end is told how it was, as by `train`.
        let hint = format!("`convoke job {} --output json` tells what happened, task by task", args.id);
        report.success().map_err(|failure| failure.hint(hint))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a job has come to; with `live`, once it has ended.
pub async fn report_of(source: &mut Source, job: JobId, live: bool, progress: &Progress) -> Result<Report, Failure> {
    let mut report = Report::new(job, Vec::new());
    match source {
        Source::Coordinator(target, client) => {
            follow(target, (**client).clone(), &mut report, live, progress).await?;
        }
        Source::Record(record) => follow_record(record, &mut report, live, progress).await?,
    }
    if let Some(digest) = report.input().and_then(Payload::as_blob) {
        let manifest = source.blob(digest, MANIFEST_BYTES_MAX).await?;
        let manifest: Manifest = program::read_bytes("manifest", &manifest).map_err(Failure::failed)?;
        report.name_shards(manifest.entries.into_iter().map(|entry| entry.name).collect());
    }
    Ok(report)
}

fn print(report: &Report) -> Result<(), Failure> {
    let error = output::share(report.validation_error);
    let reason = report.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", output::line(reason)));
    let (job, state) = (report.job, report.state);
    output::print(&format!("job {job} {state}{reason}; error {error}, {:.2} s\n", report.wall_seconds))?;
    let rounds: Vec<_> = report.rounds.iter().map(round_cells).collect();
    let headings = ["ROUND", "ERROR", "TRAIN ERROR", "SECONDS", "TASKS", "REJECTED", "REFUSED"];
    output::print(&output::table(headings, &rounds))?;
    let tasks = report.rounds.iter().flat_map(|round| {
        round.tasks.iter().map(move |task| {
            [
                round.round.to_string(),
                output::line(&task.shard),
                output::line(&task.worker),
                task.attempt.to_string(),
                task.samples.to_string(),
                output::share(task.train_error),
                format!("{:.3}", task.queued_s),
                format!("{:.3}", task.fetch_s),
                format!("{:.3}", task.compute_s),
                format!("{:.3}", task.report_s),
            ]
        })
    });
    let headings = [
        "ROUND",
        "SHARD",
        "WORKER",
        "ATTEMPT",
        "SAMPLES",
        "TRAIN ERROR",
        "QUEUED S",
        "FETCH S",
        "COMPUTE S",
        "REPORT S",
    ];
    output::print(&format!("\n{}", output::table(headings, &tasks.collect::<Vec<_>>())))?;
    let workers = report.workers.iter().map(|worker| {
        [
            output::line(&worker.name),
            format!("{:.0} %", worker.busy_share * 100.0),
            format!("{:.0}", worker.samples_per_second),
            worker.rejections.to_string(),
            worker.lost.to_string(),
        ]
    });
    let headings = ["WORKER", "BUSY", "SAMPLES/S", "REJECTED", "LOST"];
    output::print(&format!("\n{}", output::table(headings, &workers.collect::<Vec<_>>())))
}

fn round_cells(round: &Round) -> [String; 7] {
    [
        round.round.to_string(),
        output::share(round.validation_error),
        output::share(round.train_error),
        round.seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}")),
        round.tasks.len().to_string(),
        round.rejections.to_string(),
        round.refused.len().to_string(),
    ]
}
