//! What a command left: the regular files below a directory, in the order of their paths, as many and as large as allowed.
//!
//! The command is a stranger: links are not followed, devices not opened, and a tree of any shape is looked at only as far
//! as the limits go. Where the files go, this does not know.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::libc;

/// How many directories a file may lie in.
const PARTS_MAX: usize = 32;
/// How long a file's path may be.
const PATH_BYTES_MAX: usize = 1024;

/// How much a command may leave.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files and directories, together.
    pub entries_max: usize,
    /// Of all files together.
    pub bytes_max: u64,
}

/// A file that a command left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Below the directory, with `/` between its parts.
    pub path: String,
    /// Where it lies.
    pub file: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// Whether its owner may run it.
    pub executable: bool,
}

/// Why what a command left is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Neither a file nor a directory.
    #[error("the command left `{path}`, which is a {kind}: only regular files can be kept")]
    NotAFile {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// Its directory is another thing now.
    #[error("the command replaced its output directory")]
    Replaced,
    /// A name that cannot be told.
    #[error("the command left `{0}`, whose name is not UTF-8")]
    Name(String),
    /// Too many levels, or too long a name.
    #[error("the command left `{0}`, whose path has more than {PARTS_MAX} parts or {PATH_BYTES_MAX} bytes")]
    TooDeep(String),
    /// Too many.
    #[error("the command left more than {0} files and directories")]
    TooMany(usize),
    /// Too large.
    #[error("the command left more than {0} bytes in files")]
    TooLarge(u64),
    /// A file that is written to by somebody who is still there.
    #[error("the file `{0}`, which the command left, changed after its end")]
    Changed(String),
    /// It cannot be read.
    #[error("cannot read `{path}`, which the command left: {error}")]
    Read {
        /// Its path.
        path: String,
        /// What the system says.
        error: io::Error,
    },
}

/// The files below `out`, by path.
pub fn collect(out: &Path, limits: &Limits) -> Result<Vec<Written>, CollectError> {
    match out.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        _ => return Err(CollectError::Replaced),
    }
    let mut written: Vec<Written> = Vec::new();
    let (mut entries, mut bytes) = (0, 0_u64);
    // Directories, with their paths and how many parts those have.
    let mut waiting = vec![(out.to_owned(), String::new(), 0)];
    while let Some((directory, above, parts)) = waiting.pop() {
        let failed = |error| CollectError::Read { path: above.clone(), error };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = join(&above, &entry.file_name(), parts)?;
            entries += 1;
            if entries > limits.entries_max {
                return Err(CollectError::TooMany(limits.entries_max));
            }
            // Of the entry itself, not of what it links to.
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_dir() {
                waiting.push((entry.path(), path, parts + 1));
                continue;
            }
            if !metadata.is_file() {
                return Err(CollectError::NotAFile { path, kind: kind_of(metadata.file_type()) });
            }
            bytes = bytes.saturating_add(metadata.len());
            if bytes > limits.bytes_max {
                return Err(CollectError::TooLarge(limits.bytes_max));
            }
            let executable = metadata.permissions().mode() & 0o100 != 0;
            written.push(Written { path, file: entry.path(), bytes: metadata.len(), executable });
        }
    }
    written.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(written)
}

impl Written {
    /// Hands on the file's bytes, in pieces of at most so many, until `take` wants no more.
    pub fn read(&self, piece_bytes: usize, mut take: impl FnMut(Bytes) -> bool) -> Result<(), CollectError> {
        let failed = |error| CollectError::Read { path: self.path.clone(), error };
        let changed = || CollectError::Changed(self.path.clone());
        let mut file = open(&self.file).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() != self.bytes {
            return Err(changed());
        }
        let mut left = self.bytes;
        while left > 0 {
            let size = left.min(piece_bytes as u64);
            let mut piece = Vec::with_capacity(size as usize);
            (&mut file).take(size).read_to_end(&mut piece).map_err(failed)?;
            if piece.len() as u64 != size {
                return Err(changed());
            }
            left -= size;
            if !take(piece.into()) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A regular file that a command left in a place that is known, of at most `bytes_max` bytes.
pub fn open_left(file: &Path, bytes_max: u64) -> io::Result<File> {
    let file = open(file)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("it is a {}, not a regular file", kind_of(metadata.file_type()))));
    }
    if metadata.len() > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(file)
}

/// Opens what is to be a regular file, and no link. Not blocking: what was a file may be a pipe that nobody writes to by
/// now, if somebody is left to make it one.
fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file)
}

