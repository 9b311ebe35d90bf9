//! A frame and its bytes: a protobuf of this crate's own around records, each an encoded event.
//!
//! What is encoded here decodes again, or is refused before anything is written. A frame does not know its position.

use bytes::Bytes;
use convoke_core::{Digest, Event, Position, Term};
use convoke_proto::{DecodeError, decode_event, encode_event};
use prost::Message;

use super::{Damage, ReadError, Tail};
use crate::digest_of;

/// The format of frames that this build writes, and the newest that it reads. A new kind of event raises
/// it, once a release has written the one before.
pub const FORMAT: u32 = 1;
/// The most bytes of an encoded frame.
pub const FRAME_BYTES_MAX: usize = 512 * 1024;
/// The most bytes of an encoded record.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Events that were decided together, as read from the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Of these bytes.
    pub hash: Digest,
    /// Of the frame before; zeros in the first.
    pub previous: Digest,
    /// The coordinator's term.
    pub term: Term,
    /// Unix milliseconds, for display.
    pub wall_ms: u64,
    /// The events, at least one.
    pub records: Vec<Event>,
    /// How many bytes it is stored in.
    pub size_bytes: usize,
}

/// A frame as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    hash: Digest,
    previous: Digest,
    bytes: Bytes,
}

/// The durable format: a field's number is never used for anything else.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "bytes", tag = "2")]
    previous: Bytes,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(uint64, tag = "4")]
    wall_ms: u64,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    records: Vec<Bytes>,
}

/// Why events do not make a frame.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// There is no event.
    #[error("a frame needs at least one record")]
    Empty,
    /// An event is too large.
    #[error("record {index} of the frame: {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed")]
    RecordTooLarge {
        /// Its place among the events.
        index: usize,
        /// Its size.
        bytes: usize,
    },
    /// Together the events are too large.
    #[error("a frame of {bytes} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    FrameTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// An event breaks a limit, so that nobody could read it again.
    #[error("record {index} of the frame could not be read again: {source}")]
    Unreadable {
        /// Its place among the events.
        index: usize,
        /// What reading it would say.
        source: DecodeError,
    },
}

impl EncodedFrame {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, without copying them.
    pub(super) fn shared_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The BLAKE3 hash of the bytes, which the next frame carries.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The hash of the frame that it follows.
    pub fn previous(&self) -> Digest {
        self.previous
    }

    /// The end of a journal whose last frame this is.
    pub fn tail_at(&self, position: Position) -> Tail {
        Tail { position, hash: self.hash }
    }
}

impl Frame {
    /// The frame that follows `previous`, a tail's hash.
    pub fn encode(previous: Digest, term: Term, wall_ms: u64, events: &[Event]) -> Result<EncodedFrame, EncodeError> {
        if events.is_empty() {
            return Err(EncodeError::Empty);
        }
        let records = events.iter().enumerate().map(|(index, event)| record(index, event)).collect::<Result<_, _>>()?;
        let stored = Stored { format: FORMAT, previous: previous.0.to_vec().into(), term: term.0, wall_ms, records };
        let frame_bytes = stored.encoded_len();
        if frame_bytes > FRAME_BYTES_MAX {
            return Err(EncodeError::FrameTooLarge { bytes: frame_bytes });
        }
        let bytes = Bytes::from(stored.encode_to_vec());
        Ok(EncodedFrame { hash: digest_of(&bytes), previous, bytes })
    }

    /// The frame that the bytes stand for, whatever it follows. The position is for errors.
    pub(super) fn decode(position: Position, bytes: Bytes) -> Result<Self, ReadError> {
        let damaged = |damage| ReadError::Damaged { position, damage };
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(damaged(Damage::FrameTooLarge { bytes: bytes.len() }));
        }
        let (hash, size_bytes) = (digest_of(&bytes), bytes.len());
        let stored = Stored::decode(bytes).map_err(|source| damaged(Damage::Malformed(source)))?;
        if stored.format > FORMAT {
            return Err(ReadError::NewerFormat { position, format: stored.format });
        }
        let previous = <[u8; 32]>::try_from(&*stored.previous);
        let (Ok(previous), 1.., false) = (previous, stored.format, stored.records.is_empty()) else {
            return Err(damaged(Damage::Incomplete));
        };
        let read = |(index, record): (usize, &Bytes)| {
            if record.len() > RECORD_BYTES_MAX {
                return Err(Damage::RecordTooLarge { index, bytes: record.len() });
            }
            decode_event(record).map_err(|source| Damage::Record { index, source })
        };
        let records = stored.records.iter().enumerate().map(read).collect::<Result<_, _>>().map_err(damaged)?;
        let (previous, term, wall_ms) = (Digest(previous), Term(stored.term), stored.wall_ms);
        Ok(Self { hash, previous, term, wall_ms, records, size_bytes })
    }
}

