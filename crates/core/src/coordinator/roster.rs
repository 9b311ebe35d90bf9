//! The roster: every worker that is known, what it holds and how fast it has been, ordered for placement.
//!
//! Each question that placement asks is answered from an index, in O(log workers). It knows no task's meaning and
//! no job: leases are numbers here. All of it is volatile.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;

use crate::{Millis, SessionId, WorkerId};

use super::worker::Worker;

/// How long a task is taken to need while nobody has done one.
const PACE_GUESS_MS: Millis = 1_000;

/// All workers, and the orders in which placement looks at them.
#[derive(Debug, Default)]
pub(super) struct Roster {
    workers: BTreeMap<WorkerId, Worker>,
    sessions: BTreeMap<SessionId, WorkerId>,
    /// Connected workers by name. No two of them have one, and none changes it while it is connected.
    names: BTreeMap<String, WorkerId>,
    /// Workers with room, for a random choice.
    ready: IndexSet<WorkerId>,
    /// Workers with room, in the order of taking turns.
    turns: BTreeSet<WorkerId>,
    /// Workers with room, by when they are expected to be through with one more task.
    by_finish: BTreeSet<(Millis, WorkerId)>,
    /// Connected workers with tasks that wait, by when they are expected to be through with all.
    by_queue: BTreeSet<(Millis, WorkerId)>,
    /// Connected workers that are in service, by pace.
    by_pace: BTreeSet<(Millis, WorkerId)>,
    /// Tasks that all connected workers in service do in a million seconds.
    rate: u64,
    /// Leases that they hold.
    outstanding: u64,
    /// How long a task takes on any worker; smoothed.
    fleet_pace_us: Option<u64>,
    draining: usize,
    backing_off: usize,
    entries: BTreeMap<WorkerId, Entry>,
}

/// What the indices hold of a worker, so that it can be taken out again.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ready: bool,
    queued: bool,
    finish: Millis,
    free_at: Millis,
    pace: Millis,
    rate: u64,
    leases: u64,
    draining: bool,
    backs_off: bool,
}

/// How many workers are connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connected {
    /// All of them.
    pub(super) workers: usize,
    /// Those that are being taken out of service.
    pub(super) draining: usize,
    /// Of the others, those that are left alone for now.
    pub(super) backing_off: usize,
}

impl Roster {
    pub(super) fn get(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(&worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    pub(super) fn of_session(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.get(&session).copied()
    }

    /// The sessions that stand.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// How many workers are connected.
    pub(super) fn connected(&self) -> Connected {
        Connected { workers: self.sessions.len(), draining: self.draining, backing_off: self.backing_off }
    }

    /// The worker of that name; of several, the one that is connected.
    pub(super) fn named(&self, name: &str) -> Option<WorkerId> {
        let named = self.workers.iter().filter(|(_, worker)| worker.name == name);
        named.max_by_key(|(_, worker)| worker.session.is_some()).map(|(id, _)| *id)
    }

    /// The connected worker of that name.
    pub(super) fn connected_as(&self, name: &str) -> Option<WorkerId> {
        self.names.get(name).copied()
    }

    pub(super) fn ready(&self) -> &IndexSet<WorkerId> {
        &self.ready
    }

    /// Workers with room that come after `last`, then the others, in turn.
    pub(super) fn turns_after(&self, last: WorkerId) -> impl Iterator<Item = WorkerId> {
        let after = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
        self.turns.range(after).chain(self.turns.range(..=last)).copied()
    }

    /// Workers with room, the one that is expected to be through with one more task first.
    pub(super) fn by_finish(&self) -> impl Iterator<Item = WorkerId> {
        self.by_finish.iter().map(|(_, worker)| *worker)
    }

    /// The worker whose waiting tasks are expected to be through last, and when that is.
    pub(super) fn most_queued(&self) -> Option<(Millis, WorkerId)> {
        self.by_queue.last().copied()
    }

    /// When the worker is expected to be through with one more task.
    pub(super) fn finish(&self, worker: WorkerId, now: Millis) -> Millis {
        self.entries.get(&worker).map_or(Millis::MAX, |entry| entry.free_at.max(now) + entry.pace)
    }

    /// How long a task takes on the worker.
    pub(super) fn pace(&self, worker: WorkerId) -> Millis {
        self.entries.get(&worker).map_or(PACE_GUESS_MS, |entry| entry.pace)
    }

    /// How long `waiting` more tasks would take the connected workers other than `except`; none without others.
    pub(super) fn others_need_ms(&self, except: WorkerId, waiting: u64) -> Option<Millis> {
        let entry = self.entries.get(&except)?;
        let rate = self.rate.checked_sub(entry.rate).filter(|rate| *rate > 0)?;
        let fastest = self.by_pace.iter().find(|(_, worker)| *worker != except)?.0;
        Some(through_ms(waiting + self.outstanding - entry.leases, rate, fastest))
    }

    /// The same of those of them that are able. Looks at every worker.
    pub(super) fn able_others_need_ms(
        &self,
        except: WorkerId,
        waiting: u64,
        is_able: impl Fn(&Worker) -> bool,
    ) -> Option<Millis> {
        let is_able = |id: &WorkerId| *id != except && self.get(*id).is_some_and(&is_able);
        let able = self.by_pace.iter().filter(|(_, id)| is_able(id)).filter_map(|(_, id)| self.entries.get(id));
        let (mut tasks, mut rate, mut fastest) = (waiting, 0, None);
        for entry in able {
            tasks += entry.leases;
            rate += entry.rate;
            fastest = fastest.or(Some(entry.pace));
        }
        fastest.filter(|_| rate > 0).map(|fastest| through_ms(tasks, rate, fastest))
    }

    /// Adds a worker, or changes one, and brings the indices up to date.
    pub(super) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.workers.insert(id, worker);
        self.index(id);
    }

    /// Changes a worker that is there, and brings the indices up to date.
    pub(super) fn update<T>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let changed = change(self.workers.get_mut(&id)?);
        self.index(id);
        Some(changed)
    }

