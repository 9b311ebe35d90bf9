//! The data sets that tasks were given last, read and checked: in the next round the same worker mostly gets the same shard.
//!
//! What is done with them it does not know.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use convoke_core::Digest;
use convoke_ml::{Dataset, DatasetError};

use super::input::locked;

/// The most bytes that are kept, by the size of the blobs: beside these, which the cache has, that is as much again.
const BYTES_MAX: usize = 256 << 20;

/// Data sets by their blobs, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Shards(Mutex<VecDeque<Kept>>);

struct Kept {
    digest: Digest,
    bytes: usize,
    dataset: Arc<Dataset>,
}

impl Shards {
    /// The data set that a blob holds. Whether a model takes it is not checked.
    pub(super) fn read(&self, digest: Digest, bytes: &Bytes) -> Result<Arc<Dataset>, DatasetError> {
        if let Some(dataset) = self.look_up(digest) {
            return Ok(dataset);
        }
        // Not under the lock: other threads read theirs meanwhile.
        let dataset = Arc::new(Dataset::from_safetensors(bytes, None)?);
        if bytes.len() <= BYTES_MAX {
            let mut kept = locked(&self.0);
            kept.push_back(Kept { digest, bytes: bytes.len(), dataset: dataset.clone() });
            while kept.iter().map(|kept| kept.bytes).sum::<usize>() > BYTES_MAX {
                kept.pop_front();
            }
        }
        Ok(dataset)
    }

    fn look_up(&self, digest: Digest) -> Option<Arc<Dataset>> {
        let mut kept = locked(&self.0);
        let place = kept.iter().position(|kept| kept.digest == digest)?;
        let found = kept.remove(place)?;
        let dataset = found.dataset.clone();
        kept.push_back(found);
        Some(dataset)
    }
}

#[cfg(test)]
mod tests {
    use convoke_store::digest_of;

    use super::*;

    #[test]
    fn a_shard_is_read_once() {
        let blob = |rows: u8| {
            let dataset = Dataset::new(vec![f32::from(rows); rows.into()], vec![0; rows.into()], 1).unwrap();
            Bytes::from(dataset.to_safetensors())
        };
        let shards = Shards::default();
        let read = |bytes: &Bytes| shards.read(digest_of(bytes), bytes).unwrap();
        let first = read(&blob(3));
        assert_eq!(read(&blob(5)).samples(), 5);
        assert!(Arc::ptr_eq(&read(&blob(3)), &first));
        let spoiled = Bytes::from_static(b"no data set");
        assert!(shards.read(digest_of(&spoiled), &spoiled).is_err());
        assert_eq!(locked(&shards.0).len(), 2);
    }
}
