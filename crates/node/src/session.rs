//! A worker's session, as the coordinator serves it: frames in, messages out, and small blobs ahead of who names them.
//!
//! It feeds the decider and obeys it; it knows no lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use convoke_core::coordinator::Input;
use convoke_core::message::{FromWorker, HEARTBEAT_MS, Hello, ToWorker};
use convoke_core::{Digest, Identity, Payload, Position, SessionId, WorkerId};
use convoke_proto::DecodeError;
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_wire::protocol::SESSION_BLOB_BYTES_MAX;
use convoke_wire::seen::Seen;
use convoke_wire::session::{CoordinatorFrame, WorkerFrame};
use convoke_wire::v1;
use convoke_wire::v1::sessions_server::Sessions;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::decider::{Command, OUTBOX_MAX};
use crate::disk::Disk;
use crate::grants::{Granting, Grants};
use crate::peer::Peer;
use crate::rollback::{Rollback, Takeover};

/// How long a peer has for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How many frames may be on their way into the stream.
const FRAMES_MAX: usize = 16;
/// How many frames that have come are taken at a time: as many as a worker's reports that go together.
const TAKEN_MAX: usize = 16;
/// How many blobs a session remembers to have sent.
const SENT_MAX: usize = 1_024;

/// The service that workers open their sessions on.
pub(crate) struct SessionService {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) disk: Disk,
    pub(crate) rollback: Arc<Rollback>,
    /// How far the journal has come.
    pub(crate) position: watch::Receiver<Position>,
    pub(crate) next_session: AtomicU64,
    pub(crate) grants: Arc<Grants>,
}

#[tonic::async_trait]
impl Sessions for SessionService {
    type OpenStream = ReceiverStream<Result<v1::CoordinatorFrame, Status>>;

