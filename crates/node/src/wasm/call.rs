//! A program, ready to be called any number of times, and one call of it: in a fresh instance, to its end.
//!
//! It blocks, so it is for a thread that computes. It does not know where modules come from.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::{InstancePre, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::guest::{Failure, Guest};
use super::ticker::Ticker;

/// Where a command begins.
pub(super) const START: &str = "_start";

/// A compiled module with all its imports linked.
pub(crate) struct Program {
    pub(super) instance: InstancePre<Guest>,
    /// Kept by each program, as a program may be called after its engine was dropped.
    pub(super) ticker: Arc<Ticker>,
}

/// What a guest is called with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) stdin: Bytes,
    /// After the program's own name.
    pub(crate) arguments: Arc<[String]>,
    pub(crate) environment: Arc<[(String, String)]>,
    /// The most bytes of its memory and its tables together.
    pub(crate) memory_bytes_max: u64,
    pub(crate) time_max: Option<Duration>,
    pub(crate) stdout_bytes_max: u64,
    /// Of its random bytes.
    pub(crate) seed: u64,
    /// Whether it may tell the time; else it is always the first of January 1970.
    pub(crate) clock: bool,
}

/// What a call brought.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Result<(), Failure>,
    /// All that it wrote, up to where it failed.
    pub(crate) stdout: Bytes,
    /// The last 64 KiB of what it wrote.
    pub(crate) stderr: Bytes,
    pub(crate) peak_memory_bytes: u64,
}

impl Program {
    /// Runs the program to its end, to a limit, or until `stop` is set.
    pub(crate) fn call(&self, call: Call, stop: &Arc<AtomicBool>) -> Ended {
        let _running = self.ticker.run();
        let mut store = Store::new(self.instance.module().engine(), Guest::new(call, stop.clone()));
        store.limiter(|guest| &mut guest.memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            context.data().check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        let outcome = store.data().check().and_then(|()| self.run(&mut store));
        let guest = store.into_data();
        Ended {
            outcome,
            stdout: Bytes::from(guest.stdout),
            stderr: guest.stderr.into_bytes(),
            peak_memory_bytes: guest.memory.peak_bytes,
        }
    }

    fn run(&self, store: &mut Store<Guest>) -> Result<(), Failure> {
        let instance = self.instance.instantiate(&mut *store);
        let start = instance.and_then(|instance| instance.get_typed_func::<(), ()>(&mut *store, START));
        match start.and_then(|start| start.call(&mut *store, ())) {
            Ok(()) => Ok(()),
            Err(error) => failure(&error, store.data()).map_or(Ok(()), Err),
        }
    }
}

/// Why the guest ended; none where it exited with status 0.
fn failure(error: &wasmtime::Error, guest: &Guest) -> Option<Failure> {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Exited { status: 0 }) => return None,
        Some(failure) => return Some(failure.clone()),
        None => {}
    }
    // A guest that is refused memory rarely gets far: that it then traps is said by the limit better than by the trap.
    if guest.memory.refused {
        return Some(Failure::Memory { bytes_max: guest.call.memory_bytes_max });
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        let busy = error.downcast_ref::<PoolConcurrencyLimitError>();
        let why = busy.map_or_else(|| format!("{error:#}"), |_| "as many run already as there is room for".to_owned());
        return Some(Failure::NotStarted { why });
    };
    let frame = error.downcast_ref::<WasmBacktrace>().and_then(|backtrace| backtrace.frames().first());
    let function = frame.and_then(|frame| frame.func_name()).map(str::to_owned);
    Some(Failure::Trapped { what: trap.to_string().trim_start_matches("wasm trap: ").to_owned(), function })
}
