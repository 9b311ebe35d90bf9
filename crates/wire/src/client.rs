//! The client's handle: submit a job, follow it, cancel it; list jobs and workers; move blobs.
//!
//! It returns what the coordinator says; how that is shown is the caller's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::coordinator::{TokenView, WorkerView};
use convoke_core::event::Outcome;
use convoke_core::history::{JobHistory, Limits};
use convoke_core::{Digest, Form, JobId, JobSpec, Payload, Position, Role, TokenId};
use convoke_proto::v1::Nothing;
use tokio_stream::Stream;
use tonic::Request;
use tonic::codegen::InterceptedService;
use tonic::transport::Channel;

use crate::blob_client::{BlobClient, digest_value};
use crate::blob_reader::BlobReader;
use crate::call_error::{CallError, SubmitError};
use crate::channel::{ConnectError, Target};
use crate::client_view::JobSummary;
use crate::followed::{self, Followed};
use crate::following::{Following, Heard};
use crate::program::{self, Message};
use crate::protocol::{MESSAGE_BYTES_MAX, SayVersion};
use crate::results::Results;
use crate::seen::Seen;
use crate::tls::JoinToken;
use crate::v1;
use crate::v1::clients_client::ClientsClient;

/// How long a call may take before the coordinator counts as lost.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(4_500);
/// How long a submission may take: what the job starts from is made durable first.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// For how long a lost coordinator is looked for.
pub const RECONNECT: Duration = Duration::from_secs(30);
/// How long to wait before each look.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);
/// The most bytes of a program or a list that a job's spec carries in place.
const STORED_INLINE_BYTES_MAX: usize = 6 * 1024;

/// A connection to a coordinator. Clones share it.
#[derive(Clone)]
pub struct Client {
    /// Where it can be had again; `None` for a channel that somebody else opened.
    target: Option<Target>,
    channel: Channel,
    calls: ClientsClient<InterceptedService<Channel, SayVersion>>,
    blobs: BlobClient,
    seen: Seen,
}

/// What a token is good for.
#[derive(Clone, Debug)]
pub struct TokenTerms {
    /// What whoever joins by it may do.
    pub role: Role,
    /// Whether clients that join by it may have commands run on workers.
    pub commands: bool,
    /// What whoever joins by it is called; `None`: what it asks for.
    pub name: Option<String>,
    /// Until when, in unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How many may join by it.
    pub uses: Option<u32>,
}

