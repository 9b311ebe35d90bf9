//! Roles and credentials, as messages and back.
//!
//! Nothing here knows a secret: tokens carry its hash.

use convoke_core::coordinator::credentials::{
    Credentials, Enrolment, NAMES_MAX, REMEMBERED_MAX, REMOVED_MAX, Removed, TOKENS_MAX, Token,
};
use convoke_core::{Role, TokenId, check_uses};

use crate::check::{at_most, digest, name, token_id};
use crate::{DecodeError, v1};

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Client => Self::Client,
            Role::Admin => Self::Admin,
        }
    }
}

/// A role from its number.
pub fn role(field: &'static str, value: i32) -> Result<Role, DecodeError> {
    match v1::Role::try_from(value) {
        Ok(v1::Role::Worker) => Ok(Role::Worker),
        Ok(v1::Role::Client) => Ok(Role::Client),
        Ok(v1::Role::Admin) => Ok(Role::Admin),
        Ok(v1::Role::Unspecified) | Err(_) => Err(DecodeError::Unknown { field, value }),
    }
}

impl From<&Credentials> for v1::Credentials {
    fn from(credentials: &Credentials) -> Self {
        let named = |((role, name), serial): (&(Role, String), &u64)| v1::EnrolledName {
            role: v1::Role::from(*role).into(),
            name: name.clone(),
            serial: *serial,
        };
        let removed = |((role, name), removed): (&(Role, String), &Removed)| v1::RemovedName {
            role: v1::Role::from(*role).into(),
            name: name.clone(),
            through: removed.through,
            tokens: removed.tokens,
        };
        Self {
            created: credentials.created,
            enrolled: credentials.enrolled,
            tokens: credentials.tokens.iter().map(token).collect(),
            names: credentials.names.iter().map(named).collect(),
            removed: credentials.removed.iter().map(removed).collect(),
        }
    }
}

impl TryFrom<v1::Credentials> for Credentials {
    type Error = DecodeError;

    fn try_from(credentials: v1::Credentials) -> Result<Self, DecodeError> {
        at_most("Credentials.tokens", credentials.tokens.len(), TOKENS_MAX)?;
        at_most("Credentials.names", credentials.names.len(), NAMES_MAX)?;
        at_most("Credentials.removed", credentials.removed.len(), REMOVED_MAX)?;
        let token = |token: v1::SnapshotToken| Ok((token_id("SnapshotToken.token", token.token)?, token.try_into()?));
        let named = |named: v1::EnrolledName| {
            Ok(((role("EnrolledName.role", named.role)?, name("identity", named.name)?), named.serial))
        };
        let removed = |removed: v1::RemovedName| {
            let through = Removed { through: removed.through, tokens: removed.tokens };
            Ok(((role("RemovedName.role", removed.role)?, name("identity", removed.name)?), through))
        };
        Ok(Self {
            created: credentials.created,
            enrolled: credentials.enrolled,
            tokens: credentials.tokens.into_iter().map(token).collect::<Result<_, DecodeError>>()?,
            names: credentials.names.into_iter().map(named).collect::<Result<_, DecodeError>>()?,
            removed: credentials.removed.into_iter().map(removed).collect::<Result<_, DecodeError>>()?,
        })
    }
}

fn token((id, token): (&TokenId, &Token)) -> v1::SnapshotToken {
    let enrolment = |enrolment: &Enrolment| v1::SnapshotEnrolment {
        key: enrolment.key.0.to_vec(),
        serial: enrolment.serial,
        name: enrolment.name.clone(),
    };
    v1::SnapshotToken {
        token: id.bits(),
        order: token.order,
        role: v1::Role::from(token.role).into(),
        commands: token.commands,
        name: token.name.clone(),
        secret: token.secret.0.to_vec(),
        expires_ms: token.expires_ms,
        uses: token.uses,
        used: token.used,
        by: token.by.clone(),
        enrolments: token.enrolments.iter().map(enrolment).collect(),
    }
}

impl TryFrom<v1::SnapshotToken> for Token {
    type Error = DecodeError;

    fn try_from(token: v1::SnapshotToken) -> Result<Self, DecodeError> {
        at_most("SnapshotToken.enrolments", token.enrolments.len(), REMEMBERED_MAX)?;
        check_uses(token.uses)?;
        let enrolment = |enrolment: v1::SnapshotEnrolment| {
            let key = digest("SnapshotEnrolment.key", &enrolment.key)?;
            Ok(Enrolment { key, serial: enrolment.serial, name: name("identity", enrolment.name)? })
        };
        Ok(Self {
            order: token.order,
            role: role("SnapshotToken.role", token.role)?,
            commands: token.commands,
            name: token.name.map(|text| name("token", text)).transpose()?,
            secret: digest("SnapshotToken.secret", &token.secret)?,
            expires_ms: token.expires_ms,
            uses: token.uses,
            used: token.used,
            by: name("creator", token.by)?,
            enrolments: token.enrolments.into_iter().map(enrolment).collect::<Result<_, DecodeError>>()?,
        })
    }
}
