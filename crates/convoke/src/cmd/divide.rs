//! Divisible work from submission to results: `run` and `map` share it.
//!
//! Without a coordinator it starts an embedded cluster. What a task does it does not know.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use convoke_wire::channel::Target;
use convoke_wire::core::{Counted, JobId, NAME_BYTES_MAX, event::bounded};
use convoke_wire::{CallError, Client};
use serde::Serialize;
use tokio::sync::mpsc;

use super::embedded::Cluster;
use super::follow::follow_with;
use super::results::{self, Feed};
use super::signals::{asked_to_end, end_when_asked};
use super::worker::load;
use crate::args::{Format, Global, RunArgs};
use crate::certificate::Certificate;
use crate::divisible::{Divisible, Prepared};
use crate::failure::{Failure, INTERRUPTED};
use crate::ordered_output::{Destination, Ending, OrderedOutput};
use crate::progress::Progress;
use crate::report::Report;
use crate::source::Source;
use crate::{output, place};

/// How many results may be on their way to the output.
const ARRIVALS_MAX: usize = 1_024;
/// The most bytes of a log that is shown.
const LOG_BYTES_MAX: u64 = 64 * 1024;

/// Where what tasks bring goes.
pub struct Wanted<'a> {
    /// Their results; stdout where it is `None`.
    pub results: Option<&'a Path>,
    /// The files that they leave; where it is `None`, they stay with the job.
    pub files: Option<&'a Path>,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Printed {
    job: String,
    state: &'static str,
    tasks: u32,
    tasks_failed: u32,
    wall_seconds: f64,
    results: Option<String>,
    failures: Vec<Certificate>,
}