    async fn open(&self, request: Request<Streaming<v1::WorkerFrame>>) -> Result<Response<Self::OpenStream>, Status> {
        let worker = Peer::calling(&request)?.worker().cloned();
        let mut inbound = request.into_inner();
        let hello = tokio::time::timeout(HELLO_TIMEOUT, read_hello(&mut inbound)).await;
        let (mut hello, seen) = hello.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        if let Some(worker) = &worker {
            own(&mut hello, worker)?;
        }
        self.rollback.admit(&hello.name, seen)?;
        let session = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let (frames, outbound) = mpsc::channel(FRAMES_MAX);
        let granting = worker.as_ref().map(|worker| {
            Granting::begin(self.grants.clone(), worker.serial, self.blobs.clone(), hello.holding.clone())
        });
        let connected = Command::Connected { session, hello, identity: worker, outbox };
        self.commands.send(connected).await.map_err(|_| Status::unavailable("the coordinator ends"))?;
        let reader =
            Reader { session, commands: self.commands.clone(), blobs: self.blobs.clone(), disk: self.disk.clone() };
        let (takeover, position) = (self.rollback.takeover, self.position.clone());
        let writer = Writer { blobs: self.blobs.clone(), takeover, position, said: Seen::default(), granting };
        tokio::spawn(async move {
            // Ends when the decider lets go of the outbox, or the peer stops reading.
            let mut writer = tokio::spawn(writer.write(messages, frames));
            tokio::select! {
                ended = reader.read(&mut inbound) => {
                    if let Err(reason) = ended {
                        tracing::warn!(%session, "the session ends: {reason}");
                    }
                }
                _ = &mut writer => {}
            }
            writer.abort();
            drop(reader.commands.send(Command::Input(Input::Disconnected { session })).await);
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

/// Ties a hello to the identity that its worker has shown: nobody takes the place of a worker of another identity.
fn own(hello: &mut Hello, identity: &Identity) -> Result<(), Status> {
    // Where several have one name, the coordinator told one apart by a number, which it keeps from session to session.
    let rest = hello.name.strip_prefix(&identity.name);
    let number = rest.and_then(|rest| rest.strip_prefix('-')).filter(|number| !number.is_empty());
    let is_numbered = number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
    if rest != Some("") && !is_numbered {
        return Err(Status::permission_denied(format!(
            "the certificate is that of the worker `{}`, and not of `{}`",
            identity.name, hello.name
        )));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&identity.serial.to_le_bytes()).update(&hello.worker.0.to_le_bytes());
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    hello.worker = WorkerId(u64::from_le_bytes(number));
    Ok(())
}

/// Why a session ends that the peer did not end.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a second hello came")]
    SecondHello,
    #[error("cannot store a result: {0}")]
    Blob(#[from] BlobError),
}

async fn read_hello(inbound: &mut Streaming<v1::WorkerFrame>) -> Result<(Hello, Seen), Status> {
    let frame = inbound.message().await?.ok_or_else(|| Status::invalid_argument("no hello came"))?;
    match WorkerFrame::try_from(frame) {
        Ok(WorkerFrame::Hello(hello, seen)) => Ok((hello, seen)),
        Ok(_) => Err(Status::invalid_argument("a session begins with a hello")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// Tells a frame's blob from a message.
fn sort(frame: v1::WorkerFrame, blobs: &mut Vec<Vec<u8>>, messages: &mut Vec<FromWorker>) -> Result<(), SessionError> {
    match WorkerFrame::try_from(frame)? {
        WorkerFrame::Hello(..) => return Err(SessionError::SecondHello),
        WorkerFrame::Blob(bytes) => blobs.push(bytes),
        WorkerFrame::Message(message) => messages.push(message),
    }
    Ok(())
}

/// The half of a session that hears the worker.
struct Reader {
    session: SessionId,
    commands: mpsc::Sender<Command>,
    blobs: Arc<dyn Blobs>,
    disk: Disk,
}

impl Reader {
    /// Hands on what the worker says, until it says no more. What has come together is stored and told together: each alone
    /// would be a commit of its own.
    async fn read(&self, inbound: &mut Streaming<v1::WorkerFrame>) -> Result<(), SessionError> {
        let mut next = inbound.message().await;
        while let Ok(Some(frame)) = next {
            let (mut blobs, mut messages) = (Vec::new(), Vec::new());
            let mut sorted = sort(frame, &mut blobs, &mut messages);
            let mut waiting = None;
            for _ in 1..TAKEN_MAX {
                waiting = tokio::select! {
                    biased;
                    came = inbound.message(), if sorted.is_ok() => Some(came),
                    () = std::future::ready(()) => None,
                };
                let Some(Ok(Some(frame))) = waiting.take_if(|came| matches!(came, Ok(Some(_)))) else { break };
                sorted = sort(frame, &mut blobs, &mut messages);
            }
            if !blobs.is_empty() && self.store(&blobs).await?.is_none() {
                break;
            }
            for message in messages {
                if self.tell(message).await.is_none() {
                    return Ok(());
                }
            }
            sorted?;
            next = match waiting {
                // The end, which came with them.
                Some(end) => end,
                None => inbound.message().await,
            };
        }
        Ok(())
    }

    /// Stores results' bytes. While the disk fails it tries again, and the worker's words wait behind them: no more than
    /// some frames are held here, and the rest with the worker, which keeps its results until they are accepted.
    async fn store(&self, blobs: &[Vec<u8>]) -> Result<Option<()>, SessionError> {
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        loop {
            // They can be computed again, so nobody waits for the disk: appending them takes less than the way to another
            // thread and back.
            match self.blobs.put_all(&blobs, Durability::Unsynced) {
                Ok(()) => {
                    self.disk.works();
                    return Ok(Some(()));
                }
                Err(error) if error.is_of_the_disk() => {
                    let until = Instant::now() + self.disk.fails(error);
                    if self.wait(until).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets time pass. The worker's heartbeats wait with the rest: that it is not heard is not its fault, and if its
    /// connection breaks, the other half of the session finds out.
    async fn wait(&self, until: Instant) -> Option<()> {
        while let left = until.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            self.tell(FromWorker::Heartbeat).await?;
            tokio::time::sleep(left.min(Duration::from_millis(HEARTBEAT_MS))).await;
        }
        Some(())
    }

    /// `None` once the decider has ended.
    async fn tell(&self, message: FromWorker) -> Option<()> {
        self.commands.send(Command::Input(Input::Received { session: self.session, message })).await.ok()
    }
}

/// The half of a session that the worker hears.
struct Writer {
    blobs: Arc<dyn Blobs>,
    takeover: Takeover,
    position: watch::Receiver<Position>,
    /// What the worker was told last of the journal.
    said: Seen,
    /// For a worker with a certificate.
    granting: Option<Granting>,
}

impl Writer {
    /// Sends what the decider says, and ahead of an assignment the small blobs that it names.
    async fn write(
        mut self,
        mut messages: mpsc::Receiver<ToWorker>,
        frames: mpsc::Sender<Result<v1::CoordinatorFrame, Status>>,
    ) {
        let mut sent = BTreeSet::new();
        while let Some(message) = messages.recv().await {
            if let Some(granting) = &mut self.granting {
                granting.hear(&message);
            }
            if let ToWorker::Assign(assignment) = &message {
                let named = [&assignment.base, &assignment.input].into_iter().filter_map(Payload::as_blob);
                for digest in named.filter(|digest| !sent.contains(digest)).collect::<Vec<_>>() {
                    if let Some(bytes) = small_blob(&*self.blobs, digest)
                        && frames.send(Ok(CoordinatorFrame::Blob(bytes).into())).await.is_err()
                    {
                        return;
                    }
                    if sent.len() == SENT_MAX {
                        sent.clear();
                    }
                    sent.insert(digest);
                }
            }
            let frame = v1::CoordinatorFrame { seen: self.seen(), ..CoordinatorFrame::Message(message).into() };
            if frames.send(Ok(frame)).await.is_err() {
                return;
            }
        }
    }

    /// How far the journal has come, if that is news: at least as far as what is told was decided.
    fn seen(&mut self) -> Option<v1::Seen> {
        let seen = self.takeover.seen(*self.position.borrow());
        (std::mem::replace(&mut self.said, seen) != seen).then(|| seen.into())
    }
}

/// A blob, if it is small enough to travel in the session. If not, the worker fetches it, and learns what is wrong.
fn small_blob(blobs: &dyn Blobs, digest: Digest) -> Option<Vec<u8>> {
    blobs.get(digest, SESSION_BLOB_BYTES_MAX as u64).ok().flatten().map(|bytes| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use convoke_core::{Resources, Role, TokenId};

    use super::*;

    #[test]
    fn a_hello_is_that_of_the_identity_by_its_name_or_with_a_number() {
        let (role, token, name) = (Role::Worker, TokenId::from_bits(1), "box".to_owned());
        let identity = Identity { role, commands: false, token, serial: 7, name };
        let own = |name: &str| {
            let mut hello = Hello {
                worker: WorkerId(1),
                name: name.to_owned(),
                slots: 1,
                abilities: Vec::new(),
                profile: String::new(),
                hardware: String::new(),
                holding: Vec::new(),
                draining: false,
                resources: Resources::default(),
            };
            own(&mut hello, &identity).map(|()| hello.worker)
        };
        assert_eq!(own("box").unwrap(), own("box-2").unwrap());
        assert_ne!(own("box").unwrap(), WorkerId(1), "another identity's number is never its own");
        for other in ["ann", "bo", "boxer", "box2", "box-", "box-two", "my-box"] {
            assert!(own(other).is_err(), "{other}");
        }
    }
}
