//! The coordinator's machine at full size: thousands of workers and a million tasks, without network, disk or faults.
//!
//! Every input is decided on by the real machine, and its orders are followed; only what lies between is left out. It
//! measures, in processor time and memory, and judges nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use convoke_core::coordinator::durable::Durable;
use convoke_core::coordinator::{CombineOutcome, Config, Coordinator, Decision, Input, Output};
use convoke_core::event::{Combined, Completion, Metrics, Outcome};
use convoke_core::message::{FromWorker, HEARTBEAT_MS, Hello, ToWorker};
use convoke_core::{
    Ability, Attempts, Digest, Event, JobId, JobSpec, LeaseId, Millis, Needs, Payload, Plan, RequestId, Resources,
    Rounds, SessionId, Split, TokenId, Work, WorkerId,
};

use crate::dice::Dice;

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Workers, of one slot each.
    pub workers: u64,
    /// Jobs, of one stage each.
    pub jobs: u64,
    /// Tasks of each job.
    pub tasks: u32,
}

/// What a run of some size took.
pub struct Measured {
    size: Size,
    /// How long the workers took to join, and how much memory they take.
    joined: Spent,
    /// The same of all tasks, from submission to the jobs' ends.
    worked: Spent,
    /// The longest that one decision took by the wall's clock, while there was work.
    longest: Duration,
    events: u64,
}

struct Spent {
    inputs: u64,
    took: Duration,
    bytes: u64,
}

/// Runs jobs of the size to their ends.
pub fn measure(size: Size) -> Result<Measured, anyhow::Error> {
    let mut fleet = Fleet::start(size);
    let (started, before) = (processor_time()?, resident_bytes()?);
    for worker in 0..size.workers {
        fleet.join(worker)?;
    }
    let joined = Spent {
        inputs: fleet.inputs,
        took: processor_time()? - started,
        bytes: resident_bytes()?.saturating_sub(before),
    };
    (fleet.inputs, fleet.longest) = (0, Duration::ZERO);

    let (started, before) = (processor_time()?, resident_bytes()?);
    for job in 0..size.jobs {
        fleet.submit(job, size.tasks)?;
    }
    fleet.work()?;
    // What is highest just before the first stage closes.
    let bytes = fleet.peak_bytes.saturating_sub(before);
    let worked = Spent { inputs: fleet.inputs, took: processor_time()? - started, bytes };
    ensure!(fleet.succeeded == size.jobs, "only {} of {} jobs succeeded", fleet.succeeded, size.jobs);
    Ok(Measured { size, joined, worked, longest: fleet.longest, events: fleet.events })
}

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Size { workers, jobs, tasks } = self.size;
        let tasks = jobs * u64::from(tasks);
        let each = |spent: &Spent| spent.took.as_secs_f64() * 1e6 / spent.inputs as f64;
        writeln!(f, "{workers} workers, {tasks} tasks in {jobs} jobs:")?;
        writeln!(
            f,
            "  to join: {:.1} µs and {} bytes a worker",
            each(&self.joined),
            self.joined.bytes / workers.max(1)
        )?;
        writeln!(
            f,
            "  to work: {:.0} inputs a second, {:.2} µs each and {:.1} ms at most; {} bytes a task",
            self.worked.inputs as f64 / self.worked.took.as_secs_f64(),
            each(&self.worked),
            self.longest.as_secs_f64() * 1e3,
            self.worked.bytes / tasks.max(1)
        )?;
        write!(
            f,
            "  {:.0} journaled events a second, {} in all, in {:.1} s",
            self.events as f64 / self.worked.took.as_secs_f64(),
            self.events,
            self.worked.took.as_secs_f64()
        )
    }
}

/// The workers, which do what they are told, and the machine.
struct Fleet {
    machine: Coordinator,
    now: Millis,
    dice: Dice,
    workers: Vec<Worker>,
    /// What the workers do next, and when.
    next: BinaryHeap<Reverse<(Millis, u64, Act)>>,
    completion: Completion,
    waiting: VecDeque<Output>,
    inputs: u64,
    events: u64,
    succeeded: u64,
    ended: u64,
    jobs: u64,
    longest: Duration,
    peak_bytes: u64,
}

struct Worker {
    pace_ms: Millis,
    leases: VecDeque<LeaseId>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Beat,
    Finish(LeaseId),
}

impl Fleet {
    fn start(size: Size) -> Self {
        let (machine, _) = Coordinator::start(0, Config::default(), Durable::default());
        let completion = Completion { result: Payload::blob(Digest([1; 32])), samples: 10, ..Completion::default() };
        Self {
            machine,
            now: 0,
            dice: Dice::new(0),
            workers: Vec::new(),
            next: BinaryHeap::new(),
            completion,
            waiting: VecDeque::new(),
            inputs: 0,
            events: 0,
            succeeded: 0,
            ended: 0,
            jobs: size.jobs,
            longest: Duration::ZERO,
            peak_bytes: 0,
        }
    }

    fn join(&mut self, number: u64) -> Result<(), anyhow::Error> {
        let hello = Hello {
            worker: WorkerId(self.dice.bits()),
            name: format!("worker-{number}"),
            slots: 1,
            abilities: vec![Ability::new("train")?],
            profile: "test".to_owned(),
            hardware: "none".to_owned(),
            holding: Vec::new(),
            draining: false,
            resources: Resources::default(),
        };
        let pace_ms = self.dice.between(100, 300);
        self.workers.push(Worker { pace_ms, leases: VecDeque::new() });
        self.next.push(Reverse((self.now + self.dice.between(0, HEARTBEAT_MS), number, Act::Beat)));
        self.decide(Input::Connected { session: SessionId(number), hello, identity: None })
    }

