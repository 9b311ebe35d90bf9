//! The files that a job brings along: what `--with` names, and modules and models.
//!
//! What tasks make of them is not known here.

use std::path::{Path, PathBuf};

use convoke_wire::Client;
use convoke_wire::core::Digest;

use crate::failure::Failure;
use crate::input::Content;
use crate::natural;
use crate::upload::{self, digest_of_content};

/// The most files that a command brings along.
const FILES_MAX: usize = 10_000;

/// The files that paths name, by their places in the command's directory: a file by its name, those of a directory below its.
pub(super) fn files_with(paths: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let whole = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
        let name = name_of(&whole)?;
        add_files(&whole, name, &mut files)?;
    }
    let mut places: Vec<&str> = files.iter().map(|(place, _)| place.as_str()).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::bad_input(format!("two files that --with names would be `{}`", pair[0]))
            .hint("rename one of them, or put both into directories")),
        None => Ok(files),
    }
}

fn add_files(path: &Path, place: String, files: &mut Vec<(String, PathBuf)>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push((place, path.to_owned()));
        if files.len() > FILES_MAX {
            let error = format!("--with names more than {FILES_MAX} files");
            return Err(Failure::bad_input(error).hint("pack them into an archive"));
        }
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in path.read_dir().map_err(|error| cannot_read(path, &error))? {
        inside.push(entry.map_err(|error| cannot_read(path, &error))?.path());
    }
    inside.sort_by_cached_key(|path| natural::natural(&path.to_string_lossy()));
    for inner in inside {
        let name = name_of(&inner)?;
        add_files(&inner, format!("{place}/{name}"), files)?;
    }
    Ok(())
}

fn name_of(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Failure::bad_input(format!("--with {}: its name is not text", path.display())).hint("rename it"))
}

/// Stores a file.
pub(super) async fn store_file(client: &mut Client, path: &Path) -> Result<Digest, Failure> {
    let bytes = path.metadata().map_err(|error| cannot_read(path, &error))?.len();
    let content = Content::File { path: path.to_owned(), bytes };
    let digest = digest_of_content(&content)?;
    upload::store(client.blobs(), digest, content).await?;
    Ok(digest)
}

pub(super) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

pub(super) fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::bad_input(format!("cannot read {}: {error}", path.display())).hint("check the path and its permissions")
}