fn join(above: &str, name: &std::ffi::OsStr, parts: usize) -> Result<String, CollectError> {
    let Some(text) = name.to_str() else {
        return Err(CollectError::Name(Path::new(above).join(name).to_string_lossy().into_owned()));
    };
    let path = if above.is_empty() { text.to_owned() } else { format!("{above}/{text}") };
    if parts >= PARTS_MAX || path.len() > PATH_BYTES_MAX {
        return Err(CollectError::TooDeep(path));
    }
    Ok(path)
}

fn kind_of(kind: fs::FileType) -> &'static str {
    if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { entries_max: 10, bytes_max: 1000 };

    /// What a shell left, a line a file, or why it is refused.
    fn left(command: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", command]).current_dir(&out).status().unwrap().success());
        match collect(&out, &LIMITS) {
            Ok(written) => written.iter().map(line).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    fn line(written: &Written) -> String {
        let mut bytes = Vec::new();
        written
            .read(2, |piece| {
                assert!((1..=2).contains(&piece.len()));
                bytes.extend_from_slice(&piece);
                true
            })
            .unwrap();
        let mark = if written.executable { "*" } else { "" };
        format!("{}{mark}={}", written.path, String::from_utf8_lossy(&bytes))
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        assert_eq!(left("true"), "");
        assert_eq!(left("mkdir -p b/c d; printf 1 >b/c/x; printf 2 >a; chmod +x a; : >b.txt"), "a*=2 b.txt= b/c/x=1");
        assert_eq!(left("rmdir ../out"), "");
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let refused =
            |path, kind| format!("the command left `{path}`, which is a {kind}: only regular files can be kept");
        assert_eq!(left("ln -s /etc/passwd link"), refused("link", "symbolic link"));
        assert_eq!(left("mkdir a; ln -s / a/root"), refused("a/root", "symbolic link"));
        assert_eq!(left("mkfifo pipe"), refused("pipe", "named pipe"));
        assert_eq!(left("rmdir ../out; ln -s /etc ../out"), "the command replaced its output directory");
        assert_eq!(left(r#": >"$(printf 'a\377')""#), "the command left `a\u{fffd}`, whose name is not UTF-8");
    }

    #[test]
    fn too_much_is_refused() {
        assert_eq!(
            left("for i in 1 2 3 4 5 6 7 8 9 10 11; do : >$i; done"),
            "the command left more than 10 files and directories"
        );
        // A file need not be on the disk to be large.
        assert_eq!(left("truncate -s 1T sparse"), "the command left more than 1000 bytes in files");
        assert_eq!(left("printf %0600d 1 >a; cp a b"), "the command left more than 1000 bytes in files");
        let long = left(r#"n=$(printf %0250d 1); mkdir -p $n/$n/$n/$n; : >$n/$n/$n/$n/$n"#);
        assert!(long.ends_with("whose path has more than 32 parts or 1024 bytes"), "{long}");
    }

    #[test]
    fn a_file_that_changed_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let written = collect(folder.path(), &LIMITS).unwrap().remove(0);
        fs::write(&written.file, "xy").unwrap();
        assert!(matches!(written.read(9, |_| true), Err(CollectError::Changed(path)) if path == "a"));
        fs::remove_file(&written.file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &written.file).unwrap();
        assert!(matches!(written.read(9, |_| true), Err(CollectError::Read { .. })));
    }

    #[test]
    fn a_file_is_read_only_as_far_as_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        // As it is read, it is cut short behind what is wanted.
        fs::write(folder.path().join("a"), "12345").unwrap();
        let written = collect(folder.path(), &LIMITS).unwrap().remove(0);
        let mut pieces = Vec::new();
        let mut take = |piece: Bytes, most: usize| {
            pieces.push(String::from_utf8_lossy(&piece).into_owned());
            fs::write(&written.file, "12").unwrap();
            pieces.len() < most
        };
        written.read(2, |piece| take(piece, 1)).unwrap();
        fs::write(&written.file, "12345").unwrap();
        assert!(matches!(written.read(2, |piece| take(piece, 9)), Err(CollectError::Changed(_))));
        assert_eq!(pieces, ["12", "12"]);
    }

    #[test]
    fn a_file_in_a_known_place_is_read_where_it_is_one_and_not_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "four").unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        assert_eq!(io::read_to_string(open_left(&path("file"), 4).unwrap()).unwrap(), "four");
        assert_eq!(open_left(&path("file"), 3).unwrap_err().to_string(), "it has more than 3 bytes");
        assert!(open_left(&path("link"), 4).is_err());
        assert_eq!(open_left(&path("pipe"), 4).unwrap_err().to_string(), "it is a named pipe, not a regular file");
        assert!(open_left(folder.path(), 4).unwrap_err().to_string().starts_with("it is a directory"));
    }
}
