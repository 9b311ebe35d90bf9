//! Results in task order, whatever the order in which tasks finish: each is written as it is, nothing between them.
//!
//! What waits for its turn is a digest, or small and beyond a limit kept on disk; what is fetched is streamed. Who tells of
//! results, and where blobs are, it does not know.

mod destination;
mod fetching;
mod spill;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use convoke_wire::core::{Digest, Form, Payload};
use tokio::sync::mpsc;

use crate::failure::Failure;
pub use destination::Destination;
use destination::Writer;
use fetching::Fetching;
use spill::{Kept, Spill};

/// The most bytes of results in place that wait in memory for their turn.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many blobs are fetched at a time: the one whose turn it is, and those that come next.
const FETCHES_MAX: usize = 4;
/// How many bytes are gathered before they are written.
const BATCH_BYTES: usize = 256 * 1024;
/// How many arrivals are taken before something is written.
const ARRIVALS_MAX: usize = 1_024;

/// What is told of a task.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// It brought a result.
    Result(Payload),
    /// It failed for good: nothing is written in its place.
    Nothing,
}

/// How an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was told of and is written; a file is in its place.
    Complete {
        /// How many tasks have no result.
        skipped: u32,
    },
    /// Nothing more is told of, and a task is missing: a stream ends before it, a file is removed.
    Incomplete {
        /// The first that is missing.
        missing: u32,
    },
    /// Whoever read the stream has gone: that is no error.
    ReaderGone,
}

/// Writes results in task order as they become available. `fetch(digest, chunks)` sends a blob's bytes in order, and returns
/// once all are sent; it is dropped when the output is.
pub struct OrderedOutput<F> {
    count: u32,
    /// The task whose turn it is.
    next: u32,
    skipped: u32,
    held: BTreeMap<u32, Held>,
    held_bytes: usize,
    held_bytes_max: usize,
    spill: Spill,
    fetch: F,
    /// Blobs on their way, in task order.
    fetches: VecDeque<Fetching>,
    /// The first task that no fetch was begun for, if it needs one.
    fetch_next: u32,
    batch: Vec<u8>,
    writer: Writer,
}

/// A result that waits for its turn.
enum Held {
    Inline(Arc<[u8]>),
    Spilled(Kept),
    Blob(Digest),
    Nothing,
}

