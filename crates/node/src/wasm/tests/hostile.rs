//! Guests that mean harm, or might as well. Each ends its own call with a reason that names it, and the engine goes on.
//!
//! Modules that never become a program are beside, in `modules`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Call, ENGINE, call, check_engine, module, module_with_memory, program_of, run};
use crate::wasm::Failure;

const FOREVER: &str = r#"(func (export "_start") (loop $again (br $again)))"#;

/// A sleep of an hour, and then again.
const SLEEPER: &str = r#"(func (export "_start")
    (i64.store (i32.const 536) (i64.const 3600000000000))
    (loop $again
        (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 16)))
        (br $again)))"#;

/// A module ends with a message that says so, and after it the engine runs a good guest.
fn check(module: &Bytes, call: Call, message: &str) {
    let failure = run(module, call).outcome.expect_err(message);
    assert!(failure.to_string().contains(message), "`{failure}` says nothing of `{message}`");
    check_engine();
}

#[test]
fn endless_loops_run_out_of_time() {
    let short = Call { time_max: Some(Duration::from_millis(30)), ..call("") };
    check(&module(FOREVER), short.clone(), "longer than its time limit of 30ms");
    check(&module(SLEEPER), short.clone(), "longer than its time limit");
    let looping_start = r#"(func $loop (loop $again (br $again))) (start $loop) (func (export "_start"))"#;
    check(&module(looping_start), short.clone(), "longer than its time limit");
    // A call of the host is no way round.
    let asking = r#"(func (export "_start") (loop $again
        (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $again)))"#;
    check(&module(asking), short.clone(), "longer than its time limit");
    let recursing = r#"(func $f (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (drop (call $f (i32.sub (local.get 0) (i32.const 1))))
                      (call $f (i32.sub (local.get 0) (i32.const 1))))
                (else (i32.const 0))))
        (func (export "_start") (drop (call $f (i32.const 200))))"#;
    check(&module(recursing), short, "longer than its time limit");
}

#[test]
fn a_stop_is_obeyed_soon() {
    for text in [FOREVER, SLEEPER] {
        let program = program_of(&ENGINE, &module(text)).expect("a program");
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let running = std::thread::spawn({
            let stop = stop.clone();
            move || program.call(Call { time_max: None, ..call("") }, &stop)
        });
        // Whether it is set before the guest runs, or while it does, it ends.
        std::thread::yield_now();
        stop.store(true, Ordering::Relaxed);
        let ended = running.join().expect("no panic");
        assert_eq!(ended.outcome, Err(Failure::Stopped));
        // Of 100 ms; the rest is for a machine that is busy with other tests.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    check_engine();
}

#[test]
fn a_stop_before_the_call_runs_nothing() {
    let program = program_of(&ENGINE, &module(FOREVER)).expect("a program");
    let ended = program.call(call(""), &Arc::new(AtomicBool::new(true)));
    assert_eq!((ended.outcome, ended.peak_memory_bytes), (Err(Failure::Stopped), 0));
}

#[test]
fn memory_ends_at_its_limit() {
    let bomb = r#"(func (export "_start") (loop $again
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $again)))"#;
    check(&module(bomb), call(""), "more than its memory limit of 16777216 bytes");
    let ended = run(&module(bomb), call(""));
    assert!((15 << 20..=16 << 20).contains(&ended.peak_memory_bytes), "{}", ended.peak_memory_bytes);
    // One that takes no for an answer goes on.
    let content = r#"(func (export "_start") (drop (memory.grow (i32.const 60000))))"#;
    assert_eq!(run(&module(content), call("")).outcome, Ok(()));
    // One that asks for more than 32 bits hold is no different.
    let greedy = r#"(func (export "_start")
        (if (i32.eq (memory.grow (i32.const -1)) (i32.const -1)) (then unreachable)))"#;
    check(&module(greedy), call(""), "trapped");
    let large = module_with_memory(r#"(memory (export "memory") 300)"#, r#"(func (export "_start"))"#);
    check(&large, call(""), "more than its memory limit");
    let all = module_with_memory(r#"(memory (export "memory") 65536)"#, r#"(func (export "_start"))"#);
    check(&all, call(""), "more than its memory limit");
}

#[test]
fn tables_count_as_memory() {
    let bomb = r#"(table $table 1 funcref) (func (export "_start") (loop $again
        (if (i32.eq (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
        (br $again)))"#;
    check(&module(bomb), call(""), "memory limit");
    check(&module(bomb), Call { memory_bytes_max: 100_000, ..call("") }, "memory limit of 100000 bytes");
}

#[test]
fn traps_say_what_and_where() {
    let recursion = r#"(func $deeper (call $deeper)) (func (export "_start") (call $deeper))"#;
    check(&module(recursion), call(""), "call stack exhausted, in `deeper`");
    let divide = r#"(func $divide (export "_start") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0)))))"#;
    check(&module(divide), call(""), "integer divide by zero, in `divide`");
    let outside = r#"(func $outside (export "_start") (drop (i32.load (i32.const 65536))))"#;
    check(&module(outside), call(""), "out of bounds memory access, in `outside`");
    let unreachable = r#"(func (export "_start") unreachable)"#;
    check(&module(unreachable), call(""), "`unreachable` instruction executed");
    let indirect = r#"(table 1 funcref) (func (export "_start") (call_indirect (i32.const 0)))"#;
    check(&module(indirect), call(""), "uninitialized element");
}

#[test]
fn endless_output_ends_at_its_limit() {
    let writer = r#"(func (export "_start")
        (i32.store (i32.const 4) (i32.const 65536))
        (loop $again (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 4) (i32.const 65536)) (br $again)))"#;
    check(&module(writer), call(""), "more than its limit of 1048576 bytes to stdout");
    let ended = run(&module(writer), Call { stdout_bytes_max: 100_000, ..call("") });
    assert!(ended.stdout.len() <= 100_000, "{}", ended.stdout.len());
}

/// Pointers beyond its memory, lists without end, streams that there are not.
#[test]
fn the_host_is_not_led_astray() {
    let calls = [
        "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 8))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8))",
        "(call $fd_write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 8))",
        "(call $fd_write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))",
        "(call $fd_read (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))",
        "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 100000) (i32.const 8))",
        "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))",
        "(call $args_get (i32.const -1) (i32.const -1))",
        "(call $args_get (i32.const 0) (i32.const 65530))",
        "(call $args_sizes_get (i32.const -4) (i32.const 0))",
        "(call $random_get (i32.const 1) (i32.const 65536))",
        "(call $random_get (i32.const -1) (i32.const -1))",
        "(call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 0))",
        "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -7))",
        "(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
        "(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))",
        "(call $poll_oneoff (i32.const 65530) (i32.const 0) (i32.const 1) (i32.const 0))",
    ];
    for call_of_host in calls {
        let text = format!(r#"(func (export "_start") (if (i32.eqz {call_of_host}) (then unreachable)))"#);
        assert_eq!(run(&module(&text), call("text")).outcome, Ok(()), "{call_of_host} is refused");
    }
    let no_memory = r#"(func (export "_start")
        (if (i32.eqz (call $random_get (i32.const 0) (i32.const 1))) (then unreachable)))"#;
    assert_eq!(run(&module_with_memory("", no_memory), call("")).outcome, Ok(()));
    check_engine();
}
