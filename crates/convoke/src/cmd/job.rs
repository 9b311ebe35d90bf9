//! `convoke job`: what happened in a job: round by round and task by task, or stage by stage; and why tasks failed.
//!
//! It folds the job's events; it asks nobody how things stand.

use std::process::ExitCode;

use convoke_wire::core::history::{Level, Round, Task};
use convoke_wire::core::{JobId, Payload};
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, Manifest};

use super::failures::{self, LOG_BYTES_MAX, certificates};
use super::follow::follow_with;
use super::results::{One, bytes_of};
use super::signals::{asked_to_end, end_when_asked};
use crate::args::{Format, Global, JobArgs};
use crate::divisible::Labels;
use crate::failure::{Failure, INTERRUPTED};
use crate::progress::Progress;
use crate::report::{Listener, Report};
use crate::source::{Source, follow_record};
use crate::{output, place};

/// How many tasks of a round people are shown.
const SHOWN_MAX: usize = 50;

/// Runs the command.
pub async fn run(args: &JobArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut source = Source::of(args.id, &args.at).await?;
    if let Some(index) = args.stderr {
        return print_log(args, index, &mut source).await;
    }
    let progress = if args.follow { Progress::new(global) } else { Progress::none() };
    let mut nobody = ();
    let mut report = tokio::select! {
        report = report_of(&mut source, args.id, args.follow, &progress, &mut nobody) => report?,
        asked = asked_to_end() => {
            asked?;
            progress.clear();
            output::note(format!("interrupted: job {} goes on", args.id));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    end_when_asked();
    progress.clear();
    report.waits = waits(&report, &source).await;
    let labels = if report.history.failures.is_empty() { None } else { labels_of(&report, &mut source).await };
    report.failures = certificates(&report, labels.as_ref(), &mut source).await;
    match global.output {
        Format::Json => output::json(&report)?,
        Format::Text => print(&report)?,
    }
    if args.follow {
        // Whoever waits for the end is told how it was, as by `train`.
        let (job, at) = (args.id, place::flag(&args.at));
        let hint = format!("`convoke job {job} --output json{at}` tells what happened, task by task");
        report.success().map_err(|failure| failure.hint(hint))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a job has come to; with `live`, once it has ended. Someone may hear its events meanwhile.
pub async fn report_of(
    source: &mut Source,
    job: JobId,
    live: bool,
    progress: &Progress,
    listener: &mut impl Listener,
) -> Result<Report, Failure> {
    let mut report = Report::new(job, Vec::new());
    match source {
        Source::Coordinator(client) => follow_with(client, &mut report, live, progress, listener).await?,
        Source::Record(record) => follow_record(record, &mut report, live, progress, listener).await?,
    }
    if report.history.rounds_planned > 0
        && let Some(digest) = report.input().and_then(Payload::as_blob)
    {
        let manifest = source.blob(digest, MANIFEST_BYTES_MAX).await?;
        let manifest: Manifest = program::read_bytes("manifest", &manifest).map_err(Failure::failed)?;
        report.name_shards(manifest.entries.into_iter().map(|entry| entry.name).collect());
    }
    Ok(report)
}

/// What a running job waits for. A coordinator of an older version does not know the question: the rest is told all the same.
async fn waits(report: &Report, source: &Source) -> Option<String> {
    match source {
        Source::Coordinator(client) if !report.has_ended() => client.clone().waits(report.job).await.ok().flatten(),
        Source::Coordinator(_) | Source::Record(_) => None,
    }
}

/// What the tasks' inputs of a map are called, as far as that can be had.
pub async fn labels_of(report: &Report, source: &mut Source) -> Option<Labels> {
    let split = report.history.split.filter(|_| report.history.tasks_planned > 0)?;
    let input = bytes_of(report.input()?, source, MANIFEST_BYTES_MAX).await.ok()?;
    Labels::of(split, &input)
}

/// Prints the end of what a task wrote to stderr.
async fn print_log(args: &JobArgs, index: u32, source: &mut Source) -> Result<ExitCode, Failure> {
    let job = args.id;
    let mut one = One::new(index);
    let report = report_of(source, job, false, &Progress::none(), &mut one).await?;
    let result = one.find(source).await?;
    let failed = failures::log_at(&report.history.failures, index);
    let log = result.and_then(|result| result.log).or_else(|| failed.cloned());
    let log = log.ok_or_else(|| {
        Failure::bad_input(format!(
            "there is no log of task {index} of job {job}: it wrote nothing to stderr, or is not done"
        ))
        .hint(format!("`convoke job {job}{}` shows how far it is, and which tasks failed", place::flag(&args.at)))
    })?;
    let bytes = bytes_of(&log, source, LOG_BYTES_MAX).await?;
    output::print(String::from_utf8_lossy(&bytes).trim_end_matches('\n'))?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report) -> Result<(), Failure> {
    let history = &report.history;
    let reason = history.failure().map_or_else(String::new, |reason| format!(": {}", output::line(reason)));
    let waits = report.waits.as_ref().map_or_else(String::new, |waits| format!("waits: {}\n", output::line(waits)));
    let (job, state, took) = (report.job, report.state(), report.wall_seconds());
    match history.task_counts() {
        Some(tasks) => {
            let failed = if tasks.failed == 0 { String::new() } else { format!(", {} failed", tasks.failed) };
            let done = format!("{}/{} tasks{failed}, {took:.2} s", tasks.done, tasks.all);
            output::print(&format!("job {job} {state}{reason}; {done}\n{waits}{}\n", output::line(&history.name)))?;
            print_levels(report)?;
        }
        None => {
            let error = format!("{} {}", report.measure(), output::share(history.validation_error));
            let preparing = preparing(report);
            output::print(&format!("job {job} {state}{reason}; {error}, {took:.2} s\n{preparing}{waits}"))?;
            print_rounds(report)?;
        }
    }
    print_workers(report)?;
    let lines = failures::lines(report.failures.iter(), history.failures_left_out);
    if lines.is_empty() { Ok(()) } else { output::print(&format!("\n{}", lines.join("\n"))) }
}

/// A line on what comes before the first round, while it is under way.
fn preparing(report: &Report) -> String {
    let running = report.history.running_preparation();
    running.map_or_else(String::new, |running| format!("preparing: {}/{} shards\n", running.tasks_done, running.tasks))
}

fn print_levels(report: &Report) -> Result<(), Failure> {
    let cells = |level: &Level| {
        [
            level.purpose.to_string(),
            level.tasks.to_string(),
            level.done.to_string(),
            level.failed.to_string(),
            format!("{:.3}", level.seconds),
        ]
    };
    let levels: Vec<_> = report.history.all_levels().iter().map(cells).collect();
    output::print(&output::table(["STAGE", "TASKS", "DONE", "FAILED", "SECONDS"], &levels))
}

fn print_rounds(report: &Report) -> Result<(), Failure> {
    let history = &report.history;
    let rounds: Vec<_> = history.rounds.iter().map(round_cells).collect();
    let (error, train_error) = if report.is_regression() { ("RMSE", "TRAIN RMSE") } else { ("ERROR", "TRAIN ERROR") };
    let headings = ["ROUND", error, train_error, "SECONDS", "TASKS", "REJECTED", "REFUSED"];
    output::print(&output::table(headings, &rounds))?;
    let shown =
        |round: &Round| round.tasks.iter().take(SHOWN_MAX).map(|task| task_cells(report, round, task)).collect();
    let tasks: Vec<_> = history.rounds.iter().flat_map(|round| -> Vec<_> { shown(round) }).collect();
    let headings =
        ["ROUND", "SHARD", "WORKER", "ATTEMPT", "SAMPLES", train_error, "QUEUED S", "FETCH S", "COMPUTE S", "REPORT S"];
    output::print(&format!("\n{}", output::table(headings, &tasks)))?;
    let more: usize = history.rounds.iter().map(|round| round.tasks.len().saturating_sub(SHOWN_MAX)).sum();
    if more == 0 {
        return Ok(());
    }
    output::print(&format!("and {more} more, beyond {SHOWN_MAX} a round: --output json has them"))
}

fn print_workers(report: &Report) -> Result<(), Failure> {
    let history = &report.history;
    let wall_seconds = history.wall_seconds();
    // The tasks of a map have no samples.
    let is_map = history.tasks_planned > 0;
    let workers = history.workers.iter().map(|(name, share)| {
        [
            output::line(name),
            format!("{:.0} %", share.busy(wall_seconds) * 100.0),
            if is_map { seconds(share.compute_us) } else { format!("{:.0}", share.samples_per_second()) },
            share.rejections.to_string(),
            share.lost.to_string(),
        ]
    });
    let headings = ["WORKER", "BUSY", if is_map { "COMPUTE S" } else { "SAMPLES/S" }, "REJECTED", "LOST"];
    output::print(&format!("\n{}", output::table(headings, &workers.collect::<Vec<_>>())))
}

fn task_cells(report: &Report, round: &Round, task: &Task) -> [String; 10] {
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
