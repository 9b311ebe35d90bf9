//! Blobs over the wire, as the coordinator serves them: which are missing, put, get.
//!
//! Disk and hashing happen on blocking threads; chunks wait in short queues, so a slow peer holds little memory. Only so
//! many transfers run at a time, and one that stands still ends, so that sessions always find a thread. What the bytes
//! mean it does not know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::{Digest, Role};
use convoke_proto::v1::Nothing;
use convoke_store::blobs::{BlobError, BlobReader, Blobs, Durability};
use convoke_wire::protocol::{BLOB_BYTES_MAX, CHUNK_BYTES, DIGESTS_MAX};
use convoke_wire::v1;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::denials::Denials;
use crate::disk::Disk;
use crate::grants::Grants;
use crate::peer::Peer;

/// How many chunks may wait between the wire and the disk.
const CHUNKS_MAX: usize = 8;
/// How many transfers run at a time; further ones wait. Far fewer than the runtime's 512 blocking threads.
const TRANSFERS_MAX: usize = 64;
/// How long a peer has to send or take a chunk.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

/// The service.
pub(crate) struct BlobService {
    uploads: Arc<dyn Blobs>,
    work: Arc<dyn Blobs>,
    transfers: Arc<Semaphore>,
    disk: Disk,
    grants: Arc<Grants>,
    denials: Denials,
}

impl BlobService {
    /// Over the same blobs, as those who upload hold them, and as those who work do.
    pub(crate) fn new(
        (uploads, work): (Arc<dyn Blobs>, Arc<dyn Blobs>),
        disk: Disk,
        grants: Arc<Grants>,
        denials: Denials,
    ) -> Self {
        Self { uploads, work, transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)), disk, grants, denials }
    }

    /// Whether a peer may read a blob. Users may read any whose digest they know.
    fn check_read(&self, peer: &Peer, digest: Digest) -> Result<(), Status> {
        match (peer.role(), peer.worker()) {
            (Some(Role::Client | Role::Admin), _) => Ok(()),
            (_, Some(worker)) if self.grants.covers(worker.serial, digest) => Ok(()),
            _ => {
                self.denials.say(format!("{peer} asked for blob {digest}, which no task of its names"));
                Err(Status::permission_denied(format!("no task of this worker names blob {digest}")))
            }
        }
    }

    /// Where a peer may store, and how durable that may be. What a worker stores can be computed again; what a user does
    /// counts as uploaded.
    fn check_write(&self, peer: &Peer, synced: bool) -> Result<(Arc<dyn Blobs>, Durability), Status> {
        match (peer.role(), peer.worker()) {
            (Some(Role::Client | Role::Admin), _) if synced => Ok((self.uploads.clone(), Durability::Synced)),
            (Some(Role::Client | Role::Admin), _) => Ok((self.uploads.clone(), Durability::Unsynced)),
            (_, Some(worker)) if self.grants.is_there(worker.serial) => Ok((self.work.clone(), Durability::Unsynced)),
            _ => Err(Status::permission_denied("a worker without a session has no results to store")),
        }
    }
}

#[tonic::async_trait]
impl v1::blobs_server::Blobs for BlobService {
    async fn missing(&self, request: Request<v1::Digests>) -> Result<Response<v1::Digests>, Status> {
        let digests = request.into_inner().digests;
        if digests.len() > DIGESTS_MAX {
            let count = digests.len();
            return Err(Status::invalid_argument(format!("{count} digests, at most {DIGESTS_MAX} are allowed")));
        }
        let digests = digests.iter().map(|bytes| digest_of(bytes)).collect::<Result<Vec<_>, _>>()?;
        let blobs = self.uploads.clone();
        let missing = blocking(move || missing(&*blobs, &digests)).await?.map_err(refusal)?;
        let digests = missing.into_iter().map(|digest| digest.0.to_vec()).collect();
        Ok(Response::new(v1::Digests { digests }))
    }

