//! A snapshot survives its encoding whatever state a job is in, and spoiled bytes are refused without a panic.

use convoke_core::coordinator::credentials::Credentials;
use convoke_core::event::{
    Combined, Completion, Exit, Extras, Failure, Fault, Metrics, Outcome, Purpose, Refused, Tally, TaskRecord, Timing,
    Usage,
};
use convoke_core::snapshot::Snapshot;
use convoke_core::{
    Ability, Attempts, Digest, Event, JobId, JobSpec, MapReduce, Needs, Payload, Plan, Policy, Position, Reduce,
    Resources, Role, Rounds, Split, StageNumber, TaskId, Term, TokenId, Work,
};
use convoke_proto::{decode_snapshot, encode_snapshot, v1};
use proptest::prelude::*;
use prost::Message;

fn blob(byte: u8) -> Payload {
    Payload::blob(Digest([byte; 32]))
}

fn work(count: u32) -> Work {
    let ability = Ability::new("train").unwrap();
    let (program, combine) = (Payload::inline(b"program").unwrap(), Payload::inline(b"rule").unwrap());
    Work { ability, program, input: blob(9), split: Split::Entries, count, combine, needs: Needs::default() }
}

fn submitted(job: JobId) -> Event {
    let plan =
        Plan::Rounds(Rounds { rounds: 3, base: blob(1), prepare: None, train: work(2), evaluate: Some(work(1)) });
    let name = "letters".to_owned();
    let spec = JobSpec {
        name,
        plan,
        policy: Some(Policy::Random),
        seed: 7,
        attempts: Attempts { timeout_ms: Some(9), ..Attempts::default() },
        deadline_ms: None,
        priority: -2,
    };
    let owner = TokenId::from_bits(job.bits() - 1);
    Event::JobSubmitted { job, spec: Box::new(spec), submitter: "ann".to_owned(), owner }
}

fn created(token: u64, name: Option<&str>, uses: Option<u32>) -> Event {
    // A client that may run commands, where a name is given.
    let commands = name.is_some();
    let role = if commands { Role::Client } else { Role::Worker };
    let (secret, by) = (Digest([token as u8; 32]), "ann".to_owned());
    let (token, name) = (TokenId::from_bits(token), name.map(str::to_owned));
    Event::TokenCreated { token, role, commands, name, secret, expires_ms: uses.map(u64::from), uses, by }
}

fn enrolled(token: u64, serial: u64) -> Event {
    let (name, key) = (format!("w{serial}"), Digest([serial as u8; 32]));
    Event::Enrolled { token: TokenId::from_bits(token), serial, name, key }
}

fn removed(name: &str, through: u64) -> Event {
    Event::IdentityRemoved { role: Role::Worker, name: name.to_owned(), through }
}

fn opened(job: JobId, stage: u32, purpose: Purpose) -> Event {
    let count = if let Purpose::Train { .. } = purpose { 2 } else { 1 };
    Event::StageOpened { job, stage: StageNumber(stage), purpose, base: blob(1), work: work(count) }
}

fn done(job: JobId, stage: u32, index: u32, metrics: Metrics) -> Event {
    let timing = Timing { queued_us: 1, fetch_us: 2, compute_us: 3, report_us: 4 };
    let completion = Completion { result: blob(index as u8), samples: 10, metrics, timing, ..Completion::default() };
    let record =
        TaskRecord { attempt: 1, worker: format!("w{index}"), profile: "test".to_owned(), slots: 2, completion };
    Event::TaskDone { task: TaskId { job, stage: StageNumber(stage), index }, record }
}

fn closed(job: JobId, stage: u32) -> Event {
    let tallies = vec![Tally { worker: "w0".to_owned(), rejections: 2, losses: 1 }];
    Event::StageClosed { job, stage: StageNumber(stage), tallies }
}

fn combined(job: JobId, stage: u32, metrics: Metrics) -> Event {
    let refused = vec![Refused { index: 1, reason: "it holds NaN".to_owned() }];
    Event::StageCombined { job, stage: StageNumber(stage), combined: Combined { result: blob(8), metrics, refused } }
}

