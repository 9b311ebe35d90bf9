//! WebAssembly programs: a sandboxed guest, run on an item, an integer or results.
//!
//! What a guest may do is the engine's; the worker's own limits stand above the job's.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use convoke_core::event::{Exit, Failure, Usage};
use convoke_wire::program::Wasm;

use super::{Computed, Death, ExecuteError, Given, Input, STDOUT_BYTES_MAX};
use crate::wasm::{Call, Engine, Failure as Died, Limits, WasmError, check};

/// The most bytes of a module.
pub const MODULE_BYTES_MAX: u64 = 64 << 20;

/// What a worker lets guests have, whatever a job says.
#[derive(Clone, Copy, Debug)]
pub struct WasmLimits {
    /// The most bytes of memory of one of them.
    pub memory_bytes_max: u64,
    /// The longest that one may run.
    pub time_max: Duration,
}

impl Default for WasmLimits {
    /// A gibibyte and an hour.
    fn default() -> Self {
        Self { memory_bytes_max: 1 << 30, time_max: Duration::from_secs(3_600) }
    }
}

/// A module that no worker takes.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ModuleError(#[from] WasmError);

/// Whether workers that are like this build take a module, as far as that shows before it is compiled.
pub fn check_module(module: &[u8]) -> Result<(), ModuleError> {
    Ok(check(module)?)
}

/// A worker's guests.
pub(crate) struct Guests {
    limits: WasmLimits,
    calls_max: u32,
    /// Started for the first of them.
    engine: OnceLock<Result<Engine, WasmError>>,
}

impl Guests {
    pub(crate) fn new(limits: WasmLimits, slots: u32) -> Self {
        // Each runs on a thread that computes, of which there are as many as slots.
        Self { limits, calls_max: slots, engine: OnceLock::new() }
    }

    /// Runs a module on what a task is given.
    pub(super) fn run(
        &self,
        wasm: &Wasm,
        module: &Bytes,
        given: &Given,
        stop: &Arc<AtomicBool>,
    ) -> Result<Computed, ExecuteError> {
        let Given { assignment, input, .. } = given;
        let limits = || Limits { calls_max: self.calls_max, module_bytes_max: MODULE_BYTES_MAX, ..Limits::default() };
        let engine = self.engine.get_or_init(|| Engine::start(limits())).as_ref().map_err(Clone::clone)?;
        let program = engine.program(wasm.module_digest()?, module, stop)?;
        let time_max = assignment.timeout_ms.map_or(self.limits.time_max, Duration::from_millis);
        let memory_bytes_max = wasm.memory_bytes_max.unwrap_or(u64::MAX).min(self.limits.memory_bytes_max);
        let environment = wasm.environment.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
        let call = Call {
            stdin: framed(input),
            arguments: wasm.arguments.clone().into(),
            environment: environment.collect(),
            memory_bytes_max,
            time_max: Some(time_max.min(self.limits.time_max)),
            stdout_bytes_max: STDOUT_BYTES_MAX as u64,
            seed: assignment.seed,
            clock: wasm.clock,
        };
        let ended = program.call(call, stop);
        let usage = Usage { cpu_us: 0, peak_memory_bytes: ended.peak_memory_bytes };
        match ended.outcome {
            Ok(()) => Ok(Computed { result: ended.stdout, log: ended.stderr, usage, ..Computed::default() }),
            Err(died) => {
                let exit = match died {
                    Died::Exited { status } => Some(Exit::Status(status)),
                    Died::Trapped { .. } | Died::Memory { .. } => Some(Exit::Trap),
                    Died::Time { .. } | Died::Output { .. } | Died::Stopped | Died::NotStarted { .. } => None,
                };
                let failure = Failure { reason: format!("the guest: {died}"), exit, usage, log: None };
                Err(ExecuteError::Died(Box::new(Death { failure, log: ended.stderr })))
            }
        }
    }
}

/// As a guest reads it: results each after its length, all else as a command reads it.
fn framed(input: &Input) -> Bytes {
    let Input::Parts(parts) = input else { return input.joined() };
    let mut framed = BytesMut::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        framed.put_u64_le(part.len() as u64);
        framed.extend_from_slice(part);
    }
    framed.freeze()
}
