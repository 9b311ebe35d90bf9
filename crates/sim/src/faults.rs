//! The faults: what goes wrong, drawn from the seed, until they stop.
//!
//! Each is something that happens to real clusters; none of them breaks what TCP, a process or a synced disk promises. Stray
//! reports are the exception: no sound worker makes them, and leases have to fence them all the same.

use convoke_core::message::FromWorker;
use convoke_core::{Millis, SessionId};

use crate::clients::Call;
use crate::coordinator::Doom;
use crate::happening::Happening;
use crate::invariants::Violation;
use crate::network::{Up, Way};
use crate::world::World;

/// How many faults there are in a run, at least. Tasks that fail or take long, and what operators do, do not count.
pub const FAULTS_MIN: u64 = 10;
/// For how much longer there are faults if they were fewer.
const EXTENSION_MS: Millis = 10_000;
/// How often a fault is drawn until there is something that it can happen to.
const DRAWS_MAX: usize = 8;

impl World {
    /// Something goes wrong, now and again later, until the faults stop.
    pub fn fault(&mut self) -> Result<(), Violation> {
        if self.now >= self.scenario.faults_until && self.faults < FAULTS_MIN {
            self.scenario.faults_until = self.now + EXTENSION_MS;
        }
        if self.now >= self.scenario.faults_until {
            self.coordinator.doom = None;
            self.disk.is_repaired();
            return Ok(());
        }
        let at = self.now + self.dice.between(1, 2 * self.scenario.calm_ms);
        self.queue.push(at, Happening::Fault);
        for _ in 0..DRAWS_MAX {
            if self.one_fault()? {
                break;
            }
        }
        Ok(())
    }

