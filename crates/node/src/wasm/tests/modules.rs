//! What becomes a program and what does not, and how programs are kept.
//!
//! What they do when they run is beside.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::Digest;

use super::{ECHO, ENGINE, binary, call, check_engine, module, output, program_of};
use crate::wasm::programs::{Compiler, Programs};
use crate::wasm::ticker::Ticker;
use crate::wasm::{Engine, Limits, WasmError};

/// A module is refused with a message that says so, at the first time and when it is asked for again.
fn check(module: &Bytes, message: &str) {
    for _ in 0..2 {
        let error = program_of(&ENGINE, module).err().expect(message);
        let said = error.to_string();
        assert!(said.contains(message) && !said.contains('\n'), "`{said}` says nothing of `{message}`");
    }
    check_engine();
}

#[test]
fn what_is_no_module_is_refused() {
    check(&Bytes::new(), "not WebAssembly");
    check(&Bytes::from_static(b"(module (func (export \"_start\")))"), "not WebAssembly");
    check(&Bytes::from_static(b"\0asm\x0d\0\x01\0"), "is a component");
    let good = module(ECHO);
    for cut in [1, 8, good.len() / 2, good.len() - 1] {
        let error = program_of(&ENGINE, &good.slice(..cut)).err().expect("a cut module");
        assert!(matches!(error, WasmError::Foreign | WasmError::Invalid(_) | WasmError::NoStart), "{error}");
    }
    for at in 0..good.len() {
        // Some of these are modules; none is to bring the engine down.
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x55;
        let _: Result<_, WasmError> = program_of(&ENGINE, &Bytes::from(bytes));
    }
    let wrong_type = binary(r#"(module (func (export "_start") (drop (i64.add (i32.const 1) (i64.const 1)))))"#);
    check(&wrong_type, "type mismatch");
}

#[test]
fn what_was_compiled_elsewhere_is_refused() {
    let serialized = wasmtime::Module::from_binary(&wasmtime::Engine::default(), &module(ECHO)).expect("a module");
    let serialized = Bytes::from(serialized.serialize().expect("its machine code"));
    check(&serialized, "not WebAssembly");
}

#[test]
fn what_is_no_command_is_refused() {
    check(&binary("(module)"), "no function `_start`");
    check(&binary(r#"(module (memory (export "_start") 1))"#), "no function `_start`");
    check(&binary(r#"(module (func (export "_start") (param i32)))"#), "no function `_start`");
}

#[test]
fn only_wasi_is_linked() {
    let importing = |import: &str| binary(&format!(r#"(module {import} (func (export "_start")))"#));
    check(&importing(r#"(import "env" "system" (func (param i32) (result i32)))"#), "`env::system`");
    check(&importing(r#"(import "env" "memory" (memory 1))"#), "`env::memory`");
    check(&importing(r#"(import "wasi_snapshot_preview1" "fd_read" (func))"#), "fd_read");
    let unknown = importing(r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32) (result i32)))"#);
    assert_eq!(output(&unknown, call("")), b"");
}

#[test]
fn large_modules_are_compiled_or_refused() {
    let many = format!(r#"(module {} (func (export "_start")))"#, "(func)".repeat(100_000));
    // However slow the compiler was built.
    let patient = Limits { compile_time_max: Duration::from_secs(3600), ..Limits::default() };
    let patient = Engine::start(patient).expect("an engine");
    let program = program_of(&patient, &binary(&many)).expect("a program");
    assert_eq!(program.call(call(""), &Arc::default()).outcome, Ok(()));
    let locals = format!(r#"(module (func (export "_start") (local {})))"#, "i64 ".repeat(50_001));
    check(&binary(&locals), "too many locals");
    let deep = 20_000;
    let nested = format!(r#"(module (func (export "_start") {} {}))"#, "block ".repeat(deep), "end ".repeat(deep));
    let _: Result<_, WasmError> = program_of(&ENGINE, &binary(&nested));
    let small = Engine::start(Limits { module_bytes_max: 100, ..Limits::default() }).expect("an engine");
    let error = program_of(&small, &module(ECHO)).err();
    assert!(matches!(error, Some(WasmError::TooLarge { bytes_max: 100, .. })), "{error:?}");
    check_engine();
}

#[test]
fn a_slow_compilation_is_not_waited_for() {
    let hurried = Engine::start(Limits { compile_time_max: Duration::ZERO, ..Limits::default() }).expect("an engine");
    let slow = binary(&format!(r#"(module {} (func (export "_start")))"#, "(func)".repeat(20_000)));
    let error = program_of(&hurried, &slow).err();
    assert_eq!(error, Some(WasmError::CompileTime { time_max: Duration::ZERO }));
    // It goes on for those who ask later.
    while program_of(&hurried, &slow).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn many_who_ask_at_once_get_the_same_program() {
    let echo = module(ECHO);
    let engine = Arc::new(Engine::start(Limits::default()).expect("an engine"));
    let together = Arc::new(Barrier::new(8));
    let ask = || {
        let (echo, engine, together) = (echo.clone(), engine.clone(), together.clone());
        std::thread::spawn(move || {
            together.wait();
            program_of(&engine, &echo).expect("a program")
        })
    };
    let asking = std::array::from_fn::<_, 8, _>(|_| ask());
    let programs = asking.map(|thread| thread.join().expect("no panic"));
    assert!(programs.iter().all(|program| Arc::ptr_eq(program, &programs[0])));
}

#[test]
fn those_not_used_for_longest_go() {
    let engine = wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(true)).expect("an engine");
    let ticker = Arc::new(Ticker::start(engine.clone()).expect("a thread"));
    // Room for three of the smallest.
    let limits = Limits { programs_bytes_max: 3 * (64 << 10), ..Limits::default() };
    let programs = Programs::start(Compiler::new(&engine, ticker).expect("a compiler"), limits).expect("a thread");
    let echo = module(ECHO);
    let get = |number: u8| programs.get(Digest([number; 32]), &echo).expect("a program");
    let first = get(1);
    let second = get(2);
    get(3);
    assert!(Arc::ptr_eq(&first, &get(1)));
    get(4);
    assert_eq!(programs.kept(), 3);
    assert!(Arc::ptr_eq(&first, &get(1)), "it was used last but one");
    assert!(!Arc::ptr_eq(&second, &get(2)), "it was compiled anew");
}

#[test]
fn a_ticker_sleeps_while_nothing_runs_and_wakes() {
    let config = &mut wasmtime::Config::new();
    let engine = wasmtime::Engine::new(config.epoch_interruption(true)).expect("an engine");
    let ticker = Ticker::start(engine).expect("a thread");
    let wait_for = |asleep: bool| {
        let began = Instant::now();
        while ticker.is_asleep() != asleep {
            assert!(began.elapsed() < Duration::from_secs(60), "asleep: {}", ticker.is_asleep());
            std::thread::yield_now();
        }
    };
    wait_for(true);
    let running = ticker.run();
    wait_for(false);
    drop(running);
    wait_for(true);
}
