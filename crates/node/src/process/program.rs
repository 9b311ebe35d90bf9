//! Which file a command's program is, and why one was not started.
//!
//! The search is ours, as `std` takes a slower way when it has to search a `PATH` that is not the worker's. How a program is
//! started, this does not know.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Environment, RunError};

/// Where programs are looked for when the environment has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// The program's file: a name is looked up in `PATH`, a path belongs to the working directory.
pub(super) fn find(name: &str, environment: &Environment, directory: &Path) -> Result<PathBuf, RunError> {
    if name.is_empty() {
        return Err(RunError::NoProgram);
    }
    if name.contains('/') {
        return Ok(directory.join(name));
    }
    let path = environment.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| OsString::from(PATH_DEFAULT));
    std::env::split_paths(&path)
        .map(|folder| directory.join(folder).join(name))
        .find(|file| file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| RunError::NotFound { program: name.to_owned(), path: path.to_string_lossy().into_owned() })
}

/// `posix_spawn` says what went wrong, but not with what.
pub(super) fn explain(name: &str, program: &Path, directory: &Path, error: io::Error) -> RunError {
    if !directory.is_dir() {
        return RunError::Directory { directory: directory.to_owned(), error };
    }
    if error.kind() == ErrorKind::NotFound && program.exists() {
        return RunError::Interpreter { program: name.to_owned() };
    }
    RunError::Start { program: name.to_owned(), error }
}
