//! A blob that may be too large for memory, chunk by chunk, over lost connections.
//!
//! What arrives is checked against the digest; where it goes is the caller's.

use std::time::Instant;

use bytes::Bytes;
use convoke_core::Digest;
use tonic::Streaming;

use crate::v1;
use crate::{CallError, Client};

/// A blob on its way: [`Client::blob_reader`].
pub struct BlobReader {
    client: Client,
    digest: Digest,
    bytes_max: u64,
    chunks: Option<Streaming<v1::Chunk>>,
    /// How many bytes are handed out, and their hash.
    read: u64,
    hasher: blake3::Hasher,
    /// How many of these the connection has yet to say again.
    known: u64,
    /// Since when the coordinator is looked for.
    lost_at: Option<Instant>,
    is_through: bool,
}

impl BlobReader {
    pub(crate) fn new(client: Client, digest: Digest, bytes_max: u64) -> Self {
        let hasher = blake3::Hasher::new();
        Self { client, digest, bytes_max, chunks: None, read: 0, hasher, known: 0, lost_at: None, is_through: false }
    }

    /// The next bytes; `None` at the end. Whether all are right shows there: until then, what they are for is not to be done.
    /// Over a lost connection it goes on where it was, over the next. Nothing is missed where this is dropped and asked again.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        while !self.is_through {
            let chunk = match &mut self.chunks {
                Some(chunks) => chunks.message().await.map_err(CallError::from),
                None => match self.client.blobs().chunks(self.digest).await {
                    Ok(chunks) => {
                        (self.chunks, self.known) = (Some(chunks), self.read);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match chunk {
                Ok(Some(chunk)) => {
                    if let Some(bytes) = self.take(chunk.data)? {
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => {
                    self.is_through = true;
                    if self.hasher.finalize().as_bytes() != &self.digest.0 {
                        return Err(CallError::BlobDamaged { digest: self.digest });
                    }
                }
                Err(error @ CallError::Lost(_)) => {
                    self.chunks = None;
                    let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
                    self.client.reconnect(error, lost_at).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What of a chunk is new.
    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, CallError> {
        let known = self.known.min(chunk.len() as u64);
        self.known -= known;
        let bytes = chunk.split_off(known as usize);
        if bytes.is_empty() {
            return Ok(None);
        }
        self.read += bytes.len() as u64;
        if self.read > self.bytes_max {
            return Err(CallError::BlobTooLarge { digest: self.digest, bytes_max: self.bytes_max });
        }
        self.hasher.update(&bytes);
        self.lost_at = None;
        Ok(Some(bytes))
    }
}
