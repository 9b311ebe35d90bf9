//! The coordinator's transitions for credentials: tokens created and revoked, whoever they let in, and who has to go.
//!
//! Wall-clock time comes with the input, and only what it led to is journaled. Who may ask for which of this, the shell
//! has settled before.

use crate::event::Event;
use crate::{Digest, Identity, NewToken, RequestId, Role, SessionId, TokenId, WorkerId, check_name, check_uses};

use super::Coordinator;
use super::credentials::{Credentials, NAMES_MAX, REMOVED_MAX, TOKENS_MAX, Token};
use super::io::Output;
use super::reply::{Refusal, Reply, TokenView};

impl Coordinator {
    pub(super) fn on_create_token(&mut self, request: RequestId, token: NewToken, wall_ms: u64) {
        let created = self.create_token(token, wall_ms);
        self.reply(request, created.map(|()| Reply::TokenCreated));
    }

    fn create_token(&mut self, new: NewToken, wall_ms: u64) -> Result<(), Refusal> {
        new.name.iter().try_for_each(|name| check_name(new.role.as_str(), name))?;
        check_name("creator", &new.by)?;
        check_uses(new.uses)?;
        if new.commands && !new.role.takes_commands() {
            return Err(Refusal::NoCommands(new.role));
        }
        match self.credentials().token(new.token) {
            // The answer may have been lost.
            Some(token) if is_same(token, &new) => return Ok(()),
            Some(_) => return Err(Refusal::AnotherToken(new.token)),
            None if new.token == TokenId::LOCAL => return Err(Refusal::AnotherToken(new.token)),
            None => {}
        }
        if self.credentials().tokens.len() >= TOKENS_MAX {
            let token = self.credentials().spent(wall_ms).ok_or(Refusal::TooManyTokens)?;
            self.record(Event::TokenRevoked { token });
        }
        let NewToken { token, role, commands, name, secret, expires_ms, uses, by } = new;
        self.record(Event::TokenCreated { token, role, commands, name, secret, expires_ms, uses, by });
        Ok(())
    }

    pub(super) fn on_revoke_token(&mut self, request: RequestId, token: TokenId) {
        let known = self.credentials().token(token).is_some();
        if known {
            self.record(Event::TokenRevoked { token });
        }
        self.reply(request, known.then_some(Reply::TokenRevoked).ok_or(Refusal::NoSuchToken));
    }

    pub(super) fn on_enrol(
        &mut self,
        request: RequestId,
        token: TokenId,
        secret: Digest,
        name: String,
        key: Digest,
        wall_ms: u64,
    ) {
        let enrolled = self.enrol(token, secret, name, key, wall_ms);
        self.reply(request, enrolled.map(Reply::Enrolled));
    }

    /// Lets someone in, or says again that it did: the answer may have been lost.
    fn enrol(
        &mut self,
        id: TokenId,
        secret: Digest,
        wished: String,
        key: Digest,
        wall_ms: u64,
    ) -> Result<Identity, Refusal> {
        let credentials = self.credentials();
        // The same answer for a wrong secret: it tells nobody which tokens there are.
        let token = credentials.token(id).filter(|token| token.has_secret(&secret)).ok_or(Refusal::NoSuchToken)?;
        let identity = |serial, name| Identity { role: token.role, commands: token.commands, token: id, serial, name };
        let before = token.enrolment(&key).map(|enrolment| identity(enrolment.serial, enrolment.name.clone()));
        if let Some(identity) = before.filter(|identity| credentials.accepts(identity)) {
            return Ok(identity);
        }
        if let Some(by_ms) = token.expired_by_ms(wall_ms) {
            return Err(Refusal::TokenExpired { by_ms });
        }
        if token.is_used_up() {
            return Err(Refusal::TokenUsedUp);
        }
        let (role, name) = (token.role, token.name.clone().unwrap_or(wished));
        check_name(role.as_str(), &name)?;
        if credentials.is_too_old_for(token, &name) {
            return Err(Refusal::NameRemoved { role, name });
        }
        let identity = identity(credentials.enrolled + 1, name);
        self.record(Event::Enrolled { token: id, serial: identity.serial, name: identity.name.clone(), key });
        Ok(identity)
    }

    pub(super) fn on_remove_identity(&mut self, request: RequestId, role: Role, name: String) {
        let removed = self.remove_identity(role, name);
        self.reply(request, removed.map(|()| Reply::IdentityRemoved));
    }

    /// Removes all who have the name by now. Whoever of them is connected loses its session at once, and what it runs is
    /// for others, as with any loss.
    fn remove_identity(&mut self, role: Role, name: String) -> Result<(), Refusal> {
        let credentials = self.credentials();
        let key = (role, name.clone());
        // The local user cannot be shut out of its own coordinator.
        let is_named =
            |identity: &Identity| (identity.role, &identity.name) == (role, &name) && identity.token != TokenId::LOCAL;
        let is_there = self.identities().any(|(_, _, identity)| is_named(identity));
        let (is_known, was_removed) = (credentials.names.contains_key(&key), credentials.removed.contains_key(&key));
        // Of the many that enrolled the oldest names are forgotten, and are good all the same until they are removed.
        let is_known = is_known || is_there || credentials.names.len() >= NAMES_MAX;
        let through = credentials.enrolled;
        match (is_known, was_removed) {
            _ if credentials.removed.get(&key).is_some_and(|removed| removed.through == through) => return Ok(()),
            (true, false) if credentials.removed.len() >= REMOVED_MAX => return Err(Refusal::TooManyRemoved),
            (true, _) => {}
            (false, true) => return Ok(()),
            (false, false) => return Err(Refusal::NoSuchIdentity { role, name }),
        }
        self.record(Event::IdentityRemoved { role, name, through });
        let removed = self.identities().filter(|(_, _, identity)| !self.credentials().accepts(identity));
        let removed: Vec<_> = removed.map(|(worker, session, _)| (worker, session)).collect();
        for (worker, session) in removed {
            self.output(Output::Close { session, reason: REMOVED });
            self.lose(worker);
        }
        Ok(())
    }

    pub(super) fn on_tokens(&mut self, request: RequestId) {
        let mut tokens: Vec<_> = self.credentials().tokens.iter().collect();
        tokens.sort_by_key(|(_, token)| token.order);
        let view = |(id, token): (&TokenId, &Token)| TokenView {
            token: *id,
            role: token.role,
            commands: token.commands,
            name: token.name.clone(),
            expires_ms: token.expires_ms,
            uses: token.uses,
            used: token.used,
            by: token.by.clone(),
        };
        let tokens = tokens.into_iter().map(view).collect();
        self.reply(request, Ok(Reply::Tokens(tokens)));
    }

    /// The identities of the workers that are connected.
    fn identities(&self) -> impl Iterator<Item = (WorkerId, SessionId, &Identity)> {
        self.roster.iter().filter_map(|(id, worker)| Some((id, worker.session?, worker.identity.as_ref()?)))
    }

    pub(super) fn credentials(&self) -> &Credentials {
        self.durable.credentials()
    }

    pub(super) fn reply(&mut self, request: RequestId, reply: Result<Reply, Refusal>) {
        let reply = reply.unwrap_or_else(Reply::Refused);
        self.output(Output::Reply { request, reply });
    }
}

/// Why a session of a worker that was removed ends.
pub(super) const REMOVED: &str = "the worker was removed";

fn is_same(token: &Token, new: &NewToken) -> bool {
    token.has_secret(&new.secret)
        && (token.role, token.commands) == (new.role, new.commands)
        && (&token.name, token.expires_ms, token.uses) == (&new.name, new.expires_ms, new.uses)
}
