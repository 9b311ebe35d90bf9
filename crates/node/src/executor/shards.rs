//! The data sets that tasks were given last, read and checked: in the next round the same worker mostly gets the same shard.
//!
//! What is done with them it does not know.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use convoke_core::Digest;
use convoke_ml::{Dataset, DatasetError};

use super::input::locked;

/// The most bytes that are kept, by the size of the blobs; less where the cache of these is smaller.
const BYTES_MAX: u64 = 256 << 20;
/// The most data sets that are kept.
const COUNT_MAX: usize = 64;

/// Data sets by their blobs, the one that was used last at the end.
pub(super) struct Shards {
    kept: Mutex<VecDeque<Kept>>,
    bytes_max: u64,
}

struct Kept {
    digest: Digest,
    bytes: u64,
    dataset: Arc<Dataset>,
}

impl Shards {
    /// Beside a cache of so many bytes.
    pub(super) fn new(cache_bytes: u64) -> Self {
        Self { kept: Mutex::default(), bytes_max: cache_bytes.min(BYTES_MAX) }
    }

    /// The data set that a blob holds. Whether a model takes it is not checked.
    pub(super) fn read(&self, digest: Digest, bytes: &Bytes) -> Result<Arc<Dataset>, DatasetError> {
        if let Some(dataset) = look_up(&mut locked(&self.kept), digest) {
            return Ok(dataset);
        }
        // Not under the lock: other threads read theirs meanwhile.
        let dataset = Arc::new(Dataset::from_safetensors(bytes, None)?);
        let mut kept = locked(&self.kept);
        if let Some(dataset) = look_up(&mut kept, digest) {
            return Ok(dataset);
        }
        kept.push_back(Kept { digest, bytes: bytes.len() as u64, dataset: dataset.clone() });
        while kept.len() > COUNT_MAX || kept.iter().map(|kept| kept.bytes).sum::<u64>() > self.bytes_max {
            kept.pop_front();
        }
        Ok(dataset)
    }
}

fn look_up(kept: &mut VecDeque<Kept>, digest: Digest) -> Option<Arc<Dataset>> {
    let place = kept.iter().position(|kept| kept.digest == digest)?;
    let found = kept.remove(place)?;
    let dataset = found.dataset.clone();
    kept.push_back(found);
    Some(dataset)
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
        let shards = Shards::new(1 << 20);
        let read = |bytes: &Bytes| shards.read(digest_of(bytes), bytes).unwrap();
        let first = read(&blob(3));
        assert_eq!(read(&blob(5)).samples(), 5);
        assert!(Arc::ptr_eq(&read(&blob(3)), &first));
        let spoiled = Bytes::from_static(b"no data set");
        assert!(shards.read(digest_of(&spoiled), &spoiled).is_err());
        assert_eq!(locked(&shards.kept).len(), 2);
        (0..2 * COUNT_MAX as u8).for_each(|rows| drop(read(&blob(rows + 1))));
        assert_eq!(locked(&shards.kept).len(), COUNT_MAX);
        let small = Shards::new(100);
        small.read(digest_of(&blob(3)), &blob(3)).unwrap();
        assert_eq!(locked(&small.kept).len(), 0);
    }
}
