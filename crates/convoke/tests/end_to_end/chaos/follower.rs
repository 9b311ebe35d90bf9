//! The client: it trains one job after the other, follows each, and is started again where it was killed or gave up.
//!
//! It remembers what it was told, and finds out if that is no longer so. Who kills it, it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use convoke_wire::core::coordinator::durable::{Durable, Progress};
use convoke_wire::core::event::Purpose;

use super::reference::{JOB, Reference, tensors};
use crate::cluster::{Cluster, text};
use crate::process::{Ended, Process};

/// The exit status of a client whose coordinator was lost.
const LOST: i32 = 3;
/// That of one who asks for what is not there.
const BAD_INPUT: i32 = 2;

/// The client's process, and what all of them were told.
pub struct Follower<'a> {
    reference: &'a Reference,
    /// None once its last job has ended.
    process: Option<Process>,
    /// The lines that were read of it.
    read: usize,
    /// The job that it is about, once it has said so.
    job: Option<String>,
    /// Whether it has said so just now, and submits it.
    submits: bool,
    /// The last round that this process told to be trained.
    trained: u32,
    /// The rounds that it told to be validated: training goes on meanwhile, and so does the validation of the next, where a
    /// worker that has one is paused.
    validated: BTreeSet<u32>,
    told: BTreeMap<String, Told>,
    started: u64,
}

/// What was told of a job that is on record.
#[derive(Default)]
struct Told {
    /// The last round that was trained, or validated.
    trained: u32,
    validated: u32,
    has_ended: bool,
}

impl<'a> Follower<'a> {
    /// Trains a job.
    pub fn start(cluster: &Cluster, reference: &'a Reference) -> Self {
        let (process, told) = (Some(train(cluster, 1)), BTreeMap::new());
        Self {
            reference,
            process,
            read: 0,
            job: None,
            submits: false,
            trained: 0,
            validated: BTreeSet::new(),
            told,
            started: 1,
        }
    }

