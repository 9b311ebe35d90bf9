//! The thread that makes running guests look up: it counts the engine's epochs while anything runs, and sleeps else.
//!
//! Whether a guest is to end the guest's own check decides; what that check looks at is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a running guest is made to check whether it is to end.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// After so many ticks with nothing running the thread sleeps: an idle worker is to stay idle, and waking the thread
/// for each call of a quick succession would cost more than such a call.
const IDLE_TICKS: u32 = 100;

/// A thread that ticks; it ends when this is dropped.
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// How many calls run.
    running: AtomicUsize,
    /// Whether the thread has to be woken to tick.
    asleep: AtomicBool,
    ending: AtomicBool,
}

/// That a call runs.
pub(super) struct Running<'a>(&'a State);

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let thread = thread::Builder::new().name("wasm-ticker".to_owned());
        let thread = thread.spawn({
            let state = state.clone();
            move || state.tick(&engine)
        })?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// Sees to it that the epochs are counted until what this returns is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.state.running.fetch_add(1, SeqCst);
        if self.state.asleep.load(SeqCst) {
            self.wake();
        }
        Running(&self.state)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.ending.store(true, SeqCst);
        self.wake();
        // It has nothing to say, and a panic in it was reported when it happened.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl State {
    fn tick(&self, engine: &wasmtime::Engine) {
        let mut idle_ticks = 0;
        while !self.ending.load(SeqCst) {
            thread::park_timeout(TICK);
            engine.increment_epoch();
            idle_ticks = if self.running.load(SeqCst) == 0 { idle_ticks + 1 } else { 0 };
            if idle_ticks >= IDLE_TICKS {
                self.sleep();
                idle_ticks = 0;
            }
        }
    }

    /// Sleeps until something runs. A call counts itself before it looks whether this sleeps, and this says so before
    /// it looks at the count: one of them sees the other.
    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        while self.running.load(SeqCst) == 0 && !self.ending.load(SeqCst) {
            thread::park();
        }
        self.asleep.store(false, SeqCst);
    }
}

#[cfg(test)]
impl Ticker {
    pub(super) fn is_asleep(&self) -> bool {
        self.state.asleep.load(SeqCst)
    }
}
