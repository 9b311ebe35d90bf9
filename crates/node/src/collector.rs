//! The collector's thread: it asks the decider for the roots, has what may go removed, and has jobs forgotten.
//!
//! What may go, the store's collector knows; that a job is forgotten, the decider decides. Here it is only found that
//! one is old.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use convoke_core::JobId;
use convoke_core::coordinator::Input;
use convoke_core::coordinator::roots::Roots;
use convoke_store::collector::{Collected, Collector, VERSIONS_BYTES_MAX};
use convoke_store::holds::Holds;
use tokio::sync::{mpsc, oneshot};

use crate::decider::Command;
use crate::history::{History, HistoryError};
use crate::lists;
use crate::trouble::Trouble;

/// For how long a job is remembered after its end, by the clock on the wall.
pub const FINISHED_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// For how long, by a clock that nobody sets, a job has to be found that old before it is forgotten: one that is set wrong,
/// and soon put right, makes nothing forgotten.
const OLD_FOR: Duration = Duration::from_secs(6 * 60 * 60);

/// Collects, in turns.
pub(crate) struct Collecting {
    holds: Arc<Holds>,
    collector: Collector,
    commands: mpsc::Sender<Command>,
    history: Arc<History>,
    old: Old,
    trouble: Trouble,
}

/// The jobs that ended long ago, and since when they are found to have.
#[derive(Default)]
struct Old(HashMap<JobId, Instant>);

impl Old {
    /// Those that have been old for long enough. Whoever is not found old this time begins anew the next.
    fn look(&mut self, old: &[JobId], now: Instant) -> Vec<JobId> {
        self.0 = old.iter().map(|job| (*job, self.0.get(job).copied().unwrap_or(now))).collect();
        old.iter().filter(|job| now.duration_since(self.0[job]) >= OLD_FOR).copied().collect()
    }
}

/// Nothing is removed for now.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Collect(#[from] convoke_store::collector::CollectError),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] HistoryError),
    #[error("the coordinator ends")]
    Ends,
}

impl Collecting {
    pub(crate) fn new(holds: Arc<Holds>, commands: mpsc::Sender<Command>, history: Arc<History>) -> Self {
        let collector = Collector::new(holds.clone(), Box::new(lists::entries), VERSIONS_BYTES_MAX);
        Self { holds, collector, commands, history, old: Old::default(), trouble: Trouble::default() }
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
                    if self.trouble.is_news(&reason, Instant::now()) {
                        tracing::warn!("blobs that nobody needs stay for now: {reason}");
                    }
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), CollectError> {
        if !self.collector.is_due() {
            return Ok(());
        }
        let at = self.holds.now();
        let Collected { blobs, bytes, swept } = self.collector.turn(at, self.roots()?)?;
        if blobs > 0 {
            tracing::debug!(blobs, bytes, "blobs removed that nobody needs");
        }
        swept.map_or(Ok(()), |for_room| self.forget(for_room))
    }

    fn roots(&self) -> Result<Roots, CollectError> {
        let (reply, answer) = oneshot::channel();
        self.commands.blocking_send(Command::Roots { reply }).map_err(|_| CollectError::Ends)?;
        answer.blocking_recv().map_err(|_| CollectError::Ends)
    }

    /// Has jobs forgotten that ended long ago, and those that there is no room for.
    fn forget(&mut self, for_room: Vec<JobId>) -> Result<(), CollectError> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let jobs = self.history.jobs()?;
        let is_old = |ended: u64| ended.saturating_add(FINISHED_AGE_MAX.as_millis() as u64) < now_ms;
        let old = jobs.iter().filter(|job| job.finished_wall_ms.is_some_and(is_old)).map(|job| job.job);
        let mut forgotten = self.old.look(&old.collect::<Vec<_>>(), Instant::now());
        forgotten.extend(for_room);
        if !forgotten.is_empty() {
            self.collector.sweep_soon();
        }
        for job in forgotten {
            let forget = Command::Input(Input::Forget { job });
            self.commands.blocking_send(forget).map_err(|_| CollectError::Ends)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
