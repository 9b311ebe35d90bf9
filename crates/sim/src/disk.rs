//! A simulated disk under the coordinator: a file system that keeps only what was synced; `journal` is beside it.
//!
//! At a power cut each unsynced name and each unsynced file goes, stays or is spoiled, by dice of the disk's own; a sync
//! that failed leaves bytes that no later sync of that file saves, as Linux does. It does not know what is kept on it.

mod journal;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::sabotage::{self, Bug};
use convoke_store::files::{Files, OpenFile};

use crate::coverage::Coverage;
use crate::dice::Dice;
pub use journal::SimulatedJournal;

/// A disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    coverage: Coverage,
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
            self.coverage.count(what);
            return Err(io::Error::other("the disk did not take it"));
        }
        Ok(())
    }
}

impl Files for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.state().add(path, Node::Folder)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let mut state = self.state();
        let number = state.files.len();
        state.add(path, Node::File(number))?;
        state.files.push(Contents::default());
        Ok(Box::new(SimulatedFile { disk: self.clone(), number }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        match self.state().node(path)? {
            Node::Folder => Err(ErrorKind::IsADirectory.into()),
            Node::File(number) => Ok(Box::new(SimulatedFile { disk: self.clone(), number })),
        }
    }

    fn size_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.state();
        Ok(match state.names.get(path) {
            Some(Node::File(number)) => Some(state.files[*number].bytes.len() as u64),
            Some(Node::Folder) | None => None,
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.node(folder)?;
        Ok(children(&state.names, folder).into_iter().map(|(path, _)| path).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.node(from)?;
        state.has_folder_of(to)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.node(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.node(folder)?;
        state.syncs("disk.folder-sync-failed")?;
        let (there, synced) = (children(&state.names, folder), children(&state.synced_names, folder));
        for (path, _) in synced {
            state.synced_names.remove(&path);
        }
        state.synced_names.extend(there);
        Ok(())
    }
}

/// The names in a folder. All that begin with its own follow it.
fn children(names: &BTreeMap<PathBuf, Node>, folder: &Path) -> Vec<(PathBuf, Node)> {
    let below = names.range(folder.to_owned()..).take_while(|(path, _)| path.starts_with(folder));
    below.filter(|(path, _)| path.parent() == Some(folder)).map(|(path, node)| (path.clone(), *node)).collect()
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Disk,
    number: usize,
}

impl OpenFile for SimulatedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.has_room()?;
        state.files[self.number].bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let State { dice, files, coverage, .. } = &mut *state;
        let bytes = files[self.number].bytes.get(offset as usize..).unwrap_or_default();
        let mut count = bytes.len().min(buffer.len());
        if count > 1 && dice.chance(10) {
            coverage.count("disk.short-read");
            count = 1 + dice.place(count - 1);
        }
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.number].bytes.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        if sabotage::is(Bug::LeaveBytesUnsynced) {
            return Ok(());
        }
        let mut state = self.disk.state();
        if let Err(error) = state.syncs("disk.sync-failed") {
            state.files[self.number].is_given_up = true;
            return Err(error);
        }
        let contents = &mut state.files[self.number];
        if !contents.is_given_up {
            contents.synced_bytes = contents.bytes.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use convoke_store::blobs::{BlobError, Blobs, Durability, FolderBlobs};

    use super::*;

    /// Blobs on a disk of their own, for each of some ways in which a power cut may go.
    fn check(test: impl Fn(&Disk, &FolderBlobs)) {
        for seed in 0..32 {
            let disk = Disk::new(seed);
            disk.create_folder(Path::new("blobs")).unwrap();
            disk.sync_folder(Path::new("")).unwrap();
            let blobs = FolderBlobs::open_over(Arc::new(disk.clone()), Path::new("blobs")).unwrap();
            test(&disk, &blobs);
        }
    }

    #[test]
    fn what_is_synced_survives_a_power_cut_whatever_failed_before() {
        for syncs_before_failure in 0..4 {
            check(|disk, blobs| {
                disk.fail_syncs(syncs_before_failure, 1);
                let digest = match blobs.put(b"a version", Durability::Synced) {
                    Err(BlobError::Disk(_)) => blobs.put(b"a version", Durability::Synced),
                    put => put,
                };
                disk.cut_power();
                let kept = blobs.get(digest.unwrap(), 100).unwrap();
                assert_eq!(kept.as_deref(), Some(b"a version".as_slice()));
            });
        }
    }

    #[test]
    fn a_blob_whose_sync_failed_is_lost_rather_than_believed() {
        check(|disk, blobs| {
            let digest = blobs.put(b"a delta", Durability::Unsynced).unwrap();
            disk.fail_syncs(0, 1);
            assert!(matches!(blobs.sync(digest), Err(BlobError::Disk(_))));
            let is_synced = blobs.sync(digest).unwrap();
            disk.cut_power();
            assert!(!is_synced || blobs.get(digest, 100).unwrap().is_some());
        });
    }

    #[test]
    fn what_is_not_synced_may_go() {
        let lost = std::cell::Cell::new(0);
        check(|disk, blobs| {
            let digest = blobs.put(b"a delta", Durability::Unsynced).unwrap();
            disk.cut_power();
            lost.set(lost.get() + usize::from(blobs.get(digest, 100).unwrap().is_none()));
        });
        assert!((1..32).contains(&lost.get()));
    }
}