    fn submit(&mut self, number: u64, count: u32) -> Result<(), anyhow::Error> {
        let blob = |byte| Payload::blob(Digest([byte; 32]));
        let train = Work {
            ability: Ability::new("train")?,
            program: blob(2),
            input: blob(3),
            split: Split::Entries,
            count,
            combine: blob(4),
            needs: Needs::default(),
        };
        let spec = JobSpec {
            name: format!("job {number}"),
            plan: Plan::Rounds(Rounds { rounds: 1, base: blob(5), prepare: None, train, evaluate: None }),
            policy: None,
            seed: number,
            attempts: Attempts::default(),
            deadline_ms: None,
            priority: 0,
        };
        let (job, submitter) = (JobId::from_bits(number + 1), "somebody".to_owned());
        let (request, owner) = (RequestId(number), TokenId::LOCAL);
        self.decide(Input::Submit { request, job, spec, submitter, owner, missing: Vec::new() })
    }

    /// Until every job has ended.
    fn work(&mut self) -> Result<(), anyhow::Error> {
        while self.ended < self.jobs {
            let Reverse((at, number, act)) = self.next.pop().context("nobody does anything any more")?;
            self.now = self.now.max(at);
            let session = SessionId(number);
            let message = match act {
                Act::Beat => {
                    self.next.push(Reverse((self.now + HEARTBEAT_MS, number, Act::Beat)));
                    FromWorker::Heartbeat
                }
                // Unless it was revoked meanwhile.
                Act::Finish(lease) if self.workers[number as usize].leases.front() == Some(&lease) => {
                    self.workers[number as usize].leases.pop_front();
                    self.start_next(number);
                    FromWorker::Done { lease, completion: self.completion.clone() }
                }
                Act::Finish(_) => continue,
            };
            self.decide(Input::Received { session, message })?;
        }
        Ok(())
    }

    /// Decides, and does what was ordered until there is nothing left.
    fn decide(&mut self, input: Input) -> Result<(), anyhow::Error> {
        let started = Instant::now();
        let decision = self.machine.decide(self.now, input);
        self.longest = self.longest.max(started.elapsed());
        self.inputs += 1;
        self.take(decision);
        while let Some(output) = self.waiting.pop_front() {
            match output {
                Output::Send { session, message } => self.hear(session.0, message),
                Output::Combine(combine) => {
                    self.peak_bytes = self.peak_bytes.max(resident_bytes()?);
                    let combined = Combined { result: combine.base, metrics: Metrics::default(), refused: Vec::new() };
                    let outcome = CombineOutcome::Combined(combined);
                    let input = Input::Combined { job: combine.job, stage: combine.stage, outcome };
                    let decision = self.machine.decide(self.now, input);
                    self.inputs += 1;
                    self.take(decision);
                }
                Output::Close { session, reason } => anyhow::bail!("session {session} was closed: {reason}"),
                Output::Reply { .. } | Output::Notice(_) | Output::Trim { .. } => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, decision: Decision) {
        self.events += decision.events.len() as u64;
        for event in &decision.events {
            if let Event::JobFinished { outcome, .. } = event {
                self.ended += 1;
                self.succeeded += u64::from(*outcome == Outcome::Succeeded);
            }
        }
        self.waiting.extend(decision.outputs);
    }

    fn hear(&mut self, number: u64, message: ToWorker) {
        let worker = &mut self.workers[number as usize];
        match message {
            ToWorker::Assign(assignment) => {
                worker.leases.push_back(assignment.lease);
                if worker.leases.len() == 1 {
                    self.start_next(number);
                }
            }
            ToWorker::Revoke { lease } => {
                let was_first = worker.leases.front() == Some(&lease);
                worker.leases.retain(|other| *other != lease);
                if was_first {
                    self.start_next(number);
                }
            }
            ToWorker::Welcome { .. } | ToWorker::Accepted { .. } | ToWorker::Drain | ToWorker::Heartbeat => {}
        }
    }

    fn start_next(&mut self, number: u64) {
        let worker = &self.workers[number as usize];
        if let Some(lease) = worker.leases.front() {
            self.next.push(Reverse((self.now + worker.pace_ms, number, Act::Finish(*lease))));
        }
    }
}

/// How long this thread has run: other processes do not count.
fn processor_time() -> Result<Duration, anyhow::Error> {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").context("time is measured on Linux only")?;
    Ok(Duration::from_nanos(spent.split(' ').next().context("schedstat is empty")?.parse()?))
}

/// How much memory the process takes.
fn resident_bytes() -> Result<u64, anyhow::Error> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory is measured on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no line `VmRSS`")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_fleet_does_all_of_its_work() {
        let mut fleet = Fleet::start(Size { workers: 10, jobs: 3, tasks: 100 });
        (0..10).for_each(|worker| fleet.join(worker).unwrap());
        (0..3).for_each(|job| fleet.submit(job, 100).unwrap());
        fleet.work().unwrap();
        assert_eq!((fleet.succeeded, fleet.ended), (3, 3));
        assert!(fleet.events >= 300);
    }
}
