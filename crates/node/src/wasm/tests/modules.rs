//! What becomes a program and what does not, and how programs are kept.
//!
//! What they do when they run is beside.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::Digest;

use super::{ECHO, ENGINE, binary, call, check_engine, module, output, program_of};
use crate::wasm::programs::{Compiled, Compiler, Programs};
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

/// Programs whose compiler is a test's own, beside the real one.
fn programs(limits: Limits, compile: impl Fn(&Compiler, &[u8]) -> Compiled + Send + Sync + 'static) -> Arc<Programs> {
    let engine = wasmtime::Engine::new(wasmtime::Config::new().epoch_interruption(true)).expect("an engine");
    let ticker = Arc::new(Ticker::start(engine.clone()).expect("a thread"));
    let compiler = Compiler::new(&engine, ticker).expect("a compiler");
    Arc::new(Programs::new(move |module| compile(&compiler, module), limits))
}

#[test]
fn those_not_used_for_longest_go() {
    // Room for three of the smallest.
    let limits = Limits { programs_bytes_max: 3 * (64 << 10), ..Limits::default() };
    let programs = programs(limits, Compiler::compile);
    let echo = module(ECHO);
    let get = |number: u8| programs.get(Digest([number; 32]), &echo, &AtomicBool::new(false)).expect("a program");
    let first = get(1);
    let second = get(2);
    get(3);
    assert!(Arc::ptr_eq(&first, &get(1)));
    get(4);
    assert_eq!(programs.kept(), 3);
    assert!(Arc::ptr_eq(&first, &get(1)), "it was used last but one");
    assert!(!Arc::ptr_eq(&second, &get(2)), "it was compiled anew");
}

/// Programs of which those of the bytes [`SLOW`] are compiled when the test says so, a word each; and how many were begun.
fn slow_programs(limits: Limits) -> (Arc<Programs>, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (go, gate) = mpsc::channel::<()>();
    let (gate, count) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let programs = programs(limits, move |compiler, module| {
        counted.fetch_add(1, Relaxed);
        if module == SLOW {
            gate.lock().expect("no panic").recv().expect("a word");
            return compiler.compile(&self::module(ECHO));
        }
        compiler.compile(module)
    });
    (programs, go, count)
}

const SLOW: &[u8] = b"slow";

/// Asks on a thread of its own; set the flag, and it is to stop.
fn ask(programs: &Arc<Programs>, digest: u8, module: &Bytes) -> (JoinHandle<Compiled>, Arc<AtomicBool>) {
    let (programs, module, stop) = (programs.clone(), module.clone(), Arc::new(AtomicBool::new(false)));
    let stopping = stop.clone();
    (std::thread::spawn(move || programs.get(Digest([digest; 32]), &module, &stopping)), stop)
}

#[test]
fn a_slow_module_holds_up_no_other_and_is_compiled_once() {
    let (programs, go, count) = slow_programs(Limits { calls_max: 2, ..Limits::default() });
    let slow = Bytes::from_static(SLOW);
    let [(first, _), (second, _)] = [ask(&programs, 1, &slow), ask(&programs, 1, &slow)];
    ask(&programs, 2, &module(ECHO)).0.join().expect("no panic").expect("another program, meanwhile");
    assert!(!first.is_finished() && !second.is_finished());
    go.send(()).expect("a compiler");
    let [first, second] = [first, second].map(|asked| asked.join().expect("no panic").expect("a program"));
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(count.load(Relaxed), 2);
}

#[test]
fn who_is_to_stop_waits_no_longer_and_others_have_their_turn() {
    let limits = Limits { calls_max: 1, compile_turn_time_max: Duration::ZERO, ..Limits::default() };
    let (programs, go, count) = slow_programs(limits);
    let slow = Bytes::from_static(SLOW);
    let give_up = |digest| {
        let before = count.load(Relaxed);
        let (asked, stop) = ask(&programs, digest, &slow);
        while count.load(Relaxed) == before && !asked.is_finished() {
            std::thread::yield_now();
        }
        stop.store(true, Relaxed);
        asked.join().expect("no panic").err()
    };
    let echo = module(ECHO);
    // Four that nobody waits for leave a turn to the only caller.
    for digest in 1..=4 {
        assert_eq!(give_up(digest), Some(WasmError::Stopped));
    }
    ask(&programs, 10, &echo).0.join().expect("no panic").expect("a program");
    assert_eq!(give_up(5), Some(WasmError::Stopped));
    let busy = WasmError::CompilersBusy { compiling: 5, turn_time_max: Duration::ZERO };
    assert_eq!(ask(&programs, 11, &echo).0.join().expect("no panic").err(), Some(busy));
    // Their compilations go on, and are not in vain.
    (0..5).for_each(|_| go.send(()).expect("a compiler"));
    for digest in 1..=5 {
        ask(&programs, digest, &slow).0.join().expect("no panic").expect("a program");
    }
    ask(&programs, 11, &echo).0.join().expect("no panic").expect("a program");
    assert_eq!(count.load(Relaxed), 7);
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
