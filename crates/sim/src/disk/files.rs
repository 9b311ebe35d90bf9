//! The files on a simulated disk, as processes see them.
//!
//! Reads may be short, and a full disk takes nothing. What a power cut leaves of them is not decided here.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use convoke_core::sabotage::{self, Bug};
use convoke_store::files::{Files, OpenFile};

use super::{Contents, Disk, Node, State};

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
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.has_room()?;
        state.files[self.number].bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
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
