//! The network: for each session two ordered pipes that delay, stall and are cut.
//!
//! Within a session nothing is reordered or lost in between, as with TCP; across sessions anything goes, and what was
//! under way when a session broke may still arrive after its end is known. It does not know what the messages say.

use std::collections::{BTreeMap, VecDeque};

use convoke_core::message::{FromWorker, Hello, ToWorker};
use convoke_core::{Millis, SessionId};

use crate::dice::Dice;

/// A worker's first words, or others.
#[derive(Debug)]
pub enum Up {
    Hello(Hello),
    /// A message, and ahead of it the blob that it names.
    Message(FromWorker, Option<Vec<u8>>),
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// One session's connection.
pub struct Link {
    pub process: u64,
    pub up: Pipe<Up>,
    pub down: Pipe<ToWorker>,
}

pub struct Pipe<T> {
    waiting: VecDeque<T>,
    free_at: Millis,
    stalled_until: Millis,
    /// What would arrive later than this is lost.
    cut_at: Option<Millis>,
}

/// What becomes of the message that is due.
pub enum Moved<T> {
    Arrives(T),
    StalledUntil(Millis),
    Lost,
}

impl<T> Pipe<T> {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), free_at: 0, stalled_until: 0, cut_at: None }
    }

    /// Takes a message in, and says when to look for it.
    pub fn send(&mut self, now: Millis, message: T, dice: &mut Dice) -> Millis {
        self.free_at = self.free_at.max(now + latency(dice));
        self.waiting.push_back(message);
        self.free_at
    }

    pub fn take(&mut self, now: Millis) -> Moved<T> {
        if self.cut_at.is_some_and(|cut_at| now > cut_at) {
            self.waiting.pop_front();
            return Moved::Lost;
        }
        if self.stalled_until > now {
            return Moved::StalledUntil(self.stalled_until);
        }
        self.waiting.pop_front().map_or(Moved::Lost, Moved::Arrives)
    }

    pub fn stall(&mut self, until: Millis) {
        self.stalled_until = self.stalled_until.max(until);
    }

    pub fn cut(&mut self, at: Millis) {
        self.cut_at = Some(self.cut_at.map_or(at, |other| other.min(at)));
    }

    pub fn is_cut(&self) -> bool {
        self.cut_at.is_some()
    }
}

#[derive(Default)]
pub struct Network {
    pub links: BTreeMap<SessionId, Link>,
    sessions: u64,
}

impl Network {
    pub fn next_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    pub fn connect(&mut self, session: SessionId, process: u64) {
        self.links.insert(session, Link { process, up: Pipe::new(), down: Pipe::new() });
    }

    /// Sessions that nothing has broken yet.
    pub fn standing(&self) -> Vec<SessionId> {
        let standing = self.links.iter().filter(|(_, link)| !link.up.is_cut() && !link.down.is_cut());
        standing.map(|(session, _)| *session).collect()
    }
}

pub fn latency(dice: &mut Dice) -> Millis {
    if dice.chance(3) { dice.between(30, 600) } else { dice.between(0, 30) }
}
