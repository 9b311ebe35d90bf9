//! The hellos, jobs, tasks and payloads that the tests are made of. It knows no machine.

use super::*;

pub(super) fn hello(worker: u64, name: &str, slots: u32) -> Hello {
    Hello {
        worker: WorkerId(worker),
        name: name.to_owned(),
        slots,
        abilities: ["moments", "train", "evaluate", "map", "reduce"].map(ability).to_vec(),
        profile: "test".to_owned(),
        hardware: "none".to_owned(),
        holding: Vec::new(),
        draining: false,
        resources: Resources::default(),
    }
}

/// The hello of a worker that brings along tasks of the first job's first round.
pub(super) fn hello_holding(worker: u64, name: &str, slots: u32, indices: &[u32]) -> Hello {
    let held = |index: &u32| Held {
        task: task(1, 1, *index),
        ability: Ability::new("train").unwrap(),
        program: blob(0xa0),
        base: blob(0xb0),
        input: blob(0x10),
        split: Split::Entries,
    };
    Hello { holding: indices.iter().map(held).collect(), ..hello(worker, name, slots) }
}

pub(super) fn ability(name: &str) -> Ability {
    Ability::new(name).expect("a short name is an ability")
}

pub(super) fn task(job: u64, stage: u32, index: u32) -> TaskId {
    TaskId { job: JobId::from_bits(job), stage: StageNumber(stage), index }
}

pub(super) fn lease(term: u64, number: u64) -> LeaseId {
    LeaseId { term: Term(term), number }
}

/// A token that lets in as many as it likes, under any name.
pub(super) fn token(id: u64, role: Role) -> NewToken {
    let (secret, by) = (Digest([id as u8; 32]), "kim".to_owned());
    NewToken {
        token: TokenId::from_bits(id),
        role,
        commands: false,
        name: None,
        secret,
        expires_ms: None,
        uses: None,
        by,
    }
}

pub(super) fn identity(role: Role, token: u64, serial: u64, name: &str) -> Option<Identity> {
    Some(Identity { role, commands: false, token: TokenId::from_bits(token), serial, name: name.to_owned() })
}

/// A blob of nothing but this byte.
pub(super) fn blob(byte: u8) -> Payload {
    Payload::blob(Digest([byte; 32]))
}

pub(super) fn completion(result: u8) -> Completion {
    Completion {
        result: blob(result),
        samples: 10,
        metrics: Metrics::default(),
        timing: Timing::default(),
        ..Completion::default()
    }
}

/// A job of some rounds over some shards.
pub(super) fn job(rounds: u32, shards: u32) -> JobSpec {
    let plan = Rounds { rounds, base: blob(0xb0), prepare: None, train: work("train", shards), evaluate: None };
    JobSpec {
        name: "letters".to_owned(),
        plan: Plan::Rounds(plan),
        policy: Some(Policy::RoundRobin),
        seed: 7,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: 0,
    }
}

/// The job, with an evaluation of each version in one task.
pub(super) fn evaluated(mut spec: JobSpec) -> JobSpec {
    rounds(&mut spec).evaluate = Some(work("evaluate", 1));
    spec
}

/// The job, with a preparation of its base in a task for each shard.
pub(super) fn prepared(mut spec: JobSpec) -> JobSpec {
    let shards = rounds(&mut spec).train.count;
    rounds(&mut spec).prepare = Some(work("moments", shards));
    spec
}

pub(super) fn rounds(spec: &mut JobSpec) -> &mut Rounds {
    match &mut spec.plan {
        Plan::Rounds(plan) => plan,
        Plan::MapReduce(_) => panic!("a job of rounds"),
    }
}

/// A map over so many pieces, and its reduction.
pub(super) fn divisible(count: u32, fan_in: Option<u32>) -> JobSpec {
    let reduce = |fan_in| Reduce { ability: ability("reduce"), program: blob(0xa1), fan_in, needs: Needs::default() };
    let map = work("map", count);
    let plan = MapReduce { base: blob(0xb0), map, reduce: fan_in.map(reduce), keep_going: false };
    JobSpec { plan: Plan::MapReduce(plan), ..job(1, 1) }
}

pub(super) fn plan(spec: &mut JobSpec) -> &mut MapReduce {
    match &mut spec.plan {
        Plan::MapReduce(plan) => plan,
        Plan::Rounds(_) => panic!("a map-reduce job"),
    }
}

pub(super) fn tried_again(mut spec: JobSpec, retries: u32) -> JobSpec {
    spec.attempts.retries = retries;
    spec
}

pub(super) fn never_twice(mut spec: JobSpec) -> JobSpec {
    spec.attempts.idempotent = false;
    spec
}

/// The job, each of whose maps needs this.
pub(super) fn needing(mut spec: JobSpec, slots: u32, resources: &[(&str, u64)]) -> JobSpec {
    plan(&mut spec).map.needs = Needs { slots, resources: resources.iter().copied().collect() };
    spec
}

pub(super) fn having(hello: Hello, resources: &[(&str, u64)]) -> Hello {
    Hello { resources: resources.iter().copied().collect(), ..hello }
}

pub(super) fn placed(policy: Policy, spec: JobSpec) -> JobSpec {
    JobSpec { policy: Some(policy), ..spec }
}

fn work(name: &str, count: u32) -> Work {
    let (program, input, combine) = (blob(0xa0), blob(0x10), blob(0xc0));
    Work { ability: ability(name), program, input, split: Split::Entries, count, combine, needs: Needs::default() }
}
