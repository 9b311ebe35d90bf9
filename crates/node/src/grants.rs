//! What workers may read: the blobs that their assignments name, and nothing else.
//!
//! What a worker was told of once it may read again: it has seen it. Who is not a worker is no matter of this file.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::message::{Assignment, Held, ToWorker};
use convoke_core::{Digest, Payload, TaskId};
use convoke_store::blobs::Blobs;

use crate::manifest;

/// How many blobs a worker may be granted; the oldest go first. Far more than its leases name at a time.
const GRANTED_MAX: usize = 4_096;
/// How many workers are remembered that have no session.
const ABSENT_MAX: usize = 4_096;

/// The grants of all workers, by the serials of their identities.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<HashMap<u64, Granted>>);

#[derive(Debug, Default)]
struct Granted {
    sessions: usize,
    blobs: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Grants {
    /// A worker's session begins.
    pub(crate) fn begin(&self, serial: u64) {
        let mut all = self.all();
        if all.len() >= ABSENT_MAX {
            all.retain(|_, granted| granted.sessions > 0);
        }
        all.entry(serial).or_default().sessions += 1;
    }

    /// A worker's session ends; it may go on fetching until the next.
    pub(crate) fn end(&self, serial: u64) {
        if let Some(granted) = self.all().get_mut(&serial) {
            granted.sessions = granted.sessions.saturating_sub(1);
        }
    }

    /// A worker is told of blobs.
    pub(crate) fn grant(&self, serial: u64, blobs: impl IntoIterator<Item = Digest>) {
        let mut all = self.all();
        let granted = all.entry(serial).or_default();
        for blob in blobs {
            if granted.blobs.insert(blob) {
                granted.order.push_back(blob);
            }
        }
        while granted.order.len() > GRANTED_MAX {
            granted.order.pop_front().map(|oldest| granted.blobs.remove(&oldest));
        }
    }

    /// Whether a worker may read a blob.
    pub(crate) fn covers(&self, serial: u64, blob: Digest) -> bool {
        self.all().get(&serial).is_some_and(|granted| granted.blobs.contains(&blob))
    }

    /// Whether a worker has a session, and so may have results.
    pub(crate) fn is_there(&self, serial: u64) -> bool {
        self.all().get(&serial).is_some_and(|granted| granted.sessions > 0)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Granted>> {
        // Single changes are all that is done under the lock, so a panic elsewhere leaves the table whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's part in them: what its worker is told, it may read.
pub(crate) struct Granting {
    grants: Arc<Grants>,
    serial: u64,
    blobs: Arc<dyn Blobs>,
    /// What the worker brought along.
    holding: Vec<Held>,
    /// The input that was named last, and what it lists.
    listed: Option<(Payload, Vec<Digest>)>,
}

impl Granting {
    pub(crate) fn begin(grants: Arc<Grants>, serial: u64, blobs: Arc<dyn Blobs>, holding: Vec<Held>) -> Self {
        grants.begin(serial);
        Self { grants, serial, blobs, holding, listed: None }
    }

    /// Something is on its way to the worker.
    pub(crate) fn hear(&mut self, message: &ToWorker) {
        match message {
            ToWorker::Welcome { kept, .. } => {
                let holding = std::mem::take(&mut self.holding);
                for held in holding.iter().filter(|held| kept.iter().any(|(task, _)| *task == held.task)) {
                    self.grant(held.task, [&held.base, &held.input], &held.input);
                }
            }
            ToWorker::Assign(Assignment { task, program, base, input, .. }) => {
                self.grant(*task, [program, base, input], input);
            }
            _ => {}
        }
    }

    fn grant<const N: usize>(&mut self, task: TaskId, payloads: [&Payload; N], input: &Payload) {
        let shard = self.entry(input, task.index);
        self.grants.grant(self.serial, payloads.into_iter().filter_map(Payload::as_blob).chain(shard));
    }

    /// The shard of a task, by its place among those that the input lists.
    fn entry(&mut self, input: &Payload, index: u32) -> Option<Digest> {
        if self.listed.as_ref().is_none_or(|(listed, _)| listed != input) {
            // One that cannot be read fails the task, and the worker says why.
            let entries = manifest::entries(&*self.blobs, input).ok().flatten().unwrap_or_default();
            self.listed = Some((input.clone(), entries));
        }
        self.listed.as_ref().and_then(|(_, entries)| entries.get(index as usize).copied())
    }
}

impl Drop for Granting {
    fn drop(&mut self) {
        self.grants.end(self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_read_what_it_was_told_of_and_no_other_may() {
        let grants = Grants::default();
        let blob = |number: usize| Digest([number as u8; 32]);
        grants.begin(1);
        assert!(grants.is_there(1) && !grants.is_there(2));
        grants.grant(1, [blob(1), blob(2), blob(1)]);
        assert!(grants.covers(1, blob(1)) && !grants.covers(1, blob(3)) && !grants.covers(2, blob(1)));
        grants.end(1);
        assert!(grants.covers(1, blob(1)) && !grants.is_there(1));
    }

    #[test]
    fn what_is_granted_is_bounded() {
        let grants = Grants::default();
        let blob = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            Digest(digest)
        };
        grants.grant(1, (0..GRANTED_MAX + 10).map(blob));
        assert!(!grants.covers(1, blob(9)) && grants.covers(1, blob(10)));
        (0..2 * ABSENT_MAX as u64).for_each(|serial| {
            grants.begin(serial);
            grants.end(serial);
        });
        assert!(grants.all().len() <= ABSENT_MAX + 1);
    }
}
