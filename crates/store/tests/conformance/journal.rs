//! The contract of journals, as every backend has to keep it.
//!
//! It stands apart so that other crates' backends include it, with `#[macro_use] #[path = "…"] mod conformance;`. It
//! does not know which backend it is run on.

use convoke_core::{Digest, Event, JobId, Position, StageNumber, Term};
use convoke_store::journal::{AppendError, EncodedFrame, Frame, Journal, READ_BYTES_MAX, ReadError, Tail, append_once};

/// Tests of a backend, one for each part of the contract, in a module `$backend`. The function `$with` beside it is given
/// a check, and calls it with a way to open a journal that is empty at first.
macro_rules! journals_conform {
    ($backend:ident, $with:ident) => {
        journals_conform! {
            $backend, $with:
            what_is_appended_is_there_after_a_crash,
            reading_starts_and_stops_where_it_is_told,
            only_the_next_position_is_free,
            a_second_owner_makes_a_conflict,
            a_lost_answer_is_found_out,
            a_frame_of_another_past_is_refused,
            readers_follow_from_other_threads,
            one_read_is_bounded,
            what_is_trimmed_is_gone_and_the_rest_still_follows,
            all_of_it_may_be_trimmed,
            readers_may_be_overtaken_by_a_trim,
        }
    };
    ($backend:ident, $with:ident: $($check:ident,)*) => {
        mod $backend {
            $(#[test] fn $check() { super::$with(&super::conformance::$check) })*
        }
    };
}

/// No terms.
const NONE: [u64; 0] = [];

/// The frame after `previous` that opens a term.
fn opened(previous: Digest, term: u64) -> EncodedFrame {
    Frame::encode(previous, Term(term), 1_000 + term, &[Event::TermOpened { term: Term(term) }]).unwrap()
}

pub fn append(journal: &mut dyn Journal, term: u64) -> EncodedFrame {
    let frame = opened(journal.tail().hash, term);
    journal.append(journal.tail().position.next(), &frame).unwrap();
    frame
}

/// The terms that the frames from a position on open.
pub fn terms(journal: &dyn Journal, from: u64) -> Vec<u64> {
    let frames = journal.reader().read(Position(from), 100).unwrap();
    for (place, (position, frame)) in frames.iter().enumerate() {
        assert_eq!(position.0, from.max(1) + place as u64);
        assert_eq!(frame.records, [Event::TermOpened { term: frame.term }]);
    }
    frames.iter().map(|(_, frame)| frame.term.0).collect()
}

/// What reading from a position says, if it cannot be read.
pub fn refusal(journal: &dyn Journal, from: u64) -> String {
    journal.reader().read(Position(from), 100).err().map_or("read".to_owned(), |error| error.to_string())
}

/// Opens one and the same journal each time, as a restarted coordinator would.
pub type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Journal>;

pub fn what_is_appended_is_there_after_a_crash(open: Open) {
    let mut journal = open();
    assert_eq!(journal.tail(), Tail::EMPTY);
    assert_eq!(terms(&*journal, 1), NONE);
    append(&mut *journal, 1);
    let last = append(&mut *journal, 2);
    assert_eq!(journal.tail(), Tail { position: Position(2), hash: last.hash() });
    drop(journal);

    let mut journal = open();
    assert_eq!(journal.tail(), Tail { position: Position(2), hash: last.hash() });
    append(&mut *journal, 3);
    assert_eq!(terms(&*journal, 1), [1, 2, 3]);
}

pub fn reading_starts_and_stops_where_it_is_told(open: Open) {
    let mut journal = open();
    (1..=5).for_each(|term| drop(append(&mut *journal, term)));
    assert_eq!(terms(&*journal, 0), [1, 2, 3, 4, 5]);
    assert_eq!(terms(&*journal, 4), [4, 5]);
    for beyond in [6, 7, u64::MAX] {
        assert_eq!(terms(&*journal, beyond), NONE);
    }
    let read = |frames_max| journal.reader().read(Position(2), frames_max).unwrap().len();
    assert_eq!((read(0), read(1), read(3), read(usize::MAX)), (0, 1, 3, 4));
}

pub fn only_the_next_position_is_free(open: Open) {
    let mut journal = open();
    append(&mut *journal, 1);
    let tail = journal.tail();
    for at in [0, 1, 3, u64::MAX] {
        let refused = journal.append(Position(at), &opened(tail.hash, 9)).unwrap_err();
        assert!(matches!(&refused, AppendError::Conflict { at: a, tail: t } if a.0 == at && *t == tail), "{refused}");
    }
    assert_eq!(terms(&*journal, 1), [1]);
}

pub fn a_second_owner_makes_a_conflict(open: Open) {
    let (mut stale, mut fresh) = (open(), open());
    let theirs = append(&mut *fresh, 1);
    let refused = stale.append(Position(1), &opened(Digest([0; 32]), 2)).unwrap_err();
    assert_eq!(refused.to_string(), "cannot append at position 1: the journal ends at 1");
    assert_eq!(stale.tail(), Tail { position: Position(1), hash: theirs.hash() });
    append(&mut *stale, 3);
    // The other owner learns of that frame by a conflict of its own, and goes on after it.
    let refused = fresh.append(Position(2), &opened(Digest([0; 32]), 8)).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict { at: Position(2), .. }), "{refused}");
    assert_eq!(fresh.tail(), stale.tail());
    append(&mut *fresh, 4);
    assert_eq!(terms(&*stale, 1), [1, 3, 4]);
}