/// Submits a divisible job, writes its results as they come, and says how it ended.
pub async fn divide(job: Divisible<'_>, wanted: &Wanted<'_>, global: &Global) -> Result<ExitCode, Failure> {
    let run = job.run;
    let address = place::named(run.at.coordinator.as_deref());
    check(run, wanted, global, address.is_some())?;
    let began = Instant::now();
    let id = JobId::from_bits(getrandom::u64().map_err(Failure::failed)?);
    let progress = Progress::new(global);
    let job = Divisible { name: bounded(printable(&job.name), NAME_BYTES_MAX), ..job };
    let attendance = Attendance { id, reduces: job.reduce.is_some(), wanted, progress: &progress, began, global };
    if address.is_some() {
        let (target, client) = place::reach_user(address.as_deref(), run.at.wait).await?;
        let prepared = tokio::select! {
            prepared = submit(job, client, id, &progress) => prepared?,
            asked = asked_to_end() => {
                asked?;
                progress.clear();
                output::note("interrupted: nothing was submitted");
                return Ok(ExitCode::from(INTERRUPTED));
            }
        };
        if run.detach {
            return super::train::detached(id, &target, global);
        }
        return attendance.attend(&target, prepared, false).await;
    }
    progress.doing("starting");
    let workers = run.workers.unwrap_or_else(place::cores);
    let cluster = Cluster::start(id, workers, load(&run.load)?).await?;
    let target = cluster.target();
    let work = async {
        let prepared = submit(job, Client::connect(&target).await?, id, &progress).await?;
        attendance.attend(&target, prepared, true).await
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
    if global.output == Format::Json && wanted.results.is_none() && !run.detach {
        return Err(Failure::bad_input("--output json and the results would both be printed on stdout")
            .hint("write the results to a file with -o FILE"));
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
) -> Result<(Client, Prepared), Failure> {
    let prepared = job
        .prepare(&mut client, |items| progress.doing(format!("uploading: {} so far", Counted(items as usize, "task"))))
        .await?;
    client.submit(id, &prepared.spec, &place::submitter()).await?;
    progress.say(format!("job {id}: {}", Counted(prepared.count as usize, "task")));
    Ok((client, prepared))
}

/// What it takes to see a job through.
struct Attendance<'a> {
    id: JobId,
    reduces: bool,
    wanted: &'a Wanted<'a>,
    progress: &'a Progress,
    began: Instant,
    global: &'a Global,
}

impl Attendance<'_> {
    /// Follows the job to its end and writes its results, or until this process is asked to end.
    async fn attend(
        &self,
        target: &Target,
        (client, prepared): (Client, Prepared),
        embedded: bool,
    ) -> Result<ExitCode, Failure> {
        let destination = match self.wanted.results {
            Some(path) => Destination::file(path)?,
            None => Destination::stdout(),
        };
        let fetching = target.clone();
        let fetch = move |digest, chunks| results::fetch(fetching.clone(), digest, chunks);
        let count = if self.reduces { 1 } else { prepared.count };
        let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
        let writing = OrderedOutput::new(count, destination, fetch).run(arriving);
        let mut report = Report::new(self.id, Vec::new());
        let mut source = Source::Coordinator(target.clone(), Box::new(client.clone()));
        let following = async {
            let mut feed = Feed::new(arrivals, prepared.count, self.reduces);
            follow_with(target, client, &mut report, true, self.progress, &mut feed).await?;
            feed.complete(report.history.results.as_ref(), &mut source).await
        };
        let ended = tokio::select! {
            ended = through(writing, following) => ended,
            asked = asked_to_end() => {
                asked?;
                self.progress.clear();
                return self.interrupted(target, embedded).await;
            }
        };
        let ending = match ended {
            Ok(ending) => ending,
            Err(failure) => {
                self.progress.clear();
                return Err(failure.hint(self.fetch_later(target, embedded)));
            }
        };
        end_when_asked();
        self.progress.clear();
        if ending == Ending::ReaderGone && !report.has_ended() {
            drop(cancel(target, self.id).await);
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(folder) = self.wanted.files {
            results::save_files(&report, folder, &mut source).await?;
        }
        self.conclude(report, &prepared, ending, target, &mut source, embedded).await
    }

    /// Asked to end: a coordinator's job goes on without this process, an embedded one is given up.
    async fn interrupted(&self, target: &Target, embedded: bool) -> Result<ExitCode, Failure> {
        let id = self.id;
        if embedded {
            cancel(target, id).await?;
            output::note(format!("interrupted: job {id} was cancelled"));
        } else {
            output::note(format!("interrupted: job {id} goes on at {target}"));
            output::note(format!("its results, when it is done:   convoke result {id} -o FILE --coordinator {target}"));
            output::note(format!("cancel it with:                 convoke cancel {id} --coordinator {target}"));
        }
        Ok(ExitCode::from(INTERRUPTED))
    }

    fn fetch_later(&self, target: &Target, embedded: bool) -> String {
        match embedded {
            true => format!("`convoke result {} -o FILE` fetches what is on record", self.id),
            false => format!("`convoke result {} -o FILE --coordinator {target}` fetches the results", self.id),
        }
    }

    async fn conclude(
        &self,
        report: Report,
        prepared: &Prepared,
        ending: Ending,
        target: &Target,
        source: &mut Source,
        embedded: bool,
    ) -> Result<ExitCode, Failure> {
        let failures = certificates(&report, prepared, source).await;
        let tasks_failed = failures.iter().filter(|failure| failure.for_good).count() as u32;
        let took = self.began.elapsed().as_secs_f64();
        let written = self.wanted.results.filter(|_| matches!(ending, Ending::Complete { .. }));
        if self.global.output == Format::Json {
            output::json(&Printed {
                job: self.id.to_string(),
                state: report.state(),
                tasks: prepared.count,
                tasks_failed,
                wall_seconds: took,
                results: written.map(|path| path.display().to_string()),
                failures,
            })?;
        } else {
            let fatal = report.history.failure().is_some();
            for failure in failures.iter().filter(|failure| failure.for_good || fatal) {
                failure.lines().iter().for_each(output::say);
            }
            let tasks = Counted(prepared.count as usize, "task");
            output::note(format!("{}: {tasks} in {}", report.state(), output::duration(took)));
            if let Some(path) = written {
                output::note(format!("results: {}", path.display()));
            }
        }
        report.success().map_err(|failure| {
            let place = if embedded { String::new() } else { format!(" --coordinator {target}") };
            failure.hint(format!("`convoke job {}{place}` shows what happened", self.id))
        })?;
        match ending {
            Ending::Incomplete { missing } => Err(Failure::failed(format!("the result of task {missing} is missing"))
                .hint(self.fetch_later(target, embedded))),
            Ending::Complete { .. } | Ending::ReaderGone => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Writes and follows, until both are through. An output that fails ends the following, and so does one whose reader has
/// gone; a job that ended ends the output.
async fn through(
    writing: impl Future<Output = Result<Ending, Failure>>,
    following: impl Future<Output = Result<(), Failure>>,
) -> Result<Ending, Failure> {
    let mut writing = std::pin::pin!(writing);
    let mut following = std::pin::pin!(following);
    tokio::select! {
        ending = &mut writing => match ending? {
            Ending::ReaderGone => Ok(Ending::ReaderGone),
            ending => following.await.map(|()| ending),
        },
        followed = &mut following => {
            followed?;
            writing.await
        }
    }
}

/// The death certificates of the tasks that failed.
async fn certificates(report: &Report, prepared: &Prepared, source: &mut Source) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    for failure in &report.history.failures {
        let label = if Certificate::is_of_map(failure) { prepared.labels.label(failure.index) } else { String::new() };
        let log = match failure.attempts.last().map(|failed| &failed.fault) {
            Some(convoke_wire::core::event::Fault::Error(failure)) => failure.log.clone(),
            _ => None,
        };
        let bytes = match &log {
            Some(log) => results::bytes_of(log, source, LOG_BYTES_MAX).await.ok(),
            None => None,
        };
        certificates.push(Certificate::new(failure, label, |asked| {
            bytes.as_ref().filter(|_| log.as_ref() == Some(asked)).map(|bytes| bytes.to_vec())
        }));
    }
    certificates
}

async fn cancel(target: &Target, id: JobId) -> Result<(), CallError> {
    let mut client = Client::connect(target).await.map_err(|error| CallError::Lost(error.to_string()))?;
    client.cancel(id).await.map(drop)
}

/// A name has no control characters.
fn printable(text: &str) -> String {
    let name: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if name.trim().is_empty() { "task".to_owned() } else { name }
}
