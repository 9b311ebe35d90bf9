//! The protocol's version, its limits, and the header that carries the version.
//!
//! It knows no message.

use std::fmt;
use std::str::FromStr;

use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;

/// The most bytes of a message. What is larger travels as a blob, in chunks.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The bytes of a blob's chunk.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// The most bytes of a blob.
pub const BLOB_BYTES_MAX: u64 = 16 << 30;
/// The most bytes of a blob that travels inside a session, ahead of the frame that names it.
pub const SESSION_BLOB_BYTES_MAX: usize = 32 * 1024;
/// The most digests that one call may name.
pub const DIGESTS_MAX: usize = 4_096;

const HEADER: &str = "convoke-protocol";
/// Says which of the refusals it is that share a code.
pub(crate) const REFUSAL: &str = "convoke-refusal";
const ROLLED_BACK: &str = "rolled-back";

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Changes when old peers cannot understand new ones.
    pub major: u32,
    /// Changes when new peers say more.
    pub minor: u32,
}

/// What this build speaks.
pub const VERSION: Version = Version { major: 1, minor: 1 };

/// A peer's version is none that this build can speak with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "protocol version mismatch: the peer speaks {theirs}, this coordinator speaks {VERSION} (the same major with the \
     same or the previous minor is accepted)"
)]
pub struct VersionMismatch {
    theirs: String,
}

impl Version {
    /// Whether this build serves a peer of version `theirs`.
    pub fn accepts(self, theirs: Version) -> bool {
        theirs.major == self.major && (theirs.minor == self.minor || theirs.minor + 1 == self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = VersionMismatch;

    fn from_str(text: &str) -> Result<Self, VersionMismatch> {
        let numbers = text.split_once('.').and_then(|(major, minor)| {
            // Small enough that one more never overflows.
            let minor = minor.parse().ok().filter(|minor| *minor < u32::MAX)?;
            Some(Version { major: major.parse().ok()?, minor })
        });
        numbers.ok_or_else(|| VersionMismatch { theirs: text.chars().take(32).collect() })
    }
}

/// Adds the version to a call.
#[derive(Clone, Copy, Debug)]
pub struct SayVersion;

impl Interceptor for SayVersion {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let version = MetadataValue::try_from(VERSION.to_string());
        let version = version.map_err(|error| Status::internal(error.to_string()))?;
        request.metadata_mut().insert(HEADER, version);
        Ok(request)
    }
}

/// Refuses a call of another version.
#[derive(Clone, Copy, Debug)]
pub struct CheckVersion;

impl Interceptor for CheckVersion {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let theirs = request.metadata().get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or("none");
        match theirs.parse::<Version>() {
            Ok(version) if VERSION.accepts(version) => Ok(request),
            _ => Err(Status::failed_precondition(
                VersionMismatch { theirs: theirs.chars().take(32).collect() }.to_string(),
            )),
        }
    }
}

/// Refuses a peer that has seen more of the journal than there is.
pub fn rolled_back(why: String) -> Status {
    let mut status = Status::failed_precondition(why);
    status.metadata_mut().insert(REFUSAL, MetadataValue::from_static(ROLLED_BACK));
    status
}

/// Whether a peer was refused for having seen more of the journal than there is.
pub(crate) fn is_rolled_back(status: &Status) -> bool {
    status.metadata().get(REFUSAL).is_some_and(|refusal| refusal == ROLLED_BACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_major_with_the_same_or_the_previous_minor_is_accepted() {
        let ours = Version { major: 2, minor: 5 };
        let accepted = |text: &str| text.parse().is_ok_and(|theirs| ours.accepts(theirs));
        assert!(accepted("2.5") && accepted("2.4"));
        for refused in ["2.6", "2.3", "1.5", "3.5", "2", "", "two.five", "2.4294967295", "-2.5"] {
            assert!(!accepted(refused), "{refused}");
        }
    }

    #[test]
    fn a_mismatch_names_both() {
        let mut request = tonic::Request::new(());
        request.metadata_mut().insert(HEADER, MetadataValue::from_static("7.3"));
        let refusal = CheckVersion.call(request).map(drop).unwrap_err();
        let said = format!("the peer speaks 7.3, this coordinator speaks {VERSION}");
        assert!(refusal.message().contains(&said), "{refusal}");
    }
}
