//! A journal around another: it counts what is appended, and how long that takes.
//!
//! Where the other keeps its frames it does not know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use convoke_store::journal::{AppendError, EncodedFrame, Journal, JournalReader, StoreError, Tail};
use convoke_wire::core::Position;

/// What was appended to a journal, and how long that took.
#[derive(Default)]
pub struct Appended {
    frames: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

/// So far, or since an earlier time.
#[derive(Clone, Copy)]
pub struct Totals {
    pub frames: u64,
    pub bytes: u64,
    pub nanoseconds: u64,
}

impl Appended {
    pub fn totals(&self) -> Totals {
        let [frames, bytes, nanoseconds] =
            [&self.frames, &self.bytes, &self.nanoseconds].map(|total| total.load(Ordering::Relaxed));
        Totals { frames, bytes, nanoseconds }
    }
}

impl Totals {
    pub fn since(self, earlier: Self) -> Self {
        Self {
            frames: self.frames - earlier.frames,
            bytes: self.bytes - earlier.bytes,
            nanoseconds: self.nanoseconds - earlier.nanoseconds,
        }
    }
}

/// A journal that counts what is appended to it.
pub struct Counting<J> {
    pub journal: J,
    pub appended: Arc<Appended>,
}

impl<J: Journal> Journal for Counting<J> {
    fn append(&mut self, at: Position, frame: &EncodedFrame) -> Result<(), AppendError> {
        let began = Instant::now();
        let answer = self.journal.append(at, frame);
        self.appended.frames.fetch_add(1, Ordering::Relaxed);
        self.appended.bytes.fetch_add(frame.bytes().len() as u64, Ordering::Relaxed);
        self.appended.nanoseconds.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        answer
    }

    fn tail(&self) -> Tail {
        self.journal.tail()
    }

    fn trim(&mut self, through: Position) -> Result<(), StoreError> {
        self.journal.trim(through)
    }

    fn reader(&self) -> Box<dyn JournalReader> {
        self.journal.reader()
    }
}
