//! The contract of blobs, as every backend has to keep it, and what is each one's own.

use std::path::{Path, PathBuf};

use convoke_core::Digest;
use convoke_store::blobs::{BlobError, Blobs, Durability, FolderBlobs, LayeredBlobs, MemoryBlobs, SqliteBlobs};
use convoke_store::digest_of;
use convoke_store::journal::SqliteJournal;
use tempfile::TempDir;

use Durability::{Synced, Unsynced};

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place * 7 % 251) as u8).collect()
}

fn all(blobs: &dyn Blobs, digest: Digest) -> Option<Vec<u8>> {
    blobs.get(digest, u64::MAX).unwrap().map(Vec::from)
}

fn what_is_put_is_got(blobs: &dyn Blobs) {
    for (count, durability) in [(0, Synced), (1, Unsynced), (200_000, Synced), (200_001, Unsynced)] {
        let bytes = bytes(count);
        let digest = digest_of(&bytes);
        assert!(!blobs.has(digest).unwrap());
        assert_eq!(all(blobs, digest), None);
        assert_eq!(blobs.put(&bytes, durability).unwrap(), digest);
        assert!(blobs.has(digest).unwrap());
        assert_eq!(all(blobs, digest), Some(bytes));
    }
}

fn putting_again_changes_nothing(blobs: &dyn Blobs) {
    let bytes = bytes(1_000);
    let digest = digest_of(&bytes);
    for durability in [Unsynced, Unsynced, Synced, Synced, Unsynced] {
        assert_eq!(blobs.put(&bytes, durability).unwrap(), digest);
        assert_eq!(all(blobs, digest).as_ref(), Some(&bytes));
    }
}

fn syncing_keeps_the_bytes(blobs: &dyn Blobs) {
    let bytes = bytes(1_000);
    let digest = digest_of(&bytes);
    assert!(!blobs.sync(digest).unwrap());
    blobs.put(&bytes, Unsynced).unwrap();
    assert!(blobs.sync(digest).unwrap());
    assert!(blobs.sync(digest).unwrap());
    assert_eq!(all(blobs, digest), Some(bytes));
}

fn parts_are_read(blobs: &dyn Blobs) {
    let bytes = bytes(100_000);
    for durability in [Unsynced, Synced] {
        let digest = blobs.put(&bytes, durability).unwrap();
        let reader = blobs.open(digest).unwrap().unwrap();
        assert_eq!(reader.len(), 100_000);
        for (offset, count) in [(0, 10), (99_000, 1_000), (70_000, 1), (100_000, 0), (0, 100_000)] {
            let mut buffer = vec![0; count];
            reader.read_exact_at(offset as u64, &mut buffer).unwrap();
            assert_eq!(buffer, bytes[offset..offset + count]);
        }
        for (offset, count) in [(100_000, 1), (99_999, 2), (u64::MAX, 1), (u64::MAX, 0)] {
            let refused = reader.read_exact_at(offset, &mut vec![0; count]).unwrap_err();
            assert!(matches!(refused, BlobError::Beyond { .. }), "{refused}");
        }
    }
}

fn only_what_was_announced_is_kept(blobs: &dyn Blobs) {
    let (announced, came) = (digest_of(b"announced"), digest_of(b"came"));
    let mut writer = blobs.writer(Unsynced, Some(announced), 100).unwrap();
    writer.write(b"ca").unwrap();
    writer.write(b"me").unwrap();
    let refused = writer.finish().unwrap_err().to_string();
    assert_eq!(refused, format!("blob {announced} was expected, and what came is {came}"));
    assert!(!blobs.has(announced).unwrap() && !blobs.has(came).unwrap());

    let mut writer = blobs.writer(Synced, Some(came), 4).unwrap();
    writer.write(b"came").unwrap();
    assert_eq!(writer.finish().unwrap(), came);
    assert!(blobs.has(came).unwrap());
}

fn a_dropped_writer_leaves_nothing(blobs: &dyn Blobs) {
    let mut writer = blobs.writer(Synced, None, 100).unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    assert!(!blobs.has(digest_of(b"half")).unwrap());
}

fn limits_are_kept(blobs: &dyn Blobs) {
    let expected = digest_of(b"12345");
    let mut writer = blobs.writer(Unsynced, Some(expected), 4).unwrap();
    writer.write(b"123").unwrap();
    let refused = writer.write(b"45").unwrap_err().to_string();
    assert_eq!(refused, format!("blob {expected} is larger than 4 bytes"));
    let digest = blobs.put(b"12345", Unsynced).unwrap();
    assert_eq!(blobs.get(digest, 5).unwrap().unwrap(), b"12345".as_slice());
    assert!(matches!(blobs.get(digest, 4), Err(BlobError::TooLarge { digest: Some(named), .. }) if named == digest));
}

