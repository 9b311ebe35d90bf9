//! Who someone is to the coordinator: a role, and the identity that a certificate states.
//!
//! It knows neither certificates nor keys: how an identity is proven is the shell's.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, TokenId};

/// What someone may do. The coordinator itself has none: it is who the others trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Executes tasks.
    Worker,
    /// Submits jobs, and has a say in its own.
    Client,
    /// Has a say in every job, and lets others in and out.
    Admin,
}

impl Role {
    /// Whether the right to run commands is given to it, by its token: an admin has it anyhow, a worker never.
    pub const fn takes_commands(self) -> bool {
        matches!(self, Self::Client)
    }

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no role is called `{0}`: worker, client or admin")]
pub struct ParseRoleError(String);

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "worker" => Ok(Self::Worker),
            "client" => Ok(Self::Client),
            "admin" => Ok(Self::Admin),
            _ => Err(ParseRoleError(text.chars().take(64).collect())),
        }
    }
}

/// What a certificate says of whom it was given to. It stays the same when the certificate is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// Whether a client may have commands run on workers. Others have no such right to be given: an admin always may.
    pub commands: bool,
    /// The token that let it in.
    pub token: TokenId,
    /// The how-manieth enrolment it was, from 1; 0 for [`TokenId::LOCAL`].
    pub serial: u64,
    /// What it is called. Several may have one name, and are removed together.
    pub name: String,
}

impl Identity {
    /// Whether it may submit jobs that run commands on workers.
    pub fn may_run_commands(&self) -> bool {
        match self.role {
            Role::Admin => true,
            Role::Client => self.commands,
            Role::Worker => false,
        }
    }
}

/// Whoever asks for something that is not everybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it may do.
    pub role: Role,
    /// The token that let it in: what it submits belongs to that.
    pub token: TokenId,
}

impl Caller {
    /// The user who started the coordinator.
    pub const LOCAL: Self = Self { role: Role::Admin, token: TokenId::LOCAL };

    /// Whether it has a say in what the owner submitted.
    pub fn may_act_for(self, owner: TokenId) -> bool {
        match self.role {
            Role::Admin => true,
            Role::Client => self.token == owner,
            Role::Worker => false,
        }
    }
}

/// What a token is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its id.
    pub token: TokenId,
    /// What whoever it lets in may do.
    pub role: Role,
    /// Whether clients that it lets in may have commands run on workers.
    pub commands: bool,
    /// What whoever it lets in is called: for a client, who its jobs belong to. Where it is `None`, they say it
    /// themselves.
    pub name: Option<String>,
    /// The hash of its secret, which has to be long and random.
    pub secret: Digest,
    /// Until when it lets anyone in, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How many it lets in.
    pub uses: Option<u32>,
    /// Who creates it, for people.
    pub by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_as_it_prints() {
        for role in [Role::Worker, Role::Client, Role::Admin] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        let said = "coordinator".parse::<Role>().map_err(|error| error.to_string());
        assert_eq!(said, Err("no role is called `coordinator`: worker, client or admin".to_owned()));
    }
}
