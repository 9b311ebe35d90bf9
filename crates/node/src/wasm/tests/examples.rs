//! The example guests, as rustc builds them for WASI: they count what a plain loop counts, and add it up.
//!
//! How fast they are is not measured here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::{Call, call, check_engine, output, run};
use crate::wasm::Failure;

/// An example's module, or `None` where rustc has no WASI to build it for.
fn example(name: &str) -> Option<Bytes> {
    let out = tempfile::tempdir().expect("a directory");
    let module = out.path().join("module.wasm");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/wasm/{name}.rs"));
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "--target", "wasm32-wasip1", "-o"]).arg(&module).arg(source);
    let built = rustc.output().ok()?;
    let complaint = String::from_utf8_lossy(&built.stderr);
    if complaint.contains("target may not be installed") {
        println!("skipped: rustc has no target wasm32-wasip1 here");
        return None;
    }
    assert!(built.status.success(), "{complaint}");
    Some(Bytes::from(std::fs::read(module).expect("the module")))
}

/// Words of all lengths, apart by what awk takes for space, and some that look like it.
fn text() -> Vec<u8> {
    let mut text = b"\n\t  a\rword \xff\xfe \0 a\0b a a\n".to_vec();
    let mut state = 1_u64;
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (state >> 33) % 50_000;
        let len = (number % 23) as usize + 1;
        text.extend(number.to_string().bytes().cycle().take(len));
        text.push(b" \t\n"[(state >> 40) as usize % 3]);
    }
    // Longer than the example's buffer, and no space after it.
    text.extend(b"x".repeat(600_000));
    text
}

fn counted(text: &[u8]) -> Vec<u8> {
    let mut counts = BTreeMap::<&[u8], u64>::new();
    for word in text.split(|byte| b" \t\n".contains(byte)).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let lines = counts.iter().map(|(word, count)| [word, format!(" {count}\n").as_bytes()].concat());
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn words_are_counted_and_added_up() {
    let (Some(count), Some(sum)) = (example("count"), example("sum")) else { return };
    let roomy = |stdin: &[u8]| Call { memory_bytes_max: 256 << 20, stdout_bytes_max: 64 << 20, ..call(stdin) };
    let text = text();
    assert!(output(&count, roomy(&text)) == counted(&text));
    assert_eq!(output(&count, roomy(b"")), b"");
    // In parts that are cut where a word ends.
    let mut parts = Vec::new();
    for part in text.split(|byte| *byte == b'\t').collect::<Vec<_>>().chunks(10_000) {
        let counts = output(&count, roomy(&part.join(&b'\t')));
        parts.extend((counts.len() as u64).to_le_bytes());
        parts.extend(counts);
    }
    assert!(output(&sum, roomy(&parts)) == counted(&text));
    assert_eq!(output(&sum, roomy(b"")), b"");
    // What is no list of counts it says on stderr.
    let ended = run(&sum, roomy(b"\x03\0\0\0\0\0\0\0abc"));
    assert_eq!(ended.outcome, Err(Failure::Exited { status: 1 }));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("a line has no count: `abc`"));
    check_engine();
}
