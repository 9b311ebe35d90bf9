//! Being told to end: Ctrl-C, or a termination signal.
//!
//! It waits; what ending means is the command's.

use crate::failure::Failure;

/// Ready once this process is asked to end.
pub async fn asked_to_end() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(cannot),
        _ = terminate.recv() => Ok(()),
    }
}
