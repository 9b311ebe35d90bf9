//! How a call fails, by what its status says.
//!
//! What follows from it is the caller's.

use convoke_core::Digest;
use convoke_core::event::bounded;
use convoke_proto::DecodeError;
use tonic::{Code, Status};

use crate::client::RECONNECT;
use crate::denial::{Denial, Denied};
use crate::protocol::is_rolled_back;

/// How much of what a coordinator says of a call is shown.
const SAID_BYTES_MAX: usize = 2_048;

/// A call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The coordinator was lost, and looked for in vain.
    #[error("the coordinator at {target} did not come back within {} s", RECONNECT.as_secs())]
    Away {
        /// Where it was.
        target: String,
    },
    /// The coordinator cannot be reached, or was lost.
    #[error("the coordinator was lost: {0}")]
    Lost(String),
    /// The coordinator is there, and could not do it.
    #[error("the coordinator could not do it: {0}")]
    Failed(String),
    /// The coordinator's disk fails: what was asked may be asked again.
    #[error("the coordinator cannot use its disk: {0}")]
    Disk(String),
    /// Something else answers there.
    #[error("what answers there is not a coordinator: {0}")]
    Foreign(String),
    /// The coordinator's protocol is another.
    #[error("{0}")]
    Version(String),
    /// The coordinator's journal ends before what this peer has seen of it.
    #[error("{0}")]
    RolledBack(String),
    /// The coordinator does not let this peer do that.
    #[error("the coordinator does not allow it: {0}")]
    Denied(Denied),
    /// The coordinator refused.
    #[error("{0}")]
    Refused(String),
    /// There is no such job, worker or blob.
    #[error("{0}")]
    NotFound(String),
    /// The coordinator said something that is not understood.
    #[error("the coordinator's answer is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// A blob is larger than it may be.
    #[error("blob {digest} has more than {bytes_max} bytes")]
    BlobTooLarge {
        /// The blob.
        digest: Digest,
        /// The limit.
        bytes_max: u64,
    },
    /// A blob's bytes are not those that its digest names.
    #[error("blob {digest} arrived damaged")]
    BlobDamaged {
        /// The blob.
        digest: Digest,
    },
}

/// A job was not taken on.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// These blobs are to be stored first.
    #[error("{} blobs that the job names are not stored", .0.len())]
    Missing(Vec<Digest>),
    /// The call did not succeed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = bounded(status.message().to_owned(), SAID_BYTES_MAX);
        // A coordinator always says how a call ended; another server's HTTP status becomes one of these codes.
        if message.starts_with("grpc-status header missing") {
            return Self::Foreign(message);
        }
        // A status that was made here, of a connection that broke, has a source, whatever its code; what the coordinator
        // said has none.
        if std::error::Error::source(&status).is_some() {
            return Self::Lost(message);
        }
        if is_rolled_back(&status) {
            return Self::RolledBack(message);
        }
        match status.code() {
            Code::Unimplemented => Self::Foreign(message),
            Code::FailedPrecondition => Self::Version(message),
            Code::NotFound => Self::NotFound(message),
            Code::Aborted => Self::Disk(message),
            Code::PermissionDenied | Code::Unauthenticated => {
                Self::Denied(Denied { denial: Denial::of(&status), said: message })
            }
            Code::InvalidArgument | Code::AlreadyExists | Code::ResourceExhausted => Self::Refused(message),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => Self::Lost(message),
            _ => Self::Failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_counts_as_lost() {
        let is_lost = |code| matches!(CallError::from(Status::new(code, "")), CallError::Lost(_));
        let lost = [Code::Unavailable, Code::Cancelled, Code::DeadlineExceeded, Code::Unknown];
        assert!(lost.into_iter().all(is_lost));
        for code in [Code::Internal, Code::DataLoss] {
            assert!(matches!(CallError::from(Status::new(code, "")), CallError::Failed(_)));
        }
        let mut broken = Status::internal("h2 protocol error");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("broken")));
        assert!(matches!(CallError::from(broken), CallError::Lost(_)));
    }
}
