//! What workers may read: the blobs that their assignments name, and nothing else.
//!
//! What a worker was told of once it may read again: it has seen it. Who is not a worker is no matter of this file.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::coordinator::roots::List;
use convoke_core::message::{Assignment, Held, ToWorker};
use convoke_core::{Ability, Digest, Payload, Split, TaskId};
use convoke_store::blobs::Blobs;

use crate::lists::{self, Cut};

/// How many blobs a worker may be granted; those that were granted longest ago go first. More than its leases name at a
/// time, but for commands with more files than that.
const GRANTED_MAX: usize = 65_536;
/// How many workers are remembered that have no session.
const ABSENT_MAX: usize = 4_096;

/// The grants of all workers, by the serials of their identities.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<HashMap<u64, Granted>>);

#[derive(Debug, Default)]
struct Granted {
    sessions: usize,
    /// Each with when it was granted last.
    blobs: HashMap<Digest, u64>,
    order: BTreeMap<u64, Digest>,
    times: u64,
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
            granted.times += 1;
            if let Some(before) = granted.blobs.insert(blob, granted.times) {
                granted.order.remove(&before);
            }
            granted.order.insert(granted.times, blob);
        }
        while granted.order.len() > GRANTED_MAX {
            granted.order.pop_first().map(|(_, oldest)| granted.blobs.remove(&oldest));
        }
    }

    /// Whether a worker may read a blob.
    pub(crate) fn covers(&self, serial: u64, blob: Digest) -> bool {
        self.all().get(&serial).is_some_and(|granted| granted.blobs.contains_key(&blob))
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
    /// The stage that was named last, how its input is cut, and what its program brings along.
    read: Option<(Stage, Cut, Vec<Digest>)>,
}

impl Granting {
    pub(crate) fn begin(grants: Arc<Grants>, serial: u64, blobs: Arc<dyn Blobs>, holding: Vec<Held>) -> Self {
        grants.begin(serial);
        Self { grants, serial, blobs, holding, read: None }
    }

    /// Something is on its way to the worker.
    pub(crate) fn hear(&mut self, message: &ToWorker) {
        match message {
            ToWorker::Welcome { kept, .. } => {
                let holding = std::mem::take(&mut self.holding);
                for held in holding.iter().filter(|held| kept.iter().any(|(task, _)| *task == held.task)) {
                    let Held { task, ability, program, base, input, split } = held;
                    self.grant(*task, &Named { ability, program, base, input, split: *split });
                }
            }
            ToWorker::Assign(Assignment { task, ability, program, base, input, split, .. }) => {
                self.grant(*task, &Named { ability, program, base, input, split: *split });
            }
            _ => {}
        }
    }

    fn grant(&mut self, task: TaskId, named: &Named<'_>) {
        let stage = Stage { program: named.program.clone(), input: named.input.clone(), split: named.split };
        if self.read.as_ref().is_none_or(|(read, ..)| *read != stage) {
            let cut = Cut::read(&*self.blobs, named.input, named.split);
            let program = List::Program(named.ability.clone(), named.program.clone());
            // One that cannot be read fails the task, and the worker says why.
            let program = lists::entries(&*self.blobs, &program).ok().flatten().unwrap_or_default();
            self.read = Some((stage, cut, program));
        }
        let Some((_, cut, program)) = &self.read else { return };
        let pieces = cut.of_task(&*self.blobs, task.index);
        let payloads = [named.program, named.base, named.input].into_iter().filter_map(Payload::as_blob);
        self.grants.grant(self.serial, pieces.into_iter().chain(program.iter().copied()).chain(payloads));
    }
}

/// What a task names.
struct Named<'a> {
    ability: &'a Ability,
    program: &'a Payload,
    base: &'a Payload,
    input: &'a Payload,
    split: Split,
}

/// What all tasks of a stage name.
#[derive(PartialEq)]
struct Stage {
    program: Payload,
    input: Payload,
    split: Split,
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
