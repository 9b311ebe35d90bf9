//! The workers' shell, simulated: processes on machines, which dial, run executors, and are killed or stopped.
//!
//! As the real one it owns one connection at a time, and reports nothing of an older one once a newer one stands. It
//! decides nothing.

use std::collections::BTreeMap;

use convoke_core::Payload;
use convoke_core::event::{Failure, Purpose};
use convoke_core::message::{Assignment, FromWorker, Hello, ToWorker};
use convoke_core::worker::{Config, Input, Load, Output, Run, Worker};
use convoke_core::{Ability, Digest, Millis, Needs, Resources, SessionId, WorkerId};
use convoke_store::blobs::{Blobs, Durability, MemoryBlobs};

use crate::clock::Clock;
use crate::compute::{self, Gone};
use crate::happening::Happening;
use crate::invariants::{Violation, resources};
use crate::network::{Up, Way, latency};
use crate::observer::worker_notice_kind;
use crate::world::World;

/// A worker's process.
pub struct Process {
    pub host: usize,
    worker: Worker,
    /// The connection that was dialled last, and whether it stands.
    connection: Option<(SessionId, bool)>,
    running: BTreeMap<Run, Execution>,
    results: BTreeMap<Digest, Vec<u8>>,
    /// What it has fetched.
    cache: MemoryBlobs,
    clock: Clock,
    pub paused_until: Millis,
    wakes_at: Option<Millis>,
}

/// What an executor is at.
struct Execution {
    assignment: Assignment,
    /// Whether it ends before it is through, since it takes too long.
    ends_early: bool,
}

/// The coordinator cannot be asked for a blob now.
#[derive(Debug)]
struct Unreachable;

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the coordinator cannot be reached")
    }
}

impl World {
    /// A new process on the machine, unless there is one.
    pub fn worker_starts(&mut self, host: usize) -> Result<(), Violation> {
        if self.processes.values().any(|process| process.host == host) {
            return Ok(());
        }
        let machine = &self.scenario.workers[host];
        let id = self.dice.bits();
        let abilities = machine.abilities();
        let hello = Hello {
            worker: WorkerId(id),
            name: machine.name.clone(),
            slots: machine.slots,
            abilities: abilities.iter().filter_map(|name| Ability::new(name).ok()).collect(),
            profile: convoke_ml::NUMERIC_PROFILE.to_owned(),
            hardware: "simulated".to_owned(),
            holding: Vec::new(),
            draining: false,
            resources: Resources::from_iter([("gpu", machine.gpus)]),
        };
        let probability = machine.load_percent as f64 / 100.0;
        let load = Load { probability, delay_ms: self.dice.between(10, 1_500), seed: self.dice.bits() };
        let clock = Clock::start(self.now, &mut self.dice);
        let process = Process {
            host,
            worker: Worker::new(0, Config { hello, load, ahead: 0 }),
            connection: None,
            running: BTreeMap::new(),
            results: BTreeMap::new(),
            cache: MemoryBlobs::new(),
            clock,
            paused_until: 0,
            wakes_at: None,
        };
        self.processes.insert(id, process);
        self.observer.line(self.now, &self.scenario.workers[host].name, format!("starts as process {id:016x}"));
        self.feed_worker(id, Input::Tick)
    }

    /// Only the last wake that was asked for counts.
    pub fn worker_wakes(&mut self, id: u64, at: Millis) -> Result<(), Violation> {
        let process = self.processes.get_mut(&id).filter(|process| process.wakes_at == Some(at));
        let Some(process) = process else { return Ok(()) };
        process.wakes_at = None;
        self.feed_worker(id, Input::Tick)
    }

