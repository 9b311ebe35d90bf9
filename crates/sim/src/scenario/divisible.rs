//! Map-reduce jobs, as a seed draws them: what is mapped and reduced, what that takes, and which attempts fail.
//!
//! Each of them can end: the first machine has whatever is needed.

use std::collections::BTreeSet;

use convoke_core::{
    Ability, Attempts, JobId, JobSpec, MapReduce, Needs, Payload, Plan, Reduce, Resources, SpecError, Split, Work,
};
use convoke_store::digest_of;

use super::{JobPlan, policy};
use crate::dice::Dice;
use crate::divisible::{COLLECT, ITEMS};

/// The most slots that a task needs.
pub(super) const SLOTS_MAX: u64 = 3;
/// The most GPUs that a task needs.
pub(super) const GPUS_MAX: u64 = 2;

pub(super) fn draw(number: u64, dice: &mut Dice) -> Result<JobPlan, anyhow::Error> {
    let named = |bytes: Vec<u8>| (digest_of(&bytes), bytes);
    let base = named(dice.bits().to_le_bytes().to_vec());
    let drawn = if dice.chance(30) { dice.between(1, 40) } else { dice.between(1, 12) } as u32;
    let split = [Split::Entries, Split::Items, Split::Range][dice.place(3)];
    let (pieces, count) = match split {
        Split::Items => (drawn.div_ceil(ITEMS), drawn.div_ceil(ITEMS) * ITEMS),
        Split::Range => (0, drawn),
        Split::Entries | Split::Groups { .. } => (drawn, drawn),
    };
    let pieces: Vec<_> = (0..pieces).map(|_| named(dice.bits().to_le_bytes().to_vec())).collect();
    let manifest = named(pieces.iter().flat_map(|(digest, _)| digest.0).collect());
    let input = if split == Split::Range { inline(b"0..")? } else { Payload::blob(manifest.0) };
    let (combine, program) = (inline(COLLECT)?, inline(b"map")?);
    let map = Work { ability: Ability::new("map")?, program, input, split, count, combine, needs: needs(dice) };
    let reduce = Reduce {
        ability: Ability::new("reduce")?,
        program: inline(b"reduce")?,
        fan_in: dice.between(2, 5) as u32,
        needs: needs(dice),
    };
    let keep_going = dice.chance(50);
    let reduce = dice.chance(70).then_some(reduce);
    let plan = MapReduce { base: Payload::blob(base.0), map, reduce, keep_going };
    let submit_at = dice.between(0, 40_000);
    let spec = JobSpec {
        name: format!("map {number}"),
        plan: Plan::MapReduce(plan),
        policy: if dice.chance(20) { None } else { Some(policy(dice)) },
        seed: dice.bits(),
        attempts: Attempts {
            timeout_ms: if dice.chance(30) { Some(dice.between(1_000, 9_000)) } else { None },
            retries: dice.between(0, 3) as u32,
            idempotent: dice.chance(30),
        },
        deadline_ms: if dice.chance(15) { Some(submit_at + dice.between(1_000, 20_000)) } else { None },
        priority: if dice.chance(30) { dice.between(0, 20) as i32 - 10 } else { 0 },
    };
    let listed = if split == Split::Range { Vec::new() } else { [vec![manifest], pieces].concat() };
    let doomed_percent = if dice.chance(30) { 15 } else { 0 };
    Ok(JobPlan {
        id: JobId::from_bits(dice.bits()),
        spec,
        submit_at,
        cancel_at: dice.chance(10).then(|| submit_at + dice.between(0, 15_000)),
        blobs: std::iter::once(base).chain(listed).collect(),
        forgets: dice.chance(20),
        poison: if dice.chance(8) { Some(dice.between(0, u64::from(count) - 1) as u32) } else { None },
        doomed: (0..count).filter(|_| dice.chance(doomed_percent)).collect::<BTreeSet<u32>>(),
        // What runs for long is at risk for long.
        takes_times: if count <= 12 && dice.chance(50) { dice.between(2, 15) } else { 1 },
        errors_percent: if dice.chance(40) { dice.between(1, 20) } else { 0 },
    })
}

/// Says what was drawn.
pub(super) fn describe(job: &JobPlan, plan: &MapReduce) -> String {
    let Attempts { retries, idempotent, .. } = job.spec.attempts;
    let mut draws = format!("{} maps, each with {}", plan.map.count, shown(&plan.map.needs));
    if let Some(reduce) = &plan.reduce {
        draws += &format!(", reduced by {} with {}", reduce.fan_in, shown(&reduce.needs));
    }
    draws += &format!(", {retries} retries, {} doomed", job.doomed.len());
    for (is_so, what) in [(plan.keep_going, ", keeps going"), (!idempotent, ", never twice at a time")] {
        draws += if is_so { what } else { "" };
    }
    draws
}

fn shown(needs: &Needs) -> String {
    format!("{} slots {}", needs.slots, needs.resources)
}

fn needs(dice: &mut Dice) -> Needs {
    let slots = if dice.chance(30) { dice.between(1, SLOTS_MAX) as u32 } else { 1 };
    let gpus = if dice.chance(30) { dice.between(1, GPUS_MAX) } else { 0 };
    Needs { slots, resources: Resources::from_iter([("gpu", gpus)]) }
}

fn inline(bytes: &[u8]) -> Result<Payload, SpecError> {
    Payload::inline(bytes).map_err(|_| SpecError::Inline { bytes: bytes.len() })
}
