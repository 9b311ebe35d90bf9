//! The files that a command is given: put into its directory by path, the large ones shared with the worker's other tasks.
//!
//! A small file is written for each task. A large one is written once, and each task gets a hard link to it, so that a
//! gigabyte costs no time and no room again. All are read-only, small or large, which keeps honest commands from writing to
//! what others read. A command that does it all the same (it is the same user: it may) is found out: what was shared is
//! looked at before it is given out and after each command that had it. Reflinks would do without, where file systems
//! have them; most do not, and symbolic links are no choice, as programs look beside what a link points to. Where the bytes
//! come from, this does not know.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use convoke_core::Digest;

use super::scratch::{Scratch, ScratchRoot};

/// From this size on a file is shared.
const SHARED_BYTES_MIN: u64 = 64 * 1024;
/// How long a path may be.
const PATH_BYTES_MAX: usize = 1024;

/// A file that a command is to find.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// In its working directory, with `/` between its parts.
    pub path: String,
    /// What it holds.
    pub digest: Digest,
    /// Whether it can be run.
    pub executable: bool,
}

/// Why a command does not get its files, or its result does not count.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It leads elsewhere, or nowhere.
    #[error(
        "`{0}` cannot be a file's path: it must be relative, with no empty part, `.` or `..`, and at most {PATH_BYTES_MAX} bytes"
    )]
    Path(String),
    /// Two files, or a file and a directory.
    #[error("the path `{0}` is given twice, or is also a directory of another file")]
    Twice(String),
    /// It cannot be put there.
    #[error("cannot put `{path}` where the command works: {error}")]
    Put {
        /// Its path.
        path: String,
        /// What the system says, or whoever reads.
        error: io::Error,
    },
    /// Others may have read what the command made of it.
    #[error(
        "`{0}` was altered while the command ran: files that a command is given are shared, and not to be written to"
    )]
    Altered(String),
}

/// Refuses paths that leave the working directory or stand in each other's way.
pub fn check_paths<'a>(paths: impl IntoIterator<Item = &'a str> + Clone) -> Result<(), FilesError> {
    let mut directories = HashSet::new();
    for path in paths.clone() {
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        if path.len() > PATH_BYTES_MAX || path.contains('\0') || !path.split('/').all(is_part) {
            return Err(FilesError::Path(path.escape_default().to_string()));
        }
        directories.extend(path.match_indices('/').map(|(end, _)| &path[..end]));
    }
    let mut seen = HashSet::new();
    match paths.into_iter().find(|path| directories.contains(path) || !seen.insert(*path)) {
        Some(path) => Err(FilesError::Twice(path.to_owned())),
        None => Ok(()),
    }
}

/// A worker's large files, by digest; the least recently used go first.
#[derive(Debug)]
pub struct FileCache {
    folder: PathBuf,
    bytes_max: u64,
    kept: Mutex<Kept>,
    /// The folder lies in it.
    _root: ScratchRoot,
}

#[derive(Default, Debug)]
struct Kept {
    files: HashMap<(Digest, bool), Shared>,
    bytes: u64,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Shared {
    /// Kept open: it is looked at whatever becomes of its names.
    file: Arc<File>,
    content: Content,
    used: u64,
}

/// What tells a file from itself when it was written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Content {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// The files that a command was given.
#[derive(Debug)]
pub struct Placed {
    shared: Vec<(String, Shared)>,
}

impl FileCache {
    /// A cache in a worker's folder. What tasks still have is not counted.
    pub fn open(root: &ScratchRoot, bytes_max: u64) -> io::Result<Self> {
        let folder = root.path().join("files");
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder, bytes_max, kept: Mutex::default(), _root: root.clone() })
    }

    /// Puts files where a command will work.
    pub fn place(
        &self,
        scratch: &Scratch,
        files: &[Given],
        read: impl Fn(Digest) -> io::Result<Bytes>,
    ) -> Result<Placed, FilesError> {
        check_paths(files.iter().map(|file| file.path.as_str()))?;
        let mut shared = Vec::new();
        for file in files {
            let placed = self.place_one(scratch.directory(), file, &read);
            let placed = placed.map_err(|error| FilesError::Put { path: file.path.clone(), error })?;
            shared.extend(placed.map(|placed| (file.path.clone(), placed)));
        }
        Ok(Placed { shared })
    }

    fn place_one(
        &self,
        directory: &Path,
        file: &Given,
        read: &impl Fn(Digest) -> io::Result<Bytes>,
    ) -> io::Result<Option<Shared>> {
        let path = directory.join(&file.path);
        if let Some(above) = path.parent().filter(|_| file.path.contains('/')) {
            fs::create_dir_all(above)?;
        }
        // Whoever else needs the same file waits for it to be written, and so do others: seldom, and not long.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (file.digest, file.executable);
        if !kept.files.get(&key).is_some_and(Shared::is_intact) {
            self.forget(&mut kept, key);
            let source = read(file.digest)?;
            if (source.len() as u64) < SHARED_BYTES_MIN {
                drop(kept);
                write(&path, &source, file.executable)?;
                return Ok(None);
            }
            let cached = self.path(key);
            write(&cached, &source, file.executable)?;
            let opened = File::open(&cached)?;
            let content = Content::of(&opened)?;
            kept.bytes += content.bytes;
            kept.files.insert(key, Shared { file: Arc::new(opened), content, used: 0 });
        }
        kept.uses += 1;
        let uses = kept.uses;
        let shared = kept.files.get_mut(&key).map(|shared| {
            shared.used = uses;
            shared.clone()
        });
        let linked = fs::hard_link(self.path(key), &path);
        while kept.bytes > self.bytes_max {
            let oldest = kept.files.iter().min_by_key(|(_, shared)| shared.used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.forget(&mut kept, oldest);
        }
        linked.map(|()| shared)
    }

    fn forget(&self, kept: &mut Kept, key: (Digest, bool)) {
        if let Some(shared) = kept.files.remove(&key) {
            kept.bytes -= shared.content.bytes;
        }
        // It may not be there; if it is and stays, writing it anew fails by its name.
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, (digest, executable): (Digest, bool)) -> PathBuf {
        self.folder.join(format!("{digest}{}", if executable { ".x" } else { "" }))
    }
}

impl Placed {
    /// Once the command has ended: whether what it shared with others is what it was.
    pub fn check(&self) -> Result<(), FilesError> {
        match self.shared.iter().find(|(_, shared)| !shared.is_unaltered()) {
            Some((path, _)) => Err(FilesError::Altered(path.clone())),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn is_unaltered(&self) -> bool {
        Content::of(&self.file).is_ok_and(|content| content == self.content)
    }

    /// Whether it can be given out: nobody altered it, nor made it writable.
    fn is_intact(&self) -> bool {
        self.is_unaltered() && self.file.metadata().is_ok_and(|file| file.mode() & 0o222 == 0 && file.nlink() > 0)
    }
}

impl Content {
    fn of(file: &File) -> io::Result<Self> {
        let file = file.metadata()?;
        Ok(Self { inode: file.ino(), bytes: file.len(), modified: (file.mtime(), file.mtime_nsec()) })
    }
}

/// Writes a new file that nobody may write to.
fn write(path: &Path, source: &[u8], executable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(source)?;
    file.set_permissions(Permissions::from_mode(if executable { 0o555 } else { 0o444 }))
}

#[cfg(test)]
mod tests;
