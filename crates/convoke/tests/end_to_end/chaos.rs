//! Chaos: a cluster whose processes are killed and paused at random, while one job after the other runs on it.
//!
//! Whatever happened: the bits are those of an undisturbed run, what a client was told stays true, and the journal, read
//! all the while, breaks no invariant. The seed draws the faults; when they hit, real processes decide with it.

mod schedule;
mod follower;
mod reference;

use std::thread::sleep;
use std::time::{Duration, Instant};

use convoke_sim::JournalCheck;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home};
use crate::process::Process;
use follower::Follower;
use reference::Reference;
use schedule::{Fault, Moment, Schedule, WORKERS, Who};

/// So few bytes that snapshots are taken, and the journal is trimmed, every few rounds.
const COORDINATOR: [&str; 3] = ["--snapshot-every-bytes", "2000", "--verbose"];
/// How often everything is looked at: more often than the journal is trimmed.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What no process may say.
const ALARMS: [&str; 4] = ["panicked", "rolled back", "damaged", " ERROR "];
/// How long everything may take, with so much more for each kill: far more than it needs.
const DEADLINE: Duration = Duration::from_secs(90);
const DEADLINE_PER_KILL: Duration = Duration::from_secs(4);

/// Hits the cluster so many times by SIGKILL, and as the schedule draws it by SIGSTOP.
#[test]
fn whatever_is_killed_or_paused_the_bits_are_the_same() {
    let kills = schedule::number("CONVOKE_CHAOS_KILLS").unwrap_or(10);
    let seed = schedule::number("CONVOKE_CHAOS_SEED").unwrap_or_else(schedule::fresh_seed);
    println!("replay it with: CONVOKE_CHAOS_KILLS={kills} CONVOKE_CHAOS_SEED={seed}");
    let reference = Reference::compute();
    let mut chaos = Chaos::start(Schedule::new(seed), kills, &reference);
    while chaos.kills < kills {
        let moment = chaos.schedule.moment();
        let who = chaos.wait_for(moment);
        let fault = chaos.schedule.fault(who);
        if chaos.is_there(fault.who) {
            chaos.hit(fault);
        }
    }
    chaos.calm();
    chaos.check();
    println!("{}", chaos.state());
}

/// A cluster, and what happens to it.
struct Chaos<'a> {
    schedule: Schedule,
    kills: u64,
    pauses: u64,
    /// Whether there is more to come.
    goes_on: bool,
    kills_wanted: u64,
    cluster: Cluster,
    workers: Vec<Process>,
    follower: Follower<'a>,
    journal: JournalCheck,
    /// Those that are hit, and when they are back.
    away: Vec<(Instant, Fault)>,
    /// The lines that were read of the coordinator, and of each worker.
    read: [usize; 1 + WORKERS],
    /// What the coordinator says now.
    says: Vec<String>,
    began: Instant,
}

impl<'a> Chaos<'a> {
    fn start(schedule: Schedule, kills_wanted: u64, reference: &'a Reference) -> Self {
        let cluster = Cluster::start_with(Home::new(), &COORDINATOR);
        let workers = (0..WORKERS).map(|number| worker(&cluster, number)).collect();
        Self {
            schedule,
            kills: 0,
            pauses: 0,
            goes_on: true,
            kills_wanted,
            workers,
            follower: Follower::start(&cluster, reference),
            journal: JournalCheck::of(&cluster.home.path("state/convoke/coordinator")),
            away: Vec::new(),
            read: [0; 1 + WORKERS],
            says: Vec::new(),
            began: Instant::now(),
            cluster,
        }
    }

    /// Waits for a moment, or for a better one: a submission. Whom to hit then, if it matters.
    fn wait_for(&mut self, moment: Moment) -> Option<Who> {
        let began = Instant::now();
        loop {
            self.look();
            if self.follower.submits() && self.schedule.takes_submission() {
                return Some(Who::Coordinator);
            }
            match &moment {
                Moment::After(delay) if began.elapsed() >= *delay => return None,
                Moment::Said(part) if self.says.iter().any(|line| line.contains(part)) => {
                    return Some(Who::Coordinator);
                }
                // Where nothing goes on, nothing is said.
                Moment::Said(_) if began.elapsed() >= schedule::MOMENT_MAX => return None,
                _ => {}
            }
        }
    }

