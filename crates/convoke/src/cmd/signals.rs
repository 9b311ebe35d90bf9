//! Being told to end: Ctrl-C, or a termination signal.
//!
//! It waits; what ending means is the command's. Who says it twice does not want to wait for that.
//!
//! Signals are counted from the first time that somebody wants to know of one: one that comes while nobody waits, such as
//! during a submission, is found by who waits next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Failure, INTERRUPTED};
use crate::output;
use crate::progress::Progress;

/// What is said where nothing was submitted.
const NOTHING_SUBMITTED: &str = "interrupted: nothing was submitted";

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

/// Until it ends, this process ends when it is asked to, and says that nothing was submitted: also while it reads, or
/// waits for a coordinator.
pub struct Unsubmitted {
    /// Whoever sets it is first: the end of this, or a signal.
    is_decided: Arc<AtomicBool>,
    watching: tokio::task::JoinHandle<()>,
}

impl Unsubmitted {
    /// From now on; the live line is taken away first.
    pub fn begin(progress: &Progress) -> Result<Self, Failure> {
        let (count, clear) = (count()?, progress.clearing());
        let is_decided = Arc::<AtomicBool>::default();
        let decided = is_decided.clone();
        let watching = tokio::spawn(async move {
            reaches(count, 1).await;
            if !decided.swap(true, Ordering::AcqRel) {
                clear();
                output::note(NOTHING_SUBMITTED);
                std::process::exit(INTERRUPTED.into());
            }
        });
        Ok(Self { is_decided, watching })
    }

    /// To be called just before something is submitted. A signal from now on is for who waits next; a second one does not
    /// wait for that.
    pub fn end(self) {
        drop(self);
        end_at(2);
    }
}

impl Drop for Unsubmitted {
    fn drop(&mut self) {
        if self.is_decided.swap(true, Ordering::AcqRel) {
            // A signal was first: nothing more is done while another thread ends this process.
            loop {
                std::thread::park();
            }
        }
        self.watching.abort();
    }
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
    reaches(count()?, times).await;
    Ok(())
}

/// How often this process was asked to end since the first call.
fn count() -> Result<watch::Receiver<u32>, Failure> {
    if let Some(count) = ASKED.get() {
        return Ok(count.clone());
    }
    let count = listen().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    Ok(ASKED.get_or_init(|| count).clone())
}

async fn reaches(mut count: watch::Receiver<u32>, times: u32) {
    // Whoever counts does so as long as the process lives.
    drop(count.wait_for(|count| *count >= times).await);
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
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    use super::{Unsubmitted, asked};
    use crate::progress::Progress;

    /// One test: signals and their count are the whole process's.
    #[tokio::test]
    async fn a_signal_is_not_lost_while_nobody_waits() {
        let within = |times| tokio::time::timeout(Duration::from_secs(10), asked(times));
        // It listens from its beginning, not from when its task first runs.
        let unsubmitted = Unsubmitted::begin(&Progress::none()).expect("to listen");
        tokio::select! {
            biased;
            asked = asked(1) => panic!("nobody asked yet: {asked:?}"),
            () = std::future::ready(()) => {}
        }
        raise(Signal::SIGTERM).expect("a signal to this process");
        // The end is first: the signal is for who waits next, and this process lives.
        drop(unsubmitted);
        within(1).await.expect("it is not lost").expect("it was asked");
    }
}