fn record(index: usize, event: &Event) -> Result<Bytes, EncodeError> {
    let bytes = encode_event(event);
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(EncodeError::RecordTooLarge { index, bytes: bytes.len() });
    }
    decode_event(&bytes).map_err(|source| EncodeError::Unreadable { index, source })?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use convoke_core::event::Outcome;
    use convoke_core::{JobId, StageNumber};
    use proptest::prelude::*;

    use super::*;

    fn lost(indices: usize) -> Event {
        let indices = vec![u32::MAX; indices];
        Event::ResultsLost { job: JobId::from_bits(7), stage: StageNumber(1), indices }
    }

    #[test]
    fn what_is_encoded_decodes() {
        let events = [Event::TermOpened { term: Term(3) }, lost(2)];
        let encoded = Frame::encode(Digest([9; 32]), Term(3), 1_700_000_000_000, &events).unwrap();
        let frame = Frame::decode(Position(1), encoded.bytes.clone()).unwrap();
        assert_eq!((frame.hash, frame.previous), (encoded.hash(), Digest([9; 32])));
        assert_eq!((frame.term, frame.wall_ms), (Term(3), 1_700_000_000_000));
        assert_eq!(frame.records, events);
    }

    #[test]
    fn a_frame_holds_up_to_its_limit() {
        let encode = |events: &[Event]| Frame::encode(Tail::EMPTY.hash, Term(1), 0, events);
        assert_eq!(encode(&[]), Err(EncodeError::Empty));
        // Each event is a little over 20 KiB.
        let full = vec![lost(4096); 25];
        assert!(encode(&full).unwrap().bytes().len() <= FRAME_BYTES_MAX);
        assert!(
            matches!(encode(&vec![lost(4096); 26]), Err(EncodeError::FrameTooLarge { bytes }) if bytes > FRAME_BYTES_MAX)
        );
    }

    #[test]
    fn an_event_that_could_not_be_read_again_is_refused() {
        let encode = |event| Frame::encode(Tail::EMPTY.hash, Term(1), 0, &[Event::TermOpened { term: Term(1) }, event]);
        let refused = encode(lost(4097)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "record 1 of the frame could not be read again: ResultsLost.indices: 4097 entries, at most 4096 are allowed"
        );
        let outcome = Outcome::Failed { reason: "x".repeat(RECORD_BYTES_MAX) };
        let refused = encode(Event::JobFinished { job: JobId::from_bits(7), outcome }).unwrap_err();
        assert!(matches!(refused, EncodeError::RecordTooLarge { index: 1, .. }), "{refused}");
    }

    #[test]
    fn a_newer_format_is_told_apart() {
        let mut stored = Stored { format: FORMAT + 1, ..Stored::default() };
        let decode = |stored: &Stored| Frame::decode(Position(1), stored.encode_to_vec().into()).unwrap_err();
        assert!(matches!(decode(&stored), ReadError::NewerFormat { format, .. } if format == FORMAT + 1));
        stored.format = 0;
        assert!(matches!(decode(&stored), ReadError::Damaged { damage: Damage::Incomplete, .. }));
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Frame::decode(Position(1), bytes.into());
        }

        #[test]
        fn a_changed_byte_never_panics(place in any::<proptest::sample::Index>(), byte: u8) {
            let encoded = Frame::encode(Digest([9; 32]), Term(3), 5, &[lost(3), lost(2)]).unwrap();
            let mut bytes = encoded.bytes.to_vec();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = Frame::decode(Position(1), bytes.into());
        }
    }
}
