//! Files that are written whole or not at all.
//!
//! What is in one is for the caller.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use convoke_wire::core::event::bounded;

/// The most bytes of a file's name.
const NAME_BYTES_MAX: usize = 255;

static NUMBER: AtomicU64 = AtomicU64::new(0);

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
        match place.metadata() {
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(&place)?;
                return Ok(Self { file, place, beside: None });
            }
            // It would only be refused in the end, such as a name that is too long.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_leftovers(&place);
        let beside = beside(&place);
        let file = File::create(&beside)?;
        // Where a file system has no locks, its owner's number has to do.
        drop(file.try_lock());
        Ok(Self { file, place, beside: Some(beside) })
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

/// Where a file is until it is whole. Its name is the file's, cut where the system takes no longer one, and not that of
/// another file that this process writes.
fn beside(path: &Path) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (folder, name) = path.as_os_str().as_bytes().split_at(name_starts(path));
    let name = name_beside(name, std::process::id(), number);
    OsString::from_vec([folder, name.as_bytes()].concat()).into()
}

fn name_beside(name: &[u8], process: u32, number: u64) -> String {
    let end = format!(".{process}-{number}.tmp");
    bounded(String::from_utf8_lossy(name).into_owned(), NAME_BYTES_MAX - end.len()) + &end
}

/// Removes what processes that were killed left of the file. What cannot be removed stays.
fn remove_leftovers(place: &Path) {
    let (folder, name) = place.as_os_str().as_bytes().split_at(name_starts(place));
    let folder = Path::new(if folder.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(folder) });
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|left| owner_of(left, name));
        let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        if owner.is_some_and(is_gone) && is_file(&entry) && is_free(&entry.path()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// The process that wrote a file beside that of this name, if that is what it is.
fn owner_of(left: &str, name: &[u8]) -> Option<u32> {
    let (_, numbers) = left.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, number) = numbers.split_once('-')?;
    let (process, number) = (process.parse().ok()?, number.parse().ok()?);
    (left == name_beside(name, process, number)).then_some(process)
}

fn is_gone(process: u32) -> bool {
    let process = i32::try_from(process).ok().filter(|process| *process > 0).map(nix::unistd::Pid::from_raw);
    process.is_some_and(|process| nix::unistd::getpgid(Some(process)) == Err(nix::errno::Errno::ESRCH))
}

/// Whether nobody holds its lock: numbers of processes mean something on one machine only.
fn is_free(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Where in a path the last name begins, which is empty where a folder is named.
fn name_starts(path: &Path) -> usize {
    let slash = path.as_os_str().as_bytes().iter().rposition(|byte| *byte == b'/');
    slash.map_or(0, |slash| slash + 1)
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

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = std::process::Command::new("true").spawn().unwrap();
        let gone = process.id();
        process.wait().unwrap();
        let path = folder.path().join("em");
        let ours = std::process::id();
        let names = [
            (format!("em.{gone}-0.tmp"), true),
            (format!("em.{gone}-17.tmp"), true),
            (format!("em.{ours}-99999.tmp"), false),
            (format!("emu.{gone}-0.tmp"), false),
            (format!("em.{gone}.tmp"), false),
            (format!("em.{gone}-0.tmp.gz"), false),
        ];
        names.iter().for_each(|(name, _)| fs::write(folder.path().join(name), "half").unwrap());
        let held = format!("em.{gone}-1.tmp");
        let elsewhere = File::create(folder.path().join(&held)).unwrap();
        elsewhere.try_lock().unwrap();
        write(&path, b"whole").unwrap();
        for (name, is_removed) in names {
            assert_eq!(!folder.path().join(&name).exists(), is_removed, "{name}");
        }
        assert!(folder.path().join(held).exists(), "a process on another machine is at it");
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_name_may_be_as_long_as_the_system_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["x".repeat(255), format!("y{}", "\u{e9}".repeat(127)), "z".repeat(254)];
        // All at once, and two that differ only at the end.
        let other = format!("{}w", "x".repeat(254));
        let paths = names.iter().chain([&other]).map(|name| folder.path().join(name));
        let mut files: Vec<_> = paths.map(|path| (Unpublished::create(&path).unwrap(), path)).collect();
        for (place, (file, _)) in files.iter_mut().enumerate() {
            write!(file, "{place}").unwrap();
        }
        for (place, (file, path)) in files.into_iter().enumerate() {
            file.publish().unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), place.to_string());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        assert!(probe(&folder.path().join("x".repeat(256))).is_err(), "one that is too long is not cut");
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["gone/", "gone/..", "gone/model"] {
            let refused = probe(&folder.path().join(name)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound, "{name}");
        }
    }
}
