//! The durable credentials: tokens that let others in, whom they let in, and who is never let in again.
//!
//! All of it is bounded. A token goes when it is revoked; when there is no room for another, the machine revokes one that
//! lets nobody in any more, by an event like any other, so that a replay needs no clock. What is removed stays removed:
//! that there is no room for more is refused, not made up for. It knows no secret, only hashes, and no certificate.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;

use crate::event::Event;
use crate::{Digest, Identity, Role, TokenId};

/// How many tokens there may be.
pub const TOKENS_MAX: usize = 4_096;
/// How many enrolments a token remembers, so that one whose answer was lost can be asked for again; the oldest go first.
pub const REMEMBERED_MAX: usize = 64;
/// How many names of those who enrolled are remembered, so that they can be removed; the oldest go first. One that is
/// gone can still be removed while it is connected.
pub const NAMES_MAX: usize = 8_192;
/// How many names may be removed.
pub const REMOVED_MAX: usize = 8_192;

/// Who may come in, and who may no more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// How many tokens were ever created.
    pub created: u64,
    /// How many enrolments there ever were, which is the last one's serial.
    pub enrolled: u64,
    /// The tokens that were not revoked, at most [`TOKENS_MAX`].
    pub tokens: BTreeMap<TokenId, Token>,
    /// The newest serial of each name that enrolled and was not removed since, at most [`NAMES_MAX`].
    pub names: BTreeMap<(Role, String), u64>,
    /// The names that were removed, at most [`REMOVED_MAX`].
    pub removed: BTreeMap<(Role, String), Removed>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The how-manieth token it was.
    pub order: u64,
    /// What whoever it lets in may do.
    pub role: Role,
    /// Whether clients that it lets in may have commands run on workers.
    pub commands: bool,
    /// What whoever it lets in is called; where it is `None`, they say it themselves.
    pub name: Option<String>,
    /// The hash of its secret.
    pub secret: Digest,
    /// Until when it lets anyone in, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How many it lets in.
    pub uses: Option<u32>,
    /// How many it has let in.
    pub used: u32,
    /// Who created it, for people.
    pub by: String,
    /// Whom it let in last, the newest at the end, at most [`REMEMBERED_MAX`].
    pub enrolments: VecDeque<Enrolment>,
}

/// Someone whom a token let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The hash of the public key.
    pub key: Digest,
    /// The serial of the identity.
    pub serial: u64,
    /// Its name.
    pub name: String,
}

/// How far a name was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// No serial up to this one is accepted under the name.
    pub through: u64,
    /// How many tokens there had been: none of them lets the name in again.
    pub tokens: u64,
}

impl Credentials {
    /// A token.
    pub fn token(&self, token: TokenId) -> Option<&Token> {
        self.tokens.get(&token)
    }

    /// Whether an identity still counts: it was not removed, and the journal knows of its enrolment. One that was put back
    /// from an older copy does not, and will give the serial to someone else.
    pub fn accepts(&self, identity: &Identity) -> bool {
        let through = self.through(&(identity.role, identity.name.clone()));
        identity.token == TokenId::LOCAL || (through < identity.serial && identity.serial <= self.enrolled)
    }

    /// Whether a token is older than the removal of a name: a machine that was removed, and still has the token, would
    /// otherwise be back at once.
    pub fn is_too_old_for(&self, token: &Token, name: &str) -> bool {
        let removed = self.removed.get(&(token.role, name.to_owned()));
        removed.is_some_and(|removed| token.order <= removed.tokens)
    }

    /// A token that lets nobody in any more, at that time: one that expired, or the one that was used up first.
    pub fn spent(&self, wall_ms: u64) -> Option<TokenId> {
        let last = |token: &Token| token.enrolments.back().map_or(0, |enrolment| enrolment.serial);
        let expired = self.tokens.iter().find(|(_, token)| token.expired_by_ms(wall_ms).is_some());
        let used_up =
            || self.tokens.iter().filter(|(_, token)| token.is_used_up()).min_by_key(|(_, token)| last(token));
        expired.or_else(used_up).map(|(id, _)| *id)
    }

