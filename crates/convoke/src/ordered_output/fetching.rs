//! A blob on its way: its bytes in chunks, few of which wait.
//!
//! Where it comes from, and whether its bytes are right, is for whoever fetches.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// How many chunks of a blob may wait.
const CHUNKS_MAX: usize = 2;

/// A blob that is being fetched; dropping it ends that.
pub(super) struct Fetching {
    /// The task whose result it is.
    pub(super) index: u32,
    chunks: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<Result<(), Failure>>,
    task: JoinHandle<()>,
}

impl Fetching {
    pub(super) fn begin<Fetch>(index: u32, fetch: impl FnOnce(mpsc::Sender<Bytes>) -> Fetch) -> Self
    where
        Fetch: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let ((sender, chunks), (end, ended)) = (mpsc::channel(CHUNKS_MAX), oneshot::channel());
        let fetch = fetch(sender);
        // Nobody hears of the end of a fetch that was dropped.
        let task = tokio::spawn(async { drop(end.send(fetch.await)) });
        Self { index, chunks, ended, task }
    }

    /// A chunk, if one waits.
    pub(super) fn chunk_that_is_there(&mut self) -> Option<Bytes> {
        self.chunks.try_recv().ok()
    }

    /// The next chunk; `None` once all have come. May be dropped and asked again.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        let panicked = || Failure::failed(format!("fetching the result of task {} panicked", self.index));
        (&mut self.ended).await.unwrap_or_else(|_| Err(panicked())).map(|()| None)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
