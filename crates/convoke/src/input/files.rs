//! The files of a directory, each an item.
//!
//! What is in a file it does not know; one that is too large for a piece it does not read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use convoke_wire::core::TASKS_MAX;
use convoke_wire::items::PIECE_BYTES_MAX;
use convoke_wire::protocol::BLOB_BYTES_MAX;

use super::{Content, InputError, Item};
use crate::natural::natural;

/// Files that are yet to be read.
pub(super) struct Files {
    left: std::vec::IntoIter<PathBuf>,
    taken: u64,
    /// How many things in the directory are none of them.
    pub(super) left_out: usize,
}

impl Files {
    /// Finds the regular files of a directory, and what links lead to; hidden ones and folders are left out.
    pub(super) fn of(directory: &Path) -> Result<Self, InputError> {
        let fail = |source| InputError::Open { path: directory.to_owned(), source };
        let (mut files, mut left_out) = (Vec::new(), 0);
        for entry in fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_file = || match fs::metadata(&path) {
                Ok(kind) => Ok(kind.is_file()),
                Err(source) => Err(InputError::Open { path: path.clone(), source }),
            };
            // A hidden link may lead nowhere: editors leave such ones.
            if name.starts_with('.') || !is_file()? {
                left_out += 1;
                continue;
            }
            if files.len() == TASKS_MAX as usize {
                return Err(InputError::TooManyFiles { path: directory.to_owned() });
            }
            files.push((name, path));
        }
        if files.is_empty() {
            return Err(InputError::NoFiles { path: directory.to_owned() });
        }
        // Names that count alike, such as 1 and 01, still have an order.
        files.sort_by_cached_key(|(name, path)| (natural(name), path.clone()));
        let left = files.into_iter().map(|(_, path)| path).collect::<Vec<_>>().into_iter();
        Ok(Self { left, taken: 0, left_out })
    }

    /// Reads the next file onto the end of `item`, which is empty, unless it is too large for a piece.
    pub(super) fn item(&mut self, item: &mut Vec<u8>) -> Result<Option<Item>, InputError> {
        let Some(path) = self.left.next() else { return Ok(None) };
        self.taken += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = read(&path, item).map_err(|source| InputError::Open { path: path.clone(), source })?;
        if bytes > BLOB_BYTES_MAX {
            return Err(InputError::FileTooLarge { path, bytes });
        }
        let file = (bytes > PIECE_BYTES_MAX as u64).then(|| Content::File { path, bytes });
        if file.is_some() {
            item.clear();
        }
        Ok(Some(Item { first: self.taken, units: 1, name: Some(name), file }))
    }
}

/// Reads a file, if it is not too large for a piece, and says how large it is.
fn read(path: &Path, item: &mut Vec<u8>) -> io::Result<u64> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > PIECE_BYTES_MAX as u64 {
        return Ok(bytes);
    }
    // It may grow while it is read, and some files do not know their size.
    file.take(PIECE_BYTES_MAX as u64 + 1).read_to_end(item)?;
    Ok(item.len() as u64)
}
