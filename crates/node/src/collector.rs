//! The collector: removes blobs that nothing on record needs and nobody holds, on a thread of its own.
//!
//! What the record has released it looks at in the next turn; all that is there, from time to time. The decider says
//! what the roots are, and decides that a job is forgotten; here it is only found that one is old, or room short.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_core::coordinator::Input;
use convoke_core::coordinator::roots::{JobRoots, Roots};
use convoke_core::{Digest, JobId, Millis, Payload};
use convoke_store::blobs::BlobError;
use tokio::sync::{mpsc, oneshot};

use crate::decider::Command;
use crate::history::{History, HistoryError};
use crate::holds::Holds;
use crate::manifest::{self, ManifestError};
use crate::trouble::Trouble;

/// For how long a job is remembered after its end.
pub const FINISHED_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many bytes a job's versions may have beside the last and the best.
const VERSIONS_BYTES_MAX: u64 = 256 << 20;
/// How many blobs are removed at a time: as long, whoever is to hold one waits.
const REMOVED_MAX: usize = 64;
/// How many blobs are listed at a time.
const PAGE: usize = 256;
/// How many pages are listed in one turn.
const PAGES_MAX: usize = 64;
/// How many released blobs are remembered. Those beyond are found when all blobs are looked through.
const RELEASED_MAX: usize = 1 << 18;

/// Removes what may go.
pub(crate) struct Collector {
    holds: Arc<Holds>,
    commands: mpsc::Sender<Command>,
    history: Arc<History>,
    /// What the record has released in this term, and is there still.
    released: HashSet<Digest>,
    /// Whether some of it may go soon.
    pending: bool,
    /// The entries of live jobs' manifests.
    manifests: HashMap<Digest, Arc<[Digest]>>,
    /// The sizes of versions.
    sizes: HashMap<Digest, u64>,
    sweep: Option<Sweep>,
    next_sweep_at: Millis,
    trouble: Trouble,
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

/// Nothing is removed for now.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("a manifest cannot be read: {0}")]
    Manifest(#[from] ManifestError),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] HistoryError),
    #[error("the coordinator ends")]
    Ends,
}

impl Collector {
    pub(crate) fn new(holds: Arc<Holds>, commands: mpsc::Sender<Command>, history: Arc<History>) -> Self {
        // Where there is a limit, it matters at once how far it is.
        let first = if holds.bytes_max().is_some() { 0 } else { sweep_ms(&holds) };
        Self {
            next_sweep_at: holds.now() + first,
            holds,
            commands,
            history,
            released: HashSet::new(),
            pending: false,
            manifests: HashMap::new(),
            sizes: HashMap::new(),
            sweep: None,
            trouble: Trouble::default(),
        }
    }

