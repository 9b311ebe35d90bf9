//! The contract of blobs on every backend of this crate, and what is each one's own.

#[macro_use]
#[path = "conformance/blobs.rs"]
mod conformance;

use std::path::{Path, PathBuf};

use convoke_core::Digest;
use convoke_store::blobs::{BlobError, Blobs, Durability, FolderBlobs, LayeredBlobs, MemoryBlobs, SqliteBlobs};
use convoke_store::journal::SqliteJournal;
use tempfile::TempDir;

use Durability::{Synced, Unsynced};
use conformance::{all, bytes};

blobs_conform!(in_memory, memory);
blobs_conform!(in_a_folder, folder);
blobs_conform!(in_sqlite, sqlite);
blobs_conform!(in_layers, layers);

type Check<'a> = &'a dyn Fn(&dyn Blobs);

fn memory(check: Check) {
    check(&MemoryBlobs::new());
}

fn folder(check: Check) {
    let folder = tempfile::tempdir().unwrap();
    check(&FolderBlobs::open(folder.path()).unwrap());
    assert_eq!(incoming(folder.path()), 0);
}

fn sqlite(check: Check) {
    let folder = tempfile::tempdir().unwrap();
    check(&SqliteBlobs::open(&folder.path().join("blobs.sqlite")).unwrap());
}

fn layers(check: Check) {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (folder.path().join("blobs.sqlite"), folder.path().join("blobs"));
    check(&LayeredBlobs::open(&small, &large).unwrap());
    assert_eq!(incoming(&large), 0);
}

/// How many files unfinished writers have left.
fn incoming(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("incoming")).unwrap().count()
}

fn place(folder: &Path, digest: Digest, ending: &str) -> PathBuf {
    let digits = digest.to_string();
    folder.join(&digits[..2]).join(digits + ending)
}

#[test]
fn memory_loses_only_what_was_unsynced() {
    let blobs = MemoryBlobs::new();
    let kept =
        [blobs.put(b"a", Synced).unwrap(), blobs.put(b"b", Unsynced).unwrap(), blobs.put(b"c", Unsynced).unwrap()];
    blobs.put(b"b", Synced).unwrap();
    blobs.put(b"a", Unsynced).unwrap();
    blobs.lose_unsynced();
    assert_eq!(kept.map(|digest| blobs.has(digest).unwrap()), [true, true, false]);
}

#[test]
fn a_folder_keeps_its_blobs_and_clears_the_unfinished() {
    let folder = TempDir::new().unwrap();
    let blobs = FolderBlobs::open(folder.path()).unwrap();
    let digest = blobs.put(b"whole", Unsynced).unwrap();
    let mut writer = blobs.writer(Synced, None, 100).unwrap();
    writer.write(b"half").unwrap();
    // As after `kill -9`: nobody drops the writer.
    std::mem::forget(writer);
    assert_eq!(incoming(folder.path()), 1);

    let blobs = FolderBlobs::open(folder.path()).unwrap();
    assert_eq!(incoming(folder.path()), 0);
    assert_eq!(all(&blobs, digest), Some(b"whole".to_vec()));
}

#[test]
fn syncing_is_seen_in_the_name() {
    let folder = TempDir::new().unwrap();
    let blobs = FolderBlobs::open(folder.path()).unwrap();
    let digests = [b"one", b"two"].map(|bytes| blobs.put(bytes, Unsynced).unwrap());
    let synced = |digest| {
        let [synced, unsynced] = ["", ".unsynced"].map(|ending| place(folder.path(), digest, ending).exists());
        assert_ne!(synced, unsynced);
        synced
    };
    assert_eq!(digests.map(synced), [false, false]);
    blobs.put(b"one", Synced).unwrap();
    blobs.sync(digests[1]).unwrap();
    assert_eq!(digests.map(synced), [true, true]);
    blobs.put(b"one", Unsynced).unwrap();
    assert_eq!(digests.map(synced), [true, true]);
}

#[test]
fn an_unsynced_blob_that_a_power_cut_spoiled_is_gone_and_can_be_put_again() {
    let folder = TempDir::new().unwrap();
    let blobs = FolderBlobs::open(folder.path()).unwrap();
    let digest = blobs.put(b"result", Unsynced).unwrap();
    let path = place(folder.path(), digest, ".unsynced");
    std::fs::write(&path, [0; 6]).unwrap();
    assert!(!blobs.sync(digest).unwrap());
    assert!(blobs.open(digest).unwrap().is_none());
    assert!(!blobs.has(digest).unwrap() && !path.exists());
    blobs.put(b"result", Unsynced).unwrap();
    assert_eq!(all(&blobs, digest), Some(b"result".to_vec()));
}

#[test]
fn a_synced_blob_that_the_disk_spoiled_is_an_error() {
    let folder = TempDir::new().unwrap();
    let blobs = FolderBlobs::open(folder.path()).unwrap();
    let digest = blobs.put(b"model", Synced).unwrap();
    std::fs::write(place(folder.path(), digest, ""), b"MODEL").unwrap();
    let refused = blobs.get(digest, 100).unwrap_err().to_string();
    assert_eq!(refused, format!("blob {digest} is damaged"));
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let refused = |path: &Path| SqliteBlobs::open(path).err().unwrap().to_string();
    let text = folder.path().join("text");
    std::fs::write(&text, "something else ".repeat(100)).unwrap();
    assert_eq!(refused(&text), format!("{} is not a convoke blob file", text.display()));
    let journal = folder.path().join("journal.sqlite");
    SqliteJournal::open(&journal).unwrap();
    assert_eq!(refused(&journal), format!("{} is not a convoke blob file", journal.display()));
    SqliteJournal::open(&journal).unwrap();
}

#[test]
fn a_row_that_the_disk_spoiled_is_an_error_and_can_be_put_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("blobs.sqlite");
    let blobs = SqliteBlobs::open(&path).unwrap();
    let digest = blobs.put(b"model", Synced).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE blobs SET bytes = x'00'", ()).unwrap();
    assert!(matches!(blobs.get(digest, 100), Err(BlobError::Damaged { .. })));
    blobs.put(b"model", Unsynced).unwrap();
    assert_eq!(all(&blobs, digest), Some(b"model".to_vec()));
}

#[test]
fn a_file_uses_again_what_was_freed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("blobs.sqlite");
    let blobs = SqliteBlobs::open(&path).unwrap();
    let churn = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let put = |part: u64| {
                let mut bytes = bytes(3_000 + (round as usize * 37 + part as usize * 101) % 20_000);
                bytes[..8].copy_from_slice(&(round * 8 + part).to_le_bytes());
                blobs.put(&bytes, Unsynced).unwrap()
            };
            let digests: Vec<_> = (0..8).map(put).collect();
            blobs.remove(&digests).unwrap();
        }
        // All that was logged goes into the file.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
        path.metadata().unwrap().len()
    };
    // By then blobs of every size have come.
    let first = churn(0..600);
    let last = churn(600..2_000);
    assert!(last <= first + first / 10, "{first} bytes became {last}");
}
