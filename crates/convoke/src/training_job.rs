//! A training job: data and flags, read and checked, become a spec and the blobs that it starts from.
//!
//! Nothing is submitted here; who is to take the job on it does not know.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use convoke_ml::rows::Layout;
use convoke_ml::{Mlp, ModelError};
use convoke_node::executor::{EVALUATE, TRAIN};
use convoke_wire::core::{
    Ability, Attempts, Counted, Digest, JobId, JobSpec, Needs, Payload, Plan, Rounds, Split, Work,
};
use convoke_wire::program::{self, Combine, Count, FullBatch, Mean, Merge, Train};

use crate::args::TrainArgs;
use crate::data::{self, Data, HeldOut, Reading, Shard};
use crate::failure::Failure;
use crate::input::Content;
use crate::learned::Baseline;

/// A job, ready to be submitted.
pub struct Prepared {
    /// What is to be done.
    pub spec: JobSpec,
    /// What it starts from.
    pub contents: Vec<(Digest, Content)>,
    /// The shards' names, in order.
    pub shards: Vec<String>,
    /// The rows that were held out to validate on, if any were to be.
    pub held_out: Option<HeldOut>,
    /// What the result is judged by, where something is known of the data.
    pub baseline: Option<Baseline>,
    /// What a round does to a shard, for people.
    pub what: String,
}

impl Prepared {
    /// Whether versions are measured on validation data.
    pub fn is_measured(&self) -> bool {
        matches!(&self.spec.plan, Plan::Rounds(plan) if plan.evaluate.is_some())
    }
}

/// Reads the data and makes the job of it. Everything that can be wrong with the input is found here.
pub fn prepare(args: &TrainArgs, job: JobId) -> Result<Prepared, Failure> {
    let reading = Reading {
        layout: args.layout.or(Layout::default()),
        validate: args.split.validate.clone(),
        shards: args.split.shards.map(|shards| shards as usize),
        seed: args.learning.seed,
    };
    let data = data::read(&args.data, &reading).map_err(|error| Failure::bad_input(&error).hint(error.hint()))?;
    let base = start(args, &data, &reading.layout, job)?;
    let base = Bytes::from(base.to_safetensors());
    let base_digest = data::digest_of(&base);
    let (train_input, train_manifest) = data::manifest(&data.shards);
    let (validation_input, validation_manifest) = data::manifest(&data.validation);
    let full_batch = FullBatch {
        training_epochs: args.learning.epochs,
        eta: args.learning.eta,
        early_stop: args.learning.early_stop,
    };
    let train = Train { kind: Some(program::v1::train::Kind::FullBatch(full_batch)) };
    let merge = Merge { rule: Some(program::v1::merge::Rule::Mean(Mean {})) };
    let merge = Combine { kind: Some(program::v1::combine::Kind::Merge(merge)) };
    let count = Combine { kind: Some(program::v1::combine::Kind::Count(Count::default())) };
    let evaluate = work(EVALUATE, &Count::default(), validation_input, &data.validation, &count)?;
    let plan = Rounds {
        rounds: args.learning.rounds,
        base: Payload::blob(base_digest),
        prepare: None,
        train: work(TRAIN, &train, train_input, &data.shards, &merge)?,
        evaluate: Some(evaluate).filter(|_| !data.validation.is_empty()),
    };
    let spec = JobSpec {
        name: job_name(&args.data),
        plan: Plan::Rounds(plan),
        policy: args.run.policy,
        seed: args.learning.seed,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: args.run.priority,
    };
    let shards = data.shards.iter().map(|shard| shard.name.clone()).collect();
    let manifests = [(train_input, train_manifest), (validation_input, validation_manifest), (base_digest, base)];
    let pieces = data.shards.into_iter().chain(data.validation).map(|shard| (shard.digest, shard.blob));
    let contents = pieces.chain(manifests).map(|(digest, bytes)| (digest, Content::Bytes(bytes))).collect();
    let baseline = Some(Baseline::of(&data.facts, data.labels.names(), args.learning.eta));
    let what = Counted(args.learning.epochs as usize, "training epoch").to_string();
    Ok(Prepared { spec, contents, shards, held_out: data.held_out, baseline, what })
}

fn start(args: &TrainArgs, data: &Data, layout: &Layout, job: JobId) -> Result<Mlp, Failure> {
    let sizes: Vec<usize> = [data.width]
        .into_iter()
        .chain(args.learning.hidden.0.iter().copied())
        .chain([data.labels.names().len()])
        .collect();
    let labels = data.labels.names().to_vec();
    let mut base = Mlp::uniform_start(&sizes, labels, args.learning.seed).map_err(too_large)?;
    base.metadata_mut().insert("job".to_owned(), job.to_string());
    layout.keep(&data.feature_names, base.metadata_mut());
    Ok(base)
}

fn work(
    ability: &str,
    task: &impl program::Message,
    input: Digest,
    shards: &[Shard],
    combine: &Combine,
) -> Result<Work, Failure> {
    let count = u32::try_from(shards.len()).map_err(Failure::bad_input)?;
    let ability = Ability::new(ability).map_err(Failure::failed)?;
    let (program, combine) = (program::inline(task), program::inline(combine));
    Ok(Work {
        ability,
        program,
        input: Payload::blob(input),
        split: Split::Entries,
        count,
        combine,
        needs: Needs::default(),
    })
}

/// What the job is about, for people.
pub fn job_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let name: String = path.display().to_string().chars().filter(|c| !c.is_control()).collect();
    // The end of a long path says more than its beginning.
    let skip = name.chars().count().saturating_sub(32);
    name.chars().skip(skip).collect()
}

/// A model of these features, layers and labels is refused.
fn too_large(error: ModelError) -> Failure {
    let hint = match error {
        ModelError::LabelBytes { .. } => {
            "labels are classes: numbers cannot be predicted yet; --label COLUMN says which column is the label"
        }
        _ => "make --hidden smaller, or leave columns out with --drop",
    };
    Failure::bad_input(error).hint(hint)
}
