//! The collector: finds the blobs that nothing on record needs and nobody holds, and removes them.
//!
//! What the record has released it looks at in the next turn; all that is there, from time to time. It is told what the
//! roots are, and how a list is read. Whose thread it runs on, and which jobs are old, it does not know.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use convoke_core::coordinator::roots::{JobRoots, List, Roots};
use convoke_core::sabotage::{self, Bug};
use convoke_core::{Digest, JobId, JobSpec, Millis, Payload};

use crate::blobs::{BlobError, Blobs};
use crate::holds::Holds;

/// How many bytes a job's versions may have beside the last and the best, unless something else is tried out.
pub const VERSIONS_BYTES_MAX: u64 = 256 << 20;
/// How many blobs are removed at a time: as long, whoever is to hold one waits.
const REMOVED_MAX: usize = 64;
/// How many blobs are listed at a time.
const PAGE: usize = 256;
/// How many pages are listed in one turn.
const PAGES_MAX: usize = 64;
/// How many released blobs are remembered. Those beyond are found when all blobs are looked through.
const RELEASED_MAX: usize = 1 << 18;

/// Reads what a list names, in its order; `None` if the list is not there.
pub type Entries = dyn Fn(&dyn Blobs, &List) -> Result<Option<Vec<Digest>>, CollectError> + Send;

/// Removes what may go.
pub struct Collector {
    holds: Arc<Holds>,
    read_entries: Box<Entries>,
    versions_bytes_max: u64,
    /// What the record has released in this term, and is there still.
    released: HashSet<Digest>,
    /// Whether some of it may go soon.
    pending: bool,
    /// What lists name that are blobs.
    lists: HashMap<List, Arc<[Digest]>>,
    /// The sizes of versions.
    sizes: HashMap<Digest, u64>,
    sweep: Option<Sweep>,
    next_sweep_at: Millis,
}

/// A look through all blobs, as far as it has come.
#[derive(Default)]
struct Sweep {
    after: Option<Digest>,
    /// What is there, in bytes, and how much of that is needed.
    bytes: u64,
    needed_bytes: u64,
}

/// What is needed.
struct Needed {
    /// When that was asked.
    at: Millis,
    digests: HashSet<Digest>,
    /// Jobs that have ended, in the order of their ends, with what they alone may need.
    finished: Vec<(JobId, Vec<Digest>)>,
}

/// What a turn did.
#[derive(Debug, Default)]
pub struct Collected {
    /// How many blobs are gone.
    pub blobs: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// Once all blobs were looked through: the jobs to forget for there to be room, the oldest first.
    pub swept: Option<Vec<JobId>>,
}

