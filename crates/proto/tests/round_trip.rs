//! Every value within the limits survives encoding; whatever else arrives is refused by name, and never with a panic.

use convoke_core::event::{
    Combined, Completion, EXTRA_INLINE_BYTES_MAX, Exit, Extras, Failure, Fault, LISTED_MAX, LISTED_REASON_BYTES_MAX,
    LOST_MAX, Metrics, Outcome, Purpose, REASON_BYTES_MAX, Refused, Tally, TaskRecord, Timing, Usage,
};
use convoke_core::message::{Assignment, Held, SLOTS_MAX};
use convoke_core::{
    Ability, Attempts, Digest, Event, FAN_IN_MAX, INLINE_BYTES_MAX, JobId, JobSpec, LeaseId, MapReduce, NAME_BYTES_MAX,
    Needs, Payload, Plan, Policy, Position, RESOURCES_MAX, RETRIES_MAX, Reduce, Resources, Role, Rounds, Split,
    StageNumber, TaskId, Term, TokenId, Work,
};
use convoke_proto::{DecodeError, decode_event, encode_event, v1};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

fn job() -> impl Strategy<Value = JobId> {
    any::<u64>().prop_map(JobId::from_bits)
}

fn stage() -> impl Strategy<Value = StageNumber> {
    any::<u32>().prop_map(StageNumber)
}

fn task() -> impl Strategy<Value = TaskId> {
    (job(), stage(), any::<u32>()).prop_map(|(job, stage, index)| TaskId { job, stage, index })
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, number)| LeaseId { term: Term(term), number })
}

/// Names of one byte to the longest, the accented ones of two bytes a letter.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,128}", "é{1,64}", Just("n".repeat(NAME_BYTES_MAX))]
}

fn text(bytes_max: usize) -> impl Strategy<Value = String> {
    prop_oneof![".{0,60}", Just("r".repeat(bytes_max))]
}

/// Payloads of which a spec may have as many as it likes.
fn small_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(any::<u8>(), 0..64).prop_map(|bytes| Payload::inline(&bytes).unwrap()),
        any::<[u8; 32]>().prop_map(|digest| Payload::blob(Digest(digest))),
    ]
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![2 => small_payload(), 1 => Just(Payload::inline(&[7; INLINE_BYTES_MAX]).unwrap())]
}

fn ability() -> impl Strategy<Value = Ability> {
    name().prop_map(|name| Ability::new(&name).unwrap())
}

fn split() -> impl Strategy<Value = Split> {
    let groups = (1..=FAN_IN_MAX).prop_map(|fan_in| Split::Groups { fan_in });
    prop_oneof![Just(Split::Entries), Just(Split::Items), Just(Split::Range), groups]
}

/// Amounts of nothing are not named.
fn resources() -> impl Strategy<Value = Resources> {
    vec((name(), 1..=u64::MAX), 0..=RESOURCES_MAX).prop_map(Resources::from_iter)
}

fn needs() -> impl Strategy<Value = Needs> {
    (1..=SLOTS_MAX, resources()).prop_map(|(slots, resources)| Needs { slots, resources })
}

prop_compose! {
    fn work()(
        ability in ability(), payloads in [small_payload(), small_payload(), small_payload()], split in split(),
        count in 1..=1_000_000_u32, needs in needs(),
    ) -> Work {
        let [program, input, combine] = payloads;
        Work { ability, program, input, split, count, combine, needs }
    }
}

prop_compose! {
    fn reduce()(
        ability in ability(), program in small_payload(), fan_in in 2..=FAN_IN_MAX, needs in needs(),
    ) -> Reduce {
        Reduce { ability, program, fan_in, needs }
    }
}

