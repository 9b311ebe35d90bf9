//! The record in a state directory, read without a coordinator: for lists, reports and results.
//!
//! Reading changes nothing, and whoever holds the directory does not notice. What the record means for people is the reader's.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use convoke_core::{Digest, JobId, Position};
use convoke_store::blobs::BlobError;
use convoke_store::{StateDir, StateError, StateLook};
use convoke_wire::JobSummary;

pub use crate::history::Told;
use crate::history::{History, HistoryError};

/// What the name of a record that is being removed ends with.
pub const GONE: &str = "gone";

/// A state directory's record.
pub struct Record {
    path: PathBuf,
    look: StateLook,
    history: History,
}

/// A record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The directory cannot.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal cannot.
    #[error(transparent)]
    Journal(#[from] HistoryError),
    /// A blob cannot.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It cannot be removed.
    #[error("cannot remove the record {}: {source}", path.display())]
    Remove {
        /// The state directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A blob is gone.
    #[error("blob {digest} is not in {}", path.display())]
    Missing {
        /// The blob.
        digest: Digest,
        /// The state directory.
        path: PathBuf,
    },
}

impl Record {
    /// Of a state directory.
    pub fn new(state: &Path) -> Self {
        let look = StateLook::new(state);
        let blobs = look.clone();
        let history = History::new(look.journal(), Box::new(move |digest, bytes_max| blobs.blob(digest, bytes_max)));
        Self { path: state.to_owned(), history, look }
    }

    /// When something was last written to the record in a state directory; `None` if there is none.
    pub fn changed(state: &Path) -> Option<SystemTime> {
        StateLook::new(state).changed()
    }

    /// Gives up the record in a state directory, unless a process holds it or it has a job that has not ended. What is
    /// left of it has a name that ends with [`GONE`], so that nobody takes a half for a record. Whether it did.
    pub fn remove(state: &Path) -> Result<bool, RecordError> {
        let record = Self::new(state);
        if record.is_held()? || record.jobs()?.iter().any(|job| job.outcome.is_none()) {
            return Ok(false);
        }
        // Nobody goes on with it between the look and the end, for there is nothing to go on with.
        let _held = StateDir::open(state)?;
        let gone = state.with_extension(GONE);
        std::fs::rename(state, &gone).map_err(|source| RecordError::Remove { path: state.to_owned(), source })?;
        Ok(true)
    }

    /// Whether a coordinator holds the directory now.
    pub fn is_held(&self) -> Result<bool, RecordError> {
        Ok(self.look.is_held()?)
    }

    /// The jobs on record, in the order of submission.
    pub fn jobs(&self) -> Result<Vec<JobSummary>, RecordError> {
        Ok(self.history.jobs()?)
    }

    /// What is told of a job from a position on, and the position to go on from; `None` at the end.
    pub fn tell(&self, job: JobId, from: Position) -> Result<Option<(Told, Position)>, RecordError> {
        Ok(self.history.tell(job, from)?)
    }

    /// A blob of at most `bytes_max` bytes.
    pub fn blob(&self, digest: Digest, bytes_max: u64) -> Result<Bytes, RecordError> {
        let blob = self.look.blob(digest, bytes_max)?;
        blob.ok_or_else(|| RecordError::Missing { digest, path: self.path.clone() })
    }
}
