//! Being told to end: Ctrl-C, or a termination signal.
//!
//! It waits; what ending means is the command's. Who says it twice does not want to wait for that.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, INTERRUPTED};

/// Ready once this process is asked to end. When it is asked again, it ends at once.
pub async fn asked_to_end() -> Result<(), Failure> {
    asked().await?;
    end_when_asked();
    Ok(())
}

/// From now on this process ends at once when it is asked to: a signal that was listened for once no longer does so by
/// itself.
pub fn end_when_asked() {
    tokio::spawn(async {
        if asked().await.is_ok() {
            crate::place::end_commands();
            std::process::exit(INTERRUPTED.into());
        }
    });
}

async fn asked() -> Result<(), Failure> {
    let cannot = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(cannot),
        _ = terminate.recv() => Ok(()),
    }
}
