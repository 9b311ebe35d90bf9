//! The programs that are kept compiled: each module is compiled once, however many ask for it, on a thread of its own.
//!
//! A compilation cannot be interrupted: whoever waits too long gives up, and the thread, of which there is one, goes on.
//! What was compiled elsewhere is never taken. Whether a digest is the bytes' own is not checked here.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use bytes::Bytes;
use convoke_core::Digest;
use wasmtime::{Linker, Module};

use super::call::START;
use super::guest::Guest;
use super::ticker::Ticker;
use super::{Limits, Program, WasmError, wasi};

/// How many modules may wait to be compiled.
const WAITING_MAX: usize = 64;

/// What the smallest module counts for: its program takes some pages.
const PROGRAM_BYTES_MIN: u64 = 64 << 10;

/// The compiler's functions nest as deeply as the module's blocks.
const COMPILER_STACK_BYTES: usize = 16 << 20;

/// What a module begins with.
const MAGIC: &[u8] = b"\0asm";

type Compiled = Result<Arc<Program>, WasmError>;

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

    fn compile(&self, bytes: &[u8]) -> Compiled {
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
    kept: Mutex<Kept>,
    limits: Limits,
    waiting: mpsc::SyncSender<(Arc<Slot>, Bytes)>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Digest, (Arc<Slot>, u64)>,
    uses: u64,
    bytes: u64,
}

/// A program, or its place while it is compiled.
struct Slot {
    bytes: u64,
    compiled: Mutex<Option<Compiled>>,
    is_compiled: Condvar,
}

impl Programs {
    /// Starts the thread that compiles; it ends after this is dropped, with the module that it is at.
    pub(super) fn start(compiler: Compiler, limits: Limits) -> std::io::Result<Self> {
        let (waiting, modules) = mpsc::sync_channel::<(Arc<Slot>, Bytes)>(WAITING_MAX);
        let thread = thread::Builder::new().name("wasm-compiler".to_owned()).stack_size(COMPILER_STACK_BYTES);
        thread.spawn(move || {
            for (slot, bytes) in modules {
                let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(&bytes)));
                slot.fill(compiled.unwrap_or(Err(WasmError::CompilerPanicked)));
            }
        })?;
        Ok(Self { kept: Mutex::default(), limits, waiting })
    }

    pub(super) fn get(&self, digest: Digest, module: &Bytes) -> Compiled {
        let (bytes, bytes_max) = (module.len() as u64, self.limits.module_bytes_max);
        if bytes > bytes_max {
            return Err(WasmError::TooLarge { bytes, bytes_max });
        }
        self.slot(digest, module)?.wait(&self.limits)
    }

    /// The digest's slot. The first who asks has it filled, and that it is invalid is kept too.
    fn slot(&self, digest: Digest, module: &Bytes) -> Result<Arc<Slot>, WasmError> {
        let mut kept = lock(&self.kept);
        kept.uses += 1;
        let now = kept.uses;
        if let Some((slot, last_use)) = kept.slots.get_mut(&digest) {
            *last_use = now;
            return Ok(slot.clone());
        }
        let bytes = PROGRAM_BYTES_MIN.max(module.len() as u64);
        let slot = Arc::new(Slot { bytes, compiled: Mutex::default(), is_compiled: Condvar::new() });
        let sent = self.waiting.try_send((slot.clone(), module.clone()));
        sent.map_err(|_| WasmError::CompilerBusy { waiting_max: WAITING_MAX })?;
        kept.make_room(bytes, self.limits.programs_bytes_max);
        kept.slots.insert(digest, (slot.clone(), now));
        kept.bytes += bytes;
        Ok(slot)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        lock(&self.kept).slots.len()
    }
}

impl Kept {
    /// Drops those that were not used for longest, until so many bytes fit. Who runs one has it to its end.
    fn make_room(&mut self, bytes: u64, bytes_max: u64) {
        while self.bytes + bytes > bytes_max {
            let oldest = self.slots.iter().min_by_key(|(_, (_, last_use))| *last_use);
            let Some(digest) = oldest.map(|(digest, _)| *digest) else { return };
            let dropped = self.slots.remove(&digest).map_or(0, |(slot, _)| slot.bytes);
            self.bytes -= dropped;
        }
    }
}

impl Slot {
    fn fill(&self, compiled: Compiled) {
        *lock(&self.compiled) = Some(compiled);
        self.is_compiled.notify_all();
    }

    fn wait(&self, limits: &Limits) -> Compiled {
        let time_max = limits.compile_time_max;
        let compiled = lock(&self.compiled);
        let waited = self.is_compiled.wait_timeout_while(compiled, time_max, |compiled| compiled.is_none());
        let (compiled, _) = waited.unwrap_or_else(PoisonError::into_inner);
        compiled.clone().unwrap_or(Err(WasmError::CompileTime { time_max }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
