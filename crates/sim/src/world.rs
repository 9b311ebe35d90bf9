//! The loop: takes what happens next from the virtual clock, hands it to whom it concerns, and stops when all is done.
//!
//! Whoever is stopped gets nothing until it goes on. It knows no rule of the cluster; the invariants do.

use std::collections::BTreeMap;
use std::path::Path;

use convoke_core::coordinator::Input;
use convoke_core::message::FromWorker;
use convoke_core::{Millis, SessionId};
use convoke_store::blobs::Durability;
use convoke_store::files::Files;

use crate::blobs::{BLOBS, CoordinatorBlobs};
use crate::clients::{Call, Client};
use crate::compute::is_of_the_disk;
use crate::coordinator::CoordinatorHost;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::faults::FAULTS_MIN;
use crate::happening::Happening;
use crate::invariants::{Invariants, Violation};
use crate::network::{Moved, Network, Up, Way};
use crate::observer::{Observer, up_kind};
use crate::queue::Queue;
use crate::scenario::{JOBS_MIN, Scenario, VIRTUAL_MS_MIN, WORKERS_MIN};
use crate::worker::Process;

/// How long after the last fault every job has to have ended: what must not run twice may be with a worker where it is stuck,
/// one task after another, and nobody else may begin it.
const PATIENCE_MS: Millis = 3_000_000;
/// How much may happen in one millisecond before the cluster is said to spin.
const AT_ONCE_MAX: u64 = 20_000;

/// A run's end.
pub struct Report {
    /// What was broken, if anything was.
    pub outcome: Result<(), Violation>,
    /// How often everything happened.
    pub coverage: Coverage,
    /// What happened, if it was to be traced.
    pub trace: String,
    /// The virtual time that it took.
    pub took_ms: Millis,
}

pub struct World {
    pub now: Millis,
    pub dice: Dice,
    pub queue: Queue<Happening>,
    pub scenario: Scenario,
    /// The coordinator's.
    pub disk: Disk,
    pub blobs: CoordinatorBlobs,
    pub network: Network,
    pub coordinator: CoordinatorHost,
    pub processes: BTreeMap<u64, Process>,
    /// Until when each machine cannot reach the coordinator.
    pub partitioned: Vec<Millis>,
    /// How many faults there were.
    pub faults: u64,
    /// Every report that a worker made, for those that stray.
    pub reports: Vec<FromWorker>,
    pub clients: Vec<Client>,
    /// Every call that was made; a request's number is its place, from 1.
    pub requests: Vec<Call>,
    pub invariants: Invariants,
    pub observer: Observer,
}

/// Runs a seed to its end.
pub fn run(seed: u64, traced: bool) -> Report {
    let mut world = match World::new(seed, traced) {
        Ok(world) => world,
        Err(error) => {
            let outcome = Err(Violation { at: 0, why: format!("the scenario cannot be drawn: {error:#}") });
            return Report { outcome, coverage: Coverage::default(), trace: String::new(), took_ms: 0 };
        }
    };
    let outcome = world.run();
    let (mut coverage, took_ms) = (world.observer.coverage.clone(), world.now);
    coverage.add(&world.disk.coverage());
    Report { outcome, coverage, trace: world.observer.into_trace(), took_ms }
}

impl World {
    fn new(seed: u64, traced: bool) -> Result<Self, anyhow::Error> {
        let mut dice = Dice::new(seed);
        let disk = Disk::new(dice.bits());
        disk.create_folder(Path::new(BLOBS))?;
        disk.sync_folder(Path::new(""))?;
        let scenario = Scenario::draw(&mut dice)?;
        let blobs = CoordinatorBlobs::open(&disk, &scenario.retention)?;
        let invariants = Invariants::new(&scenario)?;
        let mut queue = Queue::new();
        queue.push(dice.between(0, 1_000), Happening::CoordinatorStarts);
        for host in 0..scenario.workers.len() {
            queue.push(dice.between(0, 10_000), Happening::WorkerStarts { host });
        }
        for (place, job) in scenario.jobs.iter().enumerate() {
            queue.push(job.submit_at, Happening::Calls(Call::Upload(place)));
        }
        queue.push(dice.between(1, 5_000), Happening::Fault);
        let mut observer = Observer::new(traced);
        scenario.describe(&mut observer);
        Ok(Self {
            now: 0,
            dice,
            queue,
            coordinator: CoordinatorHost::new(disk.clone()),
            disk,
            blobs,
            network: Network::default(),
            processes: BTreeMap::new(),
            partitioned: vec![0; scenario.workers.len()],
            faults: 0,
            reports: Vec::new(),
            clients: scenario.jobs.iter().map(|_| Client::default()).collect(),
            requests: Vec::new(),
            scenario,
            invariants,
            observer,
        })
    }