    /// Counts a task that a worker did, and remembers how long it took, where that is known. What the worker rejected
    /// before took time as well: a worker is as fast as it gets tasks done.
    pub(super) fn measure(&mut self, id: WorkerId, took_ms: Option<Millis>) {
        if let Some(took_ms) = took_ms {
            self.fleet_pace_us = Some(smooth(self.fleet_pace_us, took_ms));
        }
        self.update(id, |worker| {
            let took_ms = took_ms.map(|took_ms| took_ms.saturating_add(worker.rejected_ms));
            worker.pace_us = took_ms.map(|took_ms| smooth(worker.pace_us, took_ms)).or(worker.pace_us);
            worker.tasks_done += 1;
            worker.rejections_in_a_row = 0;
            worker.rejected_ms = 0;
        });
    }

    /// A worker rejected a task that had taken a slot for so long: it is at least as slow as what that comes to.
    pub(super) fn reject(&mut self, id: WorkerId, held_ms: Millis) -> Option<&Worker> {
        self.update(id, |worker| {
            worker.backs_off = true;
            worker.rejections += 1;
            worker.rejections_in_a_row = worker.rejections_in_a_row.saturating_add(1);
            worker.rejected_ms = worker.rejected_ms.saturating_add(held_ms);
            worker.pace_us = worker.pace_us.map(|pace_us| pace_us.max(worker.rejected_ms.saturating_mul(1_000)));
        })?;
        self.get(id)
    }

    /// Takes a worker out.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.unindex(id);
        let worker = self.workers.remove(&id)?;
        if let Some(session) = worker.session {
            self.sessions.remove(&session);
            self.names.remove(&worker.name);
        }
        Some(worker)
    }

    /// Ends the worker's session, if it has one, and begins another.
    pub(super) fn connect(&mut self, id: WorkerId, session: Option<SessionId>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            if let Some(old) = worker.session.take() {
                self.sessions.remove(&old);
                self.names.remove(&worker.name);
            }
            if let Some(new) = session {
                worker.session = Some(new);
                self.sessions.insert(new, id);
                self.names.insert(worker.name.clone(), id);
            }
            self.index(id);
        }
    }

    fn index(&mut self, id: WorkerId) {
        self.unindex(id);
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.session.is_some()) else { return };
        let pace = worker.pace_us.or(self.fleet_pace_us).map_or(PACE_GUESS_MS, |pace_us| pace_us.div_ceil(1_000));
        let (leases, slots) = (worker.leases().len() as u64, worker.slots.max(1) as u64);
        // A worker with a free slot can start at once; a full one when enough of what it holds is through.
        let free_at = if leases < slots { 0 } else { worker.busy_since + pace * (leases - slots + 1).div_ceil(slots) };
        let entry = Entry {
            ready: worker.has_room(),
            queued: !worker.queued().is_empty(),
            finish: free_at + pace,
            free_at,
            pace,
            rate: if worker.draining { 0 } else { slots * 1_000_000_000 / pace },
            leases: if worker.draining { 0 } else { leases },
            draining: worker.draining,
            backs_off: worker.backs_off && !worker.draining,
        };
        if entry.ready {
            self.ready.insert(id);
            self.turns.insert(id);
            self.by_finish.insert((entry.finish, id));
        }
        if entry.queued {
            self.by_queue.insert((entry.free_at, id));
        }
        if !entry.draining {
            self.by_pace.insert((entry.pace, id));
        }
        self.rate += entry.rate;
        self.outstanding += entry.leases;
        self.draining += usize::from(entry.draining);
        self.backing_off += usize::from(entry.backs_off);
        self.entries.insert(id, entry);
    }

    fn unindex(&mut self, id: WorkerId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if entry.ready {
            self.ready.swap_remove(&id);
            self.turns.remove(&id);
            self.by_finish.remove(&(entry.finish, id));
        }
        if entry.queued {
            self.by_queue.remove(&(entry.free_at, id));
        }
        self.by_pace.remove(&(entry.pace, id));
        self.rate -= entry.rate;
        self.outstanding -= entry.leases;
        self.draining -= usize::from(entry.draining);
        self.backing_off -= usize::from(entry.backs_off);
    }
}

/// How long so many tasks take at that rate, in tasks a million seconds, the last of them as long as on the fastest worker.
fn through_ms(tasks: u64, rate: u64, fastest: Millis) -> Millis {
    tasks.saturating_mul(1_000_000_000) / rate + fastest
}

/// The mean in microseconds, weighted three to one for what was known; what took less than a millisecond counts as a fifth.
fn smooth(known_us: Option<u64>, took_ms: Millis) -> u64 {
    let took_us = took_ms.saturating_mul(1_000).max(200);
    known_us.map_or(took_us, |known_us| known_us.saturating_mul(3).saturating_add(took_us) / 4)
}
