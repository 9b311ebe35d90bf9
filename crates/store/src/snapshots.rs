//! The journal, folded: from its beginning, or, where it was trimmed, from the snapshot that stands for what is gone.
//!
//! It says what is in a snapshot, when one is due, and which one a trimmed journal opens from; the coordinator and the
//! simulator go through it alike. Who folds, on which thread, and who records a snapshot, it does not know.

use bytes::Bytes;
use convoke_core::coordinator::durable::Misfit;
use convoke_core::sabotage::{self, Bug};
use convoke_core::snapshot::Snapshot;
use convoke_core::{Digest, Event, Position};
use convoke_proto::{DecodeError, decode_snapshot, encode_snapshot};

use crate::blobs::BlobError;
use crate::journal::{JournalReader, ReadError};

/// How many frames are read at a time.
pub const FRAMES_MAX: usize = 512;
/// The most bytes of a snapshot.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// Finds a blob of at most so many bytes.
pub type FindBlob<'a> = dyn Fn(Digest, u64) -> Result<Option<Bytes>, BlobError> + 'a;

/// What a journal folds to, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// What it folds to.
    pub snapshot: Snapshot,
    /// How many bytes of frames were folded since the last snapshot.
    bytes_since: u64,
    /// How large that was.
    snapshot_bytes: u64,
}

/// What a journal folds to cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal's events do not follow from each other.
    #[error("the journal cannot be folded at position {position}: {source}")]
    Fold {
        /// Where.
        position: Position,
        /// What does not fit.
        source: Misfit,
    },
    /// No frame names a snapshot of what was trimmed.
    #[error("the journal begins at position {first}, and names no snapshot of what was before")]
    NoSnapshot {
        /// The first frame that is kept.
        first: Position,
    },
    /// The snapshot is not there.
    #[error(
        "the snapshot of the journal through position {through}, blob {state}, is missing: bring it back from a copy of the \
         state directory, or start with an empty one"
    )]
    Missing {
        /// The last frame that is folded into it.
        through: Position,
        /// The blob.
        state: Digest,
    },
    /// The snapshot is spoiled.
    #[error(
        "the snapshot of the journal through position {through}, blob {state}, cannot be read: {source}; bring it back from \
         a copy of the state directory, or start with an empty one"
    )]
    Damaged {
        /// The last frame that is folded into it.
        through: Position,
        /// The blob.
        state: Digest,
        /// What is wrong with it.
        source: Box<DamagedSnapshot>,
    },
    /// The disk does not give the snapshot.
    #[error("the snapshot of the journal through position {through}, blob {state}, cannot be read now: {source}")]
    OutOfReach {
        /// The last frame that is folded into it.
        through: Position,
        /// The blob.
        state: Digest,
        /// What the disk says.
        source: Box<BlobError>,
    },
    /// A snapshot cannot be stored.
    #[error("the snapshot cannot be stored: {0}")]
    Store(#[source] BlobError),
    /// A snapshot would not be read as what was written.
    #[error("the snapshot of the journal through position {through} is not the same once it is read back")]
    Unlike {
        /// The last frame that is folded into it.
        through: Position,
    },
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DamagedSnapshot {
    /// Its bytes are not those that were written.
    #[error(transparent)]
    Blob(BlobError),
    /// They are no snapshot that this build knows.
    #[error(transparent)]
    Decode(DecodeError),
    /// It is another one.
    #[error("it is one through position {0}")]
    Another(Position),
}

impl HistoryError {
    /// Whether what is on the disk is not what was written, rather than out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::Damaged { .. }),
            Self::Fold { .. } | Self::NoSnapshot { .. } | Self::Missing { .. } | Self::Damaged { .. } => true,
            Self::OutOfReach { .. } | Self::Store(_) | Self::Unlike { .. } => false,
        }
    }
}

impl Folded {
    /// Folds all that came since the last time.
    pub fn catch_up(&mut self, reader: &dyn JournalReader, blobs: &FindBlob<'_>) -> Result<(), HistoryError> {
        loop {
            let frames = match reader.read(self.snapshot.through.next(), FRAMES_MAX) {
                Err(ReadError::Trimmed { first }) => {
                    *self = Self::restore(first, reader, blobs)?;
                    continue;
                }
                frames => frames?,
            };
            if frames.is_empty() {
                return Ok(());
            }
            for (position, frame) in frames {
                let fitted = self.snapshot.fold(position, frame.wall_ms, &frame.records);
                fitted.map_err(|source| HistoryError::Fold { position, source })?;
                self.bytes_since += frame.size_bytes as u64;
            }
        }
    }

