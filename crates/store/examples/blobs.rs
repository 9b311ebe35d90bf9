//! Measures what blobs cost in the folder alone and with the SQLite file in front: putting and reading a small one, and
//! what eleven that were just put add to the journal's next commit.
//!
//! `cargo run --release -p convoke-store --example blobs [folder]`, by default in the system's temporary folder.

mod measure;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convoke_core::Term;
use convoke_store::blobs::{Blobs, Durability, FolderBlobs, LayeredBlobs};
use convoke_store::journal::{Frame, Journal, SqliteJournal};
use measure::{print, task_done};

const ROUNDS: u64 = 300;
/// What a round of training puts before the journal commits it.
const DELTAS: u64 = 11;
const DELTA_BYTES: usize = 4_096;
const MODEL_BYTES: usize = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let path = |name: &str| folder.path().join(name);
    let backends: [(&str, Box<dyn Blobs>, SqliteJournal); 2] = [
        ("folder", Box::new(FolderBlobs::open(&path("alone"))?), journal(&path("a.sqlite"))?),
        ("layered", Box::new(LayeredBlobs::open(&path("b.sqlite"), &path("large"))?), journal(&path("c.sqlite"))?),
    ];
    println!("{ROUNDS} rounds in {}", folder.path().display());
    // One after the other: the journal's commits would drag along what the other backend left unsynced.
    for (name, blobs, mut journal) in backends {
        println!("{name}:");
        measure(&*blobs, &mut journal)?;
    }
    Ok(())
}

fn journal(path: &Path) -> Result<SqliteJournal, Box<dyn Error>> {
    Ok(SqliteJournal::open(path)?)
}

fn measure(blobs: &dyn Blobs, journal: &mut SqliteJournal) -> Result<(), Box<dyn Error>> {
    let [mut puts, mut reads, mut synced, mut appends, mut quiet] = [const { Vec::new() }; 5];
    for round in 0..ROUNDS {
        let mut digests = Vec::new();
        for delta in 0..DELTAS {
            let bytes = bytes(DELTA_BYTES, round * DELTAS + delta);
            digests.push(timed(&mut puts, || blobs.put(&bytes, Durability::Unsynced))?);
        }
        append(journal, &mut appends)?;
        append(journal, &mut quiet)?;
        for digest in digests {
            timed(&mut reads, || blobs.get(digest, DELTA_BYTES as u64))?.ok_or("a blob is gone")?;
        }
        let model = bytes(MODEL_BYTES, round);
        timed(&mut synced, || blobs.put(&model, Durability::Synced))?;
    }
    print("unsynced put of 4 KiB", puts);
    print("open, read and check", reads);
    print("synced put of 5 kB", synced);
    print("append after 11 puts", appends);
    print("append after nothing", quiet);
    Ok(())
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    times.push(started.elapsed());
    done
}

/// Bytes that no compression and no other seed makes fewer.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

fn append(journal: &mut SqliteJournal, times: &mut Vec<Duration>) -> Result<(), Box<dyn Error>> {
    let tail = journal.tail();
    let frame = Frame::encode(tail.hash, Term(1), 1_700_000_000_000, &[task_done(tail.position.0 as u32)])?;
    Ok(timed(times, || journal.append(tail.position.next(), &frame))?)
}
