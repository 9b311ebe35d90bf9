//! Where commands work: a private directory for each task, gone with it, and with the worker, crashed or not.
//!
//! Below a folder that is the user's alone, each worker has one of its own and holds its lock; whoever starts removes those
//! whose lock nobody holds. A task has two directories there, side by side: where it works, `N`, and what it leaves,
//! `N.out`. Those that come back as they were made go to the next task. What lies in the others, this does not know, nor
//! how somebody made it hard to remove.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::spare::Pristine;

/// What the folder of a worker is called, before its process id and a number.
const WORKER: &str = "worker-";
/// The file that is locked: by a worker in its own folder as long as it lives, in the folder above while it starts.
const LOCK: &str = "lock";
/// How many pairs of directories wait for a next task: more than most workers have slots.
const SPARE_MAX: usize = 64;
/// After how long they are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often a directory is emptied into which somebody goes on writing.
const EMPTYING_TRIES: u32 = 5;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Why there is nowhere to work.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// It cannot be made.
    #[error("cannot make {path}, where commands work: {error}", path = path.display())]
    Make {
        /// What.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else could read along, or put things there.
    #[error("{path} is not a directory of this user alone, and so no place for commands to work", path = .0.display())]
    NotPrivate(PathBuf),
    /// It cannot be removed.
    #[error("cannot remove {path}: {error}", path = path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A worker's folder. It is removed when this and all of its tasks' directories are dropped.
#[derive(Clone, Debug)]
pub struct ScratchRoot(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// With when they were looked at.
    spare: Mutex<Vec<(Instant, Pair)>>,
    _lock: File,
}

/// A task's directories.
#[derive(Default, Debug)]
struct Pair {
    directory: PathBuf,
    out: PathBuf,
    /// What both were like; `None` where that cannot be told.
    pristine: Option<[Pristine; 2]>,
}

impl ScratchRoot {
    /// Makes a folder for this worker below `parent`, and removes those of workers that are no more.
    pub fn open(parent: &Path) -> Result<Self, ScratchError> {
        let make = |path: &Path| {
            let path = path.to_owned();
            move |error| ScratchError::Make { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(make(parent))?;
        let metadata = parent.symlink_metadata().map_err(make(parent))?;
        let user = nix::unistd::geteuid().as_raw();
        if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
            return Err(ScratchError::NotPrivate(parent.to_owned()));
        }
        // One at a time: a folder that is made is not locked at once.
        let starting = lock_file(&parent.join(LOCK)).map_err(make(parent))?;
        starting.lock().map_err(make(parent))?;
        remove_leftovers(parent).map_err(make(parent))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut path = folders_of(parent, std::process::id()).into_os_string();
        path.push(number.to_string());
        let path = PathBuf::from(path);
        DirBuilder::new().mode(0o700).create(&path).map_err(make(&path))?;
        let lock = lock_file(&path.join(LOCK)).map_err(make(&path))?;
        lock.try_lock().map_err(|error| make(&path)(error.into()))?;
        Ok(Self(Arc::new(Root { path, spare: Mutex::default(), _lock: lock })))
    }

    /// Where a task works.
    pub fn scratch(&self) -> Result<Scratch, ScratchError> {
        let pair = self.spare().map_or_else(|| Pair::make(self.path()), Ok)?;
        Ok(Scratch { pair, nobody_left: false, root: self.clone() })
    }

    /// Directories that nobody could tell from new ones. Those that have lain for long are looked at again: what tidies a
    /// disk may have removed them.
    fn spare(&self) -> Option<Pair> {
        loop {
            let (looked_at, pair) = self.0.spare().pop()?;
            if looked_at.elapsed() < LOOK_AGAIN || pair.is_pristine() {
                return Some(pair);
            }
            pair.remove(self.path());
        }
    }

    /// The worker's folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, self.path.parent().unwrap_or(&self.path)) {
            tracing::warn!("{error}");
        }
    }
}

/// What the paths of all the folders begin with that a process makes below `parent`, and those of no other process.
pub fn folders_of(parent: &Path, process: u32) -> PathBuf {
    parent.join(format!("{WORKER}{process}-"))
}

