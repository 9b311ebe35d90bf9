//! What a peer, or a damaged journal, may get wrong: each is refused with the name of the field and the value.

use convoke_core::event::{
    Combined, Completion, Fault, LISTED_MAX, LISTED_REASON_BYTES_MAX, LOST_MAX, Metrics, Outcome, REASON_BYTES_MAX,
    Tally, TaskRecord,
};
use convoke_core::message::SLOTS_MAX;
use convoke_core::{INLINE_BYTES_MAX, JobSpec, NAME_BYTES_MAX, Payload, TaskId, Work};
use convoke_proto::{DecodeError, decode_event, v1};
use prost::Message;
use v1::event::{Enrolled, Kind, ResultsLost, StageClosed, StageOpened, TokenCreated};

/// What decoding the message says.
fn check<M, V: TryFrom<M, Error = DecodeError>>(message: M, expected: &str) {
    let said = V::try_from(message).map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
    assert_eq!(said, expected);
}

fn check_event(kind: Kind, expected: &str) {
    let said = decode_event(&v1::Event { kind: Some(kind) }.encode_to_vec());
    assert_eq!(said.map_or_else(|error| error.to_string(), |_| "accepted".to_owned()), expected);
}

fn inline(bytes: usize) -> v1::Payload {
    v1::Payload { form: Some(v1::payload::Form::Inline(vec![7; bytes])) }
}

fn work() -> v1::Work {
    let split = v1::Split { kind: Some(v1::split::Kind::Entries(v1::Nothing {})) };
    v1::Work {
        ability: "train".to_owned(),
        program: Some(inline(1)),
        input: Some(inline(1)),
        split: Some(split),
        count: 3,
        combine: Some(inline(1)),
        needs: Some(v1::Needs { slots: 1, resources: Vec::new() }),
    }
}

fn spec() -> v1::JobSpec {
    let rounds = v1::Rounds { rounds: 2, base: Some(inline(1)), train: Some(work()), evaluate: None, prepare: None };
    let plan = v1::Plan { kind: Some(v1::plan::Kind::Rounds(rounds)) };
    let name = "digits".to_owned();
    v1::JobSpec {
        name,
        plan: Some(plan),
        policy: None,
        seed: 7,
        attempt_timeout_ms: None,
        attempts: Some(v1::Attempts { timeout_ms: None, retries: 2, idempotent: true }),
        deadline_ms: None,
        priority: 0,
    }
}

fn metric(name: &str, value: f64) -> v1::Metric {
    v1::Metric { name: name.to_owned(), value: Some(value) }
}

fn completion(metrics: Vec<v1::Metric>) -> v1::Completion {
    v1::Completion {
        result: Some(inline(1)),
        samples: 1,
        metrics,
        timing: Some(v1::Timing::default()),
        usage: Some(v1::Usage::default()),
        ..v1::Completion::default()
    }
}

#[test]
fn payloads() {
    check::<_, Payload>(inline(INLINE_BYTES_MAX), "accepted");
    check::<_, Payload>(
        inline(INLINE_BYTES_MAX + 1),
        "Payload.inline: 32769 bytes do not fit in a payload, which holds 32768: store them as a blob",
    );
    let blob = v1::Payload { form: Some(v1::payload::Form::Blob(vec![7; 31])) };
    check::<_, Payload>(blob, "Payload.blob: a digest has 32 bytes, not 31");
    check::<_, Payload>(v1::Payload::default(), "Payload.form is missing or of an unknown kind");
}

#[test]
fn ids() {
    let task = v1::TaskId { job: 1 << 40, stage: 1, index: 0 };
    check::<_, TaskId>(task, "TaskId.job: 0x10000000000 is not a job id of 40 bits");
}

