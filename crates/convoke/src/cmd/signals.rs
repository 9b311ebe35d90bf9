//! Being told to end: Ctrl-C, or a termination signal.
//!
//! It waits; what ending means is the command's. Who says it twice does not want to wait for that.
//!
//! Signals are counted from the first time that somebody waits for one: one that comes while nobody does, between a
//! submission and the following, is found by who waits next.

use std::sync::OnceLock;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Failure, INTERRUPTED};
use crate::output;
use crate::progress::Progress;

/// How often this process was asked to end.
static ASKED: OnceLock<watch::Receiver<u32>> = OnceLock::new();

/// Ready once this process has been asked to end. When it is asked again, it ends at once.
pub async fn asked_to_end() -> Result<(), Failure> {
    asked(1).await?;
    end_at(2);
    Ok(())
}

/// From now on this process ends at once when it is asked to: a signal that was listened for once no longer does so by
/// itself.
pub fn end_when_asked() {
    end_at(1);
}

/// Until it is dropped, this process ends when it is asked to, and says that nothing was submitted: also while it reads, or
/// waits for a coordinator.
pub struct Unsubmitted(tokio::task::JoinHandle<()>);

impl Unsubmitted {
    /// From now on; the live line is taken away first.
    pub fn begin(progress: &Progress) -> Self {
        let clear = progress.clearing();
        Self(tokio::spawn(async move {
            if asked(1).await.is_ok() {
                clear();
                std::process::exit(nothing_submitted().into());
            }
        }))
    }
}

impl Drop for Unsubmitted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says that nothing was submitted, and with which status that ends.
pub fn nothing_submitted() -> u8 {
    output::note("interrupted: nothing was submitted");
    INTERRUPTED
}

fn end_at(times: u32) {
    tokio::spawn(async move {
        if asked(times).await.is_ok() {
            crate::place::end_commands();
            std::process::exit(INTERRUPTED.into());
        }
    });
}

async fn asked(times: u32) -> Result<(), Failure> {
    let mut count = match ASKED.get() {
        Some(count) => count.clone(),
        None => {
            let count = listen().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
            ASKED.get_or_init(|| count).clone()
        }
    };
    // Whoever counts does so as long as the process lives.
    drop(count.wait_for(|count| *count >= times).await);
    Ok(())
}

fn listen() -> std::io::Result<watch::Receiver<u32>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (asked, count) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            asked.send_modify(|count| *count += 1);
        }
    });
    Ok(count)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::asked;

    #[tokio::test]
    async fn a_signal_is_not_lost_between_two_that_wait() {
        tokio::select! {
            biased;
            asked = asked(1) => panic!("nobody asked yet: {asked:?}"),
            () = std::future::ready(()) => {}
        }
        raise(Signal::SIGTERM).expect("a signal to this process");
        asked(1).await.expect("it was asked");
    }
}
