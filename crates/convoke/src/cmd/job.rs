//! `convoke job`: what happened in a job, round by round and task by task.
//!
//! It folds the job's events; it asks nobody how things stand.

use std::process::ExitCode;

use convoke_wire::core::history::Round;
use convoke_wire::core::{JobId, Payload};
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, Manifest};

use super::follow::follow;
use super::signals::asked_to_end;
use crate::args::{Format, Global, JobArgs};
use crate::failure::{Failure, INTERRUPTED};
use crate::output;
use crate::progress::Progress;
use crate::report::Report;
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
    let history = &report.history;
    let error = output::share(history.validation_error);
    let reason = history.failure().map_or_else(String::new, |reason| format!(": {}", output::line(reason)));
    let (job, state) = (report.job, report.state());
    output::print(&format!("job {job} {state}{reason}; error {error}, {:.2} s\n", report.wall_seconds()))?;
    let rounds: Vec<_> = history.rounds.iter().map(round_cells).collect();
    let headings = ["ROUND", "ERROR", "TRAIN ERROR", "SECONDS", "TASKS", "REJECTED", "REFUSED"];
    output::print(&output::table(headings, &rounds))?;
    let tasks = history.rounds.iter().flat_map(|round| {
        round.tasks.iter().map(move |task| {
            [
                round.round.to_string(),
                output::line(&report.shard(task.index)),
                output::line(&task.worker),
                task.attempt.to_string(),
                task.samples.to_string(),
                output::share(task.train_error),
                seconds(task.timing.queued_us),
                seconds(task.timing.fetch_us),
                seconds(task.timing.compute_us),
                seconds(task.timing.report_us),
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
    let wall_seconds = history.wall_seconds();
    let workers = history.workers.iter().map(|(name, share)| {
        [
            output::line(name),
            format!("{:.0} %", share.busy(wall_seconds) * 100.0),
            format!("{:.0}", share.samples_per_second()),
            share.rejections.to_string(),
            share.lost.to_string(),
        ]
    });
    let headings = ["WORKER", "BUSY", "SAMPLES/S", "REJECTED", "LOST"];
    output::print(&format!("\n{}", output::table(headings, &workers.collect::<Vec<_>>())))
}

fn seconds(micros: u64) -> String {
    format!("{:.3}", micros as f64 / 1e6)
}

fn round_cells(round: &Round) -> [String; 7] {
    [
        round.round.to_string(),
        output::share(round.validation_error),
        output::share(round.train_error),
        round.seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}")),
        round.tasks_done.to_string(),
        round.rejections.to_string(),
        round.refusals.to_string(),
    ]
}
