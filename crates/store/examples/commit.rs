//! Measures what an acknowledgement costs: the median append of a frame of one event to a journal on disk, beside the
//! median write and sync of as many bytes to a plain file of the same file system.
//!
//! `cargo run --release -p convoke-store --example commit [folder]`, by default in the system's temporary folder.

mod measure;

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use convoke_core::Term;
use convoke_store::journal::{Frame, Journal, SqliteJournal};
use measure::{print, task_done};

const COMMITS: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let mut journal = SqliteJournal::open(&folder.path().join("journal.sqlite"))?;
    let mut plain = File::create_new(folder.path().join("plain"))?;
    let (mut appends, mut encodings, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let mut frame_bytes = 0;
    // In turn, so that both meet the same moods of the disk.
    for index in 0..COMMITS {
        let started = Instant::now();
        let frame = Frame::encode(journal.tail().hash, Term(1), 1_700_000_000_000, &[task_done(index as u32)])?;
        encodings.push(started.elapsed());
        frame_bytes = frame.bytes().len();

        let started = Instant::now();
        journal.append(journal.tail().position.next(), &frame)?;
        appends.push(started.elapsed());

        let started = Instant::now();
        plain.write_all(frame.bytes())?;
        plain.sync_all()?;
        syncs.push(started.elapsed());
    }
    println!("{COMMITS} frames of {frame_bytes} bytes in {}", folder.path().display());
    print("encode", encodings);
    print("journal append", appends);
    print("plain write and sync", syncs);
    Ok(())
}
