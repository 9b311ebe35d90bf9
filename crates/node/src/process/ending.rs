//! The end of the process that runs commands: whatever still runs ends before it, and nothing new begins.
//!
//! Why it ends, and what becomes of the tasks, this does not know. What ends them where this process is
//! killed and cannot, `guard` knows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static ENDING: AtomicBool = AtomicBool::new(false);
static RUNNING: Mutex<usize> = Mutex::new(0);
static FEWER: Condvar = Condvar::new();

/// A command that runs: one of those that are waited for.
pub(super) struct Running(());

impl Running {
    /// One more; `None` if it is too late for that.
    pub(super) fn begin() -> Option<Self> {
        let mut running = running();
        if is_ending() {
            return None;
        }
        *running += 1;
        Some(Self(()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *running() -= 1;
        // Whoever waits said so before it looked.
        if is_ending() {
            FEWER.notify_all();
        }
    }
}

/// Whether each command is to end.
pub(super) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// Ends all commands of this process, for ever, and waits until they are gone; says whether they are. It blocks.
pub fn end_all(patience: Duration) -> bool {
    let running = {
        let running = running();
        ENDING.store(true, Ordering::Relaxed);
        running
    };
    let waited = FEWER.wait_timeout_while(running, patience, |running| *running > 0);
    *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
}

/// A number is whole whatever panicked.
fn running() -> MutexGuard<'static, usize> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
