//! Guests that behave: what they are given and what comes back of them.
//!
//! Their WASI is written out, so that each of its answers is seen; what compilers make of it the examples show.

use std::sync::Arc;

use super::{Call, ECHO, call, module, module_with_memory, output, run};
use crate::wasm::Failure;
use crate::wasm::guest::STDERR_BYTES_MAX;

/// Writes so many bytes of memory from an address on to stdout.
fn write(pointer: u32, len: &str) -> String {
    format!(
        "(i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) {len})
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
    )
}

#[test]
fn stdin_comes_in_and_stdout_comes_back() {
    let echo = module(ECHO);
    let text = "twenty bytes of text ".repeat(1_000);
    assert_eq!(output(&echo, call(&text)), text.as_bytes());
    assert_eq!(output(&echo, call("")), b"");
    let ended = run(&echo, call(&text));
    assert_eq!(ended.peak_memory_bytes, 65_536);
}

#[test]
fn arguments_and_variables_are_those_given() {
    let list = |name: &str| {
        let (sizes, get) = (format!("${name}_sizes_get"), format!("${name}_get"));
        let write = write(1024, "(i32.load (i32.const 20))");
        module(&format!(
            r#"(func (export "_start")
                (drop (call {sizes} (i32.const 16) (i32.const 20)))
                (drop (call {get} (i32.const 512) (i32.const 1024)))
                {write})"#
        ))
    };
    let given = Call {
        arguments: Arc::new(["one".to_owned(), "two".to_owned()]),
        environment: Arc::new([("NAME".to_owned(), "value".to_owned())]),
        ..call("")
    };
    assert_eq!(output(&list("args"), given.clone()), b"program\0one\0two\0");
    assert_eq!(output(&list("environ"), given), b"NAME=value\0");
    // The worker's own environment, in which these tests have a PATH, is not seen.
    assert_eq!(output(&list("environ"), call("")), b"");
}

#[test]
fn random_bytes_follow_from_the_seed() {
    let write = write(1024, "(i32.const 64)");
    let random = module(&format!(
        r#"(func (export "_start") (drop (call $random_get (i32.const 1024) (i32.const 64))) {write})"#
    ));
    let first = output(&random, call(""));
    assert_eq!(output(&random, call("")), first);
    assert_ne!(output(&random, Call { seed: 2, ..call("") }), first);
    assert_ne!(first, [0; 64]);
}

#[test]
fn time_passes_only_for_those_granted_the_clock() {
    let write = write(1024, "(i32.const 16)");
    let times = module(&format!(
        r#"(func (export "_start")
            (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 1024)))
            (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 1032)))
            {write})"#
    ));
    assert_eq!(output(&times, call("")), [0; 16]);
    let told = output(&times, Call { clock: true, ..call("") });
    let [real, monotonic] = [&told[..8], &told[8..]].map(|time| u64::from_le_bytes(time.try_into().expect("8 bytes")));
    assert!(real > 1_700_000_000_000_000_000, "{real}");
    assert!(monotonic < 60_000_000_000, "since the call began, and not since the machine did: {monotonic}");
}

#[test]
fn a_sleep_ends_and_says_which_clock_it_was() {
    let write = write(1024, "(i32.const 32)");
    // One subscription at 512: the monotonic clock, a microsecond from now.
    let sleeper = module(&format!(
        r#"(func (export "_start")
            (i64.store (i32.const 512) (i64.const 77))
            (i32.store (i32.const 528) (i32.const 1))
            (i64.store (i32.const 536) (i64.const 1000))
            (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 16)))
            {write})"#
    ));
    let event = output(&sleeper, call(""));
    assert_eq!(event[..12], [77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn there_are_no_files() {
    let write = write(1024, "(i32.const 8)");
    let opener = module(&format!(
        r#"(func (export "_start")
            (i32.store (i32.const 1024) (call $fd_prestat_get (i32.const 3) (i32.const 512)))
            (i32.store (i32.const 1028) (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 1)
                (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 516)))
            {write})"#
    ));
    let (badf, nosys) = (8, 52);
    assert_eq!(output(&opener, call("")), [badf, 0, 0, 0, nosys, 0, 0, 0]);
}

#[test]
fn an_exit_says_its_status() {
    let exit = |status: i32| module(&format!(r#"(func (export "_start") (call $proc_exit (i32.const {status})))"#));
    assert_eq!(run(&exit(0), call("")).outcome, Ok(()));
    assert_eq!(run(&exit(3), call("")).outcome, Err(Failure::Exited { status: 3 }));
}

#[test]
fn of_stderr_the_end_is_kept() {
    // Its page over and over, 100 times, each time with one more in its first byte of 65000.
    let complainer = module(
        r#"(func (export "_start") (local $left i32)
            (local.set $left (i32.const 100))
            (loop $again
                (i32.store (i32.const 0) (i32.const 500))
                (i32.store (i32.const 4) (i32.const 65000))
                (i32.store8 (i32.const 500) (local.get $left))
                (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left))))"#,
    );
    let ended = run(&complainer, call(""));
    assert_eq!((ended.outcome, ended.stdout.len(), ended.stderr.len()), (Ok(()), 0, STDERR_BYTES_MAX));
    let mut all = Vec::new();
    for left in (1..=100).rev() {
        all.push(left);
        all.resize(all.len() + 64_999, 0);
    }
    assert!(ended.stderr == all[all.len() - STDERR_BYTES_MAX..]);
}

#[test]
fn a_guest_begins_with_a_fresh_memory() {
    // Writes its first byte, after it has changed it: the pool's memory is used again and again.
    let write = write(1024, "(i32.const 1)");
    let memory = r#"(memory (export "memory") 1) (data (i32.const 1024) "a")"#;
    let text = format!(
        r#"(global $count (mut i32) (i32.const 1))
        (func (export "_start")
            (i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (global.get $count)))
            (global.set $count (i32.const 5)) {write})"#
    );
    let changer = module_with_memory(memory, &text);
    for _ in 0..200 {
        assert_eq!(output(&changer, call("")), b"b");
    }
}
