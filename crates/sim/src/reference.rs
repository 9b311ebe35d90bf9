//! The undisturbed run of a job on one worker: every shard in order, every round in order, no scheduler at all.
//!
//! It is the oracle for bits, and knows nothing of attempts, leases or faults.

use std::collections::BTreeMap;

use anyhow::Context;
use convoke_core::event::Purpose;
use convoke_core::{Payload, Rounds};
use convoke_ml::Counts;
use convoke_store::digest_of;

use crate::compute::{counts_bytes, evaluate_shard, merge_parts, moments_of_shard, read, standardize_by, train_shard};
use crate::scenario::JobPlan;

/// What each stage's tasks and combine have to come to.
pub struct Reference {
    stages: BTreeMap<String, StageResults>,
    /// The parameters after the last round.
    pub last: Payload,
}

pub struct StageResults {
    pub base: Payload,
    pub tasks: Vec<(Payload, u64)>,
    pub combined: Payload,
}

impl Reference {
    pub fn compute(job: &JobPlan, plan: &Rounds) -> Result<Self, anyhow::Error> {
        let blobs = job.all_blobs()?;
        let stored = |payload: &Payload| read(&blobs, payload)?.context("the job's client has it");
        let mut base = stored(&plan.base)?;
        let manifest = stored(&plan.train.input)?;
        let shards = manifest.chunks_exact(32).map(|entry| {
            let digest = convoke_core::Digest(entry.try_into().context("an entry is a digest")?);
            stored(&Payload::blob(digest))
        });
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let mut stages = BTreeMap::new();
        if plan.prepare.is_some() {
            let moments = shards.iter().map(|shard| moments_of_shard(shard)).collect::<Result<Vec<_>, _>>()?;
            let prepared = standardize_by(&base, &moments)?;
            stages.insert(Purpose::Prepare.to_string(), made(&base, &moments, &prepared));
            base = prepared;
        }
        for round in 1..=plan.rounds {
            let deltas = shards.iter().map(|shard| train_shard(&base, shard)).collect::<Result<Vec<_>, _>>()?;
            let version = merge_parts(&base, &deltas)?;
            stages.insert(Purpose::Train { round }.to_string(), made(&base, &deltas, &version));
            base = version;
            if plan.evaluate.is_some() {
                let counts = shards.iter().map(|shard| evaluate_shard(&base, shard)).collect::<Result<Vec<_>, _>>()?;
                stages.insert(Purpose::Evaluate { round }.to_string(), evaluation(&base, &counts)?);
            }
        }
        Ok(Self { stages, last: Payload::blob(digest_of(&base)) })
    }

    pub fn stage(&self, purpose: Purpose) -> Option<&StageResults> {
        self.stages.get(&purpose.to_string())
    }

    /// How many stages the job has.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }
}

/// A stage whose results are blobs.
fn made(base: &[u8], tasks: &[(Vec<u8>, u64)], combined: &[u8]) -> StageResults {
    let blob = |bytes: &[u8]| Payload::blob(digest_of(bytes));
    let tasks = tasks.iter().map(|(result, samples)| (blob(result), *samples)).collect();
    StageResults { base: blob(base), tasks, combined: blob(combined) }
}

fn evaluation(base: &[u8], counts: &[Counts]) -> Result<StageResults, anyhow::Error> {
    let inline = |counts: &Counts| Payload::inline(&counts_bytes(counts));
    let tasks = counts.iter().map(|counts| Ok((inline(counts)?, counts.samples)));
    Ok(StageResults {
        base: Payload::blob(digest_of(base)),
        tasks: tasks.collect::<Result<_, anyhow::Error>>()?,
        combined: inline(&counts.iter().cloned().sum())?,
    })
}
