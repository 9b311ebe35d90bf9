//! What a seed draws before anything happens: workers, jobs with their data, and how rough the weather is.
//!
//! Data and models are tiny, but real: final bits mean something. It knows nothing of time but when jobs are submitted.

mod divisible;

use std::collections::BTreeSet;

use convoke_core::{
    Ability, Attempts, Digest, JobId, JobSpec, MapReduce, Millis, Needs, Payload, Plan, Policy, Rounds, SpecError,
    Split, Work,
};
use convoke_ml::{Dataset, Mlp};
use convoke_store::blobs::{Blobs, Durability, MemoryBlobs};
use convoke_store::digest_of;
use convoke_store::holds::Times;

use crate::compute::{COUNTS, MEAN, STANDARDIZE};
use crate::dice::Dice;
use crate::observer::Observer;

/// Every run has as many workers, at least.
pub const WORKERS_MIN: usize = 3;
/// Every run has as many jobs, at least.
pub const JOBS_MIN: usize = 2;
/// Every run lasts for so long, at least.
pub const VIRTUAL_MS_MIN: Millis = 60_000;

const INPUTS: usize = 2;
const CLASSES: usize = 2;

/// A simulated cluster and what it is asked to do.
pub struct Scenario {
    pub workers: Vec<Machine>,
    pub jobs: Vec<JobPlan>,
    /// The mean time between faults.
    pub calm_ms: Millis,
    /// When the faults stop.
    pub faults_until: Millis,
    pub default_policy: Policy,
    /// How many bytes of frames there are at least between two snapshots.
    pub snapshot_every_bytes: u64,
    pub retention: Retention,
}

/// For how long things stay.
#[derive(Clone, Copy)]
pub struct Retention {
    pub times: Times,
    /// How many bytes a job's versions may have beside the last and the best.
    pub versions_bytes_max: u64,
    /// For how long a job is remembered after its end.
    pub finished_age_ms: Millis,
}

/// A machine on which worker processes run, one after the other.
pub struct Machine {
    pub name: String,
    pub slots: u32,
    pub gpus: u64,
    /// Whether it can evaluate and take moments, too; the first one always can.
    pub evaluates: bool,
    /// Whether it maps and reduces, too; so does the first one.
    pub reduces: bool,
    /// Whether its executors end in time by themselves.
    pub keeps_time: bool,
    /// How long a task takes here, at least; at most three times as long.
    pub pace_ms: Millis,
    /// How many attempts in a hundred end in an error.
    pub errors_percent: u64,
    /// How many in a hundred take much longer.
    pub stuck_percent: u64,
    /// How many tasks in a hundred it is too busy for.
    pub load_percent: u64,
}

/// A job, and what its client does with it.
pub struct JobPlan {
    pub id: JobId,
    pub spec: JobSpec,
    pub submit_at: Millis,
    pub cancel_at: Option<Millis>,
    /// What it starts from: the parameters, the manifest and the shards.
    pub blobs: Vec<(Digest, Vec<u8>)>,
    /// Whether the first of these is forgotten in the first upload.
    pub forgets: bool,
    /// A task that kills the worker that runs it: its place in each stage but evaluations, or in the map.
    pub poison: Option<u32>,
    /// Tasks of the map of which no attempt succeeds.
    pub doomed: BTreeSet<u32>,
    /// How many times longer than a machine's usual its tasks take.
    pub takes_times: u64,
    /// How many attempts in a hundred end in an error, wherever they run.
    pub errors_percent: u64,
}

impl Scenario {
    pub fn draw(dice: &mut Dice) -> Result<Self, anyhow::Error> {
        let workers = (0..dice.between(WORKERS_MIN as u64, 6)).map(|number| Machine::draw(number, dice)).collect();
        let jobs = (0..dice.between(JOBS_MIN as u64, 4))
            .map(|number| if dice.chance(50) { divisible::draw(number, dice) } else { JobPlan::draw(number, dice) })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            workers,
            jobs,
            calm_ms: dice.between(300, 4_000),
            faults_until: dice.between(VIRTUAL_MS_MIN, 75_000),
            default_policy: policy(dice),
            snapshot_every_bytes: dice.between(500, 6_000),
            retention: Retention::draw(dice),
        })
    }
}

