//! What a manifest names: the shards that a job cannot do without.
//!
//! It reads; whether they are there it does not know.

use convoke_core::{Digest, Form, Payload};
use convoke_store::blobs::{BlobError, Blobs};
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, ProgramError};

/// A manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// The blobs that a manifest lists, in its order; `None` if the manifest is not there.
pub(crate) fn entries(blobs: &dyn Blobs, manifest: &Payload) -> Result<Option<Vec<Digest>>, ManifestError> {
    let stored;
    let bytes = match manifest.form() {
        Form::Inline(bytes) => bytes,
        Form::Blob(digest) => match blobs.get(*digest, MANIFEST_BYTES_MAX)? {
            None => return Ok(None),
            Some(bytes) => {
                stored = bytes;
                &stored[..]
            }
        },
    };
    let manifest: program::Manifest = program::read_bytes("manifest", bytes)?;
    let count = u32::try_from(manifest.entries.len()).unwrap_or(u32::MAX);
    Ok(Some((0..count).map(|index| manifest.blob(index)).collect::<Result<_, _>>()?))
}
