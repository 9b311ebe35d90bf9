//! Clients' calls, as the coordinator serves them: submit, cancel, list, drain, follow.
//!
//! Submissions and cancellations go through the decider; what is only read comes from the history.

use std::pin::Pin;
use std::sync::Arc;

use convoke_core::coordinator::{Refusal, Reply};
use convoke_core::history::JobHistory;
use convoke_core::{Caller, Digest, Event, JobId, JobSpec, Position, Role, TokenId, check_name};
use convoke_proto::v1::Nothing;
use convoke_proto::{DecodeError, job_id};
use convoke_store::blobs::Blobs;
use convoke_store::collector::{self, CollectError};
use convoke_wire::program::Message;
use convoke_wire::protocol::DIGESTS_MAX;
use convoke_wire::seen::Seen;
use convoke_wire::v1;
use convoke_wire::v1::followed::Kind;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::blob_service::{blocking, blocking_here, refusal};
use crate::calls::{Call, Calls, status};
use crate::combine::fit;
use crate::decider::Said;
use crate::history::{History, HistoryError, Told};
use crate::lists;
use crate::peer::Peer;
use crate::rollback::{Rollback, Takeover};
use crate::{tokens, waiting};

/// Submissions whose lists are being read.
static READING: Semaphore = Semaphore::const_new(2);
/// How many messages may wait for a follower.
const FOLLOWED_MAX: usize = 32;
/// How many bytes of frames make a message; the last of them may add more, a frame's at most.
const FRAMES_BYTES: usize = 256 * 1024;

/// The service.
pub(crate) struct ClientService {
    pub(crate) calls: Calls,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) history: Arc<History>,
    pub(crate) notices: broadcast::Sender<Said>,
    pub(crate) position: watch::Receiver<Position>,
    pub(crate) rollback: Arc<Rollback>,
}

impl ClientService {
    /// What a follower that stays hears from now on. That the decider waits already is news to it.
    fn live(&self) -> Live {
        let mut stalled = self.calls.stalled.clone();
        stalled.mark_unchanged();
        if stalled.borrow().is_some() {
            stalled.mark_changed();
        }
        Live { notices: self.notices.subscribe(), position: self.position.clone(), stalled }
    }
}

/// A line for a follower that comes when the job waits: it was said before.
async fn waits(calls: Calls, job: JobId, by: Caller) -> Option<String> {
    match calls.call(Call::WhyWaits { job, by }).await {
        Ok(Reply::Waits(Some(reason))) => Some(waiting::line(job, &reason)),
        _ => None,
    }
}