pub fn a_lost_answer_is_found_out(open: Open) {
    let (mut before, mut after) = (open(), open());
    let frame = append(&mut *before, 1);
    append_once(&mut *after, Position(1), &frame).unwrap();
    let another = opened(Digest([0; 32]), 2);
    assert!(matches!(append_once(&mut *after, Position(1), &another), Err(AppendError::Conflict { .. })));
    assert!(matches!(append_once(&mut *after, Position(3), &another), Err(AppendError::Conflict { .. })));
    append_once(&mut *after, Position(2), &opened(frame.hash(), 2)).unwrap();
    assert_eq!(terms(&*after, 1), [1, 2]);
}

pub fn a_frame_of_another_past_is_refused(open: Open) {
    let mut journal = open();
    append(&mut *journal, 1);
    let refused = journal.append(Position(2), &opened(Digest([7; 32]), 2)).unwrap_err();
    assert!(matches!(refused, AppendError::Unchained { at: Position(2), .. }), "{refused}");
    assert_eq!(terms(&*journal, 1), [1]);
}

pub fn readers_follow_from_other_threads(open: Open) {
    const FRAMES: u64 = 50;
    let mut journal = open();
    let reader = journal.reader();
    std::thread::scope(|scope| {
        let followers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut next = Position(1);
                    while next.0 <= FRAMES {
                        for (position, frame) in reader.read(next, 7).unwrap() {
                            assert_eq!((position, frame.term.0), (next, next.0));
                            next = next.next();
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        (1..=FRAMES).for_each(|term| drop(append(&mut *journal, term)));
        followers.into_iter().for_each(|follower| follower.join().unwrap());
    });
}

pub fn one_read_is_bounded(open: Open) {
    let mut journal = open();
    let lost = Event::ResultsLost { job: JobId::from_bits(7), stage: StageNumber(1), indices: vec![u32::MAX; 4096] };
    let events = vec![lost; 25];
    let frames = READ_BYTES_MAX / (500 * 1024) + 2;
    for _ in 0..frames {
        let frame = Frame::encode(journal.tail().hash, Term(1), 0, &events).unwrap();
        journal.append(journal.tail().position.next(), &frame).unwrap();
    }
    let read = journal.reader().read(Position(1), usize::MAX).unwrap();
    assert!((1..frames).contains(&read.len()), "{} of {frames}", read.len());
}

pub fn what_is_trimmed_is_gone_and_the_rest_still_follows(open: Open) {
    let mut journal = open();
    journal.trim(Position(3)).unwrap();
    assert_eq!(terms(&*journal, 1), NONE);
    (1..=5).for_each(|term| drop(append(&mut *journal, term)));
    let tail = journal.tail();
    // The last is one that an earlier one has overtaken.
    for through in [2, 2, 3, 1] {
        journal.trim(Position(through)).unwrap();
    }
    let trimmed = "the journal begins at position 4: what was before was trimmed";
    for _ in 0..2 {
        assert_eq!(journal.tail(), tail);
        assert_eq!([0, 1, 2, 3, 4].map(|from| refusal(&*journal, from)), [trimmed, trimmed, trimmed, trimmed, "read"]);
        assert_eq!((terms(&*journal, 4), terms(&*journal, 5), terms(&*journal, 6)), (vec![4, 5], vec![5], vec![]));
        drop(journal);
        journal = open();
    }
    append(&mut *journal, 6);
    assert_eq!(terms(&*journal, 4), [4, 5, 6]);
}

pub fn all_of_it_may_be_trimmed(open: Open) {
    let mut journal = open();
    (1..=3).for_each(|term| drop(append(&mut *journal, term)));
    let tail = journal.tail();
    journal.trim(Position(u64::MAX)).unwrap();
    for _ in 0..2 {
        assert_eq!(journal.tail(), tail);
        assert_eq!(refusal(&*journal, 3), "the journal begins at position 4: what was before was trimmed");
        assert_eq!(terms(&*journal, 4), NONE);
        drop(journal);
        journal = open();
    }
    append(&mut *journal, 4);
    assert_eq!(terms(&*journal, 4), [4]);
}

pub fn readers_may_be_overtaken_by_a_trim(open: Open) {
    const FRAMES: u64 = 200;
    let mut journal = open();
    let reader = journal.reader();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut next = Position(1);
            while next.0 <= FRAMES {
                match reader.read(next, 7) {
                    Ok(frames) => frames.last().into_iter().for_each(|(last, _)| next = last.next()),
                    Err(ReadError::Trimmed { first }) => {
                        assert!(first > next);
                        next = first;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for term in 1..=FRAMES {
            append(&mut *journal, term);
            if term % 10 == 0 {
                journal.trim(Position(term - 5)).unwrap();
            }
        }
        follower.join().unwrap();
    });
}
