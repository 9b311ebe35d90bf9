//! Files that are written whole or not at all.
//!
//! What is in one is for the caller.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written beside its place. Unless it is published, nothing is left of it.
pub struct Unpublished {
    file: File,
    place: PathBuf,
    /// Where it is until then; `None` for a device or pipe, which is written to as it is.
    beside: Option<PathBuf>,
}

impl Unpublished {
    /// Begins a file. What a link leads to is written; devices and pipes are written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if place.metadata().is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(&place)?;
            return Ok(Self { file, place, beside: None });
        }
        let beside = beside(&place);
        Ok(Self { file: File::create(&beside)?, place, beside: Some(beside) })
    }

    /// Moves the file to its place: nobody finds half of one, even after a power cut.
    pub fn publish(mut self) -> io::Result<()> {
        let Some(beside) = &self.beside else { return Ok(()) };
        self.file.sync_all()?;
        fs::rename(beside, &self.place)?;
        self.beside = None;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Write for Unpublished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // Nothing half-written is to stay; there may be nothing.
            drop(fs::remove_file(beside));
        }
    }
}

/// Writes a file beside its place, then moves it there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unpublished::create(path)?;
    file.write_all(bytes)?;
    file.publish()
}

/// Finds out whether a file can be written there.
pub fn probe(path: &Path) -> io::Result<()> {
    Unpublished::create(path).map(drop)
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    beside.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_once_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let path = folder.path().join("model");
        let mut file = Unpublished::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert!(names().is_empty(), "nothing is left of what was not published");
        write(&path, b"whole").unwrap();
        probe(&path).unwrap();
        assert_eq!((names(), fs::read(&path).unwrap()), (vec!["model".into()], b"whole".to_vec()));
    }
}