/// A job that ended, one in the middle of its second round and its first evaluation, and a snapshot in between.
fn snapshot() -> Snapshot {
    let (one, other) = (JobId::from_bits(1), JobId::from_bits(2));
    let failed = |fault| Event::AttemptFailed {
        task: TaskId { job: other, stage: StageNumber(2), index: 1 },
        attempt: 1,
        worker: "w3".to_owned(),
        fault,
    };
    let trained = || Metrics::from_iter([("train_error", -0.0), ("training_epochs", 5.0)]);
    let frames = [
        vec![Event::TermOpened { term: Term(1) }, submitted(one), submitted(other)],
        vec![Event::JobFinished { job: one, outcome: Outcome::Failed { reason: "so it goes".to_owned() } }],
        vec![Event::SnapshotTaken { through: Position(1), state: Digest([4; 32]) }],
        vec![opened(other, 1, Purpose::Train { round: 1 }), done(other, 1, 0, trained()), done(other, 1, 1, trained())],
        vec![closed(other, 1), combined(other, 1, Metrics::default())],
        vec![opened(other, 2, Purpose::Train { round: 2 }), opened(other, 3, Purpose::Evaluate { round: 1 })],
        vec![
            done(other, 2, 0, Metrics::default()),
            failed(Fault::WorkerLost),
            failed(Fault::TimedOut { limit_ms: 2_000 }),
        ],
        vec![done(other, 3, 0, Metrics::default()), closed(other, 3)],
        vec![done(other, 2, 1, Metrics::default()), closed(other, 2), combined(other, 2, Metrics::default())],
        vec![combined(other, 3, Metrics::from_iter([("validation_error", 0.25)]))],
        vec![opened(other, 4, Purpose::Train { round: 3 }), opened(other, 5, Purpose::Evaluate { round: 2 })],
        vec![
            created(1, None, None),
            created(2, Some("w4"), Some(9)),
            created(3, None, Some(1)),
            created(4, None, None),
        ],
        vec![enrolled(1, 1), enrolled(1, 2), enrolled(3, 3), enrolled(2, 4), removed("w2", 3)],
        vec![Event::TokenRevoked { token: TokenId::from_bits(4) }, created(5, None, None)],
        vec![done(other, 4, 0, Metrics::default()), done(other, 5, 0, Metrics::default()), closed(other, 5)],
    ];
    let mut snapshot = Snapshot::default();
    for (place, events) in frames.iter().enumerate() {
        snapshot.fold(Position(place as u64 + 1), 1_000 + place as u64, events).unwrap();
    }
    snapshot
}

/// A job whose base is prepared: before its combine, or in the first round.
fn prepared(through: bool) -> Snapshot {
    let job = JobId::from_bits(4);
    let mut spec = submitted(job);
    if let Event::JobSubmitted { spec, .. } = &mut spec
        && let Plan::Rounds(plan) = &mut spec.plan
    {
        plan.prepare = Some(work(1));
    }
    let preparing = [
        vec![Event::TermOpened { term: Term(1) }, spec, opened(job, 1, Purpose::Prepare)],
        vec![done(job, 1, 0, Metrics::default()), closed(job, 1)],
    ];
    let train = Purpose::Train { round: 1 };
    let prepared =
        vec![combined(job, 1, Metrics::default()), opened(job, 2, train), done(job, 2, 1, Metrics::default())];
    let mut snapshot = Snapshot::default();
    for (place, events) in preparing.into_iter().chain(through.then_some(prepared)).enumerate() {
        snapshot.fold(Position(place as u64 + 1), 1_000 + place as u64, &events).unwrap();
    }
    snapshot
}

/// A map-reduce job that keeps going without a dead task, in the middle of its reduction.
fn divisible() -> Snapshot {
    let job = JobId::from_bits(3);
    let needs = Needs { slots: 2, resources: Resources::from_iter([("gpu", 1_u64), ("memory", 1 << 40)]) };
    let map = Work { split: Split::Items, needs: needs.clone(), ..work(3) };
    let reduce =
        Reduce { ability: Ability::new("reduce").unwrap(), program: blob(5), fan_in: 2, needs: Needs::default() };
    let plan = MapReduce { base: blob(1), map: map.clone(), reduce: Some(reduce), keep_going: true };
    let attempts = Attempts { timeout_ms: Some(9), retries: 1, idempotent: false };
    let spec = JobSpec {
        name: "letters".to_owned(),
        plan: Plan::MapReduce(plan),
        policy: None,
        seed: 7,
        attempts,
        deadline_ms: Some(99),
        priority: 0,
    };
    let submitted =
        Event::JobSubmitted { job, spec: Box::new(spec), submitter: "ann".to_owned(), owner: TokenId::LOCAL };
    let open = |stage, purpose, work: &Work| Event::StageOpened {
        job,
        stage: StageNumber(stage),
        purpose,
        base: blob(1),
        work: work.clone(),
    };
    let task = TaskId { job, stage: StageNumber(1), index: 1 };
    let failed = |attempt, log| {
        let usage = Usage { cpu_us: 7, peak_memory_bytes: 8 };
        let failure = Failure { reason: "so it goes".to_owned(), exit: Some(Exit::Status(3)), usage, log: Some(log) };
        Event::AttemptFailed { task, attempt, worker: "w1".to_owned(), fault: failure.into() }
    };
    let with_files = |mut event: Event| {
        if let Event::TaskDone { record, .. } = &mut event {
            record.completion.extras = Extras { files: Some(blob(6)), log: Some(Payload::inline(b"log").unwrap()) };
        }
        event
    };
    let level = Work { split: Split::Groups { fan_in: 2 }, input: blob(8), ..work(1) };
    let frames = [
        vec![Event::TermOpened { term: Term(1) }, submitted, open(1, Purpose::Map, &map)],
        vec![failed(1, blob(7)), with_files(done(job, 1, 0, Metrics::default()))],
        vec![failed(2, Payload::inline(b"in place").unwrap()), Event::TaskFailed { task }],
        vec![with_files(done(job, 1, 2, Metrics::default())), closed(job, 1)],
        vec![combined(job, 1, Metrics::default()), open(2, Purpose::Reduce { level: 1 }, &level)],
        vec![with_files(done(job, 2, 0, Metrics::default()))],
    ];
    // A snapshot of each moment survives, not only of the last.
    let mut snapshot = Snapshot::default();
    for (place, events) in frames.iter().enumerate() {
        snapshot.fold(Position(place as u64 + 1), 1_000 + place as u64, events).unwrap();
        assert_eq!(decode_snapshot(&encode_snapshot(&snapshot)).unwrap(), snapshot, "after frame {place}");
    }
    snapshot
}