/// A work as a client gives it: groups are what a reduction makes of its input.
fn given() -> impl Strategy<Value = Work> {
    work().prop_map(|work| match work.split {
        Split::Groups { .. } => Work { split: Split::Items, ..work },
        Split::Entries | Split::Items | Split::Range => work,
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let rounds = (1..=1_000_000_u32, small_payload(), option::of(given()), given(), option::of(given()));
    let map_reduce = (small_payload(), given(), option::of(reduce()), any::<bool>());
    prop_oneof![
        rounds.prop_map(|(rounds, base, prepare, train, evaluate)| Plan::Rounds(Rounds {
            rounds,
            base,
            prepare,
            train,
            evaluate
        })),
        map_reduce.prop_map(|(base, map, reduce, keep_going)| Plan::MapReduce(MapReduce {
            base,
            map,
            reduce,
            keep_going
        })),
    ]
}

fn attempts() -> impl Strategy<Value = Attempts> {
    (any::<Option<u64>>(), 0..=RETRIES_MAX, any::<bool>()).prop_map(|(timeout_ms, retries, idempotent)| Attempts {
        timeout_ms,
        retries,
        idempotent,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::Random), Just(Policy::RoundRobin), Just(Policy::LoadBalancing)]
}

prop_compose! {
    fn spec()(
        name in name(), plan in plan(), policy in option::of(policy()), seed: u64, attempts in attempts(),
        deadline_ms: Option<u64>, priority in -10..=10_i32,
    ) -> JobSpec {
        JobSpec { name, plan, policy, seed, attempts, deadline_ms, priority }
    }
}

fn metrics() -> impl Strategy<Value = Metrics> {
    let value = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let value = prop_oneof![value, Just(-0.0), Just(0.0)];
    vec((text(Metrics::NAME_BYTES_MAX), value), 0..=Metrics::COUNT_MAX)
        .prop_map(|pairs| pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect())
}

fn usage() -> impl Strategy<Value = Usage> {
    (any::<u64>(), any::<u64>()).prop_map(|(cpu_us, peak_memory_bytes)| Usage { cpu_us, peak_memory_bytes })
}

fn extras() -> impl Strategy<Value = Extras> {
    (option::of(extra()), option::of(extra())).prop_map(|(files, log)| Extras { files, log })
}

/// What comes beside a result has less room in place.
fn extra() -> impl Strategy<Value = Payload> {
    prop_oneof![2 => small_payload(), 1 => Just(Payload::inline(&[7; EXTRA_INLINE_BYTES_MAX]).unwrap())]
}

prop_compose! {
    fn completion()(
        result in payload(), samples: u64, metrics in metrics(), times: [u64; 4], usage in usage(), extras in extras(),
    ) -> Completion {
        let [queued_us, fetch_us, compute_us, report_us] = times;
        let timing = Timing { queued_us, fetch_us, compute_us, report_us };
        Completion { result, samples, metrics, timing, usage, extras }
    }
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![any::<i32>().prop_map(Exit::Status), any::<i32>().prop_map(Exit::Signal), Just(Exit::Trap)]
}

prop_compose! {
    fn failure()(
        reason in text(REASON_BYTES_MAX), exit in option::of(exit()), usage in usage(), log in option::of(extra()),
    ) -> Failure {
        Failure { reason, exit, usage, log }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        failure().prop_map(Fault::from),
        Just(Fault::WorkerLost),
        any::<u64>().prop_map(|limit_ms| Fault::TimedOut { limit_ms })
    ]
}

fn tally() -> impl Strategy<Value = Tally> {
    (name(), any::<u32>(), any::<u32>()).prop_map(|(worker, rejections, losses)| Tally { worker, rejections, losses })
}

prop_compose! {
    fn combined()(
        result in payload(), metrics in metrics(), refused in vec((any::<u32>(), text(LISTED_REASON_BYTES_MAX)), 0..=LISTED_MAX)
    ) -> Combined {
        let refused = refused.into_iter().map(|(index, reason)| Refused { index, reason }).collect();
        Combined { result, metrics, refused }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let failed = text(REASON_BYTES_MAX).prop_map(|reason| Outcome::Failed { reason });
    prop_oneof![Just(Outcome::Succeeded), failed, Just(Outcome::Cancelled)]
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop_oneof![
        Just(Purpose::Prepare),
        any::<u32>().prop_map(|round| Purpose::Train { round }),
        any::<u32>().prop_map(|round| Purpose::Evaluate { round }),
        Just(Purpose::Map),
        any::<u32>().prop_map(|level| Purpose::Reduce { level }),
    ]
}

fn token() -> impl Strategy<Value = TokenId> {
    any::<u64>().prop_map(TokenId::from_bits)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Worker), Just(Role::Client), Just(Role::Admin)]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

prop_compose! {
    fn token_created()(
        token in token(), role in role(), commands: bool, name in option::of(name()), secret in digest(), expires_ms: Option<u64>,
        uses in option::of(1..=u32::MAX), by in name()
    ) -> Event {
        Event::TokenCreated { token, role, commands, name, secret, expires_ms, uses, by }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let record = (any::<u32>(), name(), text(NAME_BYTES_MAX), 0..=SLOTS_MAX, completion()).prop_map(
        |(attempt, worker, profile, slots, completion)| TaskRecord { attempt, worker, profile, slots, completion },
    );
    let indices = prop_oneof![vec(any::<u32>(), 0..20), Just(vec![u32::MAX; LOST_MAX])];
    prop_oneof![
        any::<u64>().prop_map(|term| Event::TermOpened { term: Term(term) }),
        (job(), spec(), name(), token()).prop_map(|(job, spec, submitter, owner)| Event::JobSubmitted {
            job,
            spec: Box::new(spec),
            submitter,
            owner
        }),
        (job(), stage(), purpose(), payload(), work())
            .prop_map(|(job, stage, purpose, base, work)| Event::StageOpened { job, stage, purpose, base, work }),
        (task(), record).prop_map(|(task, record)| Event::TaskDone { task, record }),
        (task(), any::<u32>(), name(), fault()).prop_map(|(task, attempt, worker, fault)| Event::AttemptFailed {
            task,
            attempt,
            worker,
            fault
        }),
        task().prop_map(|task| Event::TaskFailed { task }),
        (job(), stage(), vec(tally(), 0..=LISTED_MAX)).prop_map(|(job, stage, tallies)| Event::StageClosed {
            job,
            stage,
            tallies
        }),
        (job(), stage(), indices).prop_map(|(job, stage, indices)| Event::ResultsLost { job, stage, indices }),
        (job(), stage(), combined()).prop_map(|(job, stage, combined)| Event::StageCombined { job, stage, combined }),
        (job(), outcome()).prop_map(|(job, outcome)| Event::JobFinished { job, outcome }),
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(through, state)| Event::SnapshotTaken { through: Position(through), state: Digest(state) }),
        job().prop_map(|job| Event::JobForgotten { job }),
        token_created(),
        token().prop_map(|token| Event::TokenRevoked { token }),
        (token(), any::<u64>(), name(), digest()).prop_map(|(token, serial, name, key)| Event::Enrolled {
            token,
            serial,
            name,
            key
        }),
        (role(), name(), any::<u64>()).prop_map(|(role, name, through)| Event::IdentityRemoved { role, name, through }),
    ]
}

prop_compose! {
    fn assignment()(
        lease in lease(), task in task(), ability in ability(), payloads in [payload(), payload(), payload()],
        split in split(), seed: u64, flags: [bool; 2], numbers: [u32; 2], needs in needs(), timeout_ms: Option<u64>,
    ) -> Assignment {
        let ([program, base, input], [may_reject, idempotent], [attempt, round]) = (payloads, flags, numbers);
        Assignment {
            lease, task, ability, program, base, input, split, seed, may_reject, attempt, round, needs, timeout_ms, idempotent,
        }
    }
}

/// The value that `value`'s bytes decode to.
fn over_the_wire<M: Message + Default + for<'a> From<&'a V>, V: TryFrom<M, Error = DecodeError>>(value: &V) -> V {
    let bytes = M::from(value).encode_to_vec();
    M::decode(bytes.as_slice()).unwrap().try_into().unwrap()
}

proptest! {
    #[test]
    fn events_survive(event in event()) {
        let bytes = encode_event(&event);
        let decoded = decode_event(&bytes).unwrap();
        prop_assert_eq!(&decoded, &event);
        // Equal events have equal bytes, and so does -0.0, which equals 0.0.
        prop_assert_eq!(encode_event(&decoded), bytes);
    }

    #[test]
    fn specs_survive(spec in spec()) {
        prop_assert_eq!(over_the_wire::<v1::JobSpec, _>(&spec), spec);
    }

    #[test]
    fn assignments_survive(assignment in assignment()) {
        prop_assert_eq!(over_the_wire::<v1::Assignment, _>(&assignment), assignment);
    }

    #[test]
    fn held_work_survives(
        task in task(), ability in ability(), payloads in [payload(), payload(), payload()], split in split(),
    ) {
        let [program, base, input] = payloads;
        let held = Held { task, ability, program, base, input, split };
        prop_assert_eq!(over_the_wire::<v1::Held, _>(&held), held);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..256)) {
        let _ = decode_event(&bytes);
        let _ = v1::Assignment::decode(bytes.as_slice()).map(Assignment::try_from);
        let _ = v1::Held::decode(bytes.as_slice()).map(Held::try_from);
    }

    #[test]
    fn a_changed_byte_never_panics(event in event(), place: prop::sample::Index, byte: u8) {
        let mut bytes = encode_event(&event);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = decode_event(&bytes);
    }
}
