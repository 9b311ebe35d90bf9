//! Threads for numeric work, one a slot, apart from those that talk.
//!
//! They run closures to their end; stopping one is between who made it and the closure.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// A number of threads that compute.
pub(crate) struct Compute {
    work: mpsc::Sender<Work>,
}

impl Compute {
    /// Starts the threads; they end when this is dropped.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Work>();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = waiting.clone();
            let thread = std::thread::Builder::new().name(format!("compute-{number}"));
            thread.spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(work) = next else { return };
                    work();
                }
            })?;
        }
        Ok(Self { work })
    }

    /// Runs a closure on the next free thread. `None` if it panicked, or the threads are gone.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        let work = move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // Whoever waited may have given up.
            outcome.map(|outcome| drop(done.send(outcome))).ok();
        };
        self.work.send(Box::new(work)).ok()?;
        result.await.ok()
    }
}
