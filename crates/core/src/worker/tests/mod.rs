//! Transitions of the worker's machine, as text: inputs at given times, then the orders to its shell.

mod sessions;
mod orphans;
mod draining;
mod tasks;

use std::fmt::Write;

use expect_test::Expect;

use super::*;
use crate::event::{Metrics, Timing};
use crate::{Ability, Digest, JobId, Needs, Payload, Resources, Split, StageNumber, Term, WorkerId};

struct Trace {
    machine: Worker,
    now: Millis,
    text: String,
    /// Whether heartbeats are written too.
    loud: bool,
}

impl Trace {
    fn new(slots: u32, load: Load) -> Self {
        let hello = Hello {
            worker: WorkerId(1),
            name: "ann".to_owned(),
            slots,
            abilities: Vec::new(),
            profile: String::new(),
            hardware: String::new(),
            holding: Vec::new(),
            draining: false,
            resources: Resources::default(),
        };
        Self { machine: Worker::new(0, Config { hello, load, ahead: 0 }), now: 0, text: String::new(), loud: false }
    }

    /// A worker without other load whose session stands.
    fn joined(slots: u32) -> Self {
        Self::joined_under(slots, idle())
    }

    fn joined_under(slots: u32, load: Load) -> Self {
        let mut trace = Self::new(slots, load);
        trace.pass(0);
        trace.join(&[]);
        trace.text.clear();
        trace
    }

    #[track_caller]
    fn check(&mut self, expected: Expect) {
        expected.assert_eq(&self.text);
        self.text.clear();
    }

    fn pass(&mut self, ms: Millis) {
        let end = self.now + ms;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.handle(None, Input::Tick);
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a tick handles all that is due");
        }
        self.now = end;
    }

    /// Time passes, and the coordinator is heard each second.
    fn pass_heard(&mut self, ms: Millis) {
        for _ in 0..ms / 1_000 {
            self.pass(1_000);
            self.hear(ToWorker::Heartbeat);
        }
        self.pass(ms % 1_000);
    }

    fn join(&mut self, kept: &[(TaskId, LeaseId)]) {
        self.handle(Some("connected"), Input::Connected);
        self.hear(ToWorker::Welcome { term: Term(1), name: "ann".to_owned(), kept: kept.to_vec() });
    }

    fn disconnect(&mut self) {
        self.handle(Some("disconnected"), Input::Disconnected);
    }

    fn hear(&mut self, message: ToWorker) {
        let note = message.to_string();
        let quiet = message == ToWorker::Heartbeat && !self.loud;
        self.handle((!quiet).then_some(&note), Input::Received(message));
    }

    fn assign(&mut self, number: u64) {
        self.hear(ToWorker::Assign(assignment(number, false)));
    }

    /// What must not run twice at a time.
    fn assign_once(&mut self, number: u64) {
        self.hear(ToWorker::Assign(Assignment { idempotent: false, ..assignment(number, false) }));
    }

    fn finish(&mut self, run: u64) {
        self.handle(Some(&format!("run {run} ends")), Input::Finished { run: Run(run), outcome: Ok(completion()) });
    }

    fn handle(&mut self, note: Option<&str>, input: Input) {
        note.into_iter().for_each(|note| self.say(note));
        let outputs = self.machine.handle(self.now, input);
        let outputs = outputs.iter().filter(|output| self.loud || **output != Output::Send(FromWorker::Heartbeat));
        let lines: Vec<String> = outputs.map(|output| format!("  {output}\n")).collect();
        if note.is_none() && !lines.is_empty() {
            self.say("time");
        }
        self.text.extend(lines);
    }

    fn say(&mut self, note: &str) {
        writeln!(self.text, "{} > {note}", self.now).expect("a text takes any line");
    }
}

fn idle() -> Load {
    Load { probability: 0.0, delay_ms: 500, seed: 1 }
}

fn busy(seed: u64) -> Load {
    Load { probability: 0.5, delay_ms: 500, seed }
}

fn task(index: u64) -> TaskId {
    TaskId { job: JobId::from_bits(1), stage: StageNumber(1), index: index as u32 }
}

fn lease(number: u64) -> LeaseId {
    LeaseId { term: Term(1), number }
}

/// The task of a number, under the lease of the same number.
fn assignment(number: u64, may_reject: bool) -> Assignment {
    let payload = Payload::blob(Digest([0; 32]));
    Assignment {
        lease: lease(number),
        task: task(number),
        ability: Ability::new("train").expect("a short name is an ability"),
        program: payload.clone(),
        base: payload.clone(),
        input: payload,
        split: Split::Entries,
        seed: 0,
        may_reject,
        attempt: 1,
        round: 1,
        needs: Needs::default(),
        timeout_ms: None,
        idempotent: true,
    }
}

fn completion() -> Completion {
    let result = Payload::blob(Digest([7; 32]));
    Completion { result, samples: 10, metrics: Metrics::default(), timing: Timing::default(), ..Completion::default() }
}
