//! Holds: for how long a blob stays though nothing on record names it, so that no collection comes between two steps.
//!
//! A client that looks for a blob, puts or syncs it holds it for an hour, which begins before the blob is looked at; so
//! does the work that puts one. What becomes a root was held at that moment, and stays held for the grace after it;
//! roots are believed for less than the grace. So nothing goes that became a root after the roots were asked for. Which
//! blobs are roots it does not know.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use convoke_core::sabotage::{self, Bug};
use convoke_core::{Digest, Event, Millis};

use crate::blobs::{BlobError, BlobReader, BlobWriter, Blobs, Durability};

/// How many holds there may be. When there is no room for another, everything is held.
const HOLDS_MAX: usize = 1 << 18;
/// How many digests may wait for the collector. Those beyond are found when all blobs are looked through.
const RELEASED_MAX: usize = 1 << 18;

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A hold.
    pub hold_ms: Millis,
    /// What a hold still lasts once the record says what becomes of the blob.
    pub grace_ms: Millis,
    /// Between two turns of the collector.
    pub turn_ms: Millis,
    /// Between two looks through all blobs.
    pub sweep_ms: Millis,
}

impl Default for Times {
    fn default() -> Self {
        Self { hold_ms: 3_600_000, grace_ms: 2_000, turn_ms: 1_000, sweep_ms: 600_000 }
    }
}

/// What is held, over the blobs.
pub struct Holds {
    blobs: Arc<dyn Blobs>,
    times: Times,
    clock: Box<dyn Fn() -> Millis + Send + Sync>,
    table: Mutex<Table>,
    released: Mutex<Vec<Digest>>,
    /// Whether the record changed since the collector last looked.
    changed: AtomicBool,
    level: Level,
}

struct Table {
    holds: HashMap<Digest, Hold>,
    /// Until then everything is held, for what clients did before this coordinator came; except what was released.
    begun_until: Millis,
    /// Until then everything is held: a hold found no room.
    crowded_until: Millis,
}

/// When a hold ends: a client's by itself alone, one of the work's also when the blob is released.
#[derive(Clone, Copy, Default)]
struct Hold {
    upload_until: Millis,
    work_until: Millis,
}

/// How many bytes the blobs have, as far as it is known, and may have.
struct Level {
    bytes_max: Option<u64>,
    measured: AtomicU64,
    uploaded: AtomicU64,
    /// The size, as far as it came, of the largest upload that was refused since that was last asked.
    refused: AtomicU64,
}

/// On whose behalf blobs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Upload,
    Work,
}

/// What a removal did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// What is gone.
    pub gone: Vec<Digest>,
    /// How many bytes that were.
    pub bytes: u64,
    /// Whether the roots were too old to remove anything.
    pub late: bool,
}

impl Holds {
    /// Over blobs; uploads beyond so many bytes are refused.
    pub fn new(blobs: Arc<dyn Blobs>, bytes_max: Option<u64>, times: Times) -> Arc<Self> {
        let began = Instant::now();
        let clock = move || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self::with_clock(blobs, bytes_max, times, Box::new(clock))
    }