    fn run(&mut self) -> Result<(), Violation> {
        let mut at_once = 0;
        while let Some((at, happening)) = self.queue.pop() {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            if at_once > AT_ONCE_MAX {
                return Err(self.violation("(7) the cluster spins".to_owned()));
            }
            self.now = self.now.max(at);
            self.blobs.time_is(self.coordinator.time(self.now));
            if self.now > self.scenario.faults_until && self.faults >= FAULTS_MIN && self.is_done() {
                break;
            }
            if self.now > self.scenario.faults_until + PATIENCE_MS {
                let why = self.invariants.every_job_ends.who_does_not();
                return Err(self.violation(why));
            }
            match self.owner_stopped_until(&happening) {
                Some(until) => self.queue.push(until, happening),
                None => self.handle(happening)?,
            }
        }
        self.at_end()
    }

    /// When whoever it concerns goes on, if it is stopped.
    fn owner_stopped_until(&self, happening: &Happening) -> Option<Millis> {
        let process = match happening {
            Happening::Moves { session, way: Way::Down } => self.network.links.get(session).map(|link| link.process),
            Happening::WorkerWakes { process, .. }
            | Happening::DialEnds { process, .. }
            | Happening::GoneForWorker { process, .. }
            | Happening::ExecutorEnds { process, .. } => Some(*process),
            Happening::CoordinatorWakes { .. }
            | Happening::GoneForCoordinator { .. }
            | Happening::CombineEnds { .. }
            | Happening::Waited { .. }
            | Happening::CallArrives { .. }
            | Happening::DeadlinePasses { .. }
            | Happening::SnapshotStored { .. }
            | Happening::RootsAsked { .. }
            | Happening::Moves { way: Way::Up, .. } => {
                // Where it is stopped at that moment, what waits for the disk waits for it to try.
                let stalled = self.coordinator.stalled_until().map(|until| until.max(self.now + 1));
                let until = self.coordinator.paused_until.max(stalled.unwrap_or_default());
                return Some(until).filter(|until| *until > self.now);
            }
            Happening::AppendAgain { .. }
            | Happening::Remembers { .. }
            | Happening::StoresSnapshot { .. }
            | Happening::CollectorTurns { .. }
            | Happening::Collects { .. } => {
                return Some(self.coordinator.paused_until).filter(|until| *until > self.now);
            }
            _ => None,
        };
        let process = self.processes.get(&process?)?;
        Some(process.paused_until).filter(|until| *until > self.now)
    }

    fn handle(&mut self, happening: Happening) -> Result<(), Violation> {
        let life = self.coordinator.life;
        match happening {
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::CoordinatorWakes { life: of, at } if of == life => self.coordinator_wakes(at),
            Happening::GoneForCoordinator { life: of, session } if of == life => {
                self.feed_coordinator(Input::Disconnected { session })
            }
            Happening::CombineEnds { life: of, combine } if of == life => self.combine_ends(&combine),
            Happening::AppendAgain { life: of } if of == life => self.append_again(),
            Happening::Waited { life: of, input } if of == life => self.feed_coordinator(*input),
            Happening::Remembers { life: of } if of == life => self.remembers(),
            Happening::StoresSnapshot { life: of, through, bytes } if of == life => {
                self.stores_snapshot(through, &bytes)
            }
            Happening::SnapshotStored { life: of, through, state } if of == life => {
                self.feed_coordinator(Input::SnapshotStored { through, state })
            }
            Happening::CollectorTurns { life: of } if of == life => {
                self.collector_turns();
                Ok(())
            }
            Happening::RootsAsked { life: of, at } if of == life => {
                self.roots_asked(at);
                Ok(())
            }
            Happening::Collects { life: of, at, roots } if of == life => self.collects(at, roots),
            Happening::Remembers { .. }
            | Happening::StoresSnapshot { .. }
            | Happening::SnapshotStored { .. }
            | Happening::CollectorTurns { .. }
            | Happening::RootsAsked { .. }
            | Happening::Collects { .. }
            | Happening::CoordinatorWakes { .. }
            | Happening::GoneForCoordinator { .. }
            | Happening::AppendAgain { .. }
            | Happening::Waited { .. }
            | Happening::CombineEnds { .. } => Ok(()),
            Happening::DiskHasRoom => {
                self.disk.set_full(false);
                Ok(())
            }
            Happening::CallArrives { request } => self.call_arrives(request),
            Happening::ReplyArrives { request, reply } => self.reply_arrives(request, reply),
            Happening::Calls(call) => {
                self.call(call);
                Ok(())
            }
            Happening::Moves { session, way: Way::Up } => self.moves_up(session),
            Happening::Moves { session, way: Way::Down } => self.moves_down(session),
            Happening::WorkerStarts { host } => self.worker_starts(host),
            Happening::WorkerWakes { process, at } => self.worker_wakes(process, at),
            Happening::DialEnds { process, session } => self.dial_ends(process, session),
            Happening::GoneForWorker { process, session } => self.gone_for_worker(process, session),
            Happening::ExecutorEnds { process, run } => self.executor_ends(process, run),
            Happening::Poisoned { process, run } => self.poisoned(process, run),
            Happening::DeadlinePasses { place } => self.deadline_passes(place),
            Happening::Fault => self.fault(),
        }
    }

