//! Whether the disk takes the blobs that come, seen by all who store some: one line when it stops, one when it goes on.
//!
//! It knows neither the blobs nor who waits; whoever could not store something waits itself, or has its peer try again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use convoke_store::blobs::BlobError;
use tokio::sync::mpsc;

use crate::decider::Command;
use crate::stall::{Patience, Stall};

/// The disk, as those see it who store blobs. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk {
    stall: Arc<Mutex<Stall>>,
    commands: mpsc::Sender<Command>,
    patience: Patience,
}

impl Disk {
    pub(crate) fn new(commands: mpsc::Sender<Command>, patience: Patience) -> Self {
        Self { stall: Arc::default(), commands, patience }
    }

    /// It took a blob.
    pub(crate) fn works(&self) {
        if self.stall.lock().unwrap_or_else(PoisonError::into_inner).ends() {
            tracing::info!("the disk takes results again");
        }
    }

    /// It did not take a blob. Says how long to wait before the next try.
    pub(crate) fn fails(&self, error: BlobError) -> Duration {
        let now = Instant::now();
        let mut stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner);
        if stall.fails(&error.to_string(), now) {
            tracing::error!("what comes waits to be stored: {error}");
        }
        if stall.outlasts(self.patience, now) {
            // Where the queue is full, the next failure says so.
            drop(self.commands.try_send(Command::GiveUp(error)));
        }
        stall.pause()
    }
}