    fn feed_worker(&mut self, id: u64, input: Input) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        for output in process.worker.handle(process.clock.read(self.now), input) {
            self.perform_worker_output(id, output)?;
        }
        let is_stopped = |process| self.processes.get(&process).is_some_and(|other| other.paused_until > self.now);
        self.invariants.not_twice.check(id, &is_stopped).map_err(|why| self.violation(why))?;
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let due = process.worker.poll_timeout().map(|due| process.clock.when(due).max(self.now + 1));
        if let Some(at) = due.filter(|due| process.wakes_at.is_none_or(|at| *due < at)) {
            process.wakes_at = Some(at);
            self.queue.push(at, Happening::WorkerWakes { process: id, at });
        }
        Ok(())
    }

    fn perform_worker_output(&mut self, id: u64, output: Output) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if output != Output::Send(FromWorker::Heartbeat) {
            self.observer.line(self.now, &self.scenario.workers[process.host].name, &output);
        }
        match output {
            Output::Dial => {
                let session = self.network.next_session();
                process.connection = Some((session, false));
                let at = self.now + latency(&mut self.dice);
                self.queue.push(at, Happening::DialEnds { process: id, session });
            }
            Output::Greet(hello) => self.send_up(id, Up::Hello(hello)),
            Output::Send(message) => {
                if message != FromWorker::Heartbeat && message != FromWorker::Leaving {
                    self.reports.push(message.clone());
                }
                let blob = self.result_of(id, &message);
                self.send_up(id, Up::Message(message, blob));
            }
            Output::HangUp => {
                if let Some((session, _)) = process.connection.take() {
                    self.cut(session, 100);
                    self.tell_coordinator_gone(session, 80);
                }
            }
            Output::Start { run, assignment, .. } => {
                let host = process.host;
                let job = self.scenario.jobs.iter().find(|job| job.id == assignment.task.job);
                let takes_times = job.map_or(1, |job| job.takes_times);
                let takes_ms = takes_times * self.draw_duration(host);
                self.starts(id, run, assignment, takes_ms)?;
            }
            Output::Abort(run) => {
                self.observer.coverage.count("worker.aborted");
                let execution = process.running.remove(&run);
                if let Some(execution) = execution {
                    self.invariants.not_twice.ends(execution.assignment.task, id, run);
                }
            }
            Output::End => self.ends(id),
            Output::Notice(notice) => self.observer.coverage.count(worker_notice_kind(&notice)),
        }
        Ok(())
    }

    /// An executor starts. It ends in time by itself, where it can.
    fn starts(&mut self, id: u64, run: Run, assignment: Assignment, takes_ms: Millis) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let machine = &self.scenario.workers[process.host];
        let (task, timeout_ms) = (assignment.task, assignment.timeout_ms);
        if !assignment.idempotent {
            self.invariants.not_twice.starts(task, id, run);
        }
        let allowed = timeout_ms.map(|timeout_ms| process.clock.when(process.clock.read(self.now) + timeout_ms));
        let ends_at = self.now + takes_ms;
        let early = allowed.filter(|allowed| machine.keeps_time && *allowed < ends_at);
        process.running.insert(run, Execution { assignment, ends_early: early.is_some() });
        let has = Needs { slots: machine.slots, resources: Resources::from_iter([("gpu", machine.gpus)]) };
        let running = process.running.values().map(|execution| &execution.assignment.needs);
        resources::check_running(running, &has).map_err(|why| self.violation(why))?;
        self.queue.push(early.unwrap_or(ends_at), Happening::ExecutorEnds { process: id, run });
        if self.is_poison(task) {
            self.queue.push(self.now + takes_ms.min(50), Happening::Poisoned { process: id, run });
        }
        Ok(())
    }

    /// Why an executor that comes to its end brings nothing, if so.
    fn why_it_fails(&mut self, host: usize, execution: &Execution) -> Option<Failure> {
        let task = execution.assignment.task;
        let job = self.scenario.jobs.iter().find(|job| job.id == task.job)?;
        let is_map = self.invariants.stages.purpose(task.job, task.stage) == Some(Purpose::Map);
        let (what, why) = if execution.ends_early {
            ("fault.task-in-time", "it took too long")
        } else if is_map && job.doomed.contains(&task.index) {
            ("fault.doomed-task", "it never succeeds")
        } else if self.dice.chance(self.scenario.workers[host].errors_percent.max(job.errors_percent)) {
            ("fault.task-error", "the executor was told to fail")
        } else {
            return None;
        };
        self.observer.coverage.count(what);
        Some(Failure::of(why))
    }

    /// A result's blob goes ahead of the report of it.
    fn result_of(&self, id: u64, message: &FromWorker) -> Option<Vec<u8>> {
        let FromWorker::Done { completion, .. } = message else { return None };
        self.processes.get(&id)?.results.get(&completion.result.as_blob()?).cloned()
    }

    fn send_up(&mut self, id: u64, message: Up) {
        let session = self.processes.get(&id).and_then(|process| process.connection).map(|(session, _)| session);
        let Some(session) = session else { return };
        if let Some(link) = self.network.links.get_mut(&session) {
            let at = link.up.send(self.now, message, &mut self.dice);
            self.queue.push(at, Happening::Moves { session, way: Way::Up });
        }
    }

    fn draw_duration(&mut self, host: usize) -> Millis {
        let machine = &self.scenario.workers[host];
        let usual = self.dice.between(machine.pace_ms, 3 * machine.pace_ms);
        if !self.dice.chance(machine.stuck_percent) {
            return usual;
        }
        self.observer.coverage.count("fault.stuck-task");
        usual * self.dice.between(5, 40)
    }

    fn is_poison(&self, task: convoke_core::TaskId) -> bool {
        let job = self.scenario.jobs.iter().find(|job| job.id == task.job);
        let purpose = self.invariants.stages.purpose(task.job, task.stage);
        job.is_some_and(|job| job.poison == Some(task.index))
            && matches!(purpose, Some(Purpose::Prepare | Purpose::Train { .. } | Purpose::Map))
    }

    pub fn dial_ends(&mut self, id: u64, session: SessionId) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if process.connection != Some((session, false)) {
            return Ok(());
        }
        if self.coordinator.machine.is_some() && self.partitioned[process.host] <= self.now {
            process.connection = Some((session, true));
            self.network.connect(session, id);
            return self.feed_worker(id, Input::Connected);
        }
        self.queue.push(self.now + self.dice.between(0, 3_000), Happening::GoneForWorker { process: id, session });
        Ok(())
    }

    /// What still comes of an older connection is handed in only while none stands.
    pub fn worker_hears(&mut self, id: u64, session: SessionId, message: ToWorker) -> Result<(), Violation> {
        let Some(process) = self.processes.get(&id) else { return Ok(()) };
        match process.connection {
            Some((current, _)) if current == session => {}
            Some((_, true)) => return Ok(()),
            _ => self.observer.coverage.count("network.late-for-the-worker"),
        }
        self.feed_worker(id, Input::Received(message))
    }

    pub fn gone_for_worker(&mut self, id: u64, session: SessionId) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if process.connection.is_none_or(|(current, _)| current != session) {
            return Ok(());
        }
        process.connection = None;
        self.feed_worker(id, Input::Disconnected)
    }

    pub fn executor_ends(&mut self, id: u64, run: Run) -> Result<(), Violation> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let host = process.host;
        let Some(execution) = process.running.remove(&run) else { return Ok(()) };
        let task = execution.assignment.task;
        self.invariants.not_twice.ends(task, id, run);
        if let Some(failure) = self.why_it_fails(host, &execution) {
            self.invariants.every_job_ends.executor_failed(task);
            return self.feed_worker(id, Input::Finished { run, outcome: Err(failure) });
        }
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let reachable = self.coordinator.machine.is_some() && self.partitioned[process.host] <= self.now;
        let blobs = self.blobs.all();
        let mut fetch = |payload: &Payload| {
            let cached = compute::read(&process.cache, payload)?;
            if cached.is_some() {
                return Ok(cached);
            }
            anyhow::ensure!(reachable, Unreachable);
            let fetched = compute::read(blobs, payload)?;
            fetched.iter().try_for_each(|bytes| process.cache.put(bytes, Durability::Unsynced).map(drop))?;
            Ok(fetched)
        };
        let made = match compute::execute(&execution.assignment, &mut fetch) {
            Err(error) if error.is::<Unreachable>() => {
                self.observer.coverage.count("worker.waits-for-a-blob");
                if !execution.assignment.idempotent {
                    self.invariants.not_twice.starts(task, id, run);
                }
                process.running.insert(run, execution);
                let at = self.now + self.dice.between(100, 2_000);
                self.queue.push(at, Happening::ExecutorEnds { process: id, run });
                return Ok(());
            }
            // It is done, or its job has ended: nobody will want to hear of it.
            Err(error) if error.is::<Gone>() && self.invariants.record.durable.wanted(task).is_none() => {
                self.note("worker.finds-a-blob-gone");
                self.invariants.every_job_ends.executor_failed(task);
                return self.feed_worker(id, Input::Finished { run, outcome: Err(Failure::of(error.to_string())) });
            }
            made => made.map_err(|error| self.broken(error))?,
        };
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if let (Some(bytes), Some(digest)) = (made.blob, made.completion.result.as_blob()) {
            process.results.insert(digest, bytes);
        }
        self.feed_worker(id, Input::Finished { run, outcome: Ok(made.completion) })
    }

    pub fn poisoned(&mut self, id: u64, run: Run) -> Result<(), Violation> {
        if self.processes.get(&id).is_some_and(|process| process.running.contains_key(&run)) {
            self.observer.coverage.count("fault.poison");
            self.kill(id);
        }
        Ok(())
    }

    /// The process is gone; what it had sent may still arrive, and another one starts on the machine later.
    pub fn kill(&mut self, id: u64) {
        let Some(process) = self.processes.remove(&id) else { return };
        self.invariants.not_twice.gone(id);
        self.observer.line(self.now, &self.scenario.workers[process.host].name, "is killed");
        if let Some((session, true)) = process.connection {
            self.cut(session, 50);
            self.tell_coordinator_gone(session, 80);
        }
        let at = self.now + self.dice.between(100, 8_000);
        self.queue.push(at, Happening::WorkerStarts { host: process.host });
    }

    /// The process ends of its own will.
    pub fn leave(&mut self, id: u64) -> Result<(), Violation> {
        self.feed_worker(id, Input::Leave)?;
        self.ends(id);
        Ok(())
    }

    /// The process is gone, after its last words; another one starts on the machine later.
    fn ends(&mut self, id: u64) {
        let Some(process) = self.processes.remove(&id) else { return };
        self.invariants.not_twice.gone(id);
        let at = self.now + self.dice.between(100, 8_000);
        self.queue.push(at, Happening::WorkerStarts { host: process.host });
    }
}