    async fn put(&self, request: Request<Streaming<v1::PutChunk>>) -> Result<Response<Nothing>, Status> {
        let peer = Peer::calling(&request)?;
        let mut inbound = request.into_inner();
        let first = next_chunk(&mut inbound).await?.ok_or_else(|| Status::invalid_argument("no chunk came"))?;
        let digest = digest_of(&first.digest)?;
        let (blobs, durability) = self.check_write(&peer, first.synced)?;
        let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_MAX);
        let permit = transfer(self.transfers.clone()).await?;
        let stored = blocking(move || {
            // Held here, for the thread outlives a call that the peer gives up.
            let _permit = permit;
            let mut writer = blobs.writer(durability, Some(digest), BLOB_BYTES_MAX)?;
            while let Some(chunk) = waiting.blocking_recv() {
                writer.write(&chunk)?;
            }
            writer.finish()
        });
        let sent = async move {
            let mut next = Some(first);
            while let Some(chunk) = next {
                // The writer has given up: its error says why.
                if chunks.send(chunk.data).await.is_err() {
                    break;
                }
                next = next_chunk(&mut inbound).await?;
            }
            Ok::<_, Status>(())
        };
        let (stored, sent) = tokio::join!(stored, sent);
        // First, for what was cut off is not what was announced, either.
        sent?;
        match stored? {
            Ok(_) => self.disk.works(),
            Err(error) if error.is_of_the_disk() => {
                let status = Status::aborted(error.to_string());
                // The peer waits as long as it likes.
                self.disk.fails(error);
                return Err(status);
            }
            Err(error) => return Err(refusal(error)),
        }
        Ok(Response::new(Nothing {}))
    }

    type GetStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let peer = Peer::calling(&request)?;
        let digest = digest_of(&request.into_inner().digest)?;
        self.check_read(&peer, digest)?;
        let (chunks, outbound) = mpsc::channel(CHUNKS_MAX + 1);
        let last = chunks.clone().try_reserve_owned().map_err(|_| Status::internal("a new queue has no room"))?;
        let (blobs, transfers) = (self.work.clone(), self.transfers.clone());
        // Ends with the peer, or when that takes no chunk for too long.
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = send_blob(digest, blobs, transfers, &chunks) => ended,
                () = chunks.closed() => return,
            };
            if let Err(status) = ended {
                last.send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

/// Sends a blob's chunks as the peer takes them; no thread waits with it.
async fn send_blob(
    digest: Digest,
    blobs: Arc<dyn Blobs>,
    transfers: Arc<Semaphore>,
    chunks: &mpsc::Sender<Result<v1::Chunk, Status>>,
) -> Result<(), Status> {
    let _permit = transfer(transfers).await?;
    let reader = blocking(move || blobs.open(digest)).await?.map_err(refusal)?;
    let reader = reader.ok_or_else(|| Status::not_found(format!("blob {digest} is not stored here")))?;
    let reader: Arc<dyn BlobReader> = reader.into();
    let mut offset = 0;
    while offset < reader.len() {
        let bytes = CHUNK_BYTES.min(usize::try_from(reader.len() - offset).unwrap_or(CHUNK_BYTES));
        let reading = reader.clone();
        let read = move || {
            let mut data = vec![0; bytes];
            reading.read_exact_at(offset, &mut data).map(|()| data)
        };
        let data = blocking(read).await?.map_err(refusal)?;
        offset += bytes as u64;
        let sent = tokio::time::timeout(CHUNK_TIMEOUT, chunks.send(Ok(v1::Chunk { data: data.into() }))).await;
        // The peer may be gone, and then nobody waits for the rest.
        if sent.map_err(|_| late("no chunk was taken"))?.is_err() {
            break;
        }
    }
    Ok(())
}

/// Waits for a transfer's turn.
async fn transfer(transfers: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    transfers.acquire_owned().await.map_err(|_| Status::unavailable("the coordinator ends"))
}

async fn next_chunk(inbound: &mut Streaming<v1::PutChunk>) -> Result<Option<v1::PutChunk>, Status> {
    let chunk = tokio::time::timeout(CHUNK_TIMEOUT, inbound.message()).await;
    chunk.map_err(|_| late("no chunk came"))?
}

fn late(what: &str) -> Status {
    Status::deadline_exceeded(format!("{what} for {} s", CHUNK_TIMEOUT.as_secs()))
}

/// Which of the blobs are not there.
fn missing(blobs: &dyn Blobs, digests: &[Digest]) -> Result<Vec<Digest>, BlobError> {
    let mut missing = Vec::new();
    for digest in digests {
        if !blobs.has(*digest)? {
            missing.push(*digest);
        }
    }
    Ok(missing)
}

/// Runs what may wait for the disk.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::unavailable("the coordinator ends"))
}

/// The same on this thread, where others take over its tasks: to wake another and to be woken by it takes longer than a short
/// look at the disk. What this task itself waits for beside it stands still.
pub(crate) async fn blocking_here<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => Ok(tokio::task::block_in_place(work)),
        _ => blocking(work).await,
    }
}

pub(crate) fn refusal(error: BlobError) -> Status {
    match error {
        BlobError::Mismatch { .. } | BlobError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        BlobError::Damaged { .. } | BlobError::Beyond { .. } => Status::data_loss(error.to_string()),
        BlobError::Full { .. } => Status::resource_exhausted(format!("{error} (--state-max)")),
        // For a while: what was asked for may be asked again.
        BlobError::Disk(_) | BlobError::Store(_) => Status::aborted(error.to_string()),
    }
}

fn digest_of(bytes: &[u8]) -> Result<Digest, Status> {
    let wrong = |_| Status::invalid_argument(format!("a digest has 32 bytes, not {}", bytes.len()));
    <[u8; 32]>::try_from(bytes).map(Digest).map_err(wrong)
}
