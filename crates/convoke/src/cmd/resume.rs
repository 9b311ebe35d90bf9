//! `convoke resume`: go on with an embedded job that was interrupted.
//!
//! The record says all that is needed: the data is in it. A coordinator's jobs go on by themselves.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use convoke_node::record::Record;
use convoke_wire::core::Counted;
use convoke_wire::results::Arrivals;
use convoke_wire::{Client, JobSummary};

use super::attendance::{Attendance, Work};
use super::conclude::{Conclusion, model_place};
use super::embedded::Cluster;
use super::job::{labels_of, report_of};
use super::train::attend;
use super::wanted::{Wanted, check_output};
use super::worker::load;
use crate::args::{Global, Keep, ResumeArgs};
use crate::failure::Failure;
use crate::place;
use crate::progress::Progress;
use crate::report::{Report, ended};
use crate::source::Source;

/// Runs the command.
pub async fn run(args: ResumeArgs, global: &Global) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let job = args.id;
    let summary = check(&args)?;
    if summary.tasks.is_some() {
        return resume_tasks(&args, began, global).await;
    }
    if args.results.is_some() || args.out.is_some() {
        return Err(Failure::bad_input(format!("job {job} has rounds: what it brings is a model"))
            .hint("name its file with --model FILE"));
    }
    let model = model_place(args.model.file.as_deref(), "--model FILE", job)?;
    let progress = Progress::new(global).skip_past();
    progress.say(format!("job {job}: resumed after round {} of {}", summary.rounds_done, summary.rounds));
    let workers = args.workers.unwrap_or_else(place::cores);
    let cluster = Cluster::start(job, workers, load(&args.load)?).await?;
    let target = cluster.target();
    let keep = args.model.keep.unwrap_or(Keep::Last);
    let conclusion = Conclusion { target: &target, model, keep, learning: None, began, global };
    let work = async {
        let client = Client::connect(&target).await?;
        attend(client, Report::new(job, Vec::new()), &progress, &conclusion).await
    };
    cluster.until(work).await
}

/// Goes on with a job of `run` or `map`, and writes all of its results: also those that were written before.
async fn resume_tasks(args: &ResumeArgs, began: Instant, global: &Global) -> Result<ExitCode, Failure> {
    let job = args.id;
    if args.model.file.is_some() {
        return Err(Failure::bad_input(format!("job {job} has no model: it has the results of its tasks"))
            .hint("name their file with -o FILE"));
    }
    let wanted = Wanted { results: args.results.as_deref(), raw: None, files: args.out.as_deref() };
    check_output(&wanted, global)?;
    let mut source = Source::Record(Arc::new(Record::new(&place::embedded_state(job)?)));
    let mut arrivals = Arrivals::default();
    let report = report_of(&mut source, job, false, &Progress::none(), &mut arrivals).await?;
    let tasks = report.history.task_counts().unwrap_or_default();
    let labels = labels_of(&report, &mut source).await;
    let work = Work { tasks: tasks.all, results: arrivals.count().unwrap_or(tasks.all), labels };
    drop(source);
    let progress = wanted.progress(global);
    let all = Counted(tasks.all as usize, "task");
    progress.say(format!("job {job}: resumed after {} of {all}", tasks.done));
    let workers = args.workers.unwrap_or_else(place::cores);
    let cluster = Cluster::start(job, workers, load(&args.load)?).await?;
    let target = cluster.target();
    let attendance = Attendance { id: job, wanted: &wanted, progress: &progress, began, global };
    let attending = async {
        let client = Client::connect(&target).await?;
        attendance.attend(&target, client, &work, true).await
    };
    cluster.until(attending).await
}

/// Refuses a job that cannot go on.
fn check(args: &ResumeArgs) -> Result<JobSummary, Failure> {
    let job = args.id;
    let state = place::embedded_state(job)?;
    if !state.is_dir() {
        let error = format!("there is no embedded job {job} on record here: {} is not there", state.display());
        return Err(Failure::bad_input(error)
            .hint("`convoke jobs` lists the jobs on record; a coordinator's jobs go on when it is started again"));
    }
    let record = Record::new(&state);
    if record.is_held()? {
        return Err(Failure::bad_input(format!("job {job} is not interrupted: a process is at it"))
            .hint(format!("follow it with `convoke job {job} --follow`")));
    }
    let summary = record.jobs()?.into_iter().find(|summary| summary.job == job);
    let summary = summary.ok_or_else(|| {
        Failure::bad_input(format!("the record of job {job} holds no job: it ended before it was submitted"))
            .hint("begin again: nothing of it was done")
    })?;
    match &summary.outcome {
        None => Ok(summary),
        Some(outcome) => Err(Failure::bad_input(format!("job {job} is not interrupted: it {}", ended(outcome)))
            .hint(format!("`convoke job {job}` shows what happened, and `convoke result {job}` has what it brought"))),
    }
}