fn many_may_put_the_same_at_once(blobs: &dyn Blobs) {
    let bytes = bytes(50_000);
    let digest = digest_of(&bytes);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bytes = &bytes;
            scope.spawn(move || {
                for turn in 0..10 {
                    let durability = if (thread + turn) % 3 == 0 { Synced } else { Unsynced };
                    assert_eq!(blobs.put(bytes, durability).unwrap(), digest);
                    assert!(blobs.has(digest).unwrap());
                    assert_eq!(all(blobs, digest).as_ref(), Some(bytes));
                    assert!(blobs.sync(digest).unwrap());
                }
            });
        }
    });
}

/// Pages of so many, one after the other.
fn listed(blobs: &dyn Blobs, max: usize) -> Vec<(Digest, u64)> {
    let mut listed = Vec::new();
    loop {
        let page = blobs.list(listed.last().map(|(digest, _)| *digest), max).unwrap();
        assert!(page.len() <= max);
        listed.extend_from_slice(&page);
        if page.len() < max {
            return listed;
        }
    }
}

fn all_are_listed_in_pages(blobs: &dyn Blobs) {
    assert_eq!(blobs.list(None, 10).unwrap(), []);
    let mut expected: Vec<_> = (0..300_usize)
        .map(|number| {
            let bytes = bytes(if number % 7 == 0 { 70_000 + number } else { number });
            let durability = if number % 2 == 0 { Synced } else { Unsynced };
            (blobs.put(&bytes, durability).unwrap(), bytes.len() as u64)
        })
        .collect();
    expected.sort();
    for max in [1, 7, 100, 300, 1_000] {
        assert_eq!(listed(blobs, max), expected);
    }
}

fn what_is_removed_is_gone_and_can_be_put_again(blobs: &dyn Blobs) {
    for durability in [Unsynced, Synced] {
        let [small, large, kept] = [100, 100_000, 101].map(bytes);
        let digests = [&small, &large, &kept].map(|bytes| blobs.put(bytes, durability).unwrap());
        assert_eq!(blobs.remove(&[digest_of(b"never there"), digests[0], digests[1]]).unwrap(), 100_100);
        assert_eq!(digests.map(|digest| blobs.has(digest).unwrap()), [false, false, true]);
        assert_eq!(digests.map(|digest| blobs.sync(digest).unwrap()), [false, false, true]);
        assert!(blobs.open(digests[0]).unwrap().is_none() && blobs.open(digests[1]).unwrap().is_none());
        assert_eq!(listed(blobs, 10), [(digests[2], 101)]);
        assert_eq!(blobs.remove(&digests[..2]).unwrap(), 0);
        blobs.put(&large, durability).unwrap();
        assert_eq!(all(blobs, digests[1]), Some(large));
        blobs.remove(&digests).unwrap();
        assert_eq!(listed(blobs, 10), []);
    }
}

fn an_open_blob_is_read_on_after_it_is_removed(blobs: &dyn Blobs) {
    for (count, durability) in [(1_000, Unsynced), (1_000, Synced), (100_000, Unsynced), (100_000, Synced)] {
        let bytes = bytes(count);
        let digest = blobs.put(&bytes, durability).unwrap();
        let reader = blobs.open(digest).unwrap().unwrap();
        assert_eq!(blobs.remove(&[digest]).unwrap(), count as u64);
        let mut read = vec![0; count];
        reader.read_exact_at(0, &mut read).unwrap();
        assert_eq!(read, bytes);
    }
}

macro_rules! every_backend {
    ($($check:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $check() { super::$check(&super::MemoryBlobs::new()) })*
        }
        mod folder {
            $(#[test] fn $check() {
                let folder = tempfile::tempdir().unwrap();
                super::$check(&super::FolderBlobs::open(folder.path()).unwrap());
                assert_eq!(super::incoming(folder.path()), 0);
            })*
        }
        mod sqlite {
            $(#[test] fn $check() {
                let folder = tempfile::tempdir().unwrap();
                super::$check(&super::SqliteBlobs::open(&folder.path().join("blobs.sqlite")).unwrap());
            })*
        }
        mod layered {
            $(#[test] fn $check() {
                let folder = tempfile::tempdir().unwrap();
                super::$check(&super::layered(folder.path()));
                assert_eq!(super::incoming(&folder.path().join("blobs")), 0);
            })*
        }
    };
}
every_backend!(
    what_is_put_is_got,
    putting_again_changes_nothing,
    syncing_keeps_the_bytes,
    parts_are_read,
    only_what_was_announced_is_kept,
    a_dropped_writer_leaves_nothing,
    limits_are_kept,
    many_may_put_the_same_at_once,
    all_are_listed_in_pages,
    what_is_removed_is_gone_and_can_be_put_again,
    an_open_blob_is_read_on_after_it_is_removed,
);

fn layered(folder: &Path) -> LayeredBlobs {
    LayeredBlobs::open(&folder.join("blobs.sqlite"), &folder.join("blobs")).unwrap()
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