    /// Draws a fault. False if there is nothing that it could happen to.
    fn one_fault(&mut self) -> Result<bool, Violation> {
        let process = self.any_process();
        let session = self.any_session();
        match (self.dice.between(0, 12), process, session) {
            (0, Some(process), _) => {
                self.happens("fault.kill");
                self.kill(process);
            }
            (1, Some(process), _) => {
                self.note("operator.stops-a-worker");
                self.leave(process)?;
            }
            (2, Some(process), _) => {
                self.happens("fault.worker-stops");
                let until = self.now + self.dice.between(200, 12_000);
                self.processes.get_mut(&process).into_iter().for_each(|process| process.paused_until = until);
            }
            (3, _, _) if self.coordinator.machine.is_some() && self.coordinator.doom.is_none() => {
                let at_a_snapshot = self.dice.chance(30);
                let steps = self.dice.between(1, if at_a_snapshot { 6 } else { 40 });
                self.coordinator.doom = Some(Doom { steps, at_a_snapshot, power_cut: self.dice.chance(40) });
            }
            (4, _, _) if self.coordinator.machine.is_some() => {
                self.happens("fault.coordinator-stops");
                self.coordinator.paused_until = self.now + self.dice.between(100, 7_000);
            }
            (5, _, Some(session)) => {
                self.happens("fault.session-breaks");
                self.cut(session, 300);
                self.tell_coordinator_gone(session, 60);
                self.tell_worker_gone(session, 60);
            }
            (6 | 7, _, Some(session)) => self.stall(session),
            (8, Some(process), _) => self.partition(process),
            (9, _, Some(session)) if !self.reports.is_empty() => self.stray_report(session),
            (10, Some(process), _) => {
                self.note("operator.drains");
                let host = self.processes.get(&process).map(|process| process.host);
                host.into_iter().for_each(|host| self.call(Call::Drain(host)));
            }
            (11, _, _) => {
                self.happens("fault.disk-full");
                self.disk.set_full(true);
                let at = self.now + self.dice.between(500, 8_000);
                self.queue.push(at, Happening::DiskHasRoom);
            }
            (12, _, _) => {
                self.happens("fault.syncs-fail");
                self.disk.fail_syncs(self.dice.between(0, 6), self.dice.between(1, 4));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Counts a fault that happens, and tells of it.
    pub fn happens(&mut self, what: &'static str) {
        self.faults += 1;
        self.note(what);
    }

    /// Counts something, and tells of it.
    pub fn note(&mut self, what: &'static str) {
        self.observer.coverage.count(what);
        let (kind, name) = what.split_once('.').unwrap_or(("note", what));
        self.observer.line(self.now, kind, name);
    }

    fn stall(&mut self, session: SessionId) {
        let until = self.now + self.dice.between(100, 9_000);
        let which = self.dice.between(1, 3);
        self.happens(["fault.stall-both-ways", "fault.silence-up", "fault.silence-down"][which as usize % 3]);
        let Some(link) = self.network.links.get_mut(&session) else { return };
        if which != 2 {
            link.up.stall(until);
        }
        if which != 1 {
            link.down.stall(until);
        }
    }

    /// A report that was made before comes again, in any session, with another result: its lease is over, or another's.
    fn stray_report(&mut self, session: SessionId) {
        self.happens("fault.stray-report");
        let mut message = self.reports[self.dice.place(self.reports.len())].clone();
        if let FromWorker::Done { completion, .. } = &mut message {
            completion.samples += 1;
        }
        let Some(link) = self.network.links.get_mut(&session) else { return };
        let at = link.up.send(self.now, Up::Message(message, None), &mut self.dice);
        self.queue.push(at, Happening::Moves { session, way: Way::Up });
    }

    /// A machine cannot reach the coordinator for a while, or only one way; some of its sessions do not survive that.
    pub fn partition(&mut self, process: u64) {
        let Some(host) = self.processes.get(&process).map(|process| process.host) else { return };
        let which = self.dice.between(0, 3);
        self.happens(
            ["fault.partition", "fault.partition-up", "fault.partition-down", "fault.partition"][which as usize],
        );
        let until = self.now + self.dice.between(500, 12_000);
        self.partitioned[host] = until;
        for session in self.network.standing() {
            let Some(link) = self.network.links.get_mut(&session) else { continue };
            if self.processes.get(&link.process).is_some_and(|process| process.host == host) {
                if which != 2 {
                    link.up.stall(until);
                }
                if which != 1 {
                    link.down.stall(until);
                }
                if self.dice.chance(50) {
                    self.cut(session, 0);
                }
            }
        }
    }

    /// Cuts a session both ways: what is under way may still arrive for up to `late_ms`.
    pub fn cut(&mut self, session: SessionId, late_ms: Millis) {
        if let Some(link) = self.network.links.get_mut(&session) {
            link.up.cut(self.now + self.dice.between(0, late_ms));
            link.down.cut(self.now + self.dice.between(0, late_ms));
        }
    }

    /// The coordinator's side may learn of a session's end at once, or only by its silence.
    pub fn tell_coordinator_gone(&mut self, session: SessionId, percent: u64) {
        if self.dice.chance(percent) {
            let at = self.now + self.dice.between(0, 400);
            self.queue.push(at, Happening::GoneForCoordinator { life: self.coordinator.life, session });
        }
    }

    /// The worker's side may learn of a session's end at once, or only by its silence.
    pub fn tell_worker_gone(&mut self, session: SessionId, percent: u64) {
        let Some(process) = self.network.links.get(&session).map(|link| link.process) else { return };
        if self.dice.chance(percent) {
            let at = self.now + self.dice.between(0, 400);
            self.queue.push(at, Happening::GoneForWorker { process, session });
        }
    }

    pub fn any_process(&mut self) -> Option<u64> {
        if self.processes.is_empty() {
            return None;
        }
        let place = self.dice.place(self.processes.len());
        self.processes.keys().nth(place).copied()
    }

    fn any_session(&mut self) -> Option<SessionId> {
        let standing = self.network.standing();
        if standing.is_empty() { None } else { Some(standing[self.dice.place(standing.len())]) }
    }
}
