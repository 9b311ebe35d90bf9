//! Transitions of the coordinator's machine, as text: inputs at given times, then what was decided.
//!
//! A [`Trace`] writes inputs as `> …`, events as `+ …` and outputs as they print. Every `check` also refolds the events
//! and compares the state. What crosses a network, or a disk, is not its concern: the simulator has those.

mod samples;
mod jobs;
mod combines;
mod prepare;
mod map_reduce;
mod resources;
mod faults;
mod sessions;
mod placement;
mod shares;
mod recovery;
mod roots;
mod draining;
mod enrolment;
mod removal;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use expect_test::Expect;

use samples::*;

use super::durable::Durable;
use super::{Combine, CombineOutcome, Config, Coordinator, Decision, Input, Output};
use crate::event::{Combined, Completion, Event, Extras, Failure, Metrics, Timing};
use crate::message::{FromWorker, HEARTBEAT_MS, Held, Hello, ToWorker};
use crate::{
    Ability, Attempts, Caller, Digest, Identity, JobId, JobSpec, LeaseId, MapReduce, Millis, Needs, NewToken, Payload,
    Plan, Policy, Reduce, RequestId, Resources, Role, Rounds, SessionId, Split, StageNumber, TaskId, Term, TokenId,
    Work, WorkerId,
};

pub(super) struct Trace {
    machine: Coordinator,
    journal: Vec<Event>,
    now: Millis,
    text: String,
    requests: u64,
    /// Whether heartbeats are written too.
    loud: bool,
    /// Sessions that stand, and when they were last heard.
    sessions: BTreeMap<SessionId, Millis>,
    /// The last assignment or keep of each task in each session.
    leases: BTreeMap<(SessionId, TaskId), LeaseId>,
    /// The combine that was ordered last.
    combine: Option<Combine>,
}

impl Trace {
    /// A coordinator with an empty journal; the opening of its term is not written.
    pub(super) fn new() -> Self {
        let (machine, decision) = Coordinator::start(0, Config::default(), Durable::default());
        let mut trace = Self {
            machine,
            journal: Vec::new(),
            now: 0,
            text: String::new(),
            requests: 0,
            loud: false,
            sessions: BTreeMap::new(),
            leases: BTreeMap::new(),
            combine: None,
        };
        trace.take(true, decision);
        trace.text.clear();
        trace
    }

    /// Compares what was written since the last check, and the state with a refolded journal.
    #[track_caller]
    pub(super) fn check(&mut self, expected: Expect) {
        expected.assert_eq(&self.text);
        self.text.clear();
        assert_eq!(&self.refold(), self.machine.durable(), "replayed equals live");
    }

    /// Forgets what was written, for a test whose beginning another one shows.
    pub(super) fn skip(&mut self) {
        self.text.clear();
    }

    fn refold(&self) -> Durable {
        let mut durable = Durable::default();
        for event in &self.journal {
            durable.apply(event).expect("a journaled event fits");
        }
        durable
    }

    /// The coordinator dies, and another takes the journal over at once. Every session is gone.
    pub(super) fn restart(&mut self) {
        self.say("> restart");
        self.sessions.clear();
        self.leases.clear();
        let (machine, decision) = Coordinator::start(self.now, Config::default(), self.refold());
        self.machine = machine;
        self.take(true, decision);
    }

    /// Time passes, with heartbeats in every session.
    pub(super) fn pass(&mut self, ms: Millis) {
        self.advance(ms, |_| true);
    }

    /// Time passes, with heartbeats in every session but one.
    pub(super) fn pass_without(&mut self, silent: u64, ms: Millis) {
        self.advance(ms, |session| session != SessionId(silent));
    }

    fn advance(&mut self, ms: Millis, speaks: impl Fn(SessionId) -> bool) {
        let end = self.now + ms;
        let mut turns = 0;
        loop {
            let beat = self.sessions.iter().filter(|(session, _)| speaks(**session));
            let beat = beat.map(|(session, heard)| (heard + HEARTBEAT_MS, *session)).min();
            let due = self.machine.poll_timeout().unwrap_or(Millis::MAX);
            match beat {
                Some((at, session)) if at <= due.min(end) => {
                    self.now = at;
                    self.hear(session.0, FromWorker::Heartbeat);
                }
                _ if due <= end => {
                    self.now = due;
                    self.decide(None, Input::Tick);
                    let next = self.machine.poll_timeout().unwrap_or(Millis::MAX);
                    assert!(next > self.now, "a tick handles all that is due");
                }
                _ => break,
            }
            turns += 1;
            assert!(turns < 100 + 100 * ms, "the machine spins");
        }
        self.now = end;
    }

    /// A worker joins: the session's number is also its process's.
    pub(super) fn join(&mut self, session: u64, name: &str, slots: u32) {
        self.connect(session, hello(session, name, slots));
    }

