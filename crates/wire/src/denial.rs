//! Denials: why a peer may not do something, told apart on the wire so that each side can say what to do next.
//!
//! What is denied to whom, the coordinator decides; how it is put to people is the caller's.

use std::fmt;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::protocol::REFUSAL;

/// Why a peer is denied something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate has ended.
    CertificateEnded,
    /// It was removed from the cluster.
    Removed,
    /// Its role is another.
    Role,
    /// The right to run commands was not given to it.
    Commands,
    /// Its token is not known: it was revoked, or is another cluster's, or was never one.
    TokenUnknown,
    /// Its token's time is over.
    TokenExpired,
    /// Its token was for fewer.
    TokenUsedUp,
    /// Its token is older than its removal.
    TokenTooOld,
    /// It is another client's.
    NotYours,
    /// Something that has no word of its own.
    Other,
}

const WORDS: [(Denial, &str); 10] = [
    (Denial::NoCertificate, "no-certificate"),
    (Denial::CertificateEnded, "certificate-ended"),
    (Denial::Removed, "removed"),
    (Denial::Role, "role"),
    (Denial::Commands, "commands"),
    (Denial::TokenUnknown, "token-unknown"),
    (Denial::TokenExpired, "token-expired"),
    (Denial::TokenUsedUp, "token-used-up"),
    (Denial::TokenTooOld, "token-too-old"),
    (Denial::NotYours, "not-yours"),
];

impl Denial {
    /// As an answer, with what people are told.
    pub fn status(self, said: impl Into<String>) -> Status {
        let code = match self {
            Self::NoCertificate | Self::CertificateEnded => Code::Unauthenticated,
            _ => Code::PermissionDenied,
        };
        let mut status = Status::new(code, said);
        if let Some((_, word)) = WORDS.iter().find(|(denial, _)| *denial == self) {
            status.metadata_mut().insert(REFUSAL, MetadataValue::from_static(word));
        }
        status
    }

    /// What an answer says.
    pub(crate) fn of(status: &Status) -> Self {
        let said = status.metadata().get(REFUSAL).and_then(|word| word.to_str().ok());
        WORDS.iter().find(|(_, word)| said == Some(*word)).map_or(Self::Other, |(denial, _)| *denial)
    }
}

/// What the coordinator does not let a peer do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub denial: Denial,
    /// What the coordinator says.
    pub said: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_is_said() {
        for (denial, _) in WORDS {
            assert_eq!(Denial::of(&denial.status("no")), denial);
        }
        assert_eq!(Denial::of(&Denial::Other.status("no")), Denial::Other);
        assert_eq!(Denial::of(&Status::permission_denied("no")), Denial::Other);
    }
}
