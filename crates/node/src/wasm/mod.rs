//! The WebAssembly engine that a worker runs tasks with: any WASI preview1 command, its input on stdin, its result on
//! stdout, with nothing else of the machine in reach and a limit on everything that it may use.
//!
//! A guest's bits depend on its module, its input and its seed alone, unless it is granted the clock. The engine knows
//! nothing of assignments, blobs or programs' messages: whoever runs it fetches the module and reports what came.

mod ticker;
mod guest;
mod wasi;
mod call;
mod programs;
mod engine;
#[cfg(test)]
mod tests;

pub(crate) use call::{Call, Program};
pub(crate) use engine::{Engine, Limits, WasmError, check};
pub(crate) use guest::Failure;
