//! A simulated disk under the coordinator: a file system that keeps only what was synced; `journal` is beside it.
//!
//! At a power cut each unsynced name and each unsynced file goes, stays or is spoiled, by dice of the disk's own; a sync
//! that failed leaves bytes that no later sync of that file saves, as Linux does. It does not know what is kept on it.

mod files;
mod journal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::coverage::Coverage;
use crate::dice::Dice;
pub use journal::SimulatedJournal;

/// A disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    coverage: Coverage,
    /// How often it may have lost something: at a power cut, or by a sync that failed.
    losses: u64,
    /// Whether it takes nothing more.
    is_full: bool,
    /// How many syncs still work before some fail, and how many those are.
    failing_syncs: (u64, u64),
    /// As processes see them.
    names: BTreeMap<PathBuf, Node>,
    /// As they are after a power cut, at worst.
    synced_names: BTreeMap<PathBuf, Node>,
    files: Vec<Contents>,
}

#[derive(Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    /// How many of them a power cut cannot take.
    synced_bytes: usize,
    /// Whether a sync failed: the system believes the bytes to be on the disk, and will not write them again.
    is_given_up: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a disk with {} names", self.names.len())
    }
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed),
            coverage: Coverage::default(),
            losses: 0,
            is_full: false,
            failing_syncs: (0, 0),
            names: BTreeMap::from([(PathBuf::new(), Node::Folder)]),
            synced_names: BTreeMap::from([(PathBuf::new(), Node::Folder)]),
            files: Vec::new(),
        })))
    }

    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    pub fn fail_syncs(&self, after: u64, count: u64) {
        self.state().failing_syncs = (after, count);
    }

    /// From now on nothing fails.
    pub fn is_repaired(&self) {
        let mut state = self.state();
        (state.is_full, state.failing_syncs) = (false, (0, 0));
    }

    pub fn coverage(&self) -> Coverage {
        self.state().coverage.clone()
    }

    /// How often it may have lost something so far.
    pub fn losses(&self) -> u64 {
        self.state().losses
    }

    /// Loses what was not synced, all or in part.
    pub fn cut_power(&self) {
        self.state().cut_power();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut_power(&mut self) {
        self.losses += 1;
        let (names, mut kept) = (std::mem::take(&mut self.names), std::mem::take(&mut self.synced_names));
        let fresh = names.iter().filter(|(path, node)| kept.get(*path) != Some(*node));
        let fresh: Vec<_> = fresh.map(|(path, node)| (path.clone(), *node)).collect();
        let gone: Vec<_> = kept.keys().filter(|path| !names.contains_key(*path)).cloned().collect();
        for (path, node) in fresh {
            if self.dice.chance(50) {
                self.coverage.count("disk.unsynced-name-lost");
            } else {
                kept.insert(path, node);
            }
        }
        for path in gone {
            if self.dice.chance(50) {
                kept.remove(&path);
            } else {
                self.coverage.count("disk.removed-name-back");
            }
        }
        // Parents come before what is in them.
        for (path, node) in kept {
            if path.parent().is_none_or(|parent| self.names.get(parent) == Some(&Node::Folder)) {
                self.names.insert(path, node);
            }
        }
        self.synced_names = self.names.clone();
        for contents in self.files.iter_mut().filter(|contents| contents.synced_bytes < contents.bytes.len()) {
            let unsynced = contents.synced_bytes..contents.bytes.len();
            match self.dice.between(0, 3) {
                0 => {}
                1 => {
                    self.coverage.count("disk.unsynced-bytes-lost");
                    contents.bytes.truncate(contents.synced_bytes);
                }
                2 => {
                    self.coverage.count("disk.unsynced-bytes-cut-short");
                    let kept = self.dice.place(unsynced.len());
                    contents.bytes.truncate(contents.synced_bytes + kept);
                }
                _ => {
                    self.coverage.count("disk.unsynced-bytes-spoiled");
                    contents.bytes[unsynced].fill(0);
                }
            }
            contents.synced_bytes = contents.bytes.len();
        }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// A new name in a folder that is there.
    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.has_room()?;
        self.has_folder_of(path)?;
        self.names.insert(path.to_owned(), node);
        Ok(())
    }

    fn has_folder_of(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.node(parent)? != Node::Folder => Err(ErrorKind::NotADirectory.into()),
            _ => Ok(()),
        }
    }

    fn has_room(&mut self) -> io::Result<()> {
        if self.is_full {
            self.coverage.count("disk.full");
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn syncs(&mut self, what: &'static str) -> io::Result<()> {
        let (after, count) = &mut self.failing_syncs;
        if *count > 0 && *after > 0 {
            *after -= 1;
        } else if *count > 0 {
            *count -= 1;
            self.losses += 1;
            self.coverage.count(what);
            return Err(io::Error::other("the disk did not take it"));
        }
        Ok(())
    }
}
