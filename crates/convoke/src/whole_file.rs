//! Files that are written whole or not at all.
//!
//! What is in one is for the caller.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use convoke_wire::core::event::bounded;

/// The most bytes of a file's name.
const NAME_BYTES_MAX: usize = 255;
/// How old a file is at least that is taken for a leftover: one that was just begun may have no lock yet.
const LEFT_AFTER: Duration = Duration::from_secs(60);

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
        let place = place_of(path);
        match place.metadata() {
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(&place)?;
                return Ok(Self { file, place, beside: None });
            }
            // It would only be refused in the end, such as a name that is too long.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Self::begin(place)
    }

    /// Begins a file beside its place, and takes over none that is there: it may be another's.
    fn begin(place: PathBuf) -> io::Result<Self> {
        loop {
            let beside = beside(&place);
            match File::create_new(&beside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                file => {
                    let file = file?;
                    // Where a file system has no locks, its owner's number has to do.
                    drop(file.try_lock());
                    return Ok(Self { file, place, beside: Some(beside) });
                }
            }
        }
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

/// Finds out whether a file can be written there, and makes room for it: what is left of earlier ones is removed.
pub fn probe(path: &Path) -> io::Result<()> {
    remove_leftovers(&[path]);
    Unpublished::create(path).map(drop)
}

/// Finds out whether files can be made in a folder, whatever is there already.
pub fn probe_folder(folder: &Path) -> io::Result<()> {
    Unpublished::begin(folder.join("files")).map(drop)
}

/// Where the file is that a path leads to.
fn place_of(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
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

/// Removes what processes that were killed left of these files. Each of their folders is read once; what cannot be removed
/// stays.
pub fn remove_leftovers(paths: &[impl AsRef<Path>]) {
    let places: Vec<_> = paths.iter().map(|path| place_of(path.as_ref())).collect();
    let mut folders = BTreeMap::<&[u8], Vec<&[u8]>>::new();
    for place in &places {
        let (folder, name) = place.as_os_str().as_bytes().split_at(name_starts(place));
        folders.entry(folder).or_default().push(name);
    }
    for (folder, names) in folders {
        let folder = if folder.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(folder) };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let left = entry.file_name();
            // Few files are anybody's leftovers: what is looked up for each of them is no matter.
            let is_left = |left: &str| {
                let numbers = numbers_of(left)?;
                let is_of = |name: &&[u8]| left == name_beside(name, numbers.0, numbers.1);
                Some(is_gone(numbers.0) && names.iter().any(is_of))
            };
            if left.to_str().and_then(is_left) == Some(true)
                && entry.metadata().is_ok_and(|metadata| metadata.is_file() && is_old(&metadata))
                && is_free(&entry.path())
            {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// The numbers of the process that wrote a file beside another and of the file, if by its name that is what it is.
fn numbers_of(left: &str) -> Option<(u32, u64)> {
    let (_, numbers) = left.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, number) = numbers.split_once('-')?;
    Some((process.parse().ok()?, number.parse().ok()?))
}

fn is_gone(process: u32) -> bool {
    let process = i32::try_from(process).ok().filter(|process| *process > 0).map(nix::unistd::Pid::from_raw);
    process.is_some_and(|process| nix::unistd::getpgid(Some(process)) == Err(nix::errno::Errno::ESRCH))
}

fn is_old(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age >= LEFT_AFTER))
}

/// Whether nobody holds its lock: numbers of processes mean something on one machine only. A lock that is shared is had of
/// a file that is only read, on any file system; where there are none, nobody knows.
fn is_free(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
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
        let old = std::time::SystemTime::now() - LEFT_AFTER;
        let leave = |name: &str| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
            file
        };
        names.iter().for_each(|(name, _)| drop(leave(name)));
        let (held, fresh) = (format!("em.{gone}-1.tmp"), format!("em.{gone}-2.tmp"));
        let elsewhere = leave(&held);
        elsewhere.try_lock().unwrap();
        File::create(folder.path().join(&fresh)).unwrap();
        probe(&path).unwrap();
        write(&path, b"whole").unwrap();
        for (name, is_removed) in names {
            assert_eq!(!folder.path().join(&name).exists(), is_removed, "{name}");
        }
        assert!(folder.path().join(held).exists(), "a process on another machine is at it");
        assert!(folder.path().join(fresh).exists(), "a process on another machine may be about to lock it");
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn what_is_there_already_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let next = NUMBER.load(Ordering::Relaxed);
        let theirs = |number| folder.path().join(format!("em.{}-{number}.tmp", std::process::id()));
        // Other tests count on meanwhile.
        (next..next + 100).for_each(|number| fs::write(theirs(number), "theirs").unwrap());
        write(&folder.path().join("em"), b"ours").unwrap();
        for number in next..next + 100 {
            assert_eq!(fs::read(theirs(number)).unwrap(), b"theirs");
        }
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
