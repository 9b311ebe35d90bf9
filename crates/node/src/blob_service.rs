//! Blobs over the wire, as the coordinator serves them: which are missing, put, get.
//!
//! Disk and hashing happen on blocking threads; chunks wait in short queues, so a slow peer holds little memory.

use std::sync::Arc;

use bytes::Bytes;
use convoke_core::Digest;
use convoke_proto::v1::Nothing;
use convoke_store::blobs::{BlobError, Blobs, Durability};
use convoke_wire::protocol::{CHUNK_BYTES, DIGESTS_MAX};
use convoke_wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The most bytes of a blob.
pub(crate) const BLOB_BYTES_MAX: u64 = 16 << 30;
/// How many chunks may wait between the wire and the disk.
const CHUNKS_MAX: usize = 8;

/// The service.
pub(crate) struct BlobService {
    blobs: Arc<dyn Blobs>,
}

impl BlobService {
    pub(crate) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs }
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
        let blobs = self.blobs.clone();
        let missing = blocking(move || missing(&*blobs, &digests)).await?.map_err(refusal)?;
        let digests = missing.into_iter().map(|digest| digest.0.to_vec()).collect();
        Ok(Response::new(v1::Digests { digests }))
    }

    async fn put(&self, request: Request<Streaming<v1::PutChunk>>) -> Result<Response<Nothing>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.ok_or_else(|| Status::invalid_argument("no chunk came"))?;
        let digest = digest_of(&first.digest)?;
        let durability = if first.synced { Durability::Synced } else { Durability::Unsynced };
        let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_MAX);
        let blobs = self.blobs.clone();
        let stored = blocking(move || {
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
                next = inbound.message().await?;
            }
            Ok::<_, Status>(())
        };
        let (stored, sent) = tokio::join!(stored, sent);
        stored?.map_err(refusal)?;
        sent?;
        Ok(Response::new(Nothing {}))
    }

    type GetStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let digest = digest_of(&request.into_inner().digest)?;
        let blobs = self.blobs.clone();
        let reader = blocking(move || blobs.open(digest)).await?.map_err(refusal)?;
        let reader = reader.ok_or_else(|| Status::not_found(format!("blob {digest} is not stored here")))?;
        let (chunks, outbound) = mpsc::channel(CHUNKS_MAX);
        tokio::task::spawn_blocking(move || {
            let mut offset = 0;
            while offset < reader.len() {
                let mut data = vec![0; CHUNK_BYTES.min(usize::try_from(reader.len() - offset).unwrap_or(CHUNK_BYTES))];
                let read = reader.read_exact_at(offset, &mut data).map_err(refusal);
                offset += data.len() as u64;
                let failed = read.is_err();
                // The peer may be gone, and then nobody waits for the rest.
                if chunks.blocking_send(read.map(|()| v1::Chunk { data: data.into() })).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
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

pub(crate) fn refusal(error: BlobError) -> Status {
    match error {
        BlobError::Mismatch { .. } | BlobError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        BlobError::Damaged { .. } | BlobError::Beyond { .. } => Status::data_loss(error.to_string()),
        BlobError::Disk(_) | BlobError::Store(_) => Status::internal(error.to_string()),
    }
}

fn digest_of(bytes: &[u8]) -> Result<Digest, Status> {
    let wrong = |_| Status::invalid_argument(format!("a digest has 32 bytes, not {}", bytes.len()));
    <[u8; 32]>::try_from(bytes).map(Digest).map_err(wrong)
}
