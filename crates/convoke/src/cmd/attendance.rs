//! Divisible work from its submission to its results: whoever submits it, or goes on with it, attends to it.
//!
//! How the job came to be on record it does not know.

use std::fs::File;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use convoke_wire::channel::Target;
use convoke_wire::core::history::TaskCounts;
use convoke_wire::core::{Counted, JobId};
use convoke_wire::{CallError, Client};
use serde::Serialize;
use tokio::sync::mpsc;

use super::follow::follow_with;
use super::results::{self, ARRIVALS_MAX, Feed};
use super::signals::{asked_to_end, end_when_asked};
use super::{failures, files};
use crate::args::{Format, Global};
use crate::certificate::Certificate;
use crate::divisible::Labels;
use crate::failure::{Failure, INTERRUPTED};
use crate::ordered_output::{Destination, Ending, OrderedOutput};
use crate::output;
use crate::progress::Progress;
use crate::report::{Report, is_zero};
use crate::source::Source;
use crate::whole_file;

/// Where what tasks bring goes.
pub struct Wanted<'a> {
    /// Their results; stdout where it is `None`.
    pub results: Option<&'a Path>,
    /// A file without a name that takes them instead: they are not yet what is wanted.
    pub raw: Option<&'a File>,
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
    #[serde(skip_serializing_if = "is_zero")]
    failures_left_out: u32,
}

impl Wanted<'_> {
    /// Progress that does not run into results on the same terminal.
    pub fn progress(&self, global: &Global) -> Progress {
        let is_shared = self.results.is_none() && stdout().is_terminal();
        if is_shared { Progress::without_live_line(global) } else { Progress::new(global) }
    }

    /// Finds out what cannot be written, before anything is submitted.
    pub fn check(&self) -> Result<(), Failure> {
        self.results.map_or(Ok(()), check_file)?;
        self.files.map_or(Ok(()), check_folder)
    }

    /// Where the results go.
    pub fn destination(&self) -> Result<Destination, Failure> {
        match (self.raw, self.results) {
            (Some(file), _) => Ok(Destination::Stream(Box::new(file.try_clone().map_err(Failure::failed)?))),
            (None, Some(path)) => Destination::file(path),
            (None, None) => Ok(Destination::stdout()),
        }
    }
}

/// Finds out whether results can be written to a file.
pub fn check_file(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Failure::bad_input(format!("cannot write {shown}: it is a directory"))
            .hint("name a file, such as one in it, with -o FILE"));
    }
    // A pipe is opened once: whoever reads it would take a look for the end.
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(Failure::bad_input(format!("cannot write {shown}: there is no directory {}", folder.display()))
            .hint("make the directory, or name another file with -o FILE"));
    }
    whole_file::probe(path).map_err(|error| {
        Failure::bad_input(format!("cannot write {shown}: {error}"))
            .hint("see to the rights there, or name another file with -o FILE")
    })
}

/// Finds out whether files can be written to a directory, which need not be there yet.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    let above = folder.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let there = above.into_iter().find(|above| above.exists()).unwrap_or(folder);
    if !there.is_dir() {
        let error = format!("cannot write files to {shown}: {} is no directory", there.display());
        return Err(Failure::bad_input(error).hint("name a directory; one that is not there is made"));
    }
    whole_file::probe(&there.join("0")).map_err(|error| {
        Failure::bad_input(format!("cannot write files to {shown}: {error}"))
            .hint("see to the rights there, or name another directory")
    })
}

/// Refuses what cannot be written, and to print results and a report of them on the same stdout.
pub fn check_output(wanted: &Wanted<'_>, global: &Global) -> Result<(), Failure> {
    wanted.check()?;
    if global.output == Format::Json && wanted.results.is_none() {
        return Err(Failure::bad_input("--output json and the results would both be printed on stdout")
            .hint("write the results to a file with -o FILE"));
    }
    Ok(())
}

/// What it takes to see a job through.
pub struct Attendance<'a> {
    /// The job.
    pub id: JobId,
    /// Where its results go.
    pub wanted: &'a Wanted<'a>,
    /// Who is shown how it goes.
    pub progress: &'a Progress,
    /// When the command began.
    pub began: Instant,
    /// How what came of it is printed.
    pub global: &'a Global,
}

/// What the job is about.
pub struct Work {
    /// How many tasks its map has.
    pub tasks: u32,
    /// How many results it has: one where they are reduced.
    pub results: u32,
    /// What the tasks' inputs are called, where that is known.
    pub labels: Option<Labels>,
}

