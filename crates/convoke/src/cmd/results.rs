//! A job's results on their way to where they go: told of as tasks finish, and in the end listed by the job.
//!
//! What is in a result, and who writes it, it does not know.

use bytes::Bytes;
use convoke_wire::Client;
use convoke_wire::core::event::Event;
use convoke_wire::core::history::JobHistory;
use convoke_wire::core::{Digest, Form, Payload};
use convoke_wire::program::{Brought, MANIFEST_BYTES_MAX, RESULTS_PAGE_BYTES_MAX};
use convoke_wire::protocol::{BLOB_BYTES_MAX, CHUNK_BYTES};
use convoke_wire::result_list::{Page, ResultList};
use convoke_wire::results::{Arrivals, TaskResult};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::ordered_output::Arrived;
use crate::report::Listener;
use crate::source::Source;

/// How many results may be on their way to the output.
pub const ARRIVALS_MAX: usize = 1_024;

/// Tells an output of results as the job's events do.
pub struct Feed {
    output: mpsc::Sender<(u32, Arrived)>,
    arrivals: Arrivals,
    /// How many results the job has.
    count: u32,
}

impl Feed {
    /// Of a job of so many results, to whom they are told.
    pub fn new(output: mpsc::Sender<(u32, Arrived)>, count: u32) -> Self {
        Self { output, arrivals: Arrivals::default(), count }
    }

    async fn tell(&mut self, index: u32, result: Option<Payload>) {
        // An output that has failed says so itself.
        drop(self.output.send((index, result.map_or(Arrived::Nothing, Arrived::Result))).await);
    }

    /// The job has ended: tells of what its events did not, by the list of its results.
    pub async fn complete(mut self, source: &mut Source) -> Result<(), Failure> {
        let Some(list) = self.arrivals.list().cloned() else { return Ok(()) };
        self.tell_list(&list, source).await
    }

    /// Tells of what a list names, and what it leaves out.
    pub async fn tell_list(&mut self, list: &Payload, source: &mut Source) -> Result<(), Failure> {
        let mut next = 0;
        let mut pages = Pages::open(list, source).await?;
        while let Some(page) = pages.next(source).await? {
            for brought in page {
                for index in next..brought.index {
                    self.tell(index, None).await;
                }
                next = brought.index + 1;
                self.tell(brought.index, Some(brought.result)).await;
            }
        }
        self.tell_missing(next).await;
        Ok(())
    }

    /// Tells that nothing comes any more from a task on; what was told stays.
    pub async fn tell_missing(&mut self, from: u32) {
        for index in from..self.count {
            self.tell(index, None).await;
        }
    }
}

impl Listener for Feed {
    async fn hear(&mut self, event: &Event) {
        if let Some(result) = self.arrivals.hear(event) {
            self.tell(result.index, result.result).await;
        }
    }

    fn hear_history(&mut self, history: &JobHistory) {
        self.arrivals.hear_history(history);
    }
}

/// Listens for one task's result.
pub struct One {
    arrivals: Arrivals,
    index: u32,
    found: Option<TaskResult>,
}

impl One {
    /// The task's.
    pub fn new(index: u32) -> Self {
        Self { arrivals: Arrivals::default(), index, found: None }
    }

    /// What was heard of it, or else what the job's list names; `None` if there is no result.
    pub async fn find(self, source: &mut Source) -> Result<Option<TaskResult>, Failure> {
        let list = self.arrivals.list().filter(|_| self.found.is_none());
        let Some(list) = list else { return Ok(self.found) };
        let mut pages = Pages::open(list, source).await?;
        while let Some(page) = pages.next(source).await? {
            if let Some(brought) = page.into_iter().find(|brought| brought.index == self.index) {
                return Ok(Some(brought.into()));
            }
        }
        Ok(None)
    }
}

impl Listener for One {
    async fn hear(&mut self, event: &Event) {
        self.found = self.arrivals.hear(event).filter(|result| result.index == self.index).or(self.found.take());
    }

    fn hear_history(&mut self, history: &JobHistory) {
        self.arrivals.hear_history(history);
    }
}

/// Where the results are.
impl Listener for Arrivals {
    async fn hear(&mut self, event: &Event) {
        self.hear(event);
    }

    fn hear_history(&mut self, history: &JobHistory) {
        self.hear_history(history);
    }
}

/// A list of results, a page at a time.
pub struct Pages(ResultList);

impl Pages {
    /// Fetches the list.
    pub async fn open(list: &Payload, source: &mut Source) -> Result<Self, Failure> {
        let bytes = bytes_of(list, source, MANIFEST_BYTES_MAX).await?;
        Ok(Self(ResultList::read(&bytes).map_err(Failure::failed)?))
    }

    /// Fetches the next page; `None` after the last.
    pub async fn next(&mut self, source: &mut Source) -> Result<Option<Vec<Brought>>, Failure> {
        Ok(match self.0.next_page().map_err(Failure::failed)? {
            None => None,
            Some(Page::Read(page)) => Some(page),
            Some(Page::Stored(digest)) => {
                let bytes = source.blob(digest, RESULTS_PAGE_BYTES_MAX).await?;
                Some(ResultList::read_page(&bytes).map_err(Failure::failed)?)
            }
        })
    }
}

/// A payload's bytes, at most so many.
pub async fn bytes_of(payload: &Payload, source: &mut Source, bytes_max: u64) -> Result<Bytes, Failure> {
    match payload.form() {
        Form::Inline(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Form::Blob(digest) => source.blob(*digest, bytes_max).await,
    }
}

/// Fetches a blob in chunks from wherever the job is.
pub async fn fetch_from(source: Source, digest: Digest, chunks: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    let record = match source {
        Source::Coordinator(client) => return fetch(*client, digest, chunks).await,
        Source::Record(record) => record,
    };
    let bytes = tokio::task::spawn_blocking(move || record.blob(digest, BLOB_BYTES_MAX)).await;
    let bytes = bytes.map_err(Failure::failed)??;
    for start in (0..bytes.len()).step_by(CHUNK_BYTES) {
        let chunk = bytes.slice(start..bytes.len().min(start + CHUNK_BYTES));
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Fetches a blob in chunks, until nobody waits for it any more.
pub async fn fetch(client: Client, digest: Digest, chunks: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    let mut reader = client.blob_reader(digest, BLOB_BYTES_MAX);
    while let Some(chunk) = reader.chunk().await? {
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}
