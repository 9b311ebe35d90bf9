//! A worker as the coordinator knows it: what it has, the leases it holds and whether there is room for more.
//!
//! It knows no other worker, and none of the orders in which placement looks at them. All of it is volatile.

use std::collections::BTreeSet;

use crate::message::{WINDOW_MAX, WINDOW_MS};
use crate::sabotage::{self, Bug};
use crate::{Ability, Digest, Identity, Millis, Needs, Resources, SessionId};

/// How many inputs a worker is remembered to have in its cache.
const CACHED_MAX: usize = 4_096;

/// A worker: one process, through all of its sessions.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    /// Who its certificate says it is, if it has one.
    pub(super) identity: Option<Identity>,
    pub(super) slots: usize,
    pub(super) abilities: Vec<Ability>,
    /// What its tasks may take beside slots, all together.
    pub(super) resources: Resources,
    pub(super) profile: String,
    pub(super) hardware: String,
    /// Its session, while it has one.
    pub(super) session: Option<SessionId>,
    pub(super) heard_at: Millis,
    /// The leases it holds, oldest first: the first of them, as many as fit, run, the others wait.
    leases: Vec<u64>,
    /// What each of them takes.
    needs: Vec<Needs>,
    /// How many run.
    running: usize,
    /// Since when all slots are taken by what runs now.
    pub(super) busy_since: Millis,
    /// Until when it is left alone, after it rejected a task.
    pub(super) backs_off: bool,
    pub(super) rejections_in_a_row: u32,
    /// How long its slots were taken by tasks that it then rejected, since it was last through with one.
    pub(super) rejected_ms: Millis,
    /// Whether it is taken out of service: it gets no more tasks.
    pub(super) draining: bool,
    pub(super) rejections: u64,
    pub(super) tasks_done: u64,
    /// How long a task takes here; smoothed, and unknown before the first.
    pub(super) pace_us: Option<u64>,
    cached: BTreeSet<(Digest, u32)>,
}

impl Worker {
    pub(super) fn new(name: String, slots: usize) -> Self {
        Self {
            name,
            identity: None,
            slots,
            abilities: Vec::new(),
            resources: Resources::default(),
            profile: String::new(),
            hardware: String::new(),
            session: None,
            heard_at: 0,
            leases: Vec::new(),
            needs: Vec::new(),
            running: 0,
            busy_since: 0,
            backs_off: false,
            rejections_in_a_row: 0,
            rejected_ms: 0,
            draining: false,
            rejections: 0,
            tasks_done: 0,
            pace_us: None,
            cached: BTreeSet::new(),
        }
    }

    /// All of its leases, oldest first.
    pub(super) fn leases(&self) -> &[u64] {
        &self.leases
    }

    /// The leases that run.
    pub(super) fn running(&self) -> &[u64] {
        &self.leases[..self.running]
    }

    /// The leases that wait for a slot.
    pub(super) fn queued(&self) -> &[u64] {
        &self.leases[self.running..]
    }

    pub(super) fn is_idle(&self) -> bool {
        self.slots_taken() < self.slots
    }

    pub(super) fn add_lease(&mut self, number: u64, needs: Needs) {
        self.leases.push(number);
        self.needs.push(needs);
        self.count_running();
    }

    pub(super) fn remove_lease(&mut self, number: u64) {
        if let Some(place) = self.leases.iter().position(|other| *other == number) {
            self.leases.remove(place);
            self.needs.remove(place);
            self.count_running();
        }
    }

    /// As the worker starts them: in order, and none before one that does not fit.
    pub(super) fn count_running(&mut self) {
        let (mut slots, mut resources) = (0, Resources::default());
        let fits = |needs: &&Needs| {
            slots += needs.slots as usize;
            resources.add(&needs.resources);
            slots <= self.slots && self.resources.hold(&resources)
        };
        self.running = self.needs.iter().take_while(fits).count();
    }

    /// The slots that its leases take, or will.
    fn slots_taken(&self) -> usize {
        self.needs.iter().map(|needs| needs.slots as usize).sum()
    }

    /// Whether it could ever run such a task.
    pub(super) fn is_able(&self, needs: &Needs) -> bool {
        needs.slots as usize <= self.slots && self.resources.hold(&needs.resources)
    }

    /// Whether its leases leave too little of a resource for such a task.
    pub(super) fn lacks_resources(&self, needs: &Needs) -> bool {
        let taken = self.needs.iter().fold(needs.resources.clone(), |taken, other| taken.with(&other.resources));
        !self.resources.hold(&taken)
    }

    /// How many slots too many are taken for such a task.
    pub(super) fn slots_beyond(&self, needs: &Needs) -> usize {
        (self.slots_taken() + needs.slots as usize).saturating_sub(self.slots)
    }

    /// Whether a task, if it came here, would take of what another one waits for.
    pub(super) fn delays(&self, waiting: &Needs, task: &Needs) -> bool {
        let taken = self.needs.iter().fold(waiting.resources.clone(), |taken, needs| taken.with(&needs.resources));
        let lacks = |(name, amount): (&str, u64)| amount > 0 && taken.get(name) > self.resources.get(name);
        self.slots_beyond(waiting) > 0 || task.resources.iter().any(lacks)
    }

    /// Whether such a task may be placed here now. One that takes more than a slot is placed where it can start.
    pub(super) fn has_room_for(&self, needs: &Needs) -> bool {
        if needs.is_one_slot() || sabotage::is(Bug::PlaceBeyondResources) {
            return self.has_room();
        }
        let taken = self.needs.iter().fold(needs.resources.clone(), |taken, needs| taken.with(&needs.resources));
        let starts = self.slots_taken() + needs.slots as usize <= self.slots && self.resources.hold(&taken);
        starts && self.has_room()
    }

    pub(super) fn has_room(&self) -> bool {
        let in_service = !self.draining || sabotage::is(Bug::PlaceOnDraining);
        in_service && self.session.is_some() && !self.backs_off && self.slots_taken() < self.slots + self.window()
    }

    /// How many leases it may hold beyond its slots: one, or as many as short tasks need to keep it busy while the
    /// coordinator commits.
    fn window(&self) -> usize {
        self.pace_us.map_or(1, |pace_us| (WINDOW_MS * 1_000 / pace_us).clamp(1, WINDOW_MAX) as usize)
    }

    /// How long a task takes here, once one was timed.
    pub(super) fn pace_ms(&self) -> Option<Millis> {
        self.pace_us.map(|pace_us| pace_us.div_ceil(1_000))
    }

    pub(super) fn remember_input(&mut self, input: Digest, index: u32) {
        if self.cached.len() == CACHED_MAX {
            self.cached.clear();
        }
        self.cached.insert((input, index));
    }

    pub(super) fn has_input(&self, input: Digest, index: u32) -> bool {
        self.cached.contains(&(input, index))
    }
}