impl Attendance<'_> {
    /// Follows the job to its end and writes its results, or until this process is asked to end.
    pub async fn attend(
        &self,
        target: &Target,
        client: Client,
        work: &Work,
        embedded: bool,
    ) -> Result<ExitCode, Failure> {
        let destination = self.wanted.destination()?;
        let fetching = client.clone();
        let fetch = move |digest, chunks| results::fetch(fetching.clone(), digest, chunks);
        let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
        let writing = OrderedOutput::new(work.results, destination, fetch).run(arriving);
        let mut report = Report::new(self.id, Vec::new());
        let mut source = Source::Coordinator(Box::new(client.clone()));
        let following = async {
            let mut feed = Feed::new(arrivals, work.results);
            follow_with(&client, &mut report, true, self.progress, &mut feed).await?;
            feed.complete(&mut source).await
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
        if let (Some(folder), Some(list)) = (self.wanted.files, &report.history.results) {
            files::save_files(list, folder, &mut source).await?;
        }
        self.conclude(report, work, ending, target, &mut source, embedded).await
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
            false => format!(
                "job {id} is on record at {target}: `convoke result {id} -o FILE --coordinator {target}` fetches its results, \
                 and `convoke job {id} --follow --coordinator {target}` waits for them",
                id = self.id
            ),
        }
    }

    async fn conclude(
        &self,
        report: Report,
        work: &Work,
        ending: Ending,
        target: &Target,
        source: &mut Source,
        embedded: bool,
    ) -> Result<ExitCode, Failure> {
        let failures = failures::certificates(&report, work.labels.as_ref(), source).await;
        let counts = report.history.task_counts().unwrap_or_default();
        let took = self.began.elapsed().as_secs_f64();
        let written = self.wanted.results.filter(|_| matches!(ending, Ending::Complete { .. }));
        if self.global.output == Format::Json {
            output::json(&Printed {
                job: self.id.to_string(),
                state: report.state(),
                tasks: work.tasks,
                tasks_failed: counts.failed,
                wall_seconds: took,
                results: written.map(|path| path.display().to_string()),
                failures,
                failures_left_out: report.history.failures_left_out,
            })?;
        } else {
            failures::lines_of_interest(&report, &failures).iter().for_each(output::say);
            let came = came_of(report.has_succeeded(), counts, work.tasks);
            output::note(format!("{}: {came} in {}", report.state(), output::duration(took)));
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
pub async fn through(
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

/// What came of a job's tasks, of which there are `all`.
fn came_of(has_succeeded: bool, counts: TaskCounts, all: u32) -> String {
    let tasks = Counted(all as usize, "task");
    match (counts.failed, has_succeeded) {
        (0, true) => tasks.to_string(),
        (0, false) => format!("{} of {tasks} done,", counts.done),
        (failed, _) => format!("{failed} of {tasks} failed,"),
    }
}

async fn cancel(target: &Target, id: JobId) -> Result<(), CallError> {
    let mut client = Client::connect(target).await.map_err(|error| CallError::Lost(error.to_string()))?;
    client.cancel(id).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_came_of_tasks_counts_those_that_failed() {
        let counts = |done, failed| TaskCounts { all: 4, done, failed };
        assert_eq!(came_of(true, counts(4, 0), 4), "4 tasks");
        assert_eq!(came_of(false, counts(2, 1), 4), "1 of 4 tasks failed,");
        assert_eq!(came_of(true, counts(1, 3), 4), "3 of 4 tasks failed,");
        assert_eq!(came_of(false, counts(2, 0), 4), "2 of 4 tasks done,");
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("file"), "").unwrap();
        let refused = |failure: Result<(), Failure>| {
            let failure = failure.unwrap_err();
            format!("{failure}: {}", failure.next_step().unwrap_or_default())
        };
        for (said, parts) in [
            (refused(check_file(home.path())), ["it is a directory", "name a file"]),
            (refused(check_file(&path("gone/f"))), ["there is no directory", "make the directory"]),
            (refused(check_file(&path("file/f"))), ["there is no directory", "make the directory"]),
            (refused(check_folder(&path("file"))), ["file is no directory", "name a directory"]),
            (refused(check_folder(&path("file/below"))), ["file is no directory", "name a directory"]),
        ] {
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        assert!(check_file(&path("file")).is_ok() && check_file(&path("new")).is_ok());
        assert!(check_folder(home.path()).is_ok() && check_folder(&path("a/b")).is_ok());
        assert!(check_file(Path::new("/dev/null")).is_ok());
        assert_eq!(home.path().read_dir().unwrap().count(), 1, "nothing is left of the look");
    }
}
