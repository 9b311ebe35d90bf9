//! The files that tasks left beside their results, saved below a folder.
//!
//! Their paths are a worker's word: none leads elsewhere.

use std::path::Path;

use convoke_wire::core::{Counted, Digest, Payload};
use convoke_wire::program::{self, MANIFEST_BYTES_MAX};
use convoke_wire::protocol::BLOB_BYTES_MAX;

use super::results::{Pages, bytes_of};
use crate::failure::Failure;
use crate::source::Source;
use crate::{output, whole_file};

/// Saves the files that tasks left, each task's in a folder of its own.
pub async fn save_files(list: &Payload, folder: &Path, source: &mut Source) -> Result<(), Failure> {
    let (mut saved, mut pages) = (0, Pages::open(list, source).await?);
    while let Some(page) = pages.next(source).await? {
        for brought in page {
            saved += save_files_of(brought.index, brought.files.as_ref(), folder, source).await?;
        }
    }
    output::note(format!("{} in {}", Counted(saved, "file"), folder.display()));
    Ok(())
}

/// Saves a task's files in a folder of its own, and says how many they are.
pub async fn save_files_of(
    index: u32,
    files: Option<&Payload>,
    folder: &Path,
    source: &mut Source,
) -> Result<usize, Failure> {
    let Some(files) = files else { return Ok(0) };
    let bytes = bytes_of(files, source, MANIFEST_BYTES_MAX).await?;
    let files: program::Files = program::read_bytes("list of files", &bytes).map_err(Failure::failed)?;
    let digests = files.blobs().map_err(Failure::failed)?;
    let folder = folder.join(index.to_string());
    whole_file::remove_leftovers(&files.files.iter().map(|file| folder.join(&file.path)).collect::<Vec<_>>());
    for (file, digest) in files.files.iter().zip(&digests) {
        save_file(&folder, file, *digest, source).await?;
    }
    Ok(digests.len())
}

/// Saves a file below a folder. Its path is a worker's word.
async fn save_file(folder: &Path, file: &program::File, digest: Digest, source: &mut Source) -> Result<(), Failure> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if !file.path.split('/').all(is_part) {
        return Err(Failure::failed(format!("a task left a file at `{}`, which leads elsewhere", file.path)));
    }
    let path = folder.join(&file.path);
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
            .hint("make room there, or name another DIR")
    };
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(cannot)?;
    let bytes = source.blob(digest, BLOB_BYTES_MAX).await?;
    whole_file::write(&path, &bytes).map_err(cannot)?;
    if file.executable {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(cannot)?;
    }
    Ok(())
}