    /// Its process, while there is one that has not ended.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| !process.has_ended())
    }

    pub fn said(&self) -> Vec<String> {
        self.process.as_ref().map(Process::said).unwrap_or_default()
    }

    /// Whether a job is submitted just now.
    pub fn submits(&self) -> bool {
        self.submits
    }

    /// Whether its last job has ended.
    pub fn is_through(&self) -> bool {
        self.process.is_none()
    }

    /// Hears what it says, and starts what comes next where it has ended: another job only if that is wanted.
    pub fn look(&mut self, cluster: &Cluster, goes_on: bool) {
        let Some(process) = &self.process else { return };
        let has_ended = process.has_ended();
        let lines = process.said_after(self.read);
        self.read += lines.len();
        self.submits = false;
        lines.iter().for_each(|line| self.hear(line));
        if let Some(process) = self.process.take_if(|_| has_ended) {
            (self.read, self.trained) = (0, 0);
            self.validated.clear();
            if self.concludes(&process.ends()) {
                self.job = None;
            }
            self.started += u64::from(self.job.is_none() && goes_on);
            self.process = match &self.job {
                Some(job) => Some(follow(cluster, job)),
                None if goes_on => Some(train(cluster, self.started)),
                None => None,
            };
        }
    }

    fn hear(&mut self, line: &str) {
        if let Some((job, _)) = line.strip_prefix("job ").and_then(|rest| rest.split_once(": ")) {
            if self.job.is_none() && line.contains("shards") {
                self.job = Some(job.to_owned());
                self.submits = true;
            }
            return;
        }
        let number = |rest: &str| rest.split('/').next()?.parse::<u32>().ok();
        let (Some(job), Some(round)) = (&self.job, line.strip_prefix("round ").and_then(number)) else { return };
        let is_validated = line.contains("validation error");
        assert!(!is_validated || line == self.reference.validated(round), "{line}");
        if is_validated {
            assert!(self.validated.insert(round), "`{line}` was told twice");
        } else {
            assert!(round > self.trained, "`{line}` was told after that of round {}", self.trained);
            self.trained = round;
        }
        let told = self.told.entry(job.clone()).or_default();
        told.trained = told.trained.max(round);
        if is_validated {
            told.validated = told.validated.max(round);
        }
    }

    /// Whether the job is over for the client that has ended. Where it is not, it is asked for again.
    fn concludes(&mut self, ended: &Ended) -> bool {
        let is_told = self.job.as_ref().is_some_and(|job| self.told.contains_key(job));
        match ended.status {
            Some(0) => {
                let report = ended.json();
                let told = self.told.entry(report["job"].as_str().expect("an id").to_owned()).or_default();
                if report.get("state").is_none() {
                    // Submitted, and no more.
                    return false;
                }
                told.has_ended = true;
                self.reference.check(&report);
                if let Some(parameters) = report.get("parameters") {
                    assert_eq!(*parameters, self.reference.parameters);
                }
                true
            }
            // Killed; or it gave up, and says so.
            None | Some(LOST) => false,
            // It was never said to be on record.
            Some(BAD_INPUT) if !is_told && ended.count(&["error: ", "no job"]) == 1 => true,
            _ => panic!("the client ended with {ended:#?}"),
        }
    }

    /// What it was told is still so.
    pub fn check_against(&self, durable: &Durable) {
        let on_record = |job: &String| durable.jobs().find(|(id, _)| id.to_string() == *job).map(|(_, job)| job);
        for (id, told) in &self.told {
            let job = on_record(id).unwrap_or_else(|| panic!("job {id} was acknowledged and is gone"));
            let is_open = |round| job.stages.values().any(|stage| stage.purpose == Purpose::Evaluate { round });
            let Progress::Rounds(training) = &job.progress else { panic!("job {id} trains") };
            assert!(
                training.version.round >= told.trained,
                "round {} of job {id} was told, and is not done",
                told.trained
            );
            assert!(
                training.evaluated >= told.validated && !is_open(told.validated),
                "the error of round {} of job {id} was told, and is not on record",
                told.validated
            );
            assert!(!told.has_ended || job.outcome.is_some(), "job {id} was said to have ended, and goes on");
        }
    }

    /// Waits for a job's end, and checks what it came to.
    pub fn check_job(&mut self, cluster: &Cluster, job: &str) {
        self.reference.check(&follow(cluster, job).ends().with_status(0).json());
        let model = cluster.home.path(&format!("{job}.safetensors"));
        cluster.ask(&["result", job, "-o", text(&model)]).with_status(0);
        assert!(tensors(&model) == self.reference.tensors, "job {job} has other bits");
        self.told.entry(job.to_owned()).or_default().has_ended = true;
    }

    /// Every job that it was told of was checked.
    pub fn check_all_told(&self) {
        let left: Vec<_> = self.told.iter().filter(|(_, told)| !told.has_ended).map(|(job, _)| job).collect();
        assert!(left.is_empty(), "jobs {left:?} were acknowledged, and are not on record");
    }
}

/// Submits a job, and follows it; every other one is only submitted, which is acknowledged by the end.
fn train(cluster: &Cluster, number: u64) -> Process {
    let detach = if number.is_multiple_of(2) { &["--detach"][..] } else { &[] };
    cluster.train(&[&JOB[..], &["--wait", "5m"], detach].concat())
}

fn follow(cluster: &Cluster, job: &str) -> Process {
    let fixed = ["job", job, "--follow", "--wait", "5m", "--output", "json", "--coordinator"];
    cluster.home.start(&[&fixed[..], &[cluster.address.as_str()]].concat())
}

impl fmt::Display for Follower<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.told.values().filter(|told| told.has_ended).count();
        let (told, started) = (self.told.len(), self.started);
        write!(f, "{started} jobs begun, {told} acknowledged, {ended} ended; now {:?}", self.job)
    }
}
