//! The programs that are kept compiled: each module is compiled once, however many ask for it, on a thread of its own.
//!
//! A compilation cannot be interrupted: whoever is to stop, or has waited too long, gives up, and the thread goes on to its
//! end. So there is room for more compilations than there are callers, and a module that takes for ever takes nobody's turn.
//! What was compiled elsewhere is never taken. Whether a digest is the bytes' own is not checked here.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::Digest;
use wasmtime::{Linker, Module};

use super::call::START;
use super::guest::Guest;
use super::ticker::Ticker;
use super::{Limits, Program, WasmError, wasi};

/// How many compilations that nobody waits for any more may go on beside those of the callers.
const ABANDONED_MAX: usize = 4;

/// How often whoever waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the smallest module counts for: its program takes some pages.
const PROGRAM_BYTES_MIN: u64 = 64 << 10;

/// The compiler's functions nest as deeply as the module's blocks.
const COMPILER_STACK_BYTES: usize = 16 << 20;

/// What a module begins with.
const MAGIC: &[u8] = b"\0asm";

pub(super) type Compiled = Result<Arc<Program>, WasmError>;

type Compile = dyn Fn(&[u8]) -> Compiled + Send + Sync;

/// Makes programs of modules.
pub(super) struct Compiler {
    linker: Linker<Guest>,
    ticker: Arc<Ticker>,
}

impl Compiler {
    pub(super) fn new(engine: &wasmtime::Engine, ticker: Arc<Ticker>) -> Result<Self, WasmError> {
        let linker = wasi::linker(engine).map_err(|error| WasmError::Start(format!("{error:#}")))?;
        Ok(Self { linker, ticker })
    }

    pub(super) fn compile(&self, bytes: &[u8]) -> Compiled {
        check_beginning(bytes)?;
        let module = Module::from_binary(self.linker.engine(), bytes);
        let module = module.map_err(|error| WasmError::invalid(&error))?;
        let start = module.get_export(START);
        let start = start.and_then(|start| start.func().map(|start| (start.params().len(), start.results().len())));
        if start != Some((0, 0)) {
            return Err(WasmError::NoStart);
        }
        let linked = wasi::link_missing(&self.linker, &module).and_then(|linker| linker.instantiate_pre(&module));
        let instance = linked.map_err(|error| WasmError::Link(format!("{error:#}")))?;
        Ok(Arc::new(Program { instance, ticker: self.ticker.clone() }))
    }
}

/// Whether a module may be compiled at all: a compiler finds no more fault with its form.
pub(super) fn check(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<(), WasmError> {
    check_beginning(bytes)?;
    Module::validate(engine, bytes).map_err(|error| WasmError::invalid(&error))
}

/// What is no module at all, or one of another kind, is told so in plain words.
fn check_beginning(bytes: &[u8]) -> Result<(), WasmError> {
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err(WasmError::Foreign);
    }
    // A component begins like a module, but for the layer.
    if bytes.get(6..8) == Some(&[1, 0]) { Err(WasmError::Component) } else { Ok(()) }
}

/// The programs at hand.
pub(super) struct Programs {
    shared: Arc<Shared>,
    limits: Limits,
}

/// What the threads that compile share with those that wait.
struct Shared {
    compile: Box<Compile>,
    kept: Mutex<Kept>,
    /// A compilation has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Kept {
    programs: HashMap<Digest, Slot>,
    /// The modules that are being compiled, and since when.
    compiling: HashMap<Digest, Instant>,
    uses: u64,
    bytes: u64,
}

/// What became of a module. That it is invalid is kept too.
struct Slot {
    compiled: Compiled,
    bytes: u64,
    last_use: u64,
}

impl Programs {
    pub(super) fn new(compile: impl Fn(&[u8]) -> Compiled + Send + Sync + 'static, limits: Limits) -> Self {
        let shared = Shared { compile: Box::new(compile), kept: Mutex::default(), ended: Condvar::new() };
        Self { shared: Arc::new(shared), limits }
    }

    /// A module's program. The first who asks has it compiled; the time that this may take is counted from its beginning,
    /// so that who asks for a module that has taken too long already does not wait again.
    pub(super) fn get(&self, digest: Digest, module: &Bytes, stop: &AtomicBool) -> Compiled {
        let (bytes, bytes_max) = (module.len() as u64, self.limits.module_bytes_max);
        if bytes > bytes_max {
            return Err(WasmError::TooLarge { bytes, bytes_max });
        }
        let (asked, time_max, turn_time_max) =
            (Instant::now(), self.limits.compile_time_max, self.limits.compile_turn_time_max);
        let compiling_max = self.limits.calls_max as usize + ABANDONED_MAX;
        let mut kept = self.shared.lock();
        loop {
            if let Some(compiled) = kept.find(digest) {
                return compiled;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(WasmError::Stopped);
            }
            match kept.compiling.get(&digest) {
                Some(began) if began.elapsed() >= time_max => return Err(WasmError::CompileTime { time_max }),
                Some(_) => {}
                None if kept.compiling.len() < compiling_max => {
                    self.start(&mut kept, digest, module)?;
                    continue;
                }
                None if asked.elapsed() >= turn_time_max => {
                    return Err(WasmError::CompilersBusy { compiling: compiling_max, turn_time_max });
                }
                None => {}
            }
            kept = self.shared.wait(kept);
        }
    }

    /// Starts the thread that compiles a module; nobody has to wait for it.
    fn start(&self, kept: &mut Kept, digest: Digest, module: &Bytes) -> Result<(), WasmError> {
        let (shared, module, bytes_max) = (self.shared.clone(), module.clone(), self.limits.programs_bytes_max);
        let thread = thread::Builder::new().name("wasm-compiler".to_owned()).stack_size(COMPILER_STACK_BYTES);
        let started = thread.spawn(move || {
            let compiled = catch_unwind(AssertUnwindSafe(|| (shared.compile)(&module)));
            let compiled = compiled.unwrap_or(Err(WasmError::CompilerPanicked));
            shared.lock().insert(digest, compiled, PROGRAM_BYTES_MIN.max(module.len() as u64), bytes_max);
            shared.ended.notify_all();
        });
        started.map_err(|error| WasmError::Start(error.to_string()))?;
        kept.compiling.insert(digest, Instant::now());
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.shared.lock().programs.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a compilation, any of them, but not for long.
    fn wait<'a>(&self, kept: MutexGuard<'a, Kept>) -> MutexGuard<'a, Kept> {
        self.ended.wait_timeout(kept, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Kept {
    fn find(&mut self, digest: Digest) -> Option<Compiled> {
        self.uses += 1;
        let slot = self.programs.get_mut(&digest)?;
        slot.last_use = self.uses;
        Some(slot.compiled.clone())
    }

    /// Keeps what a compilation has brought.
    fn insert(&mut self, digest: Digest, compiled: Compiled, bytes: u64, bytes_max: u64) {
        self.compiling.remove(&digest);
        self.make_room(bytes, bytes_max);
        self.bytes += bytes;
        self.uses += 1;
        self.programs.insert(digest, Slot { compiled, bytes, last_use: self.uses });
    }

    /// Drops those that were not used for longest, until so many bytes fit. Who runs one has it to its end.
    fn make_room(&mut self, bytes: u64, bytes_max: u64) {
        while self.bytes + bytes > bytes_max {
            let oldest = self.programs.iter().min_by_key(|(_, slot)| slot.last_use);
            let Some(digest) = oldest.map(|(digest, _)| *digest) else { return };
            let dropped = self.programs.remove(&digest).map_or(0, |slot| slot.bytes);
            self.bytes -= dropped;
        }
    }
}
