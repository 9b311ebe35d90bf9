//! Blobs in a folder, each a file named by its digest: `ab/abcdef…`, and with the ending `.unsynced` until it is synced.
//!
//! Files are written in `incoming/` and renamed into place when they are whole. After a power cut an unsynced file may
//! hold anything, so it is hashed whenever it is opened, and removed if it is not what its name says. A synced one is
//! hashed where a reader asks for it, and replaced by the same blob if it is spoiled. No name ever comes from a peer: only
//! the digits of 32 bytes. One process at a time owns the folder; nothing here checks that.

mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::Digest;

use file::{FolderReader, FolderWriter};

use super::{BlobError, BlobReader, BlobWriter, Blobs, Durability, Intake};
use crate::disk::{self, DiskError, on};
use crate::files::{Files, OpenFile, SystemFiles};

const INCOMING: &str = "incoming";
/// What an unsynced file's name ends with.
const UNSYNCED: &str = ".unsynced";

/// Blobs in a folder. Clones are the same blobs.
#[derive(Clone, Debug)]
pub struct FolderBlobs {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Names the next file in `incoming/`.
    next: AtomicU64,
    /// Held to replace or remove an unsynced file, so that none is removed for what its predecessor held.
    unsynced_turn: Mutex<()>,
    /// Whether the names of the folders in this one are durable. Held while one is created, so that nobody counts on a
    /// name before it is.
    folders_synced: Mutex<bool>,
}

impl FolderBlobs {
    /// Opens the folder, or creates it, and removes what unfinished writers left in `incoming/`. A folder for a first byte
    /// comes with the first blob that begins with it.
    pub fn open(path: &Path) -> Result<Self, BlobError> {
        disk::create_private_folder(path)?;
        Self::open_over(Arc::new(SystemFiles), path)
    }

    /// Opens a folder that is there, over any file system.
    pub fn open_over(files: Arc<dyn Files>, path: &Path) -> Result<Self, BlobError> {
        let folder = Folder::at(files, path);
        let incoming = path.join(INCOMING);
        folder.create_folder(&incoming)?;
        for left in folder.files.list(&incoming).map_err(on("list", &incoming))? {
            folder.files.remove(&left).map_err(on("remove", &left))?;
        }
        // Also where all was there: whoever created it may not have come this far.
        folder.sync_folder(path)?;
        Ok(Self { folder: Arc::new(folder) })
    }
}

impl Folder {
    /// The folder as it is; nothing in it is touched.
    fn at(files: Arc<dyn Files>, path: &Path) -> Self {
        Self {
            files,
            path: path.to_owned(),
            next: AtomicU64::new(0),
            unsynced_turn: Mutex::new(()),
            folders_synced: Mutex::new(true),
        }
    }

    fn synced(&self, digest: Digest) -> PathBuf {
        let digits = digest.to_string();
        self.path.join(&digits[..2]).join(digits)
    }

    fn unsynced(&self, digest: Digest) -> PathBuf {
        self.synced(digest).with_extension(&UNSYNCED[1..])
    }

    /// Puts a whole file in its place.
    fn publish(
        &self,
        from: &Path,
        file: &dyn OpenFile,
        digest: Digest,
        durability: Durability,
    ) -> Result<(), DiskError> {
        let (synced, unsynced) = (self.synced(digest), self.unsynced(digest));
        match durability {
            Durability::Unsynced if self.exists(&synced)? => match self.open_checked(digest, synced.clone())? {
                Some(_) => self.files.remove(from).map_err(on("remove", from)),
                // The disk has spoiled it.
                None => self.publish_synced(from, file, &synced),
            },
            Durability::Unsynced => {
                let _turn = self.unsynced_turn();
                self.rename(from, &unsynced)
            }
            Durability::Synced => {
                self.publish_synced(from, file, &synced)?;
                let _turn = self.unsynced_turn();
                self.remove_if_there(&unsynced)
            }
        }
    }

    /// Makes the bytes durable, then the name.
    fn publish_synced(&self, from: &Path, file: &dyn OpenFile, synced: &Path) -> Result<(), DiskError> {
        file.sync().map_err(on("sync", from))?;
        self.rename(from, synced)?;
        self.sync_name(synced)
    }

    /// Makes a blob's name durable, and that of its folder if whoever created it could not.
    fn sync_name(&self, synced: &Path) -> Result<(), DiskError> {
        self.sync_folder(disk::parent(synced))?;
        self.sync_folders(&mut self.folders_synced())
    }

    fn sync_folders(&self, folders_synced: &mut bool) -> Result<(), DiskError> {
        if !*folders_synced {
            self.sync_folder(&self.path)?;
            *folders_synced = true;
        }
        Ok(())
    }

