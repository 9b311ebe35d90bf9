//! Adds up what `count.rs` counted in parts: a reduction. On stdin it has its parts, each after its length as a
//! little-endian u64, each lines `word count` sorted by word; it writes one such list of all.
//!
//! It merges the sorted parts and so holds them only as they came; how they were counted it does not know. Build it
//! with `rustc --edition 2024 -O --target wasm32-wasip1 sum.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};

/// The first line of a part, taken apart, and the lines after it. Ordered by word.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    word: &'a [u8],
    count: u64,
    rest: &'a [u8],
}

impl<'a> Part<'a> {
    /// `None` at the part's end.
    fn next(lines: &'a [u8]) -> io::Result<Option<Self>> {
        if lines.is_empty() {
            return Ok(None);
        }
        let end = lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len());
        let (line, rest) = (&lines[..end], lines.get(end + 1..).unwrap_or_default());
        let space = line.iter().rposition(|byte| *byte == b' ').ok_or_else(|| invalid("a line has no count", line))?;
        let count = std::str::from_utf8(&line[space + 1..]).ok().and_then(|count| count.parse().ok());
        let count = count.ok_or_else(|| invalid("a line's count is no number", line))?;
        Ok(Some(Self { word: &line[..space], count, rest }))
    }
}

fn invalid(what: &str, line: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: `{}`", String::from_utf8_lossy(line)))
}

/// The parts, cut by the lengths before them.
fn parts(mut input: &[u8]) -> io::Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= rest.len());
        let (part, rest) = rest.split_at(length.ok_or(io::ErrorKind::UnexpectedEof)?);
        parts.push(part);
        input = rest;
    }
    if input.is_empty() { Ok(parts) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn merge(parts: &[&[u8]], to: &mut impl Write) -> io::Result<()> {
    let mut heap = BinaryHeap::new();
    for lines in parts {
        heap.extend(Part::next(lines)?.map(Reverse));
    }
    let mut current: Option<(&[u8], u64)> = None;
    while let Some(mut least) = heap.peek_mut() {
        let Part { word, count, rest } = least.0;
        // What takes the place of the least sinks to its own, which costs less than a removal and an insertion.
        match Part::next(rest)? {
            Some(part) => *least = Reverse(part),
            None => drop(std::collections::binary_heap::PeekMut::pop(least)),
        }
        match &mut current {
            Some((same, sum)) if *same == word => *sum += count,
            other => {
                if let Some((word, sum)) = other.replace((word, count)) {
                    write_line(to, word, sum)?;
                }
            }
        }
    }
    current.map_or(Ok(()), |(word, sum)| write_line(to, word, sum))
}

fn write_line(to: &mut impl Write, word: &[u8], count: u64) -> io::Result<()> {
    to.write_all(word)?;
    writeln!(to, " {count}")
}

fn main() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let mut stdout = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
    merge(&parts(&input)?, &mut stdout)?;
    stdout.flush()
}