impl Scenario {
    /// Says what was drawn.
    pub fn describe(&self, observer: &mut Observer) {
        for machine in &self.workers {
            let Machine { name, slots, gpus, pace_ms, errors_percent, stuck_percent, load_percent, .. } = machine;
            let abilities = machine.abilities().join(", ");
            let draws = format!(
                "{abilities} with {slots} slots and {gpus} GPUs, from {pace_ms} ms a task; in a hundred, {errors_percent} fail, {stuck_percent} are stuck, {load_percent} meet load"
            );
            observer.line(0, name, draws);
        }
        for job in &self.jobs {
            let draws = format!("{}, priority {}", job.describe(), job.spec.priority);
            observer.line(job.submit_at, format!("job {}", job.id), draws);
        }
        observer.line(0, "weather", format!("a fault every {} ms, until {}", self.calm_ms, self.faults_until));
    }
}

impl Retention {
    /// Much shorter than of a real coordinator, and in the same order.
    fn draw(dice: &mut Dice) -> Self {
        let times = Times {
            hold_ms: dice.between(6_000, 15_000),
            grace_ms: 2_000,
            turn_ms: dice.between(200, 1_000),
            sweep_ms: dice.between(2_000, 10_000),
        };
        let versions_bytes_max = if dice.chance(50) { 0 } else { dice.between(0, 3_000) };
        Self { times, versions_bytes_max, finished_age_ms: dice.between(5_000, 30_000) }
    }
}

impl Machine {
    pub fn abilities(&self) -> Vec<&'static str> {
        let drawn = [
            (true, "train"),
            (self.evaluates, "evaluate"),
            (self.evaluates, "moments"),
            (self.reduces, "map"),
            (self.reduces, "reduce"),
        ];
        drawn.into_iter().filter_map(|(can, what)| can.then_some(what)).collect()
    }

    fn draw(number: u64, dice: &mut Dice) -> Self {
        Self {
            // Some share a name.
            name: if dice.chance(10) { "box".to_owned() } else { format!("box{number}") },
            // The first has whatever a task may need.
            slots: if number == 0 { divisible::SLOTS_MAX } else { dice.between(1, 4) } as u32,
            gpus: if number == 0 { divisible::GPUS_MAX } else { dice.between(0, divisible::GPUS_MAX) },
            evaluates: number == 0 || dice.chance(80),
            reduces: number == 0 || dice.chance(80),
            keeps_time: dice.chance(50),
            pace_ms: dice.between(20, 600),
            errors_percent: if dice.chance(30) { dice.between(1, 8) } else { 0 },
            stuck_percent: if dice.chance(30) { dice.between(1, 10) } else { 0 },
            load_percent: if dice.chance(40) { dice.between(5, 60) } else { 0 },
        }
    }
}

