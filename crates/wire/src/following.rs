//! Following a job over lost connections: each of its events once, in order, whoever tells them.
//!
//! A coordinator that is started again tells on from the position that it is asked for. What an event means is the
//! caller's.

use std::pin::Pin;
use std::time::Instant;

use convoke_core::event::Event;
use convoke_core::history::JobHistory;
use convoke_core::{JobId, Position};
use tokio_stream::{Stream, StreamExt};

use crate::client::RECONNECT;
use crate::followed::Followed;
use crate::seen::Seen;
use crate::{CallError, Client};

type Events = Pin<Box<dyn Stream<Item = Result<Followed, CallError>> + Send>>;

/// A job that is followed: [`Client::watch`].
pub struct Following {
    client: Client,
    job: JobId,
    live: bool,
    cursor: Cursor,
    /// This connection's, and how many events of the cursor's frame it told.
    connection: Option<(Events, usize)>,
    /// Where the connection began, and when.
    begun: (Cursor, Instant),
    /// Since when the coordinator is looked for, and why.
    lost: Option<(Instant, String)>,
    is_through: bool,
}

/// How far a follower has come: the last frame that it heard of, and how many of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    position: Position,
    events: usize,
    /// How far the journal had come.
    seen: Seen,
}

/// Something that a follower hears.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are events")]
pub enum Heard {
    /// An event of the job's.
    Event {
        /// When it was recorded: unix milliseconds.
        wall_ms: u64,
        /// The event.
        event: Event,
    },
    /// All that is known of the job so far, in place of events that the journal does not hold any more.
    History(Box<JobHistory>),
    /// A line for people, recorded nowhere.
    Notice(String),
    /// The coordinator was lost, and is looked for; said once for each loss.
    Lost,
}

impl Following {
    pub(crate) fn new(client: Client, job: JobId, live: bool) -> Self {
        let cursor = Cursor { seen: client.seen(), ..Cursor::default() };
        let begun = (cursor, Instant::now());
        Self { client, job, live, cursor, connection: None, begun, lost: None, is_through: false }
    }

    /// What comes next; `None` once the job has ended, or, where it is not followed live, at what is known. A coordinator that
    /// is lost is looked for, and one that answers but tells nothing new is still lost; after [`RECONNECT`] that is the
    /// error. Nothing is missed where this is dropped and asked again.
    pub async fn next(&mut self) -> Result<Option<Heard>, CallError> {
        while !self.is_through {
            let told = match &mut self.connection {
                Some((events, _)) => events.next().await,
                None => {
                    self.connect_again().await?;
                    self.begun = (self.cursor, Instant::now());
                    match self.client.follow(self.job, self.cursor.position, self.live).await {
                        Ok(events) => {
                            self.connection = Some((Box::pin(events), 0));
                            continue;
                        }
                        Err(error) => Some(Err(error)),
                    }
                }
            };
            let heard = match told {
                Some(Ok(followed)) => self.hear(followed),
                Some(Err(error)) => self.lose(error)?,
                None if self.live => self.lose(CallError::Lost("it ended".to_owned()))?,
                None => break,
            };
            if heard.is_some() {
                return Ok(heard);
            }
        }
        Ok(None)
    }

    async fn connect_again(&mut self) -> Result<(), CallError> {
        if let Some((lost_at, reason)) = &self.lost {
            self.client.reconnect(CallError::Lost(reason.clone()), *lost_at).await?;
            self.client.present(self.cursor.seen);
        }
        Ok(())
    }

    /// The connection is lost; whether that is news. Any other error is one to the caller.
    fn lose(&mut self, error: CallError) -> Result<Option<Heard>, CallError> {
        let CallError::Lost(reason) = error else { return Err(error) };
        self.connection = None;
        let (before, connected_at) = self.begun;
        let came_no_further = self.cursor == before && connected_at.elapsed() < RECONNECT;
        let since = self.lost.take().map(|(since, _)| since).filter(|_| came_no_further);
        self.lost = Some((since.unwrap_or_else(Instant::now), reason));
        Ok(since.is_none().then_some(Heard::Lost))
    }

    fn hear(&mut self, followed: Followed) -> Option<Heard> {
        let (_, told) = self.connection.as_mut()?;
        match followed {
            Followed::Notice(line) => Some(Heard::Notice(line)),
            Followed::History { through, history } => {
                (self.cursor, *told) = (Cursor { position: through.next(), events: 0, ..self.cursor }, 0);
                self.is_through = history.outcome.is_some();
                Some(Heard::History(history))
            }
            Followed::Recorded { position, wall_ms, event, seen } => {
                if !self.cursor.passes(position, seen, told) {
                    return None;
                }
                self.is_through = matches!(event, Event::JobFinished { .. });
                Some(Heard::Event { wall_ms, event })
            }
        }
    }
}

impl Cursor {
    /// Whether the next event of a frame is one that was not heard. A frame that a lost connection cut off is told again from
    /// its first event. `told` is how many this connection told of the frame.
    fn passes(&mut self, position: Position, seen: Seen, told: &mut usize) -> bool {
        if position != self.position {
            (*self, *told) = (Self { position, events: 0, seen }, 0);
        }
        *told += 1;
        let is_new = *told > self.events;
        self.events = self.events.max(*told);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_told_again_is_heard_from_where_it_was_cut_off() {
        let mut cursor = Cursor::default();
        let mut hear = |told: &mut usize, positions: &[u64]| {
            let pass = |position: &u64| cursor.passes(Position(*position), Seen::default(), told);
            positions.iter().map(pass).collect::<Vec<_>>()
        };
        assert_eq!(hear(&mut 0, &[7, 7, 9, 9]), [true; 4]);
        // The next connection begins with the frame that was heard last, which has five events.
        let mut told = 0;
        assert_eq!(hear(&mut told, &[9, 9, 9]), [false, false, true]);
        assert_eq!(hear(&mut 0, &[9, 9, 9, 9]), [false, false, false, true]);
        assert_eq!(hear(&mut 4, &[9, 12]), [true, true]);
    }
}