    pub(super) fn connect(&mut self, session: u64, hello: Hello) {
        self.connect_as(session, hello, None);
    }

    pub(super) fn connect_as(&mut self, session: u64, hello: Hello, identity: Option<Identity>) {
        let note = format!("{} in session {session}, holding {}", hello.name, hello.holding.len());
        self.sessions.insert(SessionId(session), self.now);
        self.decide(Some(note), Input::Connected { session: SessionId(session), hello, identity });
    }

    pub(super) fn hang_up(&mut self, session: u64) {
        self.sessions.remove(&SessionId(session));
        self.decide(Some(format!("session {session} ends")), Input::Disconnected { session: SessionId(session) });
    }

    pub(super) fn hear(&mut self, session: u64, message: FromWorker) {
        if let FromWorker::Rejected { lease } = &message {
            self.forget(SessionId(session), *lease);
        }
        let quiet = message == FromWorker::Heartbeat && !self.loud;
        let note = (!quiet).then(|| format!("session {session}: {message}"));
        self.sessions.insert(SessionId(session), self.now);
        self.decide(note, Input::Received { session: SessionId(session), message });
    }

    /// The worker reports a result of the task, under the last lease that it was told.
    pub(super) fn done(&mut self, session: u64, stage: u32, index: u32) {
        let lease = self.lease(session, task(1, stage, index));
        self.done_under(session, lease, index as u8);
    }

    pub(super) fn done_under(&mut self, session: u64, lease: LeaseId, result: u8) {
        self.hear(session, FromWorker::Done { lease, completion: completion(result) });
    }

    pub(super) fn failed(&mut self, session: u64, stage: u32, index: u32) {
        let lease = self.lease(session, task(1, stage, index));
        self.hear(session, FromWorker::Failed { lease, failure: Failure::of("no such file") });
    }

    pub(super) fn rejected(&mut self, session: u64, stage: u32, index: u32) {
        let lease = self.lease(session, task(1, stage, index));
        self.hear(session, FromWorker::Rejected { lease });
    }

    /// The last lease on a task that a session was told.
    #[track_caller]
    pub(super) fn lease(&self, session: u64, task: TaskId) -> LeaseId {
        *self.leases.get(&(SessionId(session), task)).expect("the task went to the session")
    }

    /// Tasks that a session was assigned, or kept, and that it still holds.
    pub(super) fn held(&self, session: u64) -> Vec<TaskId> {
        let tasks = self.leases.keys().filter(|(other, _)| *other == SessionId(session));
        tasks.map(|(_, task)| *task).collect()
    }

    pub(super) fn submit(&mut self, job: u64, spec: &JobSpec) {
        self.submit_missing(job, spec, Vec::new());
    }

    pub(super) fn submit_missing(&mut self, job: u64, spec: &JobSpec, missing: Vec<Digest>) {
        self.submit_for(TokenId::LOCAL, job, spec, missing);
    }

    pub(super) fn submit_for(&mut self, owner: TokenId, job: u64, spec: &JobSpec, missing: Vec<Digest>) {
        let input = Input::Submit {
            request: self.request(),
            job: JobId::from_bits(job),
            spec: spec.clone(),
            submitter: "kim".to_owned(),
            owner,
            missing,
        };
        self.decide(Some(format!("submit {}", JobId::from_bits(job))), input);
    }

    pub(super) fn cancel(&mut self, job: u64) {
        self.cancel_by(Caller::LOCAL, job);
    }

    pub(super) fn cancel_by(&mut self, by: Caller, job: u64) {
        let (request, job) = (self.request(), JobId::from_bits(job));
        self.decide(Some(format!("cancel {job}")), Input::Cancel { request, job, by });
    }

    /// The time of the wall is a second, and as long after as the machine's.
    fn wall_ms(&self) -> u64 {
        1_000 + self.now
    }

    pub(super) fn create_token(&mut self, token: NewToken) {
        let (request, wall_ms) = (self.request(), self.wall_ms());
        self.decide(Some(format!("create token {}", token.token)), Input::CreateToken { request, token, wall_ms });
    }

    pub(super) fn revoke_token(&mut self, id: u64) {
        let (request, token) = (self.request(), TokenId::from_bits(id));
        self.decide(Some(format!("revoke token {token}")), Input::RevokeToken { request, token });
    }

    /// The secret of each token is its number; so is the key of each machine.
    pub(super) fn enrol(&mut self, id: u64, secret: u8, name: &str, key: u8) {
        let (request, wall_ms, token) = (self.request(), self.wall_ms(), TokenId::from_bits(id));
        let (name, secret, key) = (name.to_owned(), Digest([secret; 32]), Digest([key; 32]));
        let note = format!("{name:?} enrols by {token} with secret {secret:?} and key {key:?}");
        self.decide(Some(note), Input::Enrol { request, token, secret, name, key, wall_ms });
    }

