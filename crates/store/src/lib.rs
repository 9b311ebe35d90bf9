//! Remembers: the journal of decisions, the blobs, and the directory that holds both.
//!
//! Two small traits, [`Journal`](journal::Journal) and [`Blobs`](blobs::Blobs), each with an implementation on disk and
//! one in memory. Everything here blocks and starts no thread; whoever calls it chooses on which. The
//! crate stores events without knowing what they mean.

mod disk;
pub mod files;
mod sqlite;
pub mod journal;
pub mod blobs;
pub mod snapshots;
pub mod holds;
pub mod collector;
pub mod state;

use convoke_core::Digest;

pub use disk::DiskError;
pub use state::{StateDir, StateError, StateLook};

/// The digest that names these bytes: a blob's name, a frame's hash.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
