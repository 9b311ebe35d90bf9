//! A job's results on their way to where they go: told of as tasks finish, and in the end listed by the job.
//!
//! What is in a result, and who writes it, it does not know.

use std::path::Path;

use bytes::Bytes;
use convoke_wire::channel::Target;
use convoke_wire::core::event::{Event, Purpose};
use convoke_wire::core::{Counted, Digest, Form, Payload, StageNumber};
use convoke_wire::program::{self, Brought, MANIFEST_BYTES_MAX, RESULTS_PAGE_BYTES_MAX, ResultsPage};
use convoke_wire::protocol::BLOB_BYTES_MAX;
use convoke_wire::{CallError, Client};
use tokio::sync::mpsc;

use super::follow::{Listener, reconnect};
use crate::failure::Failure;
use crate::ordered_output::Arrived;
use crate::report::Report;
use crate::source::Source;
use crate::{output, whole_file};

/// How many chunks of a result may wait between its fetching and its writing.
const CHUNKS_MAX: usize = 4;

/// Tells an output of results as the job's events do.
pub struct Feed {
    arrivals: mpsc::Sender<(u32, Arrived)>,
    /// How many results the job has; one where it reduces them.
    count: u32,
    reduces: bool,
    map: Option<StageNumber>,
    told: u32,
}

impl Feed {
    /// Of a job of so many tasks, to whom the arrivals go.
    pub fn new(arrivals: mpsc::Sender<(u32, Arrived)>, tasks: u32, reduces: bool) -> Self {
        Self { arrivals, count: if reduces { 1 } else { tasks }, reduces, map: None, told: 0 }
    }

    async fn tell(&mut self, index: u32, arrived: Arrived) {
        self.told += 1;
        // An output that has failed says so itself.
        drop(self.arrivals.send((index, arrived)).await);
    }

    /// The job has ended: tells of what its events did not, by the list of its results.
    pub async fn complete(mut self, list: Option<&Payload>, source: &mut Source) -> Result<(), Failure> {
        let Some(list) = list.filter(|_| self.told < self.count) else { return Ok(()) };
        let mut next = 0;
        for brought in brought(list, source).await? {
            let brought = brought?;
            let index = if self.reduces { 0 } else { brought.index };
            for index in next..index {
                self.tell(index, Arrived::Nothing).await;
            }
            next = index + 1;
            self.tell(index, Arrived::Result(brought.result)).await;
        }
        for index in next..self.count {
            self.tell(index, Arrived::Nothing).await;
        }
        Ok(())
    }
}

impl Listener for Feed {
    async fn hear(&mut self, event: &Event) {
        match event {
            Event::StageOpened { stage, purpose: Purpose::Map, .. } => self.map = Some(*stage),
            Event::TaskDone { task, record } if !self.reduces && self.map == Some(task.stage) => {
                self.tell(task.index, Arrived::Result(record.completion.result.clone())).await;
            }
            Event::TaskFailed { task } if !self.reduces && self.map == Some(task.stage) => {
                self.tell(task.index, Arrived::Nothing).await;
            }
            _ => {}
        }
    }
}

/// What a list of results names, in task order, a page at a time in memory.
pub async fn brought(
    list: &Payload,
    source: &mut Source,
) -> Result<impl Iterator<Item = Result<Brought, Failure>> + use<>, Failure> {
    let bytes = bytes_of(list, source, MANIFEST_BYTES_MAX).await?;
    let results: program::Results = program::read_bytes("list of results", &bytes).map_err(Failure::failed)?;
    let mut all = Vec::new();
    for page in results.page_blobs().map_err(Failure::failed)? {
        let bytes = source.blob(page, RESULTS_PAGE_BYTES_MAX).await?;
        let page: ResultsPage = program::read_bytes("page of results", &bytes).map_err(Failure::failed)?;
        all.extend(page.results);
    }
    all.extend(results.rest.map(|page| page.results).unwrap_or_default());
    Ok(all.into_iter().map(|result| result.brought().map_err(Failure::failed)))
}

/// A payload's bytes, at most so many.
pub async fn bytes_of(payload: &Payload, source: &mut Source, bytes_max: u64) -> Result<Bytes, Failure> {
    match payload.form() {
        Form::Inline(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Form::Blob(digest) => source.blob(*digest, bytes_max).await,
    }
}

/// Fetches a blob in chunks. Over a lost connection it goes on where it was, over the next.
pub async fn fetch(target: Target, digest: Digest, chunks: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    let mut client = Client::connect(&target).await?;
    let mut sent = 0_usize;
    let mut lost_at = None;
    loop {
        let (taken, mut arriving) = mpsc::channel::<Bytes>(CHUNKS_MAX);
        let mut skip = sent;
        let passing_on = async {
            while let Some(mut chunk) = arriving.recv().await {
                let known = skip.min(chunk.len());
                skip -= known;
                let chunk = chunk.split_off(known);
                sent += chunk.len();
                // Nobody waits for it any more.
                if !chunk.is_empty() && chunks.send(chunk).await.is_err() {
                    return;
                }
            }
        };
        let fetching = async {
            let fetched = client.blobs().get_chunks(digest, BLOB_BYTES_MAX, &taken).await;
            drop(taken);
            fetched
        };
        let (fetched, ()) = tokio::join!(fetching, passing_on);
        match fetched {
            Err(error @ CallError::Lost(_)) => {
                let lost_at = *lost_at.get_or_insert_with(std::time::Instant::now);
                client = reconnect(&target, error, lost_at).await?;
            }
            fetched => return Ok(fetched?),
        }
    }
}

/// Saves the files that tasks left, each task's in a folder of its own.
pub async fn save_files(report: &Report, folder: &Path, source: &mut Source) -> Result<(), Failure> {
    let Some(list) = &report.history.results else { return Ok(()) };
    let mut saved = 0;
    for brought in brought(list, source).await? {
        let brought = brought?;
        let Some(files) = &brought.files else { continue };
        let bytes = bytes_of(files, source, MANIFEST_BYTES_MAX).await?;
        let files: program::Files = program::read_bytes("list of files", &bytes).map_err(Failure::failed)?;
        let digests = files.blobs().map_err(Failure::failed)?;
        for (file, digest) in files.files.iter().zip(digests) {
            save_file(&folder.join(brought.index.to_string()), file, digest, source).await?;
            saved += 1;
        }
    }
    output::note(format!("{} in {}", Counted(saved, "file"), folder.display()));
    Ok(())
}

/// Saves a file below a folder. Its path is a worker's word.
async fn save_file(folder: &Path, file: &program::File, digest: Digest, source: &mut Source) -> Result<(), Failure> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if !file.path.split('/').all(is_part) {
        return Err(Failure::failed(format!("a task left a file at `{}`, which leads elsewhere", file.path)));
    }
    let path = folder.join(&file.path);
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
            .hint("make room there, or name another DIR")
    };
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(cannot)?;
    let bytes = source.blob(digest, BLOB_BYTES_MAX).await?;
    whole_file::write(&path, &bytes).map_err(cannot)?;
    if file.executable {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(cannot)?;
    }
    Ok(())
}
