//! The contract of blobs, as every backend has to keep it.
//!
//! It stands apart so that other crates' backends include it, with `#[macro_use] #[path = "…"] mod conformance;`. It
//! does not know which backend it is run on.

use convoke_core::Digest;
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_store::digest_of;

use Durability::{Synced, Unsynced};

/// Tests of a backend, one for each part of the contract, in a module `$backend`. The function `$with` beside it is given
/// a check, and calls it with blobs that are empty.
macro_rules! blobs_conform {
    ($backend:ident, $with:ident) => {
        blobs_conform! {
            $backend, $with:
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
        }
    };
    ($backend:ident, $with:ident: $($check:ident,)*) => {
        mod $backend {
            $(#[test] fn $check() { super::$with(&super::conformance::$check) })*
        }
    };
}

pub fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place * 7 % 251) as u8).collect()
}

pub fn all(blobs: &dyn Blobs, digest: Digest) -> Option<Vec<u8>> {
    blobs.get(digest, u64::MAX).unwrap().map(Vec::from)
}

pub fn what_is_put_is_got(blobs: &dyn Blobs) {
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

pub fn putting_again_changes_nothing(blobs: &dyn Blobs) {
    let bytes = bytes(1_000);
    let digest = digest_of(&bytes);
    for durability in [Unsynced, Unsynced, Synced, Synced, Unsynced] {
        assert_eq!(blobs.put(&bytes, durability).unwrap(), digest);
        assert_eq!(all(blobs, digest).as_ref(), Some(&bytes));
    }
}

pub fn syncing_keeps_the_bytes(blobs: &dyn Blobs) {
    let bytes = bytes(1_000);
    let digest = digest_of(&bytes);
    assert!(!blobs.sync(digest).unwrap());
    blobs.put(&bytes, Unsynced).unwrap();
    assert!(blobs.sync(digest).unwrap());
    assert!(blobs.sync(digest).unwrap());
    assert_eq!(all(blobs, digest), Some(bytes));
}

pub fn parts_are_read(blobs: &dyn Blobs) {
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

pub fn only_what_was_announced_is_kept(blobs: &dyn Blobs) {
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

pub fn a_dropped_writer_leaves_nothing(blobs: &dyn Blobs) {
    let mut writer = blobs.writer(Synced, None, 100).unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    assert!(!blobs.has(digest_of(b"half")).unwrap());
}

pub fn limits_are_kept(blobs: &dyn Blobs) {
    let expected = digest_of(b"12345");
    let mut writer = blobs.writer(Unsynced, Some(expected), 4).unwrap();
    writer.write(b"123").unwrap();
    let refused = writer.write(b"45").unwrap_err().to_string();
    assert_eq!(refused, format!("blob {expected} is larger than 4 bytes"));
    let digest = blobs.put(b"12345", Unsynced).unwrap();
    assert_eq!(blobs.get(digest, 5).unwrap().unwrap(), b"12345".as_slice());
    assert!(matches!(blobs.get(digest, 4), Err(BlobError::TooLarge { digest: Some(named), .. }) if named == digest));
}

pub fn many_may_put_the_same_at_once(blobs: &dyn Blobs) {
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

pub fn all_are_listed_in_pages(blobs: &dyn Blobs) {
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

pub fn what_is_removed_is_gone_and_can_be_put_again(blobs: &dyn Blobs) {
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

pub fn an_open_blob_is_read_on_after_it_is_removed(blobs: &dyn Blobs) {
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