    /// With another clock than the system's.
    pub fn with_clock(
        blobs: Arc<dyn Blobs>,
        bytes_max: Option<u64>,
        times: Times,
        clock: Box<dyn Fn() -> Millis + Send + Sync>,
    ) -> Arc<Self> {
        let begun_until = clock() + times.hold_ms;
        let table = Table { holds: HashMap::new(), begun_until, crowded_until: 0 };
        let zero = || AtomicU64::new(0);
        let level = Level { bytes_max, measured: zero(), uploaded: zero(), refused: zero() };
        let (released, changed) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { blobs, times, clock, table: Mutex::new(table), released, changed, level })
    }

    /// The blobs, for clients: what they look for and put is held whatever becomes of the same blob elsewhere.
    pub fn for_uploads(self: &Arc<Self>) -> Arc<dyn Blobs> {
        Arc::new(Held { holds: self.clone(), by: By::Upload })
    }

    /// The blobs, for sessions and combines: their holds end soon after the record says what becomes of a blob.
    pub fn for_work(self: &Arc<Self>) -> Arc<dyn Blobs> {
        Arc::new(Held { holds: self.clone(), by: By::Work })
    }

    /// How long things last.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The blobs, for one that holds nothing.
    pub fn blobs(&self) -> &dyn Blobs {
        &*self.blobs
    }

    /// The time.
    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    /// An event is durable. From here on the roots, not the work's holds, say whether its blob stays.
    pub fn hear(&self, event: &Event) {
        let result = match event {
            Event::TaskDone { record, .. } => record.completion.result.as_blob(),
            Event::StageCombined { combined, .. } => combined.result.as_blob(),
            Event::SnapshotTaken { state, .. } => Some(*state),
            Event::JobFinished { .. } | Event::JobForgotten { .. } | Event::ResultsLost { .. } => None,
            _ => return,
        };
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        if released.len() < RELEASED_MAX {
            released.extend(result);
        }
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether the record changed since the last time, and the blobs that it released: their holds end after the grace.
    pub fn take_released(&self) -> (bool, Vec<Digest>) {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        let released = std::mem::take(&mut *self.released.lock().unwrap_or_else(PoisonError::into_inner));
        let mut table = self.table();
        let until = self.now() + self.times.grace_ms;
        for digest in &released {
            table.set(*digest, until, |hold| hold.work_until = until);
        }
        (changed, released)
    }

    /// Removes those of the digests that are neither held nor roots. `roots_at` is when the roots were asked for;
    /// `released` says that the record was done with these blobs since this coordinator came.
    pub fn remove(
        &self,
        digests: &[Digest],
        released: bool,
        roots_at: Millis,
        is_root: impl Fn(&Digest) -> bool,
    ) -> Result<Removal, BlobError> {
        // Held over the removal, so that a hold that begins meanwhile waits, and then finds no blob.
        let table = self.table();
        let now = self.now();
        if now >= roots_at + self.times.grace_ms && !sabotage::is(Bug::BelieveOldRoots) {
            return Ok(Removal { late: true, ..Removal::default() });
        }
        let goes = |digest: &&Digest| !is_root(digest) && !table.holds(digest, released, now);
        let gone: Vec<_> = digests.iter().filter(goes).copied().collect();
        let bytes = if gone.is_empty() { 0 } else { self.blobs.remove(&gone)? };
        self.level.shrink(bytes);
        Ok(Removal { gone, bytes, late: false })
    }

    /// Forgets holds that have ended.
    pub fn tidy(&self) {
        let mut table = self.table();
        let now = self.now();
        table.holds.retain(|_, hold| hold.upload_until > now || hold.work_until > now);
    }

    /// All blobs were looked through, and had so many bytes.
    pub fn measured(&self, bytes: u64) {
        self.level.measured.store(bytes, Ordering::Relaxed);
        self.level.uploaded.store(0, Ordering::Relaxed);
    }

    /// The most bytes that the blobs may have.
    pub fn bytes_max(&self) -> Option<u64> {
        self.level.bytes_max
    }

    /// Whether uploads were refused since [`Self::take_refused`].
    pub fn has_refused(&self) -> bool {
        self.level.refused.load(Ordering::Relaxed) > 0
    }

    /// For how many bytes there was no room, at least.
    pub fn take_refused(&self) -> u64 {
        self.level.refused.swap(0, Ordering::Relaxed)
    }

    fn hold(&self, digest: Digest, by: By) {
        let until = self.now() + self.times.hold_ms;
        self.table().set(digest, until, |hold| match by {
            By::Upload => hold.upload_until = until,
            By::Work => hold.work_until = until,
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Single changes are all that is done under the lock, so a panic elsewhere leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn set(&mut self, digest: Digest, until: Millis, change: impl FnOnce(&mut Hold)) {
        if self.holds.len() < HOLDS_MAX {
            change(self.holds.entry(digest).or_default());
        } else if let Some(hold) = self.holds.get_mut(&digest) {
            change(hold);
        } else {
            self.crowded_until = self.crowded_until.max(until);
        }
    }

    fn holds(&self, digest: &Digest, released: bool, now: Millis) -> bool {
        let mut hold = self.holds.get(digest).copied().unwrap_or_default();
        if sabotage::is(Bug::CollectUpload) {
            hold.upload_until = 0;
        }
        let all_until = if released { self.crowded_until } else { self.crowded_until.max(self.begun_until) };
        now < all_until.max(hold.upload_until).max(hold.work_until)
    }
}

impl Level {
    /// Counts bytes that a client uploads, after so many of the same blob.
    fn grow(&self, before: u64, bytes: u64) -> Result<(), BlobError> {
        let Some(bytes_max) = self.bytes_max else { return Ok(()) };
        let uploaded = self.uploaded.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if self.measured.load(Ordering::Relaxed).saturating_add(uploaded) > bytes_max {
            self.give_back(bytes);
            self.refused.fetch_max(before + bytes, Ordering::Relaxed);
            return Err(BlobError::Full { bytes_max });
        }
        Ok(())
    }

    /// An upload came to nothing.
    fn give_back(&self, bytes: u64) {
        lower(&self.uploaded, bytes);
    }

    /// Blobs were removed.
    fn shrink(&self, bytes: u64) {
        lower(&self.measured, bytes);
    }
}

/// A measurement may come in between, so that there may be less to take away.
fn lower(level: &AtomicU64, bytes: u64) {
    level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| Some(level.saturating_sub(bytes))).ok();
}

#[cfg(test)]
mod tests;

/// Blobs of which each that is to be used is held.
struct Held {
    holds: Arc<Holds>,
    by: By,
}

impl Held {
    /// The work looks for what are roots already.
    fn hold_upload(&self, digest: Digest) {
        if self.by == By::Upload {
            self.holds.hold(digest, By::Upload);
        }
    }
}

impl Blobs for Held {
    fn has(&self, digest: Digest) -> Result<bool, BlobError> {
        self.hold_upload(digest);
        self.holds.blobs.has(digest)
    }

    fn put(&self, bytes: &[u8], durability: Durability) -> Result<Digest, BlobError> {
        let digest = crate::digest_of(bytes);
        let mut writer = self.writer(durability, Some(digest), bytes.len() as u64)?;
        writer.write(bytes)?;
        writer.finish()
    }

    fn put_all(&self, blobs: &[&[u8]], durability: Durability) -> Result<(), BlobError> {
        if self.by == By::Upload {
            // Each counts.
            return blobs.iter().try_for_each(|bytes| self.put(bytes, durability).map(drop));
        }
        blobs.iter().for_each(|bytes| self.holds.hold(crate::digest_of(bytes), self.by));
        self.holds.blobs.put_all(blobs, durability)
    }

    fn writer(
        &self,
        durability: Durability,
        expected: Option<Digest>,
        bytes_max: u64,
    ) -> Result<Box<dyn BlobWriter>, BlobError> {
        let by = self.by;
        expected.into_iter().for_each(|digest| self.holds.hold(digest, by));
        let inner = Some(self.holds.blobs.writer(durability, expected, bytes_max)?);
        Ok(Box::new(HeldWriter { holds: self.holds.clone(), by, expected, inner, counted: 0 }))
    }

    fn sync(&self, digest: Digest) -> Result<bool, BlobError> {
        self.hold_upload(digest);
        self.holds.blobs.sync(digest)
    }

    /// Holds nothing: who has a blob open reads on, and a hold would outlast each version that a worker fetches.
    fn open(&self, digest: Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        self.holds.blobs.open(digest)
    }

    fn list(&self, after: Option<Digest>, max: usize) -> Result<Vec<(Digest, u64)>, BlobError> {
        self.holds.blobs.list(after, max)
    }

    /// Removes only what nobody holds.
    fn remove(&self, digests: &[Digest]) -> Result<u64, BlobError> {
        Ok(self.holds.remove(digests, false, self.holds.now(), |_| false)?.bytes)
    }
}

struct HeldWriter {
    holds: Arc<Holds>,
    by: By,
    expected: Option<Digest>,
    inner: Option<Box<dyn BlobWriter>>,
    /// Bytes that count as uploaded, unless it comes to nothing.
    counted: u64,
}

impl BlobWriter for HeldWriter {
    fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        if self.by == By::Upload {
            self.holds.level.grow(self.counted, chunk.len() as u64)?;
            self.counted += chunk.len() as u64;
        }
        self.inner.as_mut().map_or(Ok(()), |inner| inner.write(chunk))
    }

    fn digest(&self) -> Digest {
        self.inner.as_ref().expect("a writer is finished once").digest()
    }

    fn finish(mut self: Box<Self>) -> Result<Digest, BlobError> {
        // A blob is held before it is there; one that was expected is held again, for its bytes may have been long in coming.
        let digest = self.expected.unwrap_or_else(|| self.digest());
        self.holds.hold(digest, self.by);
        let inner = self.inner.take().expect("a writer is finished once");
        let finished = inner.finish()?;
        self.counted = 0;
        Ok(finished)
    }
}

impl Drop for HeldWriter {
    fn drop(&mut self) {
        self.holds.level.give_back(self.counted);
    }
}