    fn deadline_passes(&mut self, place: usize) -> Result<(), Violation> {
        let job = self.scenario.jobs[place].id;
        if self.invariants.record.durable.job(job).is_none_or(|job| job.outcome.is_some()) {
            return Ok(());
        }
        self.queue.push(self.now + 1_000, Happening::DeadlinePasses { place });
        self.feed_coordinator(Input::DeadlinePassed { job })
    }

    fn moves_up(&mut self, session: SessionId) -> Result<(), Violation> {
        let Some(link) = self.network.links.get_mut(&session) else { return Ok(()) };
        if link.up.is_cut() {
            self.observer.coverage.count("network.late-for-the-coordinator");
        }
        match link.up.take(self.now) {
            Moved::Arrives(Up::Hello(hello)) => {
                self.observer.coverage.count("message.up.hello");
                self.feed_coordinator(Input::Connected { session, hello, identity: None })
            }
            Moved::Arrives(Up::Message(message, blob)) => {
                self.observer.coverage.count(up_kind(&message));
                if !self.keep_result(session, blob)? {
                    return Ok(());
                }
                self.feed_coordinator(Input::Received { session, message })
            }
            Moved::StalledUntil(until) => {
                self.queue.push(until, Happening::Moves { session, way: Way::Up });
                Ok(())
            }
            Moved::Lost => Ok(()),
        }
    }

    /// Keeps the blob that comes with a report. Where the disk does not take it, the session ends, and the worker reports
    /// again in the next one.
    fn keep_result(&mut self, session: SessionId, blob: Option<Vec<u8>>) -> Result<bool, Violation> {
        let Some(bytes) = blob.filter(|_| self.coordinator.machine.is_some()) else { return Ok(true) };
        match self.blobs.work.put(&bytes, Durability::Unsynced) {
            Ok(digest) => {
                self.invariants.retention.result_kept(digest, self.disk.losses());
                Ok(true)
            }
            Err(error) if is_of_the_disk(&error) => {
                self.note("network.session-ended-for-the-disk");
                self.tell_worker_gone(session, 100);
                self.network.links.remove(&session);
                let life = self.coordinator.life;
                self.queue.push(self.now, Happening::GoneForCoordinator { life, session });
                Ok(false)
            }
            Err(error) => Err(self.broken(error.into())),
        }
    }

    fn moves_down(&mut self, session: SessionId) -> Result<(), Violation> {
        let Some(link) = self.network.links.get_mut(&session) else { return Ok(()) };
        let process = link.process;
        match link.down.take(self.now) {
            Moved::Arrives(message) => self.worker_hears(process, session, message),
            Moved::StalledUntil(until) => {
                self.queue.push(until, Happening::Moves { session, way: Way::Down });
                Ok(())
            }
            Moved::Lost => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        self.coordinator.machine.is_some()
            && self.coordinator.stalled_until().is_none()
            && self.clients.iter().all(|client| client.submitted)
            && self.invariants.every_job_ends.all_ended()
    }

    fn at_end(&mut self) -> Result<(), Violation> {
        self.check_journal(&[])?;
        self.collect_to_the_end()?;
        self.was_a_run()
    }

    /// Whether enough has happened for the run to mean something.
    fn was_a_run(&self) -> Result<(), Violation> {
        let (workers, jobs) = (self.scenario.workers.len(), self.scenario.jobs.len());
        if workers < WORKERS_MIN || jobs < JOBS_MIN || self.faults < FAULTS_MIN || self.now < VIRTUAL_MS_MIN {
            let faults = self.faults;
            return Err(self.violation(format!("(0) only {workers} workers, {jobs} jobs and {faults} faults")));
        }
        Ok(())
    }

    pub fn violation(&self, why: String) -> Violation {
        Violation { at: self.now, why }
    }

    /// Something that must not fail did.
    pub fn broken(&self, error: anyhow::Error) -> Violation {
        self.violation(format!("(0) {error:#}"))
    }
}
