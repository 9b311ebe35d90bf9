//! Snapshots, taken beside the deciding loop: it hears of one once it is stored, records it, and trims the journal.
//!
//! What is in a snapshot, and when one is due, the history knows.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::Position;
use convoke_core::coordinator::Input;
use convoke_store::blobs::Blobs;
use tokio::sync::{mpsc, watch};

use crate::blob_service::blocking;
use crate::decider::Command;
use crate::history::History;

/// How many bytes of frames there are at least between two snapshots. A restart folds some tens of thousands of events
/// a tenth of a second.
pub const SNAPSHOT_EVERY_BYTES: u64 = 4 << 20;

/// How long the history may be behind the journal, so that it is not read frame by frame.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Keeps the history up with the journal, and takes snapshots, until the decider ends.
pub(crate) async fn keep(
    every_bytes: u64,
    history: Arc<History>,
    blobs: Arc<dyn Blobs>,
    commands: mpsc::Sender<Command>,
    mut position: watch::Receiver<Position>,
) {
    while position.changed().await.is_ok() {
        tokio::time::sleep(BEHIND_MAX).await;
        let (history, blobs) = (history.clone(), blobs.clone());
        match blocking(move || history.take_snapshot(every_bytes, &*blobs)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((through, state)))) => {
                // The decider may have ended.
                drop(commands.send(Command::Input(Input::SnapshotStored { through, state })).await);
            }
            // The journal grows on; the next one is tried when it has grown as much again.
            Ok(Err(error)) => tracing::warn!("no snapshot was taken: {error}"),
            Err(_) => return,
        }
    }
}