impl<F, Fetch> OrderedOutput<F>
where
    F: Fn(Digest, mpsc::Sender<Bytes>) -> Fetch,
    Fetch: Future<Output = Result<(), Failure>> + Send + 'static,
{
    /// An output of `count` tasks' results.
    pub fn new(count: u32, destination: Destination, fetch: F) -> Self {
        Self {
            count,
            next: 0,
            skipped: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            held_bytes_max: HELD_BYTES_MAX,
            spill: Spill::default(),
            fetch,
            fetches: VecDeque::new(),
            fetch_next: 0,
            batch: Vec::new(),
            writer: Writer::new(destination),
        }
    }

    /// Writes what is told of until all is written, or, where some is missing, until nothing more is told. Arrivals are
    /// always taken at once, however slow the reader is. What is told twice counts once. When this is dropped, a file is
    /// removed.
    pub async fn run(mut self, mut arrivals: mpsc::Receiver<(u32, Arrived)>) -> Result<Ending, Failure> {
        let mut is_open = true;
        loop {
            let is_idle = !self.writer.is_busy();
            if is_idle {
                self.gather()?;
            }
            if is_idle && !self.batch.is_empty() {
                self.writer.begin(std::mem::take(&mut self.batch));
            } else if is_idle && self.next == self.count {
                self.writer.finish().await?;
                return Ok(Ending::Complete { skipped: self.skipped });
            } else if is_idle && !is_open && !self.held.contains_key(&self.next) {
                return Ok(Ending::Incomplete { missing: self.next });
            }
            let is_idle = !self.writer.is_busy();
            let front = self.fetches.front_mut().filter(|front| is_idle && front.index == self.next);
            let is_fetching = front.is_some();
            tokio::select! {
                arrival = arrivals.recv(), if is_open => match arrival {
                    Some((index, arrived)) => {
                        self.remember(index, arrived)?;
                        // What came with it is written with it.
                        for _ in 0..ARRIVALS_MAX {
                            let Ok((index, arrived)) = arrivals.try_recv() else { break };
                            self.remember(index, arrived)?;
                        }
                    }
                    None => is_open = false,
                },
                written = self.writer.written(), if !is_idle => match written {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ending::ReaderGone),
                    written => written.map_err(|error| self.writer.cannot(&error))?,
                },
                chunk = next_chunk(front), if is_fetching => match chunk? {
                    Some(chunk) => self.batch.extend_from_slice(&chunk),
                    None => {
                        self.fetches.pop_front();
                        self.held.remove(&self.next);
                        self.next += 1;
                    }
                },
            }
        }
    }

    fn remember(&mut self, index: u32, arrived: Arrived) -> Result<(), Failure> {
        if index >= self.count {
            return Err(Failure::failed(format!("the coordinator told of task {index}, and there are {}", self.count)));
        }
        if index < self.next || self.held.contains_key(&index) {
            return Ok(());
        }
        let held = match &arrived {
            Arrived::Nothing => Held::Nothing,
            Arrived::Result(payload) => match payload.form() {
                Form::Blob(digest) => Held::Blob(*digest),
                // The one whose turn it is does not wait for long.
                Form::Inline(bytes) if index > self.next && self.held_bytes + bytes.len() > self.held_bytes_max => {
                    Held::Spilled(self.spill.keep(bytes).map_err(cannot_spill)?)
                }
                Form::Inline(bytes) => {
                    self.held_bytes += bytes.len();
                    Held::Inline(bytes.clone())
                }
            },
        };
        self.held.insert(index, held);
        self.fetch_ahead();
        Ok(())
    }

    /// Gathers what can be written now.
    fn gather(&mut self) -> Result<(), Failure> {
        self.fetch_ahead();
        while self.batch.len() < BATCH_BYTES {
            match self.held.get(&self.next) {
                None => break,
                Some(Held::Blob(_)) => match self.fetches.front_mut().and_then(Fetching::chunk_that_is_there) {
                    Some(chunk) => {
                        self.batch.extend_from_slice(&chunk);
                        continue;
                    }
                    None => break,
                },
                Some(Held::Inline(bytes)) => {
                    self.batch.extend_from_slice(bytes);
                    self.held_bytes -= bytes.len();
                }
                Some(Held::Spilled(kept)) => self.spill.take(*kept, &mut self.batch).map_err(cannot_spill)?,
                Some(Held::Nothing) => self.skipped += 1,
            }
            self.held.remove(&self.next);
            self.next += 1;
        }
        self.fetch_ahead();
        Ok(())
    }

    /// Begins to fetch the blobs whose turn is certain to come next: all before them are here.
    fn fetch_ahead(&mut self) {
        while self.fetches.len() < FETCHES_MAX {
            match self.held.get(&self.fetch_next) {
                None if self.fetch_next >= self.next => break,
                Some(Held::Blob(digest)) => {
                    let fetch = |chunks| (self.fetch)(*digest, chunks);
                    self.fetches.push_back(Fetching::begin(self.fetch_next, fetch));
                }
                _ => {}
            }
            self.fetch_next += 1;
        }
    }
}

/// The next bytes of the blob whose turn it is; `None` at its end.
async fn next_chunk(front: Option<&mut Fetching>) -> Result<Option<Bytes>, Failure> {
    match front {
        Some(front) => front.chunk().await,
        None => std::future::pending().await,
    }
}

fn cannot_spill(error: io::Error) -> Failure {
    let folder = std::env::temp_dir();
    Failure::failed(format!("cannot keep results that wait for earlier ones in {}: {error}", folder.display()))
        .hint("make room there, or name another folder with TMPDIR")
}
