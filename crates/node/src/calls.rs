//! Calls to the decider, and the answers: what clients, admins and those who enrol ask for.
//!
//! What comes of a call is the machine's; here it is only that an answer comes, or a reason why none does.

use std::time::Duration;

use convoke_core::coordinator::{Input, Refusal, Reply};
use convoke_core::{Caller, Digest, JobId, JobSpec, NewToken, RequestId, Role, TokenId};
use convoke_wire::denial::Denial;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use crate::decider::Command;

/// How long a call waits for a disk that takes nothing: it is answered before the client takes the coordinator for lost.
const STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Where calls go. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) commands: mpsc::Sender<Command>,
    /// What the disk says while the decider waits for it.
    pub(crate) stalled: watch::Receiver<Option<String>>,
}

/// Something that is asked of the machine.
pub(crate) enum Call {
    Submit { job: JobId, spec: Box<JobSpec>, submitter: String, owner: TokenId, missing: Vec<Digest> },
    Cancel { job: JobId, by: Caller },
    Drain { worker: String },
    Inspect,
    WhyWaits { job: JobId, by: Caller },
    CreateToken { token: NewToken },
    RevokeToken { token: TokenId },
    Enrol { token: TokenId, secret: Digest, name: String, key: Digest },
    RemoveIdentity { role: Role, name: String },
    Tokens,
}

impl Calls {
    /// The answer to a call.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Status> {
        let ends = || Status::unavailable("the coordinator ends");
        let (reply, answer) = oneshot::channel();
        let answered = async {
            self.commands.send(Command::Call { call, reply }).await.map_err(|_| ends())?;
            answer.await.map_err(|_| ends())
        };
        let reply = tokio::select! {
            biased;
            reply = answered => reply?,
            reason = stands_still(self.stalled.clone()) => return Err(Status::aborted(reason)),
        };
        match reply {
            Reply::Refused(refusal) => Err(status(&refusal)),
            reply => Ok(reply),
        }
    }
}

impl Call {
    /// As the machine hears it.
    pub(crate) fn input(self, request: RequestId, wall_ms: u64) -> Input {
        match self {
            Self::Submit { job, spec, submitter, owner, missing } => {
                Input::Submit { request, job, spec: *spec, submitter, owner, missing }
            }
            Self::Cancel { job, by } => Input::Cancel { request, job, by },
            Self::Drain { worker } => Input::Drain { request, worker },
            Self::Inspect => Input::Inspect { request },
            Self::WhyWaits { job, by } => Input::WhyWaits { request, job, by },
            Self::CreateToken { token } => Input::CreateToken { request, token, wall_ms },
            Self::RevokeToken { token } => Input::RevokeToken { request, token },
            Self::Enrol { token, secret, name, key } => Input::Enrol { request, token, secret, name, key, wall_ms },
            Self::RemoveIdentity { role, name } => Input::RemoveIdentity { request, role, name },
            Self::Tokens => Input::Tokens { request },
        }
    }
}

pub(crate) fn status(refusal: &Refusal) -> Status {
    let said = refusal.to_string();
    match refusal {
        Refusal::Spec(_) | Refusal::NoCommands(_) => Status::invalid_argument(said),
        Refusal::AnotherSpec(_) | Refusal::AnotherToken(_) => Status::already_exists(said),
        Refusal::TooManyJobs | Refusal::TooManyTokens | Refusal::TooManyRemoved => Status::resource_exhausted(said),
        Refusal::NoSuchJob(_) | Refusal::NoSuchWorker(_) | Refusal::NoSuchToken | Refusal::NoSuchIdentity { .. } => {
            Status::not_found(said)
        }
        Refusal::NotYours(_) => Denial::NotYours.status(said),
        Refusal::TokenExpired { .. } => Denial::TokenExpired.status(said),
        Refusal::TokenUsedUp => Denial::TokenUsedUp.status(said),
        Refusal::NameRemoved { .. } => Denial::TokenTooOld.status(said),
    }
}

/// Ready with the reason once the decider has waited for the disk for so long that a call is better answered.
async fn stands_still(mut stalled: watch::Receiver<Option<String>>) -> String {
    loop {
        let reason = stalled.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        // Otherwise the decider has ended, and the call with it.
        let Some(reason) = reason else { return std::future::pending().await };
        if tokio::time::timeout(STALL_TIMEOUT, stalled.wait_for(Option::is_none)).await.is_err() {
            return reason;
        }
    }
}