#[tonic::async_trait]
impl v1::clients_server::Clients for ClientService {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let peer = Peer::calling(&request)?;
        let request = request.into_inner();
        let job = job_id("SubmitRequest.job", request.job).map_err(undecodable)?;
        let spec: JobSpec = convoke_proto::required("SubmitRequest.spec", request.spec).map_err(undecodable)?;
        peer.check_job(&spec)?;
        fit::check(&spec).map_err(|error| Status::invalid_argument(error.to_string()))?;
        // Whoever has a certificate is called what that says.
        let submitter = peer.name().map_or(request.submitter, str::to_owned);
        check_name("submitter", &submitter).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (blobs, named) = (self.blobs.clone(), spec.clone());
        // A list may be many times as large in memory as on the wire: few are read at a time.
        let turn = READING.acquire().await.map_err(|_| Status::unavailable("the coordinator ends"))?;
        let missing = blocking_here(move || unpinned(&*blobs, &named)).await;
        drop(turn);
        let missing = missing?.map_err(|error| match error {
            CollectError::Blob(error) => refusal(error),
            CollectError::List(error) => Status::invalid_argument(error.to_string()),
        })?;
        let owner = peer.caller().token;
        let reply = self.calls.call(Call::Submit { job, spec: Box::new(spec), submitter, owner, missing }).await?;
        let missing = if let Reply::Missing(missing) = reply { missing } else { Vec::new() };
        let missing = missing.iter().map(|digest| digest.0.to_vec()).collect();
        let seen = self.rollback.takeover.seen(*self.position.borrow());
        Ok(Response::new(v1::SubmitReply { missing, seen: Some(seen.into()) }))
    }

    async fn cancel(&self, request: Request<v1::JobRequest>) -> Result<Response<convoke_proto::v1::Outcome>, Status> {
        let by = Peer::calling(&request)?.caller();
        let job = job_id("JobRequest.job", request.into_inner().job).map_err(undecodable)?;
        match self.calls.call(Call::Cancel { job, by }).await? {
            Reply::Ended(outcome) => Ok(Response::new((&outcome).into())),
            _ => Err(Status::internal("the job did not end")),
        }
    }

    async fn jobs(&self, request: Request<Nothing>) -> Result<Response<v1::JobList>, Status> {
        let (history, caller) = (self.history.clone(), Peer::calling(&request)?.caller());
        let jobs = blocking(move || history.jobs_of(caller)).await?.map_err(unreadable)?;
        Ok(Response::new(v1::JobList { jobs: jobs.iter().map(Into::into).collect() }))
    }

    async fn workers(&self, _: Request<Nothing>) -> Result<Response<v1::WorkerList>, Status> {
        let Reply::Workers(workers) = self.calls.call(Call::Inspect).await? else {
            return Err(Status::internal("the workers were not told"));
        };
        Ok(Response::new(v1::WorkerList { workers: workers.into_iter().map(Into::into).collect() }))
    }

    async fn waits(&self, request: Request<v1::JobRequest>) -> Result<Response<v1::WaitsReply>, Status> {
        let by = Peer::calling(&request)?.caller();
        let job = job_id("JobRequest.job", request.into_inner().job).map_err(undecodable)?;
        match self.calls.call(Call::WhyWaits { job, by }).await? {
            Reply::Waits(reason) => Ok(Response::new(v1::WaitsReply { reason: reason.as_ref().map(waiting::reason) })),
            _ => Err(Status::internal("what the job waits for was not told")),
        }
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainReply>, Status> {
        let worker = request.into_inner().worker;
        check_name("worker", &worker).map_err(|error| Status::invalid_argument(error.to_string()))?;
        match self.calls.call(Call::Drain { worker }).await? {
            Reply::Draining { running } => Ok(Response::new(v1::DrainReply { running: running as u32 })),
            _ => Err(Status::internal("the worker was not told")),
        }
    }

    async fn create_token(&self, request: Request<v1::CreateTokenRequest>) -> Result<Response<Nothing>, Status> {
        let by = Peer::calling(&request)?;
        let token = tokens::new_token(request.into_inner(), by.name().unwrap_or("the coordinator"))?;
        tracing::info!("{by} creates the {} token {}", token.role, token.token);
        self.calls.call(Call::CreateToken { token }).await?;
        Ok(Response::new(Nothing {}))
    }

    async fn tokens(&self, _: Request<Nothing>) -> Result<Response<v1::TokenList>, Status> {
        let Reply::Tokens(tokens) = self.calls.call(Call::Tokens).await? else {
            return Err(Status::internal("the tokens were not told"));
        };
        Ok(Response::new(v1::TokenList { tokens: tokens.into_iter().map(Into::into).collect() }))
    }

    async fn revoke_token(&self, request: Request<v1::TokenRequest>) -> Result<Response<Nothing>, Status> {
        let by = Peer::calling(&request)?;
        let token = TokenId::from_bits(request.into_inner().token);
        tracing::info!("{by} revokes the token {token}");
        self.calls.call(Call::RevokeToken { token }).await?;
        Ok(Response::new(Nothing {}))
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Result<Response<Nothing>, Status> {
        let by = Peer::calling(&request)?;
        let v1::RemoveRequest { role, name } = request.into_inner();
        let role: Role = role.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
        check_name("name", &name).map_err(|error| Status::invalid_argument(error.to_string()))?;
        tracing::info!("{by} removes the {role} {}", name.escape_debug());
        self.calls.call(Call::RemoveIdentity { role, name }).await?;
        Ok(Response::new(Nothing {}))
    }

    type FollowStream = ReceiverStream<Result<v1::Followed, Status>>;

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let caller = Peer::calling(&request)?.caller();
        let request = request.into_inner();
        let job = job_id("FollowRequest.job", request.job).map_err(undecodable)?;
        self.rollback.admit("the client", request.seen.map(Seen::from).unwrap_or_default())?;
        let submission = match self.history.recent_submission_of(job) {
            None => {
                let history = self.history.clone();
                blocking_here(move || history.submission_of(job)).await?.map_err(unreadable)?
            }
            recent => recent,
        };
        let (submitted, owner) = submission.ok_or_else(|| Status::not_found(Refusal::NoSuchJob(job).to_string()))?;
        if !caller.may_act_for(owner) {
            return Err(status(&Refusal::NotYours(job)));
        }
        let (messages, outbound) = mpsc::channel(FOLLOWED_MAX);
        let follower = Follower {
            job,
            next: Position(request.position).max(submitted),
            history: self.history.clone(),
            messages,
            takeover: self.rollback.takeover,
            live: request.live.then(|| self.live()),
            asking: request.live.then(|| Box::pin(waits(self.calls.clone(), job, caller)) as Asking),
        };
        tokio::spawn(follower.run());
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

/// One client that follows one job.
struct Follower {
    job: JobId,
    next: Position,
    history: Arc<History>,
    messages: mpsc::Sender<Result<v1::Followed, Status>>,
    takeover: Takeover,
    /// For one that stays.
    live: Option<Live>,
    /// What was said before it came, and holds while the job has not ended: it is asked once, by one that stays and has heard
    /// what there is.
    asking: Option<Asking>,
}

type Asking = Pin<Box<dyn Future<Output = Option<String>> + Send + Sync>>;

/// What a follower hears beside the events.
struct Live {
    notices: broadcast::Receiver<Said>,
    /// How far the journal has come.
    position: watch::Receiver<Position>,
    /// What the disk says while the decider waits for it.
    stalled: watch::Receiver<Option<String>>,
}

impl Follower {
    /// Tells the job's events until it has ended, or the client is gone.
    async fn run(mut self) {
        loop {
            let (job, from) = (self.job, self.next);
            let read = match self.history.tell_recent(job, from) {
                Some(told) => Ok(told),
                None => {
                    let history = self.history.clone();
                    blocking_here(move || history.tell(job, from)).await.and_then(|read| read.map_err(unreadable))
                }
            };
            let sent = match read {
                Ok(Some((told, next))) => {
                    self.next = next;
                    match told {
                        Told::History(history) => self.tell_history(&history).await,
                        Told::Events(events) => self.tell_events(events).await,
                    }
                }
                Ok(None) => self.wait().await,
                Err(status) => self.messages.send(Err(status)).await.ok().and(None),
            };
            if sent.is_none() {
                return;
            }
        }
    }

    /// `None` once the job has ended or the client is gone.
    async fn tell_history(&self, history: &JobHistory) -> Option<()> {
        let through = Position(self.next.0 - 1);
        let told = v1::HistoryThrough { position: through.0, history: Some(history.into()) };
        let seen = Some(self.takeover.seen(through).into());
        self.messages.send(Ok(v1::Followed { kind: Some(Kind::History(told)), seen })).await.ok()?;
        history.outcome.is_none().then_some(())
    }

    /// `None` once the job has ended or the client is gone.
    async fn tell_events(&self, events: Vec<(Position, u64, Event)>) -> Option<()> {
        let (mut frames, mut bytes) = (Vec::<v1::Frame>::new(), 0);
        for (position, wall_ms, event) in events {
            let ends = matches!(event, Event::JobFinished { .. });
            let event = convoke_proto::v1::Event::from(&event);
            let is_begun = frames.last().is_some_and(|frame| frame.position == position.0);
            if !is_begun && bytes >= FRAMES_BYTES {
                self.tell_frames(std::mem::take(&mut frames)).await?;
                bytes = 0;
            }
            bytes += event.encoded_len();
            match frames.last_mut().filter(|_| is_begun) {
                Some(frame) => frame.events.push(event),
                None => frames.push(v1::Frame { position: position.0, wall_ms, events: vec![event] }),
            }
            if ends {
                self.tell_frames(frames).await;
                return None;
            }
        }
        self.tell_frames(frames).await
    }

    /// `None` once the client is gone. A message of its own for each event would cost both sides more than the work does.
    async fn tell_frames(&self, frames: Vec<v1::Frame>) -> Option<()> {
        let Some(last) = frames.last() else { return Some(()) };
        let seen = Some(self.takeover.seen(Position(last.position)).into());
        let kind = Some(Kind::Frames(v1::Frames { frames }));
        self.messages.send(Ok(v1::Followed { kind, seen })).await.ok()
    }

    /// Waits for the journal to grow, and tells what is said meanwhile. A slow client loses lines, never events.
    async fn wait(&mut self) -> Option<()> {
        let Live { notices, position, stalled } = self.live.as_mut()?;
        loop {
            let said = tokio::select! {
                grown = position.wait_for(|position| *position >= self.next) => {
                    grown.ok()?;
                    return Some(());
                }
                line = answer(&mut self.asking), if self.asking.is_some() => {
                    let Some(line) = line else { continue };
                    // What was said before the answer may be the same.
                    let before: Vec<Said> = std::iter::from_fn(|| notices.try_recv().ok()).collect();
                    let others = before.into_iter().filter(|said| said.line != line);
                    for said in others.chain([Said { job: None, line: line.clone() }]) {
                        tell(&self.messages, self.job, said);
                    }
                    continue;
                }
                said = notices.recv(), if self.asking.is_none() => said,
                stalled = change(stalled) => stalled,
                () = self.messages.closed() => return None,
            };
            match said {
                Ok(said) => tell(&self.messages, self.job, said),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Tells whoever follows a job what is about it, or about all; a client that is slow misses it.
fn tell(messages: &mpsc::Sender<Result<v1::Followed, Status>>, job: JobId, said: Said) {
    if said.job.is_none_or(|other| other == job) {
        messages.try_send(Ok(v1::Followed { kind: Some(Kind::Notice(said.line)), seen: None })).ok();
    }
}

/// Waits for the answer, which is then no longer asked for.
async fn answer(asking: &mut Option<Asking>) -> Option<String> {
    let answer = asking.as_mut()?.await;
    *asking = None;
    answer
}

/// Waits until the decider waits for the disk, or does so no more, and says which.
async fn change(stalled: &mut watch::Receiver<Option<String>>) -> Result<Said, broadcast::error::RecvError> {
    stalled.changed().await.map_err(|_| broadcast::error::RecvError::Closed)?;
    let line = match &*stalled.borrow_and_update() {
        Some(reason) => format!("the coordinator waits: {reason}"),
        None => "the coordinator goes on".to_owned(),
    };
    Ok(Said { job: None, line })
}

/// Pins what a job starts from; which blobs of it are not there, at most [`DIGESTS_MAX`].
pub(crate) fn unpinned(blobs: &dyn Blobs, spec: &JobSpec) -> Result<Vec<Digest>, CollectError> {
    collector::unpinned(blobs, spec, &lists::entries, DIGESTS_MAX)
}

fn undecodable(error: DecodeError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unreadable(error: HistoryError) -> Status {
    Status::data_loss(error.to_string())
}
