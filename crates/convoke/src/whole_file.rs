//! Files that are written whole or not at all.
//!
//! What is in one is for the caller.

use std::path::Path;
use std::{fs, io};

/// Writes a file beside its place, then moves it there: nobody finds half of one. Devices and pipes are written to.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return fs::write(path, bytes);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let written = fs::write(beside, bytes).and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        // Nothing half-written is to stay; there may be nothing.
        drop(fs::remove_file(beside));
    }
    written
}
