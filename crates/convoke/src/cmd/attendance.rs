//! Divisible work from its submission to its results: whoever submits it, or goes on with it, attends to it.
//!
//! How the job came to be on record it does not know.

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
use super::wanted::Wanted;
use super::{failures, files};
use crate::args::{Format, Global};
use crate::certificate::Certificate;
use crate::divisible::Labels;
use crate::failure::{Failure, INTERRUPTED};
use crate::ordered_output::{Ending, OrderedOutput};
use crate::output;
use crate::progress::Progress;
use crate::report::{Report, is_zero};
use crate::source::Source;

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
    use super::*;

    #[test]
    fn what_came_of_tasks_counts_those_that_failed() {
        let counts = |done, failed| TaskCounts { all: 4, done, failed };
        assert_eq!(came_of(true, counts(4, 0), 4), "4 tasks");
        assert_eq!(came_of(false, counts(2, 1), 4), "1 of 4 tasks failed,");
        assert_eq!(came_of(true, counts(1, 3), 4), "3 of 4 tasks failed,");
        assert_eq!(came_of(false, counts(2, 0), 4), "2 of 4 tasks done,");
    }
}
