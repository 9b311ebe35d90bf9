//! The disk keeps the contracts of blobs and journals, and loses only what it may.

use std::path::Path;
use std::sync::Arc;

use convoke_core::{Event, Position, Term};
use convoke_store::blobs::{BlobError, Blobs, Durability, FolderBlobs};
use convoke_store::files::Files;
use convoke_store::journal::{EncodedFrame, Frame, Journal, Tail};

use super::*;

mod blobs;
mod journals;

/// The folder of blobs on a disk.
fn folder(disk: &Disk) -> FolderBlobs {
    disk.create_folder(Path::new("blobs")).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    FolderBlobs::open_over(Arc::new(disk.clone()), Path::new("blobs")).unwrap()
}

/// Blobs on a disk of their own, for each of some ways in which a power cut may go.
fn check(test: impl Fn(&Disk, &FolderBlobs)) {
    for seed in 0..32 {
        let disk = Disk::new(seed);
        test(&disk, &folder(&disk));
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

/// The frame that opens a term, after the journal's last.
fn opened(journal: &SimulatedJournal, term: u64) -> EncodedFrame {
    Frame::encode(journal.tail().hash, Term(term), 0, &[Event::TermOpened { term: Term(term) }]).unwrap()
}

#[test]
fn a_power_cut_takes_no_frame_but_the_last_and_that_only_in_doubt() {
    let mut there = 0;
    for seed in 0..32 {
        let disk = Disk::new(seed);
        let mut journal = SimulatedJournal::new(disk.clone());
        for term in 1..=3 {
            journal.append(Position(term), &opened(&journal, term)).unwrap();
        }
        let (acknowledged, next) = (journal.tail(), opened(&journal, 4));
        if seed % 2 == 0 {
            disk.fail_syncs(0, 1);
            journal.append(Position(4), &next).unwrap_err();
        } else {
            journal.write(&next);
        }
        assert_eq!(journal.tail(), acknowledged, "nobody is told of what is in doubt");
        journal.cut_power();
        journal.look_again().unwrap();
        let tail = journal.tail();
        assert!([acknowledged, Tail { position: Position(4), hash: next.hash() }].contains(&tail));
        assert_eq!(journal.reader().read(Position(1), 9).unwrap().len() as u64, tail.position.0);
        there += u64::from(tail != acknowledged);
    }
    assert!((1..32).contains(&there));
}

#[test]
fn a_trim_that_failed_may_be_done_all_the_same() {
    let mut done = 0;
    for seed in 0..32 {
        let disk = Disk::new(seed);
        let mut journal = SimulatedJournal::new(disk.clone());
        for term in 1..=3 {
            journal.append(Position(term), &opened(&journal, term)).unwrap();
        }
        disk.fail_syncs(0, 1);
        journal.trim(Position(2)).unwrap_err();
        assert_eq!(journal.reader().read(Position(1), 9).unwrap().len(), 3);
        journal.look_again().unwrap();
        assert_eq!(journal.reader().read(Position(3), 9).unwrap().len(), 1);
        done += u64::from(journal.reader().read(Position(1), 9).is_err());
    }
    assert!((1..32).contains(&done));
}
