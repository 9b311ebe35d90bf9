//! Blobs over the wire: which are missing, put one, get one.
//!
//! What arrives is checked against its digest; where it is kept is the caller's.

use bytes::{Bytes, BytesMut};
use convoke_core::Digest;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::codegen::InterceptedService;
use tonic::transport::Channel;

use crate::call_error::CallError;
use crate::client::{CALL_TIMEOUT, within};
use crate::protocol::{CHUNK_BYTES, DIGESTS_MAX, MESSAGE_BYTES_MAX, SayVersion};
use crate::v1;
use crate::v1::blobs_client::BlobsClient;

/// A coordinator's blobs.
#[derive(Clone)]
pub struct BlobClient {
    calls: BlobsClient<InterceptedService<Channel, SayVersion>>,
}

impl BlobClient {
    /// Over a channel.
    pub fn new(channel: Channel) -> Self {
        let calls = BlobsClient::with_interceptor(channel, SayVersion).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { calls }
    }

    /// Which of these blobs the coordinator has not.
    pub async fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, CallError> {
        let mut missing = Vec::new();
        for digests in digests.chunks(DIGESTS_MAX) {
            let digests = digests.iter().map(|digest| digest.0.to_vec()).collect();
            let reply = self.calls.missing(within(CALL_TIMEOUT, v1::Digests { digests })).await?.into_inner();
            for digest in reply.digests {
                missing.push(digest_value("Digests.digests", &digest)?);
            }
        }
        Ok(missing)
    }

    /// Stores a blob. With `synced` it survives a power cut once this returns.
    pub async fn put(&mut self, bytes: Bytes, synced: bool) -> Result<Digest, CallError> {
        let digest = Digest(blake3::hash(&bytes).into());
        self.put_as(digest, bytes, synced).await?;
        Ok(digest)
    }

    /// The same for one whose digest is known. The coordinator refuses bytes that do not have it.
    pub async fn put_as(&mut self, digest: Digest, bytes: Bytes, synced: bool) -> Result<(), CallError> {
        let first = v1::PutChunk { digest: digest.0.to_vec(), synced, data: Bytes::new() };
        let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
        let chunks = starts.map(move |start| v1::PutChunk {
            data: bytes.slice(start..bytes.len().min(start + CHUNK_BYTES)),
            ..Default::default()
        });
        self.calls.put(tokio_stream::iter(std::iter::once(first).chain(chunks))).await?;
        Ok(())
    }

    /// The same for one that comes in chunks of at most [`CHUNK_BYTES`], and may be too large for memory.
    pub async fn put_chunks(
        &mut self,
        digest: Digest,
        chunks: mpsc::Receiver<Bytes>,
        synced: bool,
    ) -> Result<(), CallError> {
        let first = v1::PutChunk { digest: digest.0.to_vec(), synced, data: Bytes::new() };
        let chunks = ReceiverStream::new(chunks).map(|data| v1::PutChunk { data, ..Default::default() });
        self.calls.put(tokio_stream::once(first).chain(chunks)).await?;
        Ok(())
    }

    /// A blob of at most `bytes_max` bytes.
    pub async fn get(&mut self, digest: Digest, bytes_max: u64) -> Result<Bytes, CallError> {
        self.get_into(digest, bytes_max, BytesMut::new()).await
    }

    /// The same into memory that may have been used before.
    pub async fn get_into(&mut self, digest: Digest, bytes_max: u64, mut bytes: BytesMut) -> Result<Bytes, CallError> {
        let mut chunks = self.chunks(digest).await?;
        let mut hasher = blake3::Hasher::new();
        bytes.clear();
        while let Some(chunk) = chunks.message().await? {
            if (bytes.len() + chunk.data.len()) as u64 > bytes_max {
                return Err(CallError::BlobTooLarge { digest, bytes_max });
            }
            hasher.update(&chunk.data);
            bytes.extend_from_slice(&chunk.data);
        }
        if hasher.finalize().as_bytes() != &digest.0 {
            return Err(CallError::BlobDamaged { digest });
        }
        Ok(bytes.freeze())
    }

    /// The same for one that may be too large for memory: its bytes as they come. Whether they are right shows when all
    /// have come. It ends early where nobody takes them any more.
    pub async fn get_chunks(
        &mut self,
        digest: Digest,
        bytes_max: u64,
        taken: &mpsc::Sender<Bytes>,
    ) -> Result<(), CallError> {
        let mut chunks = self.chunks(digest).await?;
        let (mut bytes, mut hasher) = (0, blake3::Hasher::new());
        while let Some(chunk) = chunks.message().await? {
            bytes += chunk.data.len() as u64;
            if bytes > bytes_max {
                return Err(CallError::BlobTooLarge { digest, bytes_max });
            }
            hasher.update(&chunk.data);
            if taken.send(chunk.data).await.is_err() {
                return Ok(());
            }
        }
        if hasher.finalize().as_bytes() == &digest.0 { Ok(()) } else { Err(CallError::BlobDamaged { digest }) }
    }

    /// A blob's chunks as they come, unchecked.
    pub(crate) async fn chunks(&mut self, digest: Digest) -> Result<Streaming<v1::Chunk>, CallError> {
        let request = within(CALL_TIMEOUT, v1::GetRequest { digest: digest.0.to_vec() });
        Ok(self.calls.get(request).await?.into_inner())
    }
}

/// A digest that a message carries.
pub fn digest_value(field: &'static str, bytes: &[u8]) -> Result<Digest, convoke_proto::DecodeError> {
    let wrong = |_| convoke_proto::DecodeError::Digest { field, bytes: bytes.len() };
    <[u8; 32]>::try_from(bytes).map(Digest).map_err(wrong)
}