#[test]
fn specs() {
    check::<_, JobSpec>(spec(), "accepted");
    check::<_, JobSpec>(v1::JobSpec { plan: None, ..spec() }, "JobSpec.plan is missing or of an unknown kind");
    for value in [0, 4] {
        let message = v1::JobSpec { policy: Some(value), ..spec() };
        check::<_, JobSpec>(message, &format!("JobSpec.policy: {value} is not a known value"));
    }
    check::<_, JobSpec>(
        v1::JobSpec { name: String::new(), ..spec() },
        "the job's name, \"\", is not 1 to 128 bytes without control characters",
    );
    for priority in [-10, 10] {
        check::<_, JobSpec>(v1::JobSpec { priority, ..spec() }, "accepted");
    }
    for priority in [-11, 11, i32::MIN, i32::MAX] {
        let message = v1::JobSpec { priority, ..spec() };
        check::<_, JobSpec>(message, &format!("priority: {priority} is not between -10 and 10"));
    }
    let rounds = v1::Rounds { rounds: 0, base: Some(inline(1)), train: Some(work()), evaluate: None, prepare: None };
    let plan = v1::Plan { kind: Some(v1::plan::Kind::Rounds(rounds)) };
    check::<_, JobSpec>(v1::JobSpec { plan: Some(plan), ..spec() }, "rounds: 0 is not between 1 and 1000000");
    let rounds =
        v1::Rounds { rounds: 1, base: Some(inline(24 * 1024)), train: Some(work()), evaluate: None, prepare: None };
    let plan = v1::Plan { kind: Some(v1::plan::Kind::Rounds(rounds)) };
    check::<_, JobSpec>(
        v1::JobSpec { plan: Some(plan), ..spec() },
        "the payloads hold 24579 bytes in place, at most 24576 are allowed: store them as blobs",
    );
}

#[test]
fn works() {
    check::<_, Work>(v1::Work { input: None, ..work() }, "Work.input is missing or of an unknown kind");
    check::<_, Work>(
        v1::Work { split: Some(v1::Split::default()), ..work() },
        "Split.kind is missing or of an unknown kind",
    );
    let ability = "a".repeat(NAME_BYTES_MAX + 1);
    let said = format!("the ability's name, {:?}, is not 1 to 128 bytes without control characters", &ability[..32]);
    check::<_, Work>(v1::Work { ability, ..work() }, &said);
}

#[test]
fn stages_and_records() {
    let opened = |count| {
        let purpose = Some(v1::Purpose { kind: Some(v1::purpose::Kind::TrainRound(1)) });
        Kind::StageOpened(StageOpened {
            job: 1,
            stage: 1,
            purpose,
            base: Some(inline(1)),
            work: Some(v1::Work { count, ..work() }),
        })
    };
    check_event(opened(1_000_000), "accepted");
    for count in [0, 1_000_001, u32::MAX] {
        check_event(opened(count), &format!("the stage's tasks: {count} is not between 1 and 1000000"));
    }
    let record = |slots| v1::TaskRecord {
        attempt: 1,
        worker: "lab-3".to_owned(),
        profile: String::new(),
        completion: Some(completion(Vec::new())),
        slots,
    };
    check::<_, TaskRecord>(record(0), "accepted");
    check::<_, TaskRecord>(record(SLOTS_MAX), "accepted");
    check::<_, TaskRecord>(record(SLOTS_MAX + 1), "TaskRecord.slots: 513 is more than 512");
}

#[test]
fn metrics() {
    let check = |metrics, expected: &str| check::<_, Completion>(completion(metrics), expected);
    check(vec![metric("a", 1.0), metric("b", -0.0)], "accepted");
    check(vec![metric("b", 1.0), metric("a", 1.0)], "Metric.name: `a` does not come after `b`");
    check(vec![metric("a", 1.0), metric("a", 1.0)], "Metric.name: `a` does not come after `a`");
    check(vec![metric("loss", f64::NAN)], "Metric.value: `loss` is NaN, not a finite number");
    check(vec![metric("loss", f64::INFINITY)], "Metric.value: `loss` is inf, not a finite number");
    check(vec![v1::Metric { value: None, ..metric("a", 1.0) }], "Metric.value is missing or of an unknown kind");
    let long = "n".repeat(Metrics::NAME_BYTES_MAX + 1);
    check(vec![metric(&long, 1.0)], "Metric.name: 65 bytes, at most 64 are allowed");
    let many = (0..=Metrics::COUNT_MAX).map(|place| metric(&format!("{place:02}"), 1.0)).collect();
    check(many, "Completion.metrics: 33 entries, at most 32 are allowed");
}