impl JobPlan {
    fn draw(number: u64, dice: &mut Dice) -> Result<Self, anyhow::Error> {
        let submit_at = dice.between(0, 40_000);
        let cancelled = dice.chance(15);
        let shards = dice.between(3, 7);
        let named = |bytes: Vec<u8>| (digest_of(&bytes), bytes);
        let parts = (0..shards).map(|_| Ok(named(shard(dice)?))).collect::<Result<Vec<_>, anyhow::Error>>()?;
        let manifest = named(parts.iter().flat_map(|(digest, _)| digest.0).collect());
        let model = Mlp::uniform_start(&[INPUTS, 3, CLASSES], vec!["no".into(), "yes".into()], dice.bits())?;
        let base = named(model.to_safetensors());
        let input = Payload::blob(manifest.0);
        let work = |name, combine| work(name, combine, input.clone(), shards as u32);
        let rounds = Rounds {
            rounds: dice.between(1, 6) as u32,
            base: Payload::blob(base.0),
            prepare: if dice.chance(35) { Some(work("moments", STANDARDIZE)?) } else { None },
            train: work("train", MEAN)?,
            evaluate: if dice.chance(70) { Some(work("evaluate", COUNTS)?) } else { None },
        };
        let spec = JobSpec {
            name: format!("job {number}"),
            plan: Plan::Rounds(rounds),
            policy: if dice.chance(20) { None } else { Some(policy(dice)) },
            seed: dice.bits(),
            attempts: Attempts {
                timeout_ms: if dice.chance(30) { Some(dice.between(3_000, 9_000)) } else { None },
                ..Attempts::default()
            },
            deadline_ms: None,
            priority: if dice.chance(30) { dice.between(0, 20) as i32 - 10 } else { 0 },
        };
        Ok(Self {
            id: JobId::from_bits(dice.bits()),
            spec,
            submit_at,
            cancel_at: cancelled.then(|| submit_at + dice.between(0, 15_000)),
            blobs: [base, manifest].into_iter().chain(parts).collect(),
            forgets: dice.chance(20),
            poison: if dice.chance(4) { Some(dice.between(0, shards - 1) as u32) } else { None },
            doomed: BTreeSet::new(),
            takes_times: 1,
            errors_percent: 0,
        })
    }

    /// What it starts from, where nothing is ever lost.
    pub fn all_blobs(&self) -> Result<MemoryBlobs, anyhow::Error> {
        let blobs = MemoryBlobs::new();
        for (_, bytes) in &self.blobs {
            blobs.put(bytes, Durability::Unsynced)?;
        }
        Ok(blobs)
    }

    pub fn rounds(&self) -> Option<&Rounds> {
        if let Plan::Rounds(rounds) = &self.spec.plan { Some(rounds) } else { None }
    }

    pub fn map_reduce(&self) -> Option<&MapReduce> {
        if let Plan::MapReduce(plan) = &self.spec.plan { Some(plan) } else { None }
    }

    /// What lists the pieces of its input, where that is a blob.
    pub fn manifest(&self) -> Option<Digest> {
        self.blobs.get(1).map(|(digest, _)| *digest)
    }

    /// The pieces of its input.
    pub fn pieces(&self) -> &[(Digest, Vec<u8>)] {
        self.blobs.get(2..).unwrap_or_default()
    }

    fn describe(&self) -> String {
        let poison = self.poison.map_or_else(String::new, |index| format!(", of which {index} is poison"));
        match &self.spec.plan {
            Plan::Rounds(rounds) => {
                let prepared = if rounds.prepare.is_some() { "prepared, " } else { "" };
                let evaluated = if rounds.evaluate.is_some() { ", evaluated" } else { "" };
                format!("{prepared}{} rounds of {} shards{poison}{evaluated}", rounds.rounds, rounds.train.count)
            }
            Plan::MapReduce(plan) => format!("{}{poison}", divisible::describe(self, plan)),
        }
    }
}

fn policy(dice: &mut Dice) -> Policy {
    [Policy::Random, Policy::RoundRobin, Policy::LoadBalancing, Policy::LoadBalancing][dice.place(4)]
}

fn work(name: &str, combine: &[u8], input: Payload, count: u32) -> Result<Work, SpecError> {
    let inline = |bytes: &[u8]| Payload::inline(bytes).map_err(|_| SpecError::Inline { bytes: bytes.len() });
    Ok(Work {
        ability: Ability::new(name)?,
        program: inline(name.as_bytes())?,
        input,
        split: Split::Entries,
        count,
        combine: inline(combine)?,
        needs: Needs::default(),
    })
}

/// A few rows of two separable classes.
fn shard(dice: &mut Dice) -> Result<Vec<u8>, anyhow::Error> {
    let rows = dice.between(2, 7) as usize;
    let labels: Vec<u32> = (0..rows).map(|_| dice.place(CLASSES) as u32).collect();
    let mut feature = |label: u32| label as f32 - 0.5 + dice.between(0, 1_000) as f32 / 500.0;
    let features = labels.iter().flat_map(|label| [feature(*label), feature(*label)]).collect();
    Ok(Dataset::new(features, labels, INPUTS)?.to_safetensors())
}