    /// Collects until the other end of `stay` is dropped.
    pub(crate) fn run(mut self, stay: &Receiver<()>) {
        let turn = Duration::from_millis(self.holds.times().turn_ms);
        while stay.recv_timeout(turn) == Err(RecvTimeoutError::Timeout) {
            match self.turn() {
                Ok(()) => drop(self.trouble.ends()),
                Err(CollectError::Ends) => return,
                Err(error) => {
                    let reason = error.to_string();
                    if self.trouble.is_news(&reason, std::time::Instant::now()) {
                        tracing::warn!("blobs that nobody needs stay for now: {reason}");
                    }
                    self.pending = true;
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), CollectError> {
        let (changed, released) = self.holds.take_released();
        let room = RELEASED_MAX - self.released.len();
        self.released.extend(released.into_iter().take(room));
        self.pending |= changed;
        if self.sweep.is_none() && (self.holds.now() >= self.next_sweep_at || self.holds.has_refused()) {
            self.sweep = Some(Sweep::default());
        }
        if !self.pending && self.sweep.is_none() {
            return Ok(());
        }
        self.holds.tidy();
        let needed = self.needed()?;
        let mut removed = (0, 0);
        self.pending = false;
        self.collect_released(&needed, &mut removed)?;
        self.go_on_sweeping(&needed, &mut removed)?;
        if removed.0 > 0 {
            tracing::debug!(blobs = removed.0, bytes = removed.1, "blobs removed that nobody needs");
        }
        Ok(())
    }

    /// Removes what was released, except what is needed or still held.
    fn collect_released(&mut self, needed: &Needed, removed: &mut (usize, u64)) -> Result<(), CollectError> {
        let waiting: Vec<_> = self.released.iter().filter(|digest| !needed.digests.contains(digest)).copied().collect();
        for digests in waiting.chunks(REMOVED_MAX) {
            let removal = self.holds.remove(digests, true, needed.at, |digest| needed.digests.contains(digest))?;
            for digest in &removal.gone {
                self.released.remove(digest);
            }
            self.pending |= removal.gone.len() < digests.len();
            *removed = (removed.0 + removal.gone.len(), removed.1 + removal.bytes);
            if removal.late {
                break;
            }
        }
        Ok(())
    }

    /// Looks through some more of all blobs.
    fn go_on_sweeping(&mut self, needed: &Needed, removed: &mut (usize, u64)) -> Result<(), CollectError> {
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
                *removed = (removed.0 + removal.gone.len(), removed.1 + removal.bytes);
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
                return self.forget(needed, sweep.needed_bytes);
            }
        }
        self.sweep = Some(sweep);
        Ok(())
    }

    /// Has jobs forgotten that ended long ago, and as many more as there is too little room for, the oldest first.
    fn forget(&mut self, needed: &Needed, needed_bytes: u64) -> Result<(), CollectError> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let jobs = self.history.jobs()?;
        let is_old = |ended: u64| ended.saturating_add(FINISHED_AGE_MAX.as_millis() as u64) < now_ms;
        let old = jobs.iter().filter(|job| job.finished_wall_ms.is_some_and(is_old));
        let mut forgotten: Vec<_> = old.map(|job| job.job).collect();
        let mut excess = self.excess(needed_bytes);
        for (job, digests) in &needed.finished {
            if excess == 0 {
                break;
            }
            for digest in digests {
                excess = excess.saturating_sub(self.size(*digest)?);
            }
            forgotten.push(*job);
        }
        if !forgotten.is_empty() {
            self.next_sweep_at = self.holds.now();
        }
        for job in forgotten {
            let forget = Command::Input(Input::Forget { job });
            self.commands.blocking_send(forget).map_err(|_| CollectError::Ends)?;
        }
        Ok(())
    }

    /// How many of the bytes that are needed have to go, for there to be as much room as was asked for.
    fn excess(&self, needed_bytes: u64) -> u64 {
        let refused = self.holds.take_refused();
        let Some(bytes_max) = self.holds.bytes_max() else { return 0 };
        // For what never fits nobody makes room.
        let room = if refused <= bytes_max { bytes_max - refused } else { bytes_max };
        needed_bytes.saturating_sub(room)
    }

    /// Asks what is needed, and finds out what that means in blobs.
    fn needed(&mut self) -> Result<Needed, CollectError> {
        let at = self.holds.now();
        let (reply, answer) = oneshot::channel();
        self.commands.blocking_send(Command::Roots { reply }).map_err(|_| CollectError::Ends)?;
        let Roots { snapshot, jobs } = answer.blocking_recv().map_err(|_| CollectError::Ends)?;
        let mut needed = Needed { at, digests: snapshot.into_iter().collect(), finished: Vec::new() };
        let (mut manifests, mut sizes) = (HashMap::new(), HashMap::new());
        for JobRoots { job, finished, mut blobs, manifests: listed, versions } in jobs {
            let mut room = VERSIONS_BYTES_MAX;
            for digest in versions {
                let bytes = self.size(digest)?;
                sizes.insert(digest, bytes);
                let Some(left) = room.checked_sub(bytes) else { break };
                room = left;
                blobs.push(digest);
            }
            for manifest in listed {
                let entries = self.entries(&manifest)?;
                needed.digests.extend(entries.iter());
                manifest.as_blob().and_then(|digest| manifests.insert(digest, entries));
            }
            needed.digests.extend(&blobs);
            if finished {
                needed.finished.push((job, blobs));
            }
        }
        (self.manifests, self.sizes) = (manifests, sizes);
        Ok(needed)
    }

    fn entries(&self, manifest: &Payload) -> Result<Arc<[Digest]>, CollectError> {
        if let Some(entries) = manifest.as_blob().and_then(|digest| self.manifests.get(&digest)) {
            return Ok(entries.clone());
        }
        // One that is not there fails its job, and names nothing that could be read.
        Ok(manifest::entries(self.holds.blobs(), manifest)?.unwrap_or_default().into())
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

#[cfg(test)]
mod tests;

/// Where there is a limit, how far it is has to be known better.
fn sweep_ms(holds: &Holds) -> Millis {
    let sweep_ms = holds.times().sweep_ms;
    if holds.bytes_max().is_some() { sweep_ms / 10 } else { sweep_ms }
}
