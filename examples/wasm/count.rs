//! Counts words: text on stdin, a line `word count` for each on stdout, sorted by word. What separates words is what
//! separates awk's fields: spaces, tabs and newlines, and nothing else.
//!
//! It knows only bytes: whether they are UTF-8 is nothing to it. Build it with
//! `rustc --edition 2024 -O --target wasm32-wasip1 count.rs`.

use std::io::{self, Read, Write};

/// Read at once. A word that is cut by a buffer's end is moved to the next one's beginning.
const BUFFER_BYTES: usize = 256 << 10;

/// A word's place in the table. One of up to eight bytes is its own key, and is compared without a look elsewhere.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The first eight bytes, the first one lowest; zeros beyond the word's end.
    head: u64,
    /// How often it came; 0 where the place is free.
    count: u64,
    /// Where in the text it is kept.
    start: usize,
    len: usize,
}

/// Words and their counts: a table of a power of two of places, each word at the first free one from its hash on.
struct Table {
    entries: Vec<Entry>,
    words: usize,
    text: Vec<u8>,
}

impl Table {
    fn new() -> Self {
        Self { entries: vec![Entry::default(); 1 << 16], words: 0, text: Vec::new() }
    }

    #[inline(always)]
    fn add(&mut self, word: &[u8]) {
        let (head, hash) = digest(word);
        let mask = self.entries.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = &mut self.entries[at & mask];
            if entry.count == 0 {
                return self.insert(at & mask, head, word);
            }
            let is_same = entry.head == head && entry.len == word.len();
            if is_same && (word.len() <= 8 || self.text[entry.start..entry.start + entry.len] == *word) {
                entry.count += 1;
                return;
            }
            at += 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, at: usize, head: u64, word: &[u8]) {
        self.entries[at] = Entry { head, count: 1, start: self.text.len(), len: word.len() };
        self.text.extend_from_slice(word);
        self.words += 1;
        if self.words * 2 > self.entries.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let larger = vec![Entry::default(); self.entries.len() * 4];
        let mask = larger.len() - 1;
        for entry in std::mem::replace(&mut self.entries, larger).into_iter().filter(|entry| entry.count > 0) {
            let (_, hash) = digest(&self.text[entry.start..entry.start + entry.len]);
            let mut at = hash as usize & mask;
            while self.entries[at].count > 0 {
                at = (at + 1) & mask;
            }
            self.entries[at] = entry;
        }
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let word = |entry: &Entry| &self.text[entry.start..entry.start + entry.len];
        let mut entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.count > 0).collect();
        // Most are told apart by their first eight bytes; read as one number they are in the words' order.
        entries
            .sort_unstable_by(|a, b| a.head.swap_bytes().cmp(&b.head.swap_bytes()).then_with(|| word(a).cmp(word(b))));
        for entry in entries {
            to.write_all(word(entry))?;
            writeln!(to, " {}", entry.count)?;
        }
        Ok(())
    }
}

/// A word's first eight bytes and its hash: eight bytes at a time, as FxHash does, and mixed in the end, as its low bits
/// are poor.
#[inline(always)]
fn digest(word: &[u8]) -> (u64, u64) {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let head = load(word);
    let mut hash = (head ^ word.len() as u64).wrapping_mul(FACTOR);
    let mut rest = word.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        hash = (hash.rotate_left(23) ^ load(rest)).wrapping_mul(FACTOR);
        rest = rest.get(8..).unwrap_or_default();
    }
    (head, hash ^ hash >> 32)
}

/// The first eight bytes as a number, zeros where there are fewer. Two loads that may overlap are faster than a loop.
#[inline(always)]
fn load(bytes: &[u8]) -> u64 {
    let four = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    match bytes.len() {
        0 => 0,
        1 => u64::from(bytes[0]),
        2 | 3 => {
            let last = bytes.len() - 1;
            u64::from(bytes[0]) | u64::from(bytes[1]) << 8 | u64::from(bytes[last]) << (8 * last)
        }
        len @ 4..=7 => four(0) | four(len - 4) << (8 * (len - 4)),
        _ => four(0) | four(4) << 32,
    }
}

#[inline(always)]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n')
}

fn main() -> io::Result<()> {
    let mut table = Table::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut kept = 0;
    let mut stdin = io::stdin().lock();
    loop {
        // A word as long as the buffer needs a longer one.
        if kept == buffer.len() {
            buffer.resize(2 * buffer.len(), 0);
        }
        let read = stdin.read(&mut buffer[kept..])?;
        let end = kept + read;
        if read == 0 {
            if kept > 0 {
                table.add(&buffer[..kept]);
            }
            break;
        }
        let mut word = 0;
        for at in 0..end {
            if is_space(buffer[at]) {
                if at > word {
                    table.add(&buffer[word..at]);
                }
                word = at + 1;
            }
        }
        buffer.copy_within(word..end, 0);
        kept = end - word;
    }
    let mut stdout = io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    table.write(&mut stdout)?;
    stdout.flush()
}