impl Client {
    /// Connects to a coordinator.
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        let channel = target.connect().await?;
        Ok(Self { target: Some(target.clone()), ..Self::over(channel) })
    }

    /// Looks for a coordinator that was lost at `lost_at`, until that is [`RECONNECT`] ago; then it is [`CallError::Away`]. Of
    /// a client that is [`Client::over`] a channel `lost` is the error at once.
    pub async fn reconnect(&mut self, lost: CallError, lost_at: Instant) -> Result<(), CallError> {
        while let Some(target) = self.target.as_ref().filter(|_| lost_at.elapsed() < RECONNECT) {
            tokio::time::sleep(RECONNECT_PAUSE).await;
            if let Ok(client) = Self::connect(target).await {
                *self = Self { seen: self.seen, ..client };
                return Ok(());
            }
        }
        Err(self.target.as_ref().map_or(lost, |target| CallError::Away { target: target.to_string() }))
    }

    /// Speaks over a channel. Once that is lost, it stays so.
    pub fn over(channel: Channel) -> Self {
        let calls = ClientsClient::with_interceptor(channel.clone(), SayVersion);
        Self {
            target: None,
            channel: channel.clone(),
            calls: calls.max_decoding_message_size(MESSAGE_BYTES_MAX),
            blobs: BlobClient::new(channel),
            seen: Seen::default(),
        }
    }

    /// What it speaks over.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What the coordinator said last of its journal.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Presents what was seen over an earlier connection: a coordinator whose journal ends before refuses.
    pub fn present(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// The coordinator's blobs.
    pub fn blobs(&mut self) -> &mut BlobClient {
        &mut self.blobs
    }

    /// Submits a job. The same id with the same spec is the same job, however often it is submitted.
    pub async fn submit(&mut self, job: JobId, spec: &JobSpec, submitter: &str) -> Result<(), SubmitError> {
        let request = v1::SubmitRequest { job: job.bits(), spec: Some(spec.into()), submitter: submitter.to_owned() };
        let reply = self.calls.submit(within(SUBMIT_TIMEOUT, request)).await.map_err(CallError::from)?.into_inner();
        let missing = reply.missing.iter().map(|digest| digest_value("SubmitReply.missing", digest));
        let missing: Vec<_> = missing.collect::<Result<_, _>>().map_err(CallError::from)?;
        self.seen = reply.seen.map_or(self.seen, Seen::from);
        if missing.is_empty() { Ok(()) } else { Err(SubmitError::Missing(missing)) }
    }

    /// Cancels a job, and says how it ended: it may have done so before.
    pub async fn cancel(&mut self, job: JobId) -> Result<Outcome, CallError> {
        let outcome = self.calls.cancel(within(CALL_TIMEOUT, v1::JobRequest { job: job.bits() })).await?.into_inner();
        Ok(outcome.try_into()?)
    }

    /// The jobs on record, in the order of submission.
    pub async fn jobs(&mut self) -> Result<Vec<JobSummary>, CallError> {
        let reply = self.calls.jobs(within(CALL_TIMEOUT, Nothing {})).await?.into_inner();
        Ok(reply.jobs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// The workers, by name.
    pub async fn workers(&mut self) -> Result<Vec<WorkerView>, CallError> {
        let reply = self.calls.workers(within(CALL_TIMEOUT, Nothing {})).await?.into_inner();
        Ok(reply.workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Why none of a job's tasks is with a worker, for people; `None` where it does not wait.
    pub async fn waits(&mut self, job: JobId) -> Result<Option<String>, CallError> {
        let request = v1::JobRequest { job: job.bits() };
        Ok(self.calls.waits(within(CALL_TIMEOUT, request)).await?.into_inner().reason)
    }

    /// Takes a worker out of service, and says how many tasks it brings to an end before it leaves.
    pub async fn drain(&mut self, worker: &str) -> Result<usize, CallError> {
        let request = v1::DrainRequest { worker: worker.to_owned() };
        Ok(self.calls.drain(within(CALL_TIMEOUT, request)).await?.into_inner().running as usize)
    }

    /// Makes a token, and says what it is: its secret is made here, and the coordinator keeps only a hash.
    pub async fn create_token(&mut self, token: &JoinToken, terms: TokenTerms) -> Result<(), CallError> {
        let request = v1::CreateTokenRequest {
            token: token.id.bits(),
            role: terms.role.to_string(),
            commands: terms.commands,
            name: terms.name.unwrap_or_default(),
            secret: token.secret.hash().0.to_vec(),
            expires_ms: terms.expires_ms,
            uses: terms.uses,
        };
        self.calls.create_token(within(CALL_TIMEOUT, request)).await?;
        Ok(())
    }

    /// The tokens, in the order of their creation.
    pub async fn tokens(&mut self) -> Result<Vec<TokenView>, CallError> {
        let reply = self.calls.tokens(within(CALL_TIMEOUT, Nothing {})).await?.into_inner();
        Ok(reply.tokens.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Nobody joins by the token any more.
    pub async fn revoke_token(&mut self, token: TokenId) -> Result<(), CallError> {
        self.calls.revoke_token(within(CALL_TIMEOUT, v1::TokenRequest { token: token.bits() })).await?;
        Ok(())
    }

    /// Takes the certificates of all who have a role and a name out of service.
    pub async fn remove(&mut self, role: Role, name: &str) -> Result<(), CallError> {
        let request = v1::RemoveRequest { role: role.to_string(), name: name.to_owned() };
        self.calls.remove(within(CALL_TIMEOUT, request)).await?;
        Ok(())
    }

    /// A job's events from `position` on, 0 for its first; its history first, where the journal does not reach back so far.
    /// With `live` also those to come, until it has ended. It ends with the connection: [`Client::watch`] does not.
    pub async fn follow(
        &mut self,
        job: JobId,
        position: Position,
        live: bool,
    ) -> Result<impl Stream<Item = Result<Followed, CallError>> + Send + Unpin + use<>, CallError> {
        let request = v1::FollowRequest { job: job.bits(), position: position.0, live, seen: Some(self.seen.into()) };
        let followed = self.calls.follow(within(CALL_TIMEOUT, request)).await?.into_inner();
        Ok(followed::unpack(followed))
    }

    /// What happened in a job, and with `live` what is to come, until it has ended; over lost connections too.
    pub fn watch(&self, job: JobId, live: bool) -> Following {
        Following::new(self.clone(), job, live)
    }

    /// Waits until a job has ended. What is returned says how, and names its versions or its list of results.
    pub async fn wait(&self, job: JobId) -> Result<JobHistory, CallError> {
        let (mut watched, mut history) = (self.watch(job, true), JobHistory::default());
        while let Some(heard) = watched.next().await? {
            match heard {
                Heard::Event { wall_ms, event } => drop(history.fold(wall_ms, &event, &Limits::KEPT)),
                Heard::History(known) => history = *known,
                Heard::Notice(_) | Heard::Lost => {}
            }
        }
        Ok(history)
    }

    /// The results of a map-reduce job in task order, as they become available, until it has ended.
    pub fn results(&self, job: JobId) -> Results {
        Results::new(self.clone(), job)
    }

    /// A blob that may be too large for memory, chunk by chunk, over lost connections too.
    pub fn blob_reader(&self, digest: Digest, bytes_max: u64) -> BlobReader {
        BlobReader::new(self.clone(), digest, bytes_max)
    }

    /// A payload's bytes: those in place, or its blob's, at most `bytes_max`.
    pub async fn bytes_of(&mut self, payload: &Payload, bytes_max: u64) -> Result<Bytes, CallError> {
        match payload.form() {
            Form::Inline(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            Form::Blob(digest) => self.blobs.get(*digest, bytes_max).await,
        }
    }

    /// A program or a list as a payload: in place, or stored as a blob where it is large.
    pub async fn payload_of(&mut self, message: &impl Message) -> Result<Payload, CallError> {
        let bytes = program::encode(message);
        if bytes.len() <= STORED_INLINE_BYTES_MAX
            && let Ok(payload) = Payload::inline(&bytes)
        {
            return Ok(payload);
        }
        Ok(Payload::blob(self.blobs.put(bytes.into(), true).await?))
    }
}

/// A request whose answer has to begin in time.
pub(crate) fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tonic::transport::Endpoint;

    use super::*;

    #[tokio::test]
    async fn a_coordinator_that_stays_away_is_named() {
        let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let lost = || CallError::Lost("h2 protocol error".to_owned());
        let long_ago = Instant::now().checked_sub(RECONNECT).expect("the machine runs for longer");
        let mut client = Client::over(channel.clone());
        assert!(matches!(client.reconnect(lost(), long_ago).await, Err(CallError::Lost(_))));

        let target = Target::InProcess(mpsc::channel(1).0);
        let mut client = Client { target: Some(target), ..Client::over(channel) };
        let said = client.reconnect(lost(), long_ago).await.unwrap_err().to_string();
        assert_eq!(said, "the coordinator at the embedded cluster did not come back within 30 s");
    }
}