    /// Passes a little time: whoever is due is brought back, and everything is looked at.
    fn look(&mut self) {
        sleep(LOOK_EVERY);
        assert!(
            self.began.elapsed() < DEADLINE + DEADLINE_PER_KILL * u32::try_from(self.kills_wanted).unwrap_or(u32::MAX),
            "it takes too long: {}\nthe coordinator says {:#?}\nthe client says {:#?}",
            self.state(),
            last(self.cluster.coordinator.said()),
            last(self.follower.said())
        );
        let due = self.away.iter().position(|(back, _)| Instant::now() >= *back);
        if let Some(due) = due {
            let (_, fault) = self.away.remove(due);
            self.bring_back(fault);
        }
        self.listen();
        self.follower.look(&self.cluster, self.goes_on);
        // What the client was told before was journaled before.
        if let Err(violation) = self.journal.read_on() {
            panic!("{violation}\n{}", self.state());
        }
        self.follower.check_against(self.journal.durable());
    }

    fn listen(&mut self) {
        let processes = std::iter::once(&self.cluster.coordinator).chain(&self.workers);
        for (number, (process, read)) in processes.zip(&mut self.read).enumerate() {
            let lines = process.said_after(*read);
            *read += lines.len();
            let alarm = lines.iter().find(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
            assert!(alarm.is_none(), "process {number} says {alarm:?}");
            if number == 0 {
                self.says = lines;
            }
        }
        for (number, worker) in self.workers.iter().enumerate() {
            let is_there = self.away.iter().all(|(_, fault)| fault.who != Who::Worker(number));
            assert!(!is_there || !worker.has_ended(), "worker {number} ended by itself: {:#?}", worker.said());
        }
    }

    fn is_there(&self, who: Who) -> bool {
        self.away.iter().all(|(_, fault)| fault.who != who)
    }

    fn hit(&mut self, fault: Fault) {
        let process = match fault.who {
            Who::Coordinator => Some(&mut self.cluster.coordinator),
            Who::Worker(number) => self.workers.get_mut(number),
            Who::Client => self.follower.process(),
        };
        let Some(process) = process else { return };
        if fault.kills {
            self.kills += 1;
            process.signal(Signal::SIGKILL);
            process.gone();
        } else {
            self.pauses += 1;
            process.signal(Signal::SIGSTOP);
        }
        // The client comes back by itself.
        if fault.who != Who::Client {
            self.away.push((Instant::now() + fault.lasts, fault));
        }
    }

    fn bring_back(&mut self, fault: Fault) {
        match (fault.who, fault.kills) {
            (Who::Coordinator, true) => {
                self.cluster.start_again();
                self.read[0] = 0;
                if self.goes_on && self.kills < self.kills_wanted && self.schedule.takes_start() {
                    self.hit(Fault { who: Who::Coordinator, ..fault });
                }
            }
            (Who::Coordinator, false) => self.cluster.coordinator.signal(Signal::SIGCONT),
            (Who::Worker(number), true) => {
                self.workers[number] = worker(&self.cluster, number);
                self.read[1 + number] = 0;
            }
            (Who::Worker(number), false) => self.workers[number].signal(Signal::SIGCONT),
            (Who::Client, _) => {}
        }
    }

    /// Brings everybody back, and waits for the end of every job.
    fn calm(&mut self) {
        self.goes_on = false;
        self.away.iter_mut().for_each(|(back, _)| *back = Instant::now());
        while !self.away.is_empty() || !self.follower.is_through() {
            self.look();
        }
    }

    /// Everything that was ever acknowledged is there, and has come to the same.
    fn check(&mut self) {
        for job in self.cluster.jobs() {
            self.follower.check_job(&self.cluster, job["job"].as_str().expect("an id"));
        }
        self.follower.check_all_told();
        let checked = self.journal.read_on().expect("a sound journal");
        println!("{checked}");
        assert!(checked.frames > 0 && checked.snapshots > 0, "{checked}: no snapshot was checked");
        assert!(checked.missed <= self.kills, "{checked}: that is too many for {} kills", self.kills);
        // From the last snapshot alone, it comes to the same.
        let mut trimmed = JournalCheck::of(&self.cluster.home.path("state/convoke/coordinator"));
        let checked = trimmed.read_on().expect("a sound journal");
        assert_eq!(trimmed.durable(), self.journal.durable(), "{checked}");
    }

    fn state(&self) -> String {
        let Self { kills, kills_wanted, pauses, away, .. } = self;
        let (seconds, follower) = (self.began.elapsed().as_secs(), &self.follower);
        let seed = self.schedule.seed;
        format!(
            "seed {seed}: {kills} of {kills_wanted} kills, {pauses} pauses, {seconds} s; {follower}; away: {away:?}"
        )
    }
}

/// Starts a worker, whether or not the coordinator is there.
fn worker(cluster: &Cluster, number: usize) -> Process {
    let name = format!("w{number}");
    cluster.home.start(&["worker", &cluster.address, "--slots", "1", "--name", &name, "--wait", "5m"])
}

fn last(lines: Vec<String>) -> Vec<String> {
    lines[lines.len().saturating_sub(20)..].to_vec()
}