    /// Whether there are `every_bytes` of frames since the last snapshot, and as many as that has: then all snapshots
    /// together cost no more than the journal.
    pub fn is_due(&self, every_bytes: u64) -> bool {
        self.bytes_since >= every_bytes.max(self.snapshot_bytes)
    }

    /// A snapshot to store, and the position that it reaches. It is read back first: the frames that it stands for go, and
    /// nothing could bring back what it lacks.
    pub fn take_snapshot(&mut self) -> Result<(Position, Vec<u8>), HistoryError> {
        let (through, bytes) = (self.snapshot.through, encode_snapshot(&self.snapshot));
        (self.bytes_since, self.snapshot_bytes) = (0, bytes.len() as u64);
        if bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            let too_large = BlobError::TooLarge { digest: None, bytes_max: SNAPSHOT_BYTES_MAX };
            return Err(HistoryError::Store(too_large));
        }
        if decode_snapshot(&bytes).ok().as_ref() != Some(&self.snapshot) {
            return Err(HistoryError::Unlike { through });
        }
        if sabotage::is(Bug::OverstateSnapshot) {
            let through = self.snapshot.through.next();
            return Ok((through, encode_snapshot(&Snapshot { through, ..self.snapshot.clone() })));
        }
        Ok((through, bytes))
    }

    /// What the first snapshot holds that the kept frames name and that is still there: the one that stands for what was
    /// trimmed, or a later one that has taken its place.
    fn restore(mut first: Position, reader: &dyn JournalReader, blobs: &FindBlob<'_>) -> Result<Self, HistoryError> {
        let (mut next, mut refused) = (first, HistoryError::NoSnapshot { first });
        loop {
            let frames = match reader.read(next, FRAMES_MAX) {
                // Trimmed again meanwhile.
                Err(ReadError::Trimmed { first: later }) => {
                    (first, next) = (later, later);
                    continue;
                }
                frames => frames?,
            };
            let Some((last, _)) = frames.last() else { return Err(refused) };
            next = last.next();
            for event in frames.iter().flat_map(|(_, frame)| &frame.records) {
                if let Event::SnapshotTaken { through, state } = *event
                    && through.next() >= first
                {
                    match Self::open(through, state, blobs) {
                        Ok(folded) => return Ok(folded),
                        Err(error) => refused = error,
                    }
                }
            }
        }
    }

    /// What a snapshot holds that was recorded, without the frames after it.
    pub fn open(through: Position, state: Digest, blobs: &FindBlob<'_>) -> Result<Self, HistoryError> {
        let damaged = |source| HistoryError::Damaged { through, state, source: Box::new(source) };
        let bytes = blobs(state, SNAPSHOT_BYTES_MAX).map_err(|source| {
            if source.is_of_the_disk() {
                HistoryError::OutOfReach { through, state, source: Box::new(source) }
            } else {
                damaged(DamagedSnapshot::Blob(source))
            }
        })?;
        let bytes = bytes.ok_or(HistoryError::Missing { through, state })?;
        let snapshot = decode_snapshot(&bytes).map_err(|source| damaged(DamagedSnapshot::Decode(source)))?;
        if snapshot.through != through {
            return Err(damaged(DamagedSnapshot::Another(snapshot.through)));
        }
        Ok(Self { snapshot, bytes_since: 0, snapshot_bytes: bytes.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::JobId;
    use convoke_core::history::JobHistory;
    use convoke_core::snapshot::RecordedJob;

    use super::*;
    use crate::DiskError;

    #[test]
    fn a_disk_that_fails_is_not_called_damage() {
        let open = |error: fn() -> BlobError| {
            Folded::open(Position(1), Digest([7; 32]), &|_, _| Err(error())).unwrap_err().is_damage()
        };
        assert!(!open(|| {
            let source = std::io::ErrorKind::PermissionDenied.into();
            DiskError { doing: "open", path: "blobs".into(), source }.into()
        }));
        assert!(open(|| BlobError::Damaged { digest: Digest([7; 32]) }));
    }

    #[test]
    fn a_snapshot_that_would_not_be_read_as_it_is_is_not_taken() {
        let mut folded = Folded::default();
        assert!(folded.take_snapshot().is_ok());
        // No number of this kind is ever recorded, and none is read.
        let history = JobHistory { validation_error: Some(f64::NAN), ..JobHistory::default() };
        let job = RecordedJob { submitted_at: Position(1), history };
        folded.snapshot.jobs.insert(JobId::from_bits(1), job);
        assert!(matches!(folded.take_snapshot(), Err(HistoryError::Unlike { through: Position(0) })));
    }
}