impl Root {
    fn spare(&self) -> MutexGuard<'_, Vec<(Instant, Pair)>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    fn make(root: &Path) -> Result<Self, ScratchError> {
        let directory = root.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let out = directory.with_extension("out");
        make_private(&directory)?;
        make_private(&out).inspect_err(|_| drop(fs::remove_dir(&directory)))?;
        let pristine = Pristine::of(&directory).zip(Pristine::of(&out)).map(|(directory, out)| [directory, out]);
        Ok(Self { directory, out, pristine })
    }

    fn is_pristine(&self) -> bool {
        let places = [&self.directory, &self.out];
        self.pristine.as_ref().is_some_and(|pristine| pristine.iter().zip(places).all(|(one, path)| one.is_still(path)))
    }

    fn remove(&self, root: &Path) {
        for directory in [&self.directory, &self.out] {
            // What cannot be removed now goes with the worker, or at the next one's start.
            if let Err(error) = remove(directory, root) {
                tracing::warn!("{error}");
            }
        }
    }
}

/// A task's directories. They are removed when this is dropped, or kept for the next task where nobody could tell them from
/// new ones.
#[derive(Debug)]
pub struct Scratch {
    pair: Pair,
    nobody_left: bool,
    root: ScratchRoot,
}

impl Scratch {
    /// Where the command works.
    pub fn directory(&self) -> &Path {
        &self.pair.directory
    }

    /// Where it leaves files.
    pub fn out(&self) -> &Path {
        &self.pair.out
    }

    /// No process is left that could still write there.
    pub fn nobody_is_left(&mut self) {
        self.nobody_left = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let pair = std::mem::take(&mut self.pair);
        if self.nobody_left && pair.is_pristine() {
            let mut spare = self.root.0.spare();
            if spare.len() < SPARE_MAX {
                return spare.push((Instant::now(), pair));
            }
        }
        pair.remove(self.root.path());
    }
}

fn make_private(path: &Path) -> Result<(), ScratchError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| ScratchError::Make { path: path.to_owned(), error })
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// Removes the folders of workers that are no more. What resists is left to the next start.
fn remove_leftovers(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(WORKER.as_bytes()) && !name.as_encoded_bytes().starts_with(b"gone-") {
            continue;
        }
        // One that died before it had a lock has none now.
        let lock = File::open(entry.path().join(LOCK)).ok();
        if matches!(lock.as_ref().map(File::try_lock), Some(Err(TryLockError::WouldBlock))) {
            continue;
        }
        if let Err(error) = remove(&entry.path(), parent) {
            tracing::warn!("{error}");
        }
    }
    Ok(())
}

/// Removes a directory with all that is in it. Directories below are moved up to `room` first, which is on the same disk:
/// so neither their depth nor the length of their paths matters, and nothing here calls itself. A link is removed, wherever
/// a command has put one: also in the place of its own directory.
fn remove(directory: &Path, room: &Path) -> Result<(), ScratchError> {
    // Most are empty.
    match fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let cannot = |path: &Path, error| ScratchError::Remove { path: path.to_owned(), error };
    if !directory.symlink_metadata().map_err(|error| cannot(directory, error))?.is_dir() {
        return fs::remove_file(directory).map_err(|error| cannot(directory, error));
    }
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        empty(&path, room, &mut waiting).map_err(|error| cannot(&path, error))?;
    }
    Ok(())
}

/// Removes a directory's files, moves its directories to `room`, and removes it.
fn empty(directory: &Path, room: &Path, waiting: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let opened = Opened::new(directory)?;
        for entry in fs::read_dir(&opened.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let moved =
                    room.join(format!("gone-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
                // To move it is to write to its own entry for what is above.
                drop(Opened::new(&entry.path())?);
                fs::rename(entry.path(), &moved)?;
                waiting.push(moved);
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        match fs::remove_dir(directory) {
            // A directory that changes while it is read may show less than it has.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries < EMPTYING_TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// A directory that its owner may read and write, and no link to one: what is done below `path` happens there, whatever
/// somebody puts into its place meanwhile.
struct Opened {
    path: PathBuf,
    _directory: Option<File>,
}

impl Opened {
    #[cfg(target_os = "linux")]
    fn new(directory: &Path) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::OpenOptionsExt;

        use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH};

        // To open it so takes no right to read it. Its owner may always give himself that, and then all the rest.
        let opened = OpenOptions::new().read(true).custom_flags(O_PATH | O_DIRECTORY | O_NOFOLLOW).open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok(Self { path, _directory: Some(opened) })
    }

    #[cfg(not(target_os = "linux"))]
    fn new(directory: &Path) -> io::Result<Self> {
        if !directory.symlink_metadata()?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        Ok(Self { path: directory.to_owned(), _directory: None })
    }
}

#[cfg(test)]
mod tests;
