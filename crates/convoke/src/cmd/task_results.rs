//! The results of a map that has ended, written in order, or one task's alone.
//!
//! Where the job is, and what is in a result, it does not know.

use std::path::Path;
use std::process::ExitCode;

use convoke_wire::core::{Counted, Payload};
use convoke_wire::results::Arrivals;
use serde::Serialize;
use tokio::sync::mpsc;

use super::attendance::through;
use super::files::{save_files, save_files_of};
use super::job::report_of;
use super::results::{ARRIVALS_MAX, Feed, One, fetch_from};
use super::wanted::{Wanted, check_output};
use crate::args::{Format, Global, ResultArgs, Version};
use crate::failure::Failure;
use crate::ordered_output::{Arrived, Ending, OrderedOutput};
use crate::progress::Progress;
use crate::report::{Report, ended};
use crate::source::Source;
use crate::{output, place};

#[derive(Serialize)]
struct Printed {
    job: String,
    state: &'static str,
    results: String,
    /// Tasks that brought nothing.
    missing: u32,
}

/// Writes what is asked for.
pub async fn write(
    args: &ResultArgs,
    report: &Report,
    arrivals: &Arrivals,
    mut source: Source,
    global: &Global,
) -> Result<ExitCode, Failure> {
    check(args, report)?;
    let wanted = Wanted { results: args.file.as_deref(), raw: None, files: args.files.as_deref() };
    check_output(&wanted, global)?;
    let (ending, count) = match args.task {
        Some(index) => (write_one(args, index, &wanted, &mut source).await?, 1),
        None => {
            let count = arrivals.count().unwrap_or(0);
            (write_all(report, count, arrivals.list(), &wanted, &mut source).await?, count)
        }
    };
    if let (Some(folder), Some(list), None) = (wanted.files, arrivals.list(), args.task) {
        save_files(list, folder, &mut source).await?;
    }
    let Ending::Complete { skipped: missing } = ending else { return Ok(ExitCode::SUCCESS) };
    if let Some(path) = wanted.results {
        say_where(report, path, missing, global)?;
    }
    if missing == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let (results, are) = (Counted(count as usize, "result"), if missing == 1 { "is" } else { "are" });
    let error = format!("{missing} of {results} of job {} {are} missing: the job {}", report.job, state_of(report));
    let at = place::flag(&args.at);
    Err(Failure::failed(error).hint(format!("`convoke job {}{at}` shows which tasks failed, and why", report.job)))
}

fn check(args: &ResultArgs, report: &Report) -> Result<(), Failure> {
    let job = args.id;
    if args.round != Version::Newest {
        return Err(Failure::bad_input(format!("job {job} has no rounds: its results are those of its tasks"))
            .hint("leave out --round; --task N names one"));
    }
    if report.has_ended() || args.task.is_some() {
        return Ok(());
    }
    let at = place::flag(&args.at);
    let tasks = report.history.task_counts().unwrap_or_default();
    let all = Counted(tasks.all as usize, "task");
    let error = format!("job {job} is {}: {} of {all} done", report.state(), tasks.done);
    Err(Failure::bad_input(error).hint(match report.state() {
        "interrupted" => format!("`convoke resume {job} -o FILE` goes on with it"),
        _ => format!("`convoke job {job} --follow{at}` waits for it; --task N has the result of a task that is done"),
    }))
}

/// Writes all results. Of a job that ended before they were listed, its events tell.
async fn write_all(
    report: &Report,
    count: u32,
    list: Option<&Payload>,
    wanted: &Wanted<'_>,
    source: &mut Source,
) -> Result<Ending, Failure> {
    let (output, arriving) = mpsc::channel(ARRIVALS_MAX);
    let fetching = source.clone();
    let fetch = move |digest, chunks| fetch_from(fetching.clone(), digest, chunks);
    let writing = OrderedOutput::new(count, wanted.destination()?, fetch).run(arriving);
    let telling = async {
        let mut feed = Feed::new(output, count);
        match list {
            Some(list) => feed.tell_list(list, source).await?,
            None => {
                report_of(source, report.job, false, &Progress::none(), &mut feed).await?;
                feed.tell_missing(0).await;
            }
        }
        Ok(())
    };
    through(writing, telling).await
}

async fn write_one(args: &ResultArgs, index: u32, wanted: &Wanted<'_>, source: &mut Source) -> Result<Ending, Failure> {
    let job = args.id;
    let mut one = One::new(index);
    report_of(source, job, false, &Progress::none(), &mut one).await?;
    let found = one.find(source).await?;
    let (result, files) = found.map_or((None, None), |found| (found.result, found.files));
    let result = result.ok_or_else(|| {
        Failure::bad_input(format!(
            "there is no result of task {index} of job {job}: it is not done, it failed, or it is no task"
        ))
        .hint(format!("`convoke job {job}{}` shows how far it is, and which tasks failed", place::flag(&args.at)))
    })?;
    let fetching = source.clone();
    let fetch = move |digest, chunks| fetch_from(fetching.clone(), digest, chunks);
    let (output, arriving) = mpsc::channel(1);
    let writing = OrderedOutput::new(1, wanted.destination()?, fetch).run(arriving);
    // The output takes it at once, or has failed and says so.
    drop(output.send((0, Arrived::Result(result))).await);
    drop(output);
    let ending = writing.await?;
    if let Some(folder) = wanted.files {
        save_files_of(index, files.as_ref(), folder, source).await?;
    }
    Ok(ending)
}

fn say_where(report: &Report, path: &Path, missing: u32, global: &Global) -> Result<(), Failure> {
    let (job, results) = (report.job.to_string(), path.display().to_string());
    match global.output {
        Format::Json => output::json(&Printed { job, state: report.state(), results, missing }),
        Format::Text => {
            output::note(format!("results: {results}"));
            Ok(())
        }
    }
}

fn state_of(report: &Report) -> String {
    match &report.history.outcome {
        Some(outcome) => ended(outcome),
        None => format!("is {}", report.state()),
    }
}