    pub(super) fn remove(&mut self, role: Role, name: &str) {
        let (request, name) = (self.request(), name.to_owned());
        self.decide(Some(format!("remove the {role} {name}")), Input::RemoveIdentity { request, role, name });
    }

    pub(super) fn tokens(&mut self) {
        let request = self.request();
        self.decide(Some("tokens".to_owned()), Input::Tokens { request });
    }

    pub(super) fn snapshot_stored(&mut self, through: u64) {
        let state = Digest([through as u8; 32]);
        let input = Input::SnapshotStored { through: crate::Position(through), state };
        self.decide(Some(format!("snapshot stored through {through}")), input);
    }

    pub(super) fn forget_job(&mut self, job: u64) {
        let job = JobId::from_bits(job);
        self.decide(Some(format!("forget {job}")), Input::Forget { job });
    }

    pub(super) fn deadline_passed(&mut self, job: u64) {
        let job = JobId::from_bits(job);
        self.decide(Some(format!("the deadline of {job} passes")), Input::DeadlinePassed { job });
    }

    pub(super) fn drain(&mut self, worker: &str) {
        let input = Input::Drain { request: self.request(), worker: worker.to_owned() };
        self.decide(Some(format!("drain {worker}")), input);
    }

    /// How long a task takes on a worker, as placement has it.
    pub(super) fn pace_ms(&self, worker: &str) -> Option<Millis> {
        self.machine.roster.iter().find(|(_, other)| other.name == worker)?.1.pace_ms()
    }

    pub(super) fn inspect(&mut self) {
        let request = self.request();
        self.decide(Some("inspect".to_owned()), Input::Inspect { request });
    }

    pub(super) fn why_waits(&mut self, job: u64, by: Caller) {
        let (request, job) = (self.request(), JobId::from_bits(job));
        self.decide(Some(format!("why does {job} wait?")), Input::WhyWaits { request, job, by });
    }

    pub(super) fn combined(&mut self, job: u64, stage: u32, result: u8) {
        let combined = Combined { result: blob(result), metrics: Metrics::default(), refused: Vec::new() };
        self.combine_ends(job, stage, CombineOutcome::Combined(combined));
    }

    pub(super) fn combine_ends(&mut self, job: u64, stage: u32, outcome: CombineOutcome) {
        let (job, stage) = (JobId::from_bits(job), StageNumber(stage));
        let note = match &outcome {
            CombineOutcome::Combined(combined) => format!("combine of {job}/{stage} made {}", combined.result),
            other => format!("combine of {job}/{stage}: {other:?}"),
        };
        self.decide(Some(note), Input::Combined { job, stage, outcome });
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn decide(&mut self, note: Option<String>, input: Input) {
        note.iter().for_each(|note| self.say(format!("> {note}")));
        let decision = self.machine.decide(self.now, input);
        self.take(note.is_some(), decision);
    }

    /// Writes a decision, under `> time` where no input was noted.
    fn take(&mut self, noted: bool, decision: Decision) {
        let mut lines: Vec<String> = Vec::new();
        for event in decision.events {
            lines.push(format!("  + {event}"));
            self.journal.push(event);
        }
        for output in decision.outputs {
            self.note(&output);
            if self.loud || !matches!(&output, Output::Send { message: ToWorker::Heartbeat, .. }) {
                lines.push(format!("  {output}"));
            }
        }
        if !noted && !lines.is_empty() {
            self.say("> time");
        }
        lines.iter().for_each(|line| writeln!(self.text, "{line}").expect("a text takes any line"));
    }

    fn note(&mut self, output: &Output) {
        match output {
            Output::Send { session, message: ToWorker::Assign(assignment) } => {
                self.leases.insert((*session, assignment.task), assignment.lease);
            }
            Output::Send { session, message: ToWorker::Welcome { kept, .. } } => {
                self.leases.extend(kept.iter().map(|(task, lease)| ((*session, *task), *lease)));
            }
            Output::Send { session, message: ToWorker::Revoke { lease } | ToWorker::Accepted { lease } } => {
                self.forget(*session, *lease);
            }
            Output::Combine(combine) => self.combine = Some(combine.clone()),
            Output::Close { session, .. } => drop(self.sessions.remove(session)),
            _ => {}
        }
    }

    fn forget(&mut self, session: SessionId, lease: LeaseId) {
        self.leases.retain(|(other, _), held| *other != session || *held != lease);
    }

    fn say(&mut self, line: impl Display) {
        writeln!(self.text, "{} {line}", self.now).expect("a text takes any line");
    }
}