/// Nothing is removed for now.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The blobs cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A list is none.
    #[error("what names further blobs cannot be read: {0}")]
    List(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Collector {
    /// Over what is held. A job's versions beside the last and the best may have so many bytes.
    pub fn new(holds: Arc<Holds>, read_entries: Box<Entries>, versions_bytes_max: u64) -> Self {
        // Where there is a limit, it matters at once how far it is.
        let first = if holds.bytes_max().is_some() { 0 } else { sweep_ms(&holds) };
        Self {
            next_sweep_at: holds.now() + first,
            holds,
            read_entries,
            versions_bytes_max,
            released: HashSet::new(),
            pending: false,
            lists: HashMap::new(),
            sizes: HashMap::new(),
            sweep: None,
        }
    }

    /// Whether there is something to look at, so that the roots are to be asked for.
    pub fn is_due(&mut self) -> bool {
        let (changed, released) = self.holds.take_released();
        let room = RELEASED_MAX - self.released.len();
        self.released.extend(released.into_iter().take(room));
        self.pending |= changed;
        if self.sweep.is_none() && (self.holds.now() >= self.next_sweep_at || self.holds.has_refused()) {
            self.sweep = Some(Sweep::default());
        }
        self.pending || self.sweep.is_some()
    }

    /// Removes what may go, by the roots that were asked for at `at`. What fails is tried again in the next turn.
    pub fn turn(&mut self, at: Millis, roots: Roots) -> Result<Collected, CollectError> {
        self.pending = false;
        let collected = self.collect(at, roots);
        self.pending |= collected.is_err();
        collected
    }

    /// Looks through all blobs at once, for what jobs needed that are being forgotten.
    pub fn sweep_soon(&mut self) {
        self.next_sweep_at = self.holds.now();
    }

    fn collect(&mut self, at: Millis, roots: Roots) -> Result<Collected, CollectError> {
        self.holds.tidy();
        let needed = self.needed(at, roots)?;
        let mut collected = Collected::default();
        self.collect_released(&needed, &mut collected)?;
        self.go_on_sweeping(&needed, &mut collected)?;
        Ok(collected)
    }

    /// Removes what was released, except what is needed or still held.
    fn collect_released(&mut self, needed: &Needed, collected: &mut Collected) -> Result<(), CollectError> {
        let mut waiting: Vec<_> =
            self.released.iter().filter(|digest| !needed.digests.contains(digest)).copied().collect();
        // Not as a table happens to have them: a simulated run is to be the same each time.
        waiting.sort_unstable();
        for digests in waiting.chunks(REMOVED_MAX) {
            let removal = self.holds.remove(digests, true, needed.at, |digest| needed.digests.contains(digest))?;
            for digest in &removal.gone {
                self.released.remove(digest);
            }
            self.pending |= removal.gone.len() < digests.len();
            collected.add(removal.gone.len(), removal.bytes);
            if removal.late {
                break;
            }
        }
        Ok(())
    }

    /// Looks through some more of all blobs.
    fn go_on_sweeping(&mut self, needed: &Needed, collected: &mut Collected) -> Result<(), CollectError> {
        let Some(mut sweep) = self.sweep.take() else { return Ok(()) };
        for _ in 0..PAGES_MAX {
            let page = self.holds.blobs().list(sweep.after, PAGE)?;
            let others: Vec<_> =
                page.iter().map(|(digest, _)| *digest).filter(|digest| !needed.digests.contains(digest)).collect();
            let mut gone = HashSet::new();
            for digests in others.chunks(REMOVED_MAX) {
                let removal = self.holds.remove(digests, false, needed.at, |digest| needed.digests.contains(digest))?;
                if removal.late {
                    // The page is looked at again, with new roots.
                    self.sweep = Some(sweep);
                    return Ok(());
                }
                collected.add(removal.gone.len(), removal.bytes);
                gone.extend(removal.gone);
            }
            let bytes = |keeps: &dyn Fn(&Digest) -> bool| -> u64 {
                page.iter().filter(|(digest, _)| keeps(digest)).map(|(_, bytes)| bytes).sum()
            };
            sweep.bytes += bytes(&|digest| !gone.contains(digest));
            sweep.needed_bytes += bytes(&|digest| needed.digests.contains(digest));
            sweep.after = page.last().map(|(digest, _)| *digest).or(sweep.after);
            if page.len() < PAGE {
                self.holds.measured(sweep.bytes);
                self.next_sweep_at = self.holds.now() + sweep_ms(&self.holds);
                collected.swept = Some(self.for_room(needed, sweep.needed_bytes)?);
                return Ok(());
            }
        }
        self.sweep = Some(sweep);
        Ok(())
    }

    /// As many jobs that have ended as there is too little room for, the oldest first; none where all of them would not make
    /// enough.
    fn for_room(&self, needed: &Needed, needed_bytes: u64) -> Result<Vec<JobId>, CollectError> {
        let mut excess = self.excess(needed_bytes);
        let mut jobs = Vec::new();
        for (job, digests) in &needed.finished {
            if excess == 0 {
                break;
            }
            for digest in digests {
                excess = excess.saturating_sub(self.size(*digest)?);
            }
            jobs.push(*job);
        }
        Ok(if excess == 0 { jobs } else { Vec::new() })
    }

    /// How many of the bytes that are needed have to go, for there to be as much room as was asked for.
    fn excess(&self, needed_bytes: u64) -> u64 {
        let refused = self.holds.take_refused();
        let Some(bytes_max) = self.holds.bytes_max() else { return 0 };
        // For what never fits nobody makes room.
        let room = if refused <= bytes_max { bytes_max - refused } else { bytes_max };
        needed_bytes.saturating_sub(room)
    }

    /// Finds out what the roots mean in blobs.
    fn needed(&mut self, at: Millis, Roots { snapshot, jobs }: Roots) -> Result<Needed, CollectError> {
        let mut needed = Needed { at, digests: snapshot.into_iter().collect(), finished: Vec::new() };
        let (mut known, mut sizes) = (HashMap::new(), HashMap::new());
        for JobRoots { job, finished, mut blobs, lists, versions } in jobs {
            let mut room = self.versions_bytes_max;
            for digest in versions {
                let bytes = self.size(digest)?;
                sizes.insert(digest, bytes);
                let Some(left) = room.checked_sub(bytes) else { break };
                room = left;
                blobs.push(digest);
            }
            for list in lists.into_iter().filter(|_| !sabotage::is(Bug::ForgetShards)) {
                let entries = self.entries(&list)?;
                needed.digests.extend(entries.iter());
                // What a finished job brought is its own, and gone if it is forgotten.
                if finished {
                    blobs.extend(entries.iter());
                }
                if list.payload().as_blob().is_some() {
                    blobs.extend(list.payload().as_blob());
                    known.insert(list, entries);
                }
            }
            needed.digests.extend(&blobs);
            if finished {
                needed.finished.push((job, blobs));
            }
        }
        (self.lists, self.sizes) = (known, sizes);
        Ok(needed)
    }

    fn entries(&self, list: &List) -> Result<Arc<[Digest]>, CollectError> {
        if let Some(entries) = self.lists.get(list) {
            return Ok(entries.clone());
        }
        // One that is not there, or is none, fails its job, and names nothing that could be read: the rest goes on.
        match (self.read_entries)(self.holds.blobs(), list) {
            Err(CollectError::List(_) | CollectError::Blob(BlobError::Damaged { .. } | BlobError::TooLarge { .. })) => {
                Ok(Arc::new([]))
            }
            entries => Ok(entries?.unwrap_or_default().into()),
        }
    }

    /// How many bytes a blob has; none if it is not there.
    fn size(&self, digest: Digest) -> Result<u64, CollectError> {
        if let Some(bytes) = self.sizes.get(&digest) {
            return Ok(*bytes);
        }
        match self.holds.blobs().open(digest) {
            Ok(reader) => Ok(reader.map_or(0, |reader| reader.len())),
            Err(BlobError::Damaged { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Collected {
    fn add(&mut self, blobs: usize, bytes: u64) {
        self.blobs += blobs;
        self.bytes += bytes;
    }
}

/// Makes the blobs durable that a job starts from, those that its lists name among them, and says which are not there: at
/// most `missing_max`, and none of a list that is missing itself. From its submission on the job is what keeps them.
pub fn unpinned(
    blobs: &dyn Blobs,
    spec: &JobSpec,
    read_entries: &Entries,
    missing_max: usize,
) -> Result<Vec<Digest>, CollectError> {
    let mut named: std::collections::BTreeSet<Digest> = spec.payloads().filter_map(Payload::as_blob).collect();
    for list in spec.lists() {
        named.extend(read_entries(blobs, &list)?.unwrap_or_default());
    }
    let mut missing = Vec::new();
    for digest in named {
        if !blobs.sync(digest)? {
            missing.push(digest);
        }
        if missing.len() == missing_max {
            break;
        }
    }
    Ok(missing)
}

/// Where there is a limit, how far it is has to be known better.
fn sweep_ms(holds: &Holds) -> Millis {
    let sweep_ms = holds.times().sweep_ms;
    if holds.bytes_max().is_some() { sweep_ms / 10 } else { sweep_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Durability, MemoryBlobs};
    use crate::holds::Times;

    /// The jobs to forget, where a live one and a finished one need so many bytes of a hundred.
    fn for_room(live_bytes: usize, finished_bytes: usize) -> Vec<JobId> {
        let blobs = MemoryBlobs::new();
        let needs = |job, finished, bytes| {
            let blob = blobs.put(&vec![job as u8; bytes], Durability::Synced).unwrap();
            let (job, blobs) = (JobId::from_bits(job), vec![blob]);
            JobRoots { job, finished, blobs, lists: Vec::new(), versions: Vec::new() }
        };
        let jobs = vec![needs(1, false, live_bytes), needs(2, true, finished_bytes)];
        let holds = Holds::with_clock(Arc::new(blobs.clone()), Some(100), Times::default(), Box::new(|| 0));
        let mut collector = Collector::new(holds, Box::new(|_, _| Ok(None)), 0);
        assert!(collector.is_due());
        collector.turn(0, Roots { snapshot: None, jobs }).unwrap().swept.unwrap()
    }

    #[test]
    fn no_job_is_forgotten_in_vain() {
        assert_eq!(for_room(90, 10), []);
        assert_eq!(for_room(90, 20), [JobId::from_bits(2)]);
        assert_eq!(for_room(100, 20), [JobId::from_bits(2)]);
        assert_eq!(for_room(101, 20), []);
    }
}
