//! Transitions of the worker's machine, as text: inputs at given times, then the orders to its shell.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::event::{Metrics, Timing};
use crate::{Ability, Digest, JobId, Payload, Split, StageNumber, Term, WorkerId};

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
        };
        Self { machine: Worker::new(0, Config { hello, load }), now: 0, text: String::new(), loud: false }
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
    }
}

fn completion() -> Completion {
    let result = Payload::blob(Digest([7; 32]));
    Completion { result, samples: 10, metrics: Metrics::default(), timing: Timing::default() }
}

#[test]
fn it_dials_greets_and_lets_the_coordinator_hear_from_it() {
    let mut trace = Trace::new(2, idle());
    trace.loud = true;
    trace.pass(0);
    trace.join(&[]);
    trace.pass(2_500);
    trace.check(expect![[r#"
        0 > time
          dial
        0 > connected
          greet as ann with 0 tasks
        0 > welcome ann to term 1
          notice: joined as ann
        1000 > time
          send heartbeat
        2000 > time
          send heartbeat
    "#]]);
}

#[test]
fn tasks_wait_for_a_slot_in_order() {
    let mut trace = Trace::joined(2);
    (1..=4).for_each(|number| trace.assign(number));
    trace.finish(2);
    trace.hear(ToWorker::Accepted { lease: lease(2) });
    trace.finish(1);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          start 00000001/1/1 as run 1
        0 > assign 00000001/1/2 as 1.2
          start 00000001/1/2 as run 2
        0 > assign 00000001/1/3 as 1.3
        0 > assign 00000001/1/4 as 1.4
        0 > run 2 ends
          send done 1.2: blob 07070707
          start 00000001/1/3 as run 3
        0 > accepted 1.2
        0 > run 1 ends
          send done 1.1: blob 07070707
          start 00000001/1/4 as run 4
    "#]]);
}

#[test]
fn a_failed_task_says_why_within_limits() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.text.clear();
    let outcome = Err("ä".repeat(REASON_BYTES_MAX));
    let outputs = trace.machine.handle(0, Input::Finished { run: Run(1), outcome });
    let [Output::Send(FromWorker::Failed { lease: failed, reason })] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((*failed, reason.len()), (lease(1), REASON_BYTES_MAX));
}

#[test]
fn a_revoked_task_is_aborted_and_its_end_is_news_to_nobody() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.assign(2);
    trace.assign(3);
    trace.hear(ToWorker::Revoke { lease: lease(3) });
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.finish(1);
    trace.hear(ToWorker::Revoke { lease: lease(9) });
    trace.finish(2);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          start 00000001/1/1 as run 1
        0 > assign 00000001/1/2 as 1.2
        0 > assign 00000001/1/3 as 1.3
        0 > revoke 1.3
        0 > revoke 1.1
          abort run 1
          start 00000001/1/2 as run 2
        0 > run 1 ends
        0 > revoke 1.9
        0 > run 2 ends
          send done 1.2: blob 07070707
    "#]]);
}

#[test]
fn what_runs_goes_on_through_a_loss_and_is_reported_under_its_new_lease() {
    let mut trace = Trace::joined(2);
    (1..=4).for_each(|number| trace.assign(number));
    trace.text.clear();
    trace.disconnect();
    // The third starts in the slot that is free; the fourth never did, so it is left out.
    trace.finish(1);
    trace.pass(100);
    trace.join(&[(task(1), lease(11)), (task(2), lease(12))]);
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.finish(2);
    trace.check(expect![[r#"
        0 > disconnected
          notice: lost the coordinator; dialling again
        0 > run 1 ends
          start 00000001/1/3 as run 3
        70 > time
          dial
        100 > connected
          greet as ann with 3 tasks
        100 > welcome ann to term 1, keep 00000001/1/1 as 1.11, keep 00000001/1/2 as 1.12
          notice: joined again as ann, going on with 2 tasks
          send done 1.11: blob 07070707
          abort run 3
        100 > revoke 1.1
        100 > run 2 ends
          send done 1.12: blob 07070707
    "#]]);
}

#[test]
fn what_is_not_kept_is_dropped() {
    let mut trace = Trace::joined(2);
    trace.assign(1);
    trace.assign(2);
    trace.finish(2);
    trace.disconnect();
    trace.pass(100);
    trace.text.clear();
    trace.join(&[]);
    trace.finish(1);
    trace.disconnect();
    trace.pass(100);
    trace.join(&[]);
    trace.check(expect![[r#"
        100 > connected
          greet as ann with 2 tasks
        100 > welcome ann to term 1
          notice: joined as ann
          abort run 1
        100 > run 1 ends
        100 > disconnected
          notice: lost the coordinator; dialling again
        151 > time
          dial
        200 > connected
          greet as ann with 0 tasks
        200 > welcome ann to term 1
          notice: joined as ann
    "#]]);
}

#[test]
fn a_report_that_was_not_acknowledged_is_made_again() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.finish(1);
    trace.text.clear();
    trace.disconnect();
    trace.pass(100);
    trace.join(&[(task(1), lease(5))]);
    trace.disconnect();
    trace.pass(100);
    trace.join(&[(task(1), lease(6))]);
    trace.hear(ToWorker::Accepted { lease: lease(6) });
    trace.check(expect![[r#"
        0 > disconnected
          notice: lost the coordinator; dialling again
        55 > time
          dial
        100 > connected
          greet as ann with 1 tasks
        100 > welcome ann to term 1, keep 00000001/1/1 as 1.5
          notice: joined again as ann, going on with 1 tasks
          send done 1.5: blob 07070707
        100 > disconnected
          notice: lost the coordinator; dialling again
        187 > time
          dial
        200 > connected
          greet as ann with 1 tasks
        200 > welcome ann to term 1, keep 00000001/1/1 as 1.6
          notice: joined again as ann, going on with 1 tasks
          send done 1.6: blob 07070707
        200 > accepted 1.6
    "#]]);
    assert!(trace.machine.holding.is_empty());
}

#[test]
fn a_silent_coordinator_is_hung_up_on_after_five_seconds() {
    let mut trace = Trace::joined(1);
    trace.pass_heard(20_000);
    trace.pass(4_999);
    trace.check(expect![[""]]);
    trace.pass(100);
    trace.check(expect![[r#"
        25000 > time
          hang up
          notice: lost the coordinator; dialling again
        25078 > time
          dial
    "#]]);
    // What still comes of the old session is not heard; a hello without an answer is given up, too.
    trace.assign(1);
    trace.handle(Some("connected"), Input::Connected);
    trace.pass(5_100);
    trace.check(expect![[r#"
        25099 > assign 00000001/1/1 as 1.1
        25099 > connected
          greet as ann with 0 tasks
        30099 > time
          hang up
    "#]]);
}

#[test]
fn dialling_pauses_longer_each_time_within_bounds() {
    let pauses = |seed| {
        let mut trace = Trace::new(1, Load { seed, ..idle() });
        trace.pass(0);
        let pause = |_| {
            trace.disconnect();
            let at = trace.now;
            let due = trace.machine.poll_timeout().expect("it dials again");
            trace.pass(due - at);
            due - at
        };
        (0..12).map(pause).collect::<Vec<Millis>>()
    };
    for seed in 0..100 {
        for (failures, pause) in pauses(seed).into_iter().enumerate() {
            let most = (REDIAL_MS << failures).min(REDIAL_MS_MAX);
            assert!((most / 2..=most).contains(&pause), "seed {seed}, after {failures}: {pause}");
        }
    }
    assert_ne!(pauses(1), pauses(2));
    expect!["[78, 190, 295, 403, 1528, 2414, 4200, 2805, 4657, 2583, 4159, 3652]"]
        .assert_eq(&format!("{:?}", pauses(1)));
}

#[test]
fn a_session_that_stood_forgives_what_failed_before() {
    let mut trace = Trace::new(1, idle());
    trace.pass(0);
    for _ in 0..9 {
        trace.disconnect();
        trace.pass(REDIAL_MS_MAX);
    }
    trace.join(&[]);
    trace.disconnect();
    assert!(trace.machine.poll_timeout().is_some_and(|due| due <= trace.now + REDIAL_MS));
}

#[test]
fn load_delays_and_rejects() {
    let mut trace = Trace::joined_under(1, busy(3));
    for number in 1..=6 {
        trace.hear(ToWorker::Assign(assignment(number, true)));
        trace.pass_heard(1_000);
        let running = trace.machine.holding.iter().find_map(|held| match held.state {
            State::Running { run } => Some(run),
            _ => None,
        });
        running.into_iter().for_each(|run| trace.finish(run.0));
        trace.hear(ToWorker::Accepted { lease: lease(number) });
    }
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          notice: task 00000001/1/1 waits 500 ms (busy)
        500 > time
          notice: rejected task 00000001/1/1 (busy)
          send rejected 1.1
        1000 > accepted 1.1
        1000 > assign 00000001/1/2 as 1.2
          notice: rejected task 00000001/1/2 (busy)
          send rejected 1.2
        2000 > accepted 1.2
        2000 > assign 00000001/1/3 as 1.3
          start 00000001/1/3 as run 3
        3000 > run 3 ends
          send done 1.3: blob 07070707
        3000 > accepted 1.3
        3000 > assign 00000001/1/4 as 1.4
          notice: task 00000001/1/4 waits 500 ms (busy)
        3500 > time
          notice: rejected task 00000001/1/4 (busy)
          send rejected 1.4
        4000 > accepted 1.4
        4000 > assign 00000001/1/5 as 1.5
          notice: task 00000001/1/5 waits 500 ms (busy)
        4500 > time
          notice: rejected task 00000001/1/5 (busy)
          send rejected 1.5
        5000 > accepted 1.5
        5000 > assign 00000001/1/6 as 1.6
          start 00000001/1/6 as run 6
        6000 > run 6 ends
          send done 1.6: blob 07070707
        6000 > accepted 1.6
    "#]]);
}

#[test]
fn what_may_not_be_rejected_is_only_delayed_in_the_same_sequence() {
    let delays = |may_reject| {
        let mut trace = Trace::joined_under(1, busy(3));
        for number in 1..=50 {
            trace.hear(ToWorker::Assign(assignment(number, may_reject)));
            trace.pass(500);
            trace.hear(ToWorker::Revoke { lease: lease(number) });
        }
        let lines = trace.text.lines().filter(|line| line.contains("waits 500 ms")).map(str::to_owned);
        (lines.collect::<Vec<_>>(), trace.text.contains("send rejected"))
    };
    let (with, rejected) = delays(true);
    let (without, rejected_none) = delays(false);
    assert_eq!(with, without);
    assert!(rejected && !rejected_none);
    assert!((15..=35).contains(&with.len()), "{}", with.len());
}

#[test]
fn a_delayed_task_keeps_its_slot_and_can_be_revoked() {
    let mut trace = Trace::joined_under(1, Load { probability: 1.0, ..busy(1) });
    trace.hear(ToWorker::Assign(assignment(1, false)));
    trace.hear(ToWorker::Assign(assignment(2, false)));
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.pass(500);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          notice: task 00000001/1/1 waits 500 ms (busy)
        0 > assign 00000001/1/2 as 1.2
        0 > revoke 1.1
          notice: task 00000001/1/2 waits 500 ms (busy)
        500 > time
          start 00000001/1/2 as run 2
    "#]]);
}

#[test]
fn a_flood_of_tasks_is_given_back() {
    let mut trace = Trace::joined(1);
    (1..=1 + QUEUE_MAX as u64).for_each(|number| trace.assign(number));
    trace.text.clear();
    trace.assign(100);
    trace.check(expect![[r#"
        0 > assign 00000001/1/100 as 1.100
          send rejected 1.100
    "#]]);
}
