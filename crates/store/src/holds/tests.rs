//! Holds on a clock that stands until it is moved.

use convoke_core::event::{Combined, Metrics};
use convoke_core::{JobId, Payload, StageNumber};

use super::*;
use crate::blobs::MemoryBlobs;

const HOUR: Millis = 3_600_000;

fn held(bytes_max: Option<u64>) -> (Arc<Holds>, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let clock = time.clone();
    let clock = Box::new(move || clock.load(Ordering::Relaxed));
    (Holds::with_clock(Arc::new(MemoryBlobs::new()), bytes_max, Times::default(), clock), time)
}

/// Tries to remove a blob that is no root.
fn goes(holds: &Holds, digest: Digest, released: bool) -> bool {
    !holds.remove(&[digest], released, holds.now(), |_| false).unwrap().gone.is_empty()
}

fn made(digest: Digest) -> Event {
    let combined = Combined { result: Payload::blob(digest), metrics: Metrics::default(), refused: Vec::new() };
    Event::StageCombined { job: JobId::from_bits(1), stage: StageNumber(1), combined }
}

#[test]
fn what_a_client_touches_or_anyone_puts_is_held_for_an_hour() {
    let (holds, time) = held(None);
    let digest = holds.blobs().put(b"blob", Durability::Synced).unwrap();
    type Touch = fn(&dyn Blobs, Digest);
    let touches: [Touch; 4] = [
        |blobs, digest| assert!(blobs.has(digest).unwrap()),
        |blobs, digest| assert!(blobs.sync(digest).unwrap()),
        |blobs, digest| assert_eq!(blobs.put(b"blob", Durability::Unsynced).unwrap(), digest),
        |blobs, _| {
            let mut writer = blobs.writer(Durability::Synced, None, 4).unwrap();
            writer.write(b"blob").unwrap();
            writer.finish().unwrap();
        },
    ];
    let mut now = HOUR;
    for (blobs, touches) in [(holds.for_uploads(), &touches[..]), (holds.for_work(), &touches[2..])] {
        for touch in touches {
            time.store(now, Ordering::Relaxed);
            touch(&*blobs, digest);
            time.store(now + HOUR - 1, Ordering::Relaxed);
            assert!(!goes(&holds, digest, true));
            now += HOUR;
        }
    }
    time.store(now, Ordering::Relaxed);
    holds.tidy();
    assert!(holds.table().holds.is_empty());
    assert!(goes(&holds, digest, false) && !holds.blobs().has(digest).unwrap());
}

#[test]
fn everything_is_held_for_an_hour_from_the_start() {
    let (holds, time) = held(None);
    let digest = holds.blobs().put(b"of an earlier term", Durability::Synced).unwrap();
    time.store(HOUR - 1, Ordering::Relaxed);
    assert!(!goes(&holds, digest, false));
    time.store(HOUR, Ordering::Relaxed);
    assert!(goes(&holds, digest, false));
}

#[test]
fn a_release_ends_the_works_hold_after_the_grace_and_no_clients() {
    let (holds, time) = held(None);
    let [result, shared] =
        [b"result", b"shared"].map(|bytes| holds.for_work().put(bytes, Durability::Unsynced).unwrap());
    assert!(holds.for_uploads().has(shared).unwrap());
    [result, shared].iter().for_each(|digest| holds.hear(&made(*digest)));
    assert!(!goes(&holds, result, true));
    assert_eq!(holds.take_released(), (true, vec![result, shared]));
    assert_eq!(holds.take_released(), (false, vec![]));
    time.store(1_999, Ordering::Relaxed);
    assert!(!goes(&holds, result, true));
    time.store(2_000, Ordering::Relaxed);
    assert!(goes(&holds, result, true) && !goes(&holds, shared, true));
    time.store(HOUR, Ordering::Relaxed);
    assert!(goes(&holds, shared, true));
}

#[test]
fn roots_stay_and_old_ones_remove_nothing() {
    let (holds, time) = held(None);
    let digest = holds.blobs().put(b"root", Durability::Synced).unwrap();
    time.store(HOUR, Ordering::Relaxed);
    let kept = holds.remove(&[digest], false, HOUR, |root| *root == digest).unwrap();
    assert_eq!(kept, Removal::default());
    let late = holds.remove(&[digest], false, HOUR - 2_000, |_| false).unwrap();
    assert!(late.late && holds.blobs().has(digest).unwrap());
    assert_eq!(holds.remove(&[digest], false, HOUR - 1_999, |_| false).unwrap().bytes, 4);
}

#[test]
fn when_there_is_no_room_for_a_hold_everything_is_held() {
    let (holds, time) = held(None);
    let digest = holds.blobs().put(b"blob", Durability::Synced).unwrap();
    time.store(HOUR, Ordering::Relaxed);
    let uploads = holds.for_uploads();
    for number in 0..=HOLDS_MAX as u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        uploads.has(Digest(bytes)).unwrap();
    }
    assert_eq!(holds.table().holds.len(), HOLDS_MAX);
    assert!(!goes(&holds, digest, true));
    time.store(2 * HOUR, Ordering::Relaxed);
    holds.tidy();
    assert!(holds.table().holds.is_empty() && goes(&holds, digest, true));
}

#[test]
fn uploads_beyond_the_limit_are_refused_and_work_is_not() {
    let (holds, time) = held(Some(10));
    let uploads = holds.for_uploads();
    let first = uploads.put(b"123456", Durability::Synced).unwrap();
    let refused = uploads.put(b"7890!", Durability::Synced).unwrap_err();
    assert_eq!(refused.to_string(), "the blobs have reached their limit of 10 bytes");
    uploads.put(b"7890", Durability::Synced).unwrap();
    holds.for_work().put(b"a result", Durability::Unsynced).unwrap();
    holds.for_work().put(b"a version", Durability::Synced).unwrap();
    holds.measured(27);
    assert!(uploads.put(b"1", Durability::Synced).is_err());
    holds.measured(10);
    time.store(HOUR, Ordering::Relaxed);
    assert!(goes(&holds, first, false));
    uploads.put(b"another", Durability::Synced).unwrap_err();
    uploads.put(b"others", Durability::Synced).unwrap();
}