    /// Whether what is there could have come from events.
    pub(super) fn are_sound(&self) -> bool {
        let limits = self.tokens.len() <= TOKENS_MAX && self.names.len() <= NAMES_MAX;
        let serials = self.names.values().chain(self.removed.values().map(|removed| &removed.through));
        limits
            && self.removed.len() <= REMOVED_MAX
            && serials.max().is_none_or(|newest| *newest <= self.enrolled)
            && self.names.iter().all(|(name, newest)| self.through(name) < *newest)
            && !self.tokens.contains_key(&TokenId::LOCAL)
            && self.tokens.values().all(|token| token.is_sound(self))
    }

    /// Folds one event in. Nothing has changed where it does not fit.
    pub(super) fn fold(&mut self, event: &Event) -> Option<()> {
        match event {
            Event::TokenCreated { token: id, role, commands, name, secret, expires_ms, uses, by } => {
                let fits = self.tokens.len() < TOKENS_MAX && !self.tokens.contains_key(id) && *id != TokenId::LOCAL;
                (fits && (!commands || role.takes_commands())).then_some(())?;
                self.created += 1;
                let token = Token {
                    order: self.created,
                    role: *role,
                    commands: *commands,
                    name: name.clone(),
                    secret: *secret,
                    expires_ms: *expires_ms,
                    uses: *uses,
                    used: 0,
                    by: by.clone(),
                    enrolments: VecDeque::new(),
                };
                self.tokens.insert(*id, token);
            }
            Event::TokenRevoked { token } => drop(self.tokens.remove(token)?),
            Event::Enrolled { token, serial, name, key } => {
                let fits = |token: &&mut Token| *serial == self.enrolled + 1 && !token.is_used_up();
                let token = self.tokens.get_mut(token).filter(fits)?;
                token.remember(Enrolment { key: *key, serial: *serial, name: name.clone() });
                let role = token.role;
                self.enrolled = *serial;
                self.names.insert((role, name.clone()), *serial);
                self.keep_names();
            }
            Event::IdentityRemoved { role, name, through } => {
                let name = (*role, name.clone());
                let room = self.removed.contains_key(&name) || self.removed.len() < REMOVED_MAX;
                (room && self.through(&name) < *through && *through <= self.enrolled).then_some(())?;
                if self.names.get(&name).is_some_and(|newest| newest <= through) {
                    self.names.remove(&name);
                }
                self.removed.insert(name, Removed { through: *through, tokens: self.created });
            }
            _ => return None,
        }
        Some(())
    }

    /// How far a name was removed.
    fn through(&self, name: &(Role, String)) -> u64 {
        self.removed.get(name).map_or(0, |removed| removed.through)
    }

    fn keep_names(&mut self) {
        if self.names.len() > NAMES_MAX {
            let oldest = self.names.iter().min_by_key(|(_, serial)| **serial).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.names.remove(&oldest));
        }
    }
}

impl Token {
    /// Whether it has let in as many as it may.
    pub fn is_used_up(&self) -> bool {
        self.uses.is_some_and(|uses| self.used >= uses)
    }

    /// How long ago it expired, if it has.
    pub fn expired_by_ms(&self, wall_ms: u64) -> Option<u64> {
        wall_ms.checked_sub(self.expires_ms?)
    }

    /// Whether that is the hash of its secret. How long it takes says nothing of where the two differ: whoever may ask
    /// again and again could otherwise come closer a byte at a time.
    pub fn has_secret(&self, secret: &Digest) -> bool {
        let pairs = self.secret.0.iter().zip(&secret.0);
        let difference = pairs.fold(0, |difference, (one, other)| black_box(difference | (one ^ other)));
        difference == 0
    }

    /// The enrolment under that key, if it is remembered; of several, the newest.
    pub fn enrolment(&self, key: &Digest) -> Option<&Enrolment> {
        self.enrolments.iter().rfind(|enrolment| enrolment.key == *key)
    }

    fn remember(&mut self, enrolment: Enrolment) {
        // One without a limit only counts for people.
        self.used = self.used.saturating_add(1);
        if self.enrolments.len() == REMEMBERED_MAX {
            self.enrolments.pop_front();
        }
        self.enrolments.push_back(enrolment);
    }

    fn is_sound(&self, all: &Credentials) -> bool {
        let serials = self.enrolments.iter().map(|enrolment| enrolment.serial);
        self.order <= all.created
            && (!self.commands || self.role.takes_commands())
            && self.uses.is_none_or(|uses| self.used <= uses)
            && self.enrolments.len() <= REMEMBERED_MAX
            && serials.max().is_none_or(|newest| newest <= all.enrolled)
    }
}