    /// Gives a new blob its name; the first of its folder makes that durable too.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut renamed = self.files.rename(from, to);
        if renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let mut folders_synced = self.folders_synced();
            *folders_synced = false;
            self.create_folder(disk::parent(to))?;
            self.sync_folders(&mut folders_synced)?;
            renamed = self.files.rename(from, to);
        }
        renamed.map_err(on("rename a new blob to", to))
    }

    /// The unsynced file, if it holds what its name says.
    fn open_unsynced(&self, digest: Digest) -> Result<Option<FolderReader>, DiskError> {
        self.open_checked(digest, self.unsynced(digest))
    }

    /// The file, if it is there and holds the blob.
    fn open_checked(&self, digest: Digest, path: PathBuf) -> Result<Option<FolderReader>, DiskError> {
        let Some(reader) = self.open_file(digest, path)? else { return Ok(None) };
        Ok(if reader.hash()? == digest { Some(FolderReader { checked: true, ..reader }) } else { None })
    }

    /// Removes the unsynced file, unless by now it holds what its name says.
    fn discard_unsynced(&self, digest: Digest) -> Result<(), DiskError> {
        let _turn = self.unsynced_turn();
        match self.open_unsynced(digest)? {
            Some(_) => Ok(()),
            None => self.remove_if_there(&self.unsynced(digest)),
        }
    }

    fn open_file(&self, digest: Digest, path: PathBuf) -> Result<Option<FolderReader>, DiskError> {
        let file = match self.files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(on("open", &path))?,
        };
        let blob_bytes = file.size_bytes().map_err(on("look at", &path))?;
        Ok(Some(FolderReader { digest, path, file, blob_bytes, checked: false }))
    }

    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        Ok(self.size_bytes(path)?.is_some())
    }

    /// `None` where there is no such file.
    fn size_bytes(&self, path: &Path) -> Result<Option<u64>, DiskError> {
        self.files.size_bytes(path).map_err(on("look at", path))
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        match self.files.create_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done.map_err(on("create the folder", path)),
        }
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.files.sync_folder(path).map_err(on("sync the folder", path))
    }

    fn remove_if_there(&self, path: &Path) -> Result<(), DiskError> {
        match self.files.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(on("remove", path)),
        }
    }

    fn folders_synced(&self) -> MutexGuard<'_, bool> {
        self.folders_synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blobs whose digests begin with a byte, in order.
    fn list_of(&self, first: u8) -> Result<Vec<(Digest, u64)>, DiskError> {
        let folder = self.path.join(format!("{first:02x}"));
        let paths = match self.files.list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            paths => paths.map_err(on("list", &folder))?,
        };
        let mut listed = Vec::new();
        for digest in paths.iter().filter_map(|path| digest_of_name(path)) {
            // Synced last: between the two looks an unsynced file may have become the synced one. Or it is removed.
            let sizes = [self.size_bytes(&self.unsynced(digest))?, self.size_bytes(&self.synced(digest))?];
            listed.extend(sizes.into_iter().flatten().next().map(|bytes| (digest, bytes)));
        }
        listed.sort_unstable();
        listed.dedup_by_key(|(digest, _)| *digest);
        Ok(listed)
    }

    fn unsynced_turn(&self) -> MutexGuard<'_, ()> {
        self.unsynced_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a blob of a folder that someone else may hold: nothing is created, tidied or removed.
pub(super) fn look(folder: &Path, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
    let folder = Folder::at(Arc::new(SystemFiles), folder);
    let found = match folder.open_file(digest, folder.synced(digest))? {
        None => folder.open_unsynced(digest)?,
        found => found,
    };
    Ok(found.map(|reader| Box::new(reader) as Box<dyn BlobReader>))
}

impl Blobs for FolderBlobs {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        // Synced last: between the two looks an unsynced file may have become the synced one.
        Ok(self.folder.exists(&self.folder.unsynced(digest))? || self.folder.exists(&self.folder.synced(digest))?)
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        let number = self.folder.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path.join(INCOMING).join(number.to_string());
        let file = self.folder.files.create_new(&path).map_err(on("create", &path))?;
        let folder = self.folder.clone();
        let intake = Intake::new(expected, bytes_max);
        let file = file.into();
        let (published, unasked_bytes, ahead) = (false, 0, None);
        Ok(Box::new(FolderWriter { folder, durability, intake, file, path, published, unasked_bytes, ahead }))
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        let synced = self.folder.synced(digest);
        let _turn = self.folder.unsynced_turn();
        if self.folder.exists(&synced)? {
            // Whoever wrote it may not have synced its name yet.
            self.folder.sync_name(&synced)?;
            return Ok(true);
        }
        let Some(reader) = self.folder.open_unsynced(digest)? else { return Ok(self.folder.exists(&synced)?) };
        if let Err(error) = self.folder.publish_synced(&reader.path, &*reader.file, &synced) {
            // The system may take the bytes for written now, so that another sync would say so, too: they are lost.
            self.folder.remove_if_there(&reader.path)?;
            return Err(error.into());
        }
        Ok(true)
    }

    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        let synced = self.folder.synced(digest);
        let mut found = self.folder.open_file(digest, synced.clone())?;
        if found.is_none() {
            found = self.folder.open_unsynced(digest)?;
        }
        if found.is_none() {
            self.folder.discard_unsynced(digest)?;
            // Between the looks an unsynced file may have become the synced one.
            found = self.folder.open_file(digest, synced)?;
        }
        Ok(found.map(|reader| Box::new(reader) as Box<dyn BlobReader>))
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        let mut listed = Vec::new();
        for first in after.map_or(0, |digest| digest.0[0])..=u8::MAX {
            listed.extend(self.folder.list_of(first)?.into_iter().filter(|(digest, _)| Some(*digest) > after));
            if listed.len() >= max {
                break;
            }
        }
        listed.truncate(max);
        Ok(listed)
    }

    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        let _turn = self.folder.unsynced_turn();
        let mut bytes = 0;
        for digest in digests {
            for path in [self.folder.unsynced(*digest), self.folder.synced(*digest)] {
                bytes += self.folder.size_bytes(&path)?.unwrap_or(0);
                self.folder.remove_if_there(&path)?;
            }
        }
        Ok(bytes)
    }
}

fn digest_of_name(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(UNSYNCED).unwrap_or(name).parse().ok()
}