#[test]
fn a_snapshot_of_a_reduction_survives() {
    let (snapshot, job) = (divisible(), JobId::from_bits(3));
    let mut decoded = decode_snapshot(&encode_snapshot(&snapshot)).unwrap();
    assert_eq!(encode_snapshot(&decoded), encode_snapshot(&snapshot));
    let next = [closed(job, 2), combined(job, 2, Metrics::default())];
    decoded.fold(Position(7), 2_000, &next).unwrap();
    assert_eq!(decoded.jobs[&job].history.levels.len(), 2);
}

#[test]
fn a_snapshot_survives() {
    let snapshot = snapshot();
    let bytes = encode_snapshot(&snapshot);
    let decoded = decode_snapshot(&bytes).unwrap();
    assert_eq!(decoded, snapshot);
    assert_eq!(encode_snapshot(&decoded), bytes);
}

#[test]
fn what_no_events_could_have_made_is_refused() {
    let refuse = |spoil: fn(&mut v1::Credentials), expected: &str| {
        let mut message = v1::Snapshot::decode(encode_snapshot(&snapshot()).as_slice()).unwrap();
        spoil(message.credentials.as_mut().unwrap());
        assert_eq!(decode_snapshot(&message.encode_to_vec()).unwrap_err().to_string(), expected);
    };
    let contradicts = "the parts of a message `Snapshot` contradict each other";
    refuse(|credentials| credentials.enrolled = 3, contradicts);
    refuse(|credentials| credentials.created = 4, contradicts);
    refuse(|credentials| credentials.tokens[0].token = 0, contradicts);
    refuse(|credentials| credentials.tokens[2].used = 2, contradicts);
    refuse(|credentials| credentials.names[0].name = "w2".to_owned(), contradicts);
    refuse(|credentials| credentials.tokens[0].role = 4, "SnapshotToken.role: 4 is not a known value");
    refuse(
        |credentials| credentials.removed[0].name.clear(),
        "the identity's name, \"\", is not 1 to 128 bytes without control characters",
    );
    refuse(
        |credentials| credentials.tokens[0].enrolments = vec![v1::SnapshotEnrolment::default(); 65],
        "SnapshotToken.enrolments: 65 entries, at most 64 are allowed",
    );
}

#[test]
fn one_without_credentials_has_none() {
    let mut message = v1::Snapshot::decode(encode_snapshot(&snapshot()).as_slice()).unwrap();
    message.credentials = None;
    let decoded = decode_snapshot(&message.encode_to_vec()).unwrap();
    assert_eq!(decoded.durable.credentials(), &Credentials::default());
}

#[test]
fn a_preparation_comes_back_and_older_bytes_have_none() {
    for snapshot in [prepared(false), prepared(true)] {
        assert_eq!(decode_snapshot(&encode_snapshot(&snapshot)).unwrap(), snapshot);
    }
    let mut message = v1::Snapshot::decode(encode_snapshot(&snapshot()).as_slice()).unwrap();
    let plan = |message: &v1::Snapshot| message.jobs[1].spec.as_ref().unwrap().plan.clone().unwrap().kind;
    assert!(matches!(plan(&message), Some(v1::plan::Kind::Rounds(v1::Rounds { prepare: None, .. }))));
    // What was never to be prepared was not.
    message.jobs[1].prepared = true;
    let error = decode_snapshot(&message.encode_to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "the parts of a message `Snapshot` contradict each other");
}

#[test]
fn the_next_event_folds_onto_it() {
    let mut decoded = decode_snapshot(&encode_snapshot(&snapshot())).unwrap();
    let next = [combined(JobId::from_bits(2), 5, Metrics::from_iter([("validation_error", 0.5)]))];
    decoded.fold(Position(16), 2_000, &next).unwrap();
    let history = &decoded.jobs[&JobId::from_bits(2)].history;
    assert_eq!(history.rounds[1].validation_error, Some(0.5));
    let whole = history.wall_seconds();
    assert!((whole - 1.0).abs() < 1e-9, "{whole}");
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(place: prop::sample::Index, byte: u8) {
        let mut bytes = encode_snapshot(&snapshot());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = decode_snapshot(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode_snapshot(&bytes);
    }
}
