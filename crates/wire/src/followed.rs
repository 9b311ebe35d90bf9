//! What a follower is told over one connection, out of the messages that carry it.
//!
//! Frames come several to a message; here they are events again. What becomes of a lost connection is `following`'s.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use convoke_core::Position;
use convoke_core::event::Event;
use convoke_core::history::JobHistory;
use convoke_proto::DecodeError;
use tokio_stream::Stream;
use tonic::Streaming;

use crate::CallError;
use crate::seen::Seen;
use crate::v1;
use crate::v1::followed::Kind;

/// Something that a follower is told.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are events")]
pub enum Followed {
    /// An event from the journal.
    Recorded {
        /// Its frame's position: to follow on from here, ask for the next.
        position: Position,
        /// When it was recorded: unix milliseconds.
        wall_ms: u64,
        /// The event.
        event: Event,
        /// How far the journal has come with it.
        seen: Seen,
    },
    /// All that is known of the job, in place of events that the journal does not hold any more.
    History {
        /// The last frame that is folded into it: to follow on from here, ask for the next.
        through: Position,
        /// The history.
        history: Box<JobHistory>,
    },
    /// A line for people, recorded nowhere.
    Notice(String),
}

impl Followed {
    /// Whether the job has ended with it, so that nothing follows.
    fn is_end(&self) -> bool {
        match self {
            Self::Recorded { event, .. } => matches!(event, Event::JobFinished { .. }),
            Self::History { history, .. } => history.outcome.is_some(),
            Self::Notice(_) => false,
        }
    }
}

/// The messages of a connection, event by event.
pub(crate) fn unpack(
    messages: Streaming<v1::Followed>,
) -> impl Stream<Item = Result<Followed, CallError>> + Send + Unpin {
    Unpacked { messages, waiting: VecDeque::new(), is_last: false }
}

struct Unpacked {
    messages: Streaming<v1::Followed>,
    /// Of the message that came last, what was not told yet.
    waiting: VecDeque<Followed>,
    /// Whether that was the last message, and its stream has not ended. Whoever hears of the job's end drops this: a stream that
    /// is dropped before its end is a reset, and a connection of too many resets is closed.
    is_last: bool,
}

impl Stream for Unpacked {
    type Item = Result<Followed, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.is_last {
                // However it ends: all has been told.
                drop(ready!(Pin::new(&mut self.messages).poll_next(context)));
                self.is_last = false;
            }
            if let Some(followed) = self.waiting.pop_front() {
                return Poll::Ready(Some(Ok(followed)));
            }
            let Some(message) = ready!(Pin::new(&mut self.messages).poll_next(context)) else {
                return Poll::Ready(None);
            };
            match message.map_err(CallError::from).and_then(|message| Ok(told(message)?)) {
                Ok(told) => {
                    self.is_last = told.back().is_some_and(Followed::is_end);
                    self.waiting = told;
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// What a message tells, in order.
fn told(followed: v1::Followed) -> Result<VecDeque<Followed>, DecodeError> {
    let seen = followed.seen.map(Seen::from).unwrap_or_default();
    Ok(match followed.kind.ok_or(DecodeError::Missing { field: "Followed.kind" })? {
        Kind::Notice(line) => VecDeque::from([Followed::Notice(line)]),
        Kind::History(told) => VecDeque::from([Followed::History {
            through: Position(told.position),
            history: Box::new(convoke_proto::required("HistoryThrough.history", told.history)?),
        }]),
        Kind::Frames(frames) => {
            let mut told = VecDeque::new();
            for v1::Frame { position, wall_ms, events } in frames.frames {
                for event in events {
                    let (position, event) = (Position(position), event.try_into()?);
                    told.push_back(Followed::Recorded { position, wall_ms, event, seen });
                }
            }
            told
        }
    })
}
