//! What a manifest names: the shards that a job cannot do without.
//!
//! It reads; whether they are there it does not know.

use convoke_core::{Digest, Form, Payload};
use convoke_store::blobs::{BlobError, Blobs};
use convoke_store::collector::CollectError;
use convoke_wire::program::{self, MANIFEST_BYTES_MAX, ProgramError};

/// The blobs that a manifest lists, in its order; `None` if the manifest is not there.
pub(crate) fn entries(blobs: &dyn Blobs, manifest: &Payload) -> Result<Option<Vec<Digest>>, CollectError> {
    let bytes = match manifest.form() {
        Form::Inline(bytes) => return read(bytes).map(Some),
        Form::Blob(digest) => blobs.get(*digest, MANIFEST_BYTES_MAX)?,
    };
    bytes.map(|bytes| read(&bytes)).transpose()
}

/// How many samples each of the shards has that a manifest lists; none where it is not one, or not there.
pub(crate) fn samples(blobs: &dyn Blobs, manifest: &Payload) -> Result<Vec<u64>, BlobError> {
    let stored;
    let bytes = match manifest.form() {
        Form::Inline(bytes) => &bytes[..],
        Form::Blob(digest) => {
            stored = blobs.get(*digest, MANIFEST_BYTES_MAX)?.unwrap_or_default();
            &stored[..]
        }
    };
    let manifest: Result<program::Manifest, _> = program::read_bytes("manifest", bytes);
    Ok(manifest.map(|manifest| manifest.entries.iter().map(|entry| entry.samples).collect()).unwrap_or_default())
}

fn read(bytes: &[u8]) -> Result<Vec<Digest>, CollectError> {
    let unreadable = |error: ProgramError| CollectError::Manifest(Box::new(error));
    let manifest: program::Manifest = program::read_bytes("manifest", bytes).map_err(unreadable)?;
    let count = u32::try_from(manifest.entries.len()).unwrap_or(u32::MAX);
    (0..count).map(|index| manifest.blob(index).map_err(unreadable)).collect()
}
