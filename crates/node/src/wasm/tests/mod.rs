//! Guests that are called through the engine alone, as a worker does: they are text, apart from the examples.
//!
//! What a worker makes of an end is not tested here.

mod commands;
mod examples;
mod hostile;
mod modules;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use convoke_core::Digest;

use super::call::Ended;
use super::{Call, Engine, Limits, Program, WasmError};

/// The tests share an engine as a worker's tasks do: what one guest does is not to touch another.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::start(Limits::default()).expect("an engine"));

/// Writes its stdin to its stdout.
const ECHO: &str = r#"
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 64))
        (loop $more
            (i32.store (i32.const 4) (i32.const 1000))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br_if $more (i32.load (i32.const 4)))))
"#;

/// A module of a text in which the functions of WASI can be called by their names, with a page of memory.
fn module(text: &str) -> Bytes {
    module_with_memory(r#"(memory (export "memory") 1)"#, text)
}

fn module_with_memory(memory: &str, text: &str) -> Bytes {
    let functions = [
        ("args_get", 2),
        ("args_sizes_get", 2),
        ("environ_get", 2),
        ("environ_sizes_get", 2),
        ("fd_prestat_get", 2),
        ("fd_read", 4),
        ("fd_write", 4),
        ("path_open", 9),
        ("poll_oneoff", 4),
        ("random_get", 2),
    ];
    let import = |(name, parameters): (&str, usize)| {
        let parameters = match name {
            "path_open" => "i32 i32 i32 i32 i32 i64 i64 i32 i32".to_owned(),
            _ => "i32 ".repeat(parameters),
        };
        format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {parameters}) (result i32)))"#)
    };
    let imports: String = functions.map(import).concat();
    let clock = r#"(import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock_time_get (param i32 i64 i32) (result i32)))"#;
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))"#;
    binary(&format!("(module {imports} {clock} {exit} {memory} {text})"))
}

fn binary(text: &str) -> Bytes {
    Bytes::from(wat::parse_str(text).expect("a module's text"))
}

fn program_of(engine: &Engine, module: &Bytes) -> Result<Arc<Program>, WasmError> {
    engine.program(Digest(*blake3::hash(module).as_bytes()), module, &AtomicBool::new(false))
}

/// A call with room enough.
fn call(stdin: impl AsRef<[u8]>) -> Call {
    Call {
        stdin: Bytes::copy_from_slice(stdin.as_ref()),
        arguments: Arc::new([]),
        environment: Arc::new([]),
        memory_bytes_max: 16 << 20,
        time_max: Some(Duration::from_secs(60)),
        stdout_bytes_max: 1 << 20,
        seed: 1,
        clock: false,
    }
}

fn run(module: &Bytes, call: Call) -> Ended {
    program_of(&ENGINE, module).expect("a program").call(call, &Arc::new(AtomicBool::new(false)))
}

/// What a guest writes; it is to end well.
fn output(module: &Bytes, call: Call) -> Vec<u8> {
    let ended = run(module, call);
    assert_eq!(ended.outcome, Ok(()), "{}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout.to_vec()
}

/// That the engine still runs a good guest.
fn check_engine() {
    assert_eq!(output(&module(ECHO), call("still here")), b"still here");
}
