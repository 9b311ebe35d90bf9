//! The collector's turns, beside the coordinator's loop: it asks what is needed, and removes the rest a little later.
//!
//! Between the question and the removal anything may happen. What may go, the product's own collector says.

use convoke_core::coordinator::Input;
use convoke_core::coordinator::durable::Job;
use convoke_core::coordinator::roots::Roots;
use convoke_core::{JobId, Millis};

use crate::happening::Happening;
use crate::invariants::Violation;
use crate::world::World;

/// How many turns there are at the end for what has to go.
const LAST_TURNS_MAX: usize = 16;

impl World {
    /// The collector looks whether there is anything to do.
    pub fn collector_turns(&mut self) {
        if self.blobs.collector.is_due() {
            let (life, at) = (self.coordinator.life, self.blobs.holds.now());
            self.queue.push(self.now + self.dice.between(0, 5), Happening::RootsAsked { life, at });
        } else {
            self.collector_waits();
        }
    }

    fn collector_waits(&mut self) {
        let at = self.now + self.scenario.retention.times.turn_ms;
        self.queue.push(at, Happening::CollectorTurns { life: self.coordinator.life });
    }

    /// The decider answers, as far as all is durable.
    pub fn roots_asked(&mut self, at: Millis) {
        let Some(machine) = &self.coordinator.machine else { return };
        let (life, roots) = (self.coordinator.life, machine.durable().roots());
        // A slow disk may keep the collector for longer than anything is held.
        let late_ms = match self.dice.between(0, 19) {
            0 => self.dice.between(0, 2 * self.scenario.retention.times.hold_ms),
            1 | 2 => self.dice.between(500, 3_000),
            _ => self.dice.between(0, 300),
        };
        self.queue.push(self.now + late_ms, Happening::Collects { life, at, roots });
    }

    /// Some blobs go, and jobs that ended long ago with them.
    pub fn collects(&mut self, at: Millis, roots: Roots) -> Result<(), Violation> {
        if self.blobs.holds.now() >= at + self.scenario.retention.times.grace_ms {
            self.note("collector.roots-too-old");
        }
        let collected = self.blobs.collector.turn(at, roots).map_err(|error| self.broken(error.into()))?;
        self.check_removed()?;
        self.collector_waits();
        if collected.swept.is_some() {
            self.note("collector.looked-through-all");
            for job in self.forgettable() {
                self.blobs.collector.sweep_soon();
                self.feed_coordinator(Input::Forget { job })?;
            }
        }
        Ok(())
    }

    /// Jobs that ended long ago, and whose clients know; and now and then one that may be live.
    fn forgettable(&mut self) -> Vec<JobId> {
        let jobs = &self.coordinator.folded.snapshot.jobs;
        let age_ms = self.scenario.retention.finished_age_ms;
        let is_old = |job: &JobId| {
            let ended = jobs.get(job).and_then(|job| job.history.finished_ms);
            ended.is_some_and(|ended| ended + age_ms < self.now)
        };
        let known = self.scenario.jobs.iter().zip(&self.clients);
        let known = known.filter(|(plan, client)| client.submitted && (client.cancelled || plan.cancel_at.is_none()));
        let mut old: Vec<_> = known.map(|(plan, _)| plan.id).filter(is_old).collect();
        if self.dice.chance(10) {
            let any = self.scenario.jobs[self.dice.place(self.scenario.jobs.len())].id;
            let is_live = |job: &Job| job.outcome.is_none();
            old.extend(self.invariants.record.durable.job(any).filter(|job| is_live(job)).map(|_| any));
        }
        old
    }

    fn check_removed(&mut self) -> Result<(), Violation> {
        let removed = self.blobs.take_removed();
        removed.iter().for_each(|_| self.observer.coverage.count("collector.removed-a-blob"));
        for digest in &removed {
            self.observer.line(self.now, "collector", format!("removes {digest}"));
        }
        let checked = self.invariants.retention.on_removed(self.now, &removed, &self.invariants.record.durable);
        checked.map_err(|why| self.violation(why))
    }

    /// Once nobody holds anything any more, only what is needed is left.
    pub fn collect_to_the_end(&mut self) -> Result<(), Violation> {
        let Some(machine) = &self.coordinator.machine else { return Ok(()) };
        let roots = machine.durable().roots();
        let times = self.scenario.retention.times;
        self.disk.is_repaired();
        let ended = self.now;
        self.now += 2 * (times.hold_ms + times.sweep_ms);
        let mut sweeps = 0;
        for _ in 0..LAST_TURNS_MAX {
            self.now += times.turn_ms + 2 * times.grace_ms;
            self.blobs.time_is(self.coordinator.time(self.now));
            if self.blobs.collector.is_due() {
                let at = self.blobs.holds.now();
                let turn = self.blobs.collector.turn(at, roots.clone());
                let swept = turn.map_err(|error| self.broken(error.into()))?.swept;
                self.check_removed()?;
                // What was released last is held during the first.
                sweeps += u32::from(swept.is_some());
                if sweeps == 2 {
                    break;
                }
            }
        }
        self.now = ended;
        let left = self.blobs.all().list(None, usize::MAX).map_err(|error| self.broken(error.into()))?;
        self.invariants
            .retention
            .at_end(&left, &self.invariants.record.durable, &roots)
            .map_err(|why| self.violation(why))
    }
}