#[test]
fn reasons() {
    let reason = "r".repeat(REASON_BYTES_MAX + 1);
    let failure = v1::Failure { reason: reason.clone(), ..v1::Failure::default() };
    let fault = v1::Fault { kind: Some(v1::fault::Kind::Failure(failure)) };
    check::<_, Fault>(fault, "Failure.reason: 2049 bytes, at most 2048 are allowed");
    let outcome = v1::Outcome { kind: Some(v1::outcome::Kind::Failed(reason)) };
    check::<_, Outcome>(outcome, "Outcome.failed: 2049 bytes, at most 2048 are allowed");
    check::<_, Outcome>(v1::Outcome::default(), "Outcome.kind is missing or of an unknown kind");

    let refused = |reason, count| {
        let refused = vec![v1::Refused { index: 0, reason }; count];
        v1::Combined { result: Some(inline(1)), metrics: Vec::new(), refused }
    };
    let longest = "r".repeat(LISTED_REASON_BYTES_MAX);
    check::<_, Combined>(refused(longest.clone(), LISTED_MAX), "accepted");
    check::<_, Combined>(refused(longest.clone() + "r", 1), "Refused.reason: 257 bytes, at most 256 are allowed");
    check::<_, Combined>(refused(longest, LISTED_MAX + 1), "Combined.refused: 65 entries, at most 64 are allowed");
}

#[test]
fn lists() {
    let lost = |count| Kind::ResultsLost(ResultsLost { job: 1, stage: 1, indices: vec![0; count] });
    check_event(lost(LOST_MAX), "accepted");
    check_event(lost(LOST_MAX + 1), "ResultsLost.indices: 4097 entries, at most 4096 are allowed");
    let tally = v1::Tally { worker: "lab-3".to_owned(), rejections: 1, losses: 0 };
    let closed = |count| Kind::StageClosed(StageClosed { job: 1, stage: 1, tallies: vec![tally.clone(); count] });
    check_event(closed(LISTED_MAX), "accepted");
    check_event(closed(LISTED_MAX + 1), "StageClosed.tallies: 65 entries, at most 64 are allowed");
    check::<_, Tally>(
        v1::Tally { worker: "\n".to_owned(), ..tally.clone() },
        "the worker's name, \"\\n\", is not 1 to 128 bytes without control characters",
    );
}

#[test]
fn credentials() {
    let created = TokenCreated {
        token: 1,
        role: v1::Role::Worker.into(),
        name: Some("lab-3".to_owned()),
        secret: vec![7; 32],
        expires_ms: None,
        uses: Some(1),
        by: "kim".to_owned(),
        commands: false,
    };
    let check = |event, expected: &str| check_event(Kind::TokenCreated(event), expected);
    check(created.clone(), "accepted");
    let event = TokenCreated { token: 1 << 40, ..created.clone() };
    check(event, "TokenCreated.token: 0x10000000000 is not a token's id of 40 bits");
    for role in [0, 4] {
        let event = TokenCreated { role, ..created.clone() };
        check(event, &format!("TokenCreated.role: {role} is not a known value"));
    }
    let event = TokenCreated { name: Some(String::new()), ..created.clone() };
    check(event, "the token's name, \"\", is not 1 to 128 bytes without control characters");
    let event = TokenCreated { secret: vec![7; 31], ..created.clone() };
    check(event, "TokenCreated.secret: a digest has 32 bytes, not 31");
    check(TokenCreated { uses: Some(0), ..created }, "uses: 0 is not between 1 and 4294967295");
    let enrolled = Enrolled { token: 1, serial: 1, name: "lab-3".to_owned(), key: Vec::new() };
    check_event(Kind::Enrolled(enrolled), "Enrolled.key: a digest has 32 bytes, not 0");
}

#[test]
fn what_only_a_newer_build_knows() {
    // Field 100, of no bytes: an event of a kind to come.
    let said = decode_event(&[0xa2, 0x06, 0x00]).unwrap_err().to_string();
    assert_eq!(said, "Event.kind is missing or of an unknown kind");
    let said = decode_event(&[0xff]).unwrap_err().to_string();
    assert!(said.starts_with("no message `Event`: "), "{said}");
}
