//! What a manifest names: the shards that a job cannot do without.
//!
//! It reads; whether they are there it does not know.

use convoke_core::{Digest, Form, Payload};
use convoke_store::blobs::Blobs;
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

fn read(bytes: &[u8]) -> Result<Vec<Digest>, CollectError> {
    let unreadable = |error: ProgramError| CollectError::Manifest(Box::new(error));
    let manifest: program::Manifest = program::read_bytes("manifest", bytes).map_err(unreadable)?;
    let count = u32::try_from(manifest.entries.len()).unwrap_or(u32::MAX);
    (0..count).map(|index| manifest.blob(index).map_err(unreadable)).collect()
}
