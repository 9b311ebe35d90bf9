//! The few things that are asked of the file system in several places: private folders, and folders made durable.
//!
//! It does not know what the folders are for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{Files, SystemFiles};

/// The file system refused something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried.
    pub doing: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Turns a system's error into one that names what was tried, and on what.
pub(crate) fn on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError { doing, path: path.to_owned(), source }
}

/// Creates a folder that only its owner may enter, unless it is there. Its parents are created as usual.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(on("create the folder", parent))?;
    match SystemFiles.create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        done => done.map_err(on("create the folder", path)),
    }?;
    sync_folder(parent)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), DiskError> {
    SystemFiles.sync_folder(path).map_err(on("sync the folder", path))
}

/// The folder that holds the path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
