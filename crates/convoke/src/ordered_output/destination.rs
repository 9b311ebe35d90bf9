//! Where an output goes: a stream, or a file that is published when it is complete.
//!
//! It writes on another thread, so that a slow reader holds up nothing else. What it writes it does not know.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::whole_file::Unpublished;

/// Where an output goes.
pub enum Destination {
    /// To a stream, flushed after each batch.
    Stream(Box<dyn Write + Send>),
    /// To a file that is nowhere to be seen before it is complete.
    File {
        /// The file.
        file: Unpublished,
        /// What it will be called.
        path: PathBuf,
    },
}

/// What came of writing a batch.
type Written = (Destination, io::Result<()>);

/// A destination, and at most one batch on its way to it.
pub(super) struct Writer {
    /// `None` while a batch is on its way, and once that has failed.
    destination: Option<Destination>,
    writing: Option<oneshot::Receiver<Written>>,
    name: String,
}

impl Destination {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::Stream(Box::new(io::stdout()))
    }

    /// A file; that it cannot be written there is found out now.
    pub fn file(path: &Path) -> Result<Self, Failure> {
        let file = Unpublished::create(path).map_err(|error| {
            Failure::bad_input(format!("cannot write {}: {error}", path.display()))
                .hint("make the directory, or name another file with -o FILE")
        })?;
        Ok(Self::File { file, path: path.to_owned() })
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let to: &mut dyn Write = match self {
            Self::Stream(stream) => stream,
            Self::File { file, .. } => file,
        };
        to.write_all(batch).and_then(|()| to.flush())
    }
}

impl Writer {
    pub(super) fn new(destination: Destination) -> Self {
        let name = match &destination {
            Destination::Stream(_) => "stdout".to_owned(),
            Destination::File { path, .. } => path.display().to_string(),
        };
        Self { destination: Some(destination), writing: None, name }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Begins to write a batch; none may be on its way.
    pub(super) fn begin(&mut self, batch: Vec<u8>) {
        let mut destination = self.destination.take().expect("one batch at a time");
        let (done, writing) = oneshot::channel();
        self.writing = Some(writing);
        let is_stream = matches!(destination, Destination::Stream(_));
        let write = move || {
            let written = destination.write(&batch);
            // Where nobody waits any more, a file is removed.
            drop(done.send((destination, written)));
        };
        // The runtime's end waits for what it blocks on, which is right for a file: it is removed. A reader may never read
        // on.
        if is_stream {
            std::thread::spawn(write);
        } else {
            tokio::task::spawn_blocking(write);
        }
    }

    /// The end of a batch. May be dropped and asked again.
    pub(super) async fn written(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let ended = writing.await;
        self.writing = None;
        let (destination, written) = ended.map_err(|_| io::Error::other("the thread that writes panicked"))?;
        self.destination = Some(destination);
        written
    }

    /// Publishes a file.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        let Some(Destination::File { file, .. }) = self.destination.take() else { return Ok(()) };
        let published = tokio::task::spawn_blocking(|| file.publish()).await;
        published.unwrap_or_else(|panicked| Err(io::Error::other(panicked))).map_err(|error| self.cannot(&error))
    }

    pub(super) fn cannot(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("cannot write {}: {error}", self.name)).hint("check the space and the rights there")
    }
}
