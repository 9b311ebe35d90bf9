//! The engine: how modules are compiled and instances allocated, the same for every guest of a worker.
//!
//! It decides what WebAssembly may be; what a guest may do is decided at each call.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::Digest;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::Program;
use super::guest::TABLE_ELEMENTS_MAX;
use super::programs::{self, Compiler, Programs};
use super::ticker::Ticker;

/// A guest's native stack: half of what a Rust thread has, so that the other half is the host functions'.
const STACK_BYTES: usize = 1 << 20;

/// The most tables of a module: programs have one, a few have two.
const TABLES_MAX: u32 = 4;

/// How much of an instance's own state and tables is cleared by writing, which costs less than handing pages back.
const KEPT_RESIDENT_BYTES: usize = 64 << 10;

/// What an engine keeps to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How many calls may run at once.
    pub(crate) calls_max: u32,
    pub(crate) module_bytes_max: u64,
    /// How long a module may take to compile before the tasks that need it are given up.
    pub(crate) compile_time_max: Duration,
    /// How long a task may wait until its module's turn comes, where too many others are being compiled.
    pub(crate) compile_turn_time_max: Duration,
    /// How many bytes of modules are kept compiled: those that were used last.
    pub(crate) programs_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 64,
            module_bytes_max: 64 << 20,
            compile_time_max: Duration::from_secs(60),
            compile_turn_time_max: Duration::from_secs(600),
            programs_bytes_max: 256 << 20,
        }
    }
}

/// Why a module cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WasmError {
    #[error("the WebAssembly engine cannot be started: {0}")]
    Start(String),
    #[error("the module is larger than a module may be: {bytes} bytes, of {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error("the module is not WebAssembly: it does not begin with `\\0asm`")]
    Foreign,
    #[error("the module is not WebAssembly that workers take: {0}")]
    Invalid(String),
    #[error("the module is a component: build it for WASI preview1, wasm32-wasip1")]
    Component,
    #[error("the module cannot be linked: {0}")]
    Link(String),
    #[error("the module is no command: it has no function `_start`")]
    NoStart,
    #[error("the module did not compile within {time_max:?}")]
    CompileTime { time_max: Duration },
    #[error("no turn to compile the module came within {turn_time_max:?}: {compiling} others are being compiled")]
    CompilersBusy { compiling: usize, turn_time_max: Duration },
    #[error("it was stopped before its module was compiled")]
    Stopped,
    #[error("the compiler panicked at the module")]
    CompilerPanicked,
}

impl WasmError {
    /// What the engine says of a module, on one line: it may show what it found over many.
    pub(super) fn invalid(error: &wasmtime::Error) -> Self {
        let said = format!("{error:#}");
        Self::Invalid(said.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Whether workers take a module, as far as that shows before it is compiled.
pub(crate) fn check(module: &[u8]) -> Result<(), WasmError> {
    let engine = wasmtime::Engine::new(&config(None)).map_err(|error| WasmError::Start(format!("{error:#}")))?;
    programs::check(&engine, module)
}

/// Compiles modules and keeps them.
pub(crate) struct Engine {
    programs: Programs,
}

impl Engine {
    /// Starts an engine with the thread that ticks.
    pub(crate) fn start(limits: Limits) -> Result<Self, WasmError> {
        // The pool reserves address space for all instances at once, which some systems do not grant.
        let pooled = wasmtime::Engine::new(&config(Some(limits.calls_max)));
        let engine = pooled.or_else(|error| {
            tracing::debug!("no pool of WebAssembly instances, each is allocated anew: {error:#}");
            wasmtime::Engine::new(&config(None))
        });
        let engine = engine.map_err(|error| WasmError::Start(format!("{error:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| WasmError::Start(error.to_string()))?;
        let compiler = Compiler::new(&engine, Arc::new(ticker))?;
        Ok(Self { programs: Programs::new(move |module| compiler.compile(module), limits) })
    }

    /// The program of a module, compiled once for all who ask for it. Blocks while it is compiled, or until `stop` is set.
    pub(crate) fn program(&self, digest: Digest, module: &Bytes, stop: &AtomicBool) -> Result<Arc<Program>, WasmError> {
        self.programs.get(digest, module, stop)
    }
}

/// How modules are compiled, and where their instances are: in a pool for so many, or wherever there is room.
fn config(pool: Option<u32>) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    // What is left open by the standard is the same bits on every machine.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    // A command has one memory; one is what the pool has room for.
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    // Only functions' names are told of a trap, and nothing else unwinds a guest's stack.
    config.generate_address_map(false);
    config.native_unwind_info(false);
    if let Some(instances) = pool {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(instances).total_memories(instances).total_tables(instances * TABLES_MAX);
        pool.max_tables_per_module(TABLES_MAX).table_elements(TABLE_ELEMENTS_MAX);
        pool.table_keep_resident(KEPT_RESIDENT_BYTES).max_unused_warm_slots(instances);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
