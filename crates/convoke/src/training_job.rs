//! A training job: data and flags, read and checked, become a spec and the blobs that it starts from.
//!
//! Nothing is submitted here; who is to take the job on it does not know.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use convoke_ml::rows::Layout;
use convoke_ml::{Architecture, Mlp, ModelError};
use convoke_wire::core::{Attempts, Counted, Digest, JobId, JobSpec, Payload, Plan, Rounds, Work};
use convoke_wire::job::{self, EVALUATE, Input, MOMENTS, Program, TRAIN};
use convoke_wire::program::{self, Count};

use crate::args::{Keep, Task, TrainArgs};
use crate::continued::Continued;
use crate::data::{self, Data, HeldOut, Reading};
use crate::failure::Failure;
use crate::input::Content;
use crate::learned::Baseline;
use crate::picked::Shape;
use crate::settings::{self, Known, Settings};

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
    /// How it learns, unless that is a user's own training.
    pub learning: Option<Learning>,
    /// What a round does to a shard, for people.
    pub what: String,
    /// Which version is the model.
    pub keep: Keep,
}

/// How a job learns, and what its result is judged by.
#[derive(Clone)]
pub struct Learning {
    /// How it trains.
    pub settings: Settings,
    /// The line on it for people.
    pub line: String,
    /// What the result is judged by.
    pub baseline: Baseline,
}

impl Prepared {
    /// Whether versions are measured on validation data.
    pub fn is_measured(&self) -> bool {
        matches!(&self.spec.plan, Plan::Rounds(plan) if plan.evaluate.is_some())
    }

    /// What labels are.
    pub fn task(&self) -> Task {
        self.learning.as_ref().map_or(Task::Classification, |learning| learning.settings.task)
    }
}

/// Reads the data and makes the job of it. Everything that can be wrong with the input is found here.
pub fn prepare(args: &TrainArgs, job: JobId) -> Result<Prepared, Failure> {
    let preset = settings::preset(args)?;
    let continued = args.learning.init.as_deref().map(|path| Continued::read(path, args.learning.task)).transpose()?;
    let layout = continued.as_ref().map_or_else(Layout::default, |continued| continued.layout.clone());
    let reading = Reading {
        layout: args.layout.or(layout),
        validate: args.split.validate.clone(),
        shards: args.split.shards.map(|shards| shards as usize),
        seed: args.learning.seed,
        task: args.learning.task,
        model: continued.as_ref().map(Continued::wanted),
    };
    let data = data::read(&args.data, &reading).map_err(|error| {
        let hint = if continued.is_some() { Continued::hint(&error) } else { None };
        Failure::bad_input(&error).hint(hint.unwrap_or_else(|| error.hint()))
    })?;
    let model = continued.map(|continued| continued.model);
    let known = Known {
        task: data.labels.task(),
        shape: shape(&data),
        is_measured: !data.validation.is_empty(),
        model: model.as_ref(),
    };
    let settings = Settings::of(args, preset, &known);
    let base = start(&settings, &data, &reading.layout, model, job)?;
    let base = Bytes::from(base.to_safetensors());
    let base_digest = data::digest_of(&base);
    let (train_input, train_manifest) = data::manifest(&data.shards);
    let (validation_input, validation_manifest) = data::manifest(&data.validation);
    let shards = input(train_input, data.shards.len())?;
    let moments = Program::new(MOMENTS, Payload::default());
    let prepare = settings.prepares().then(|| job::work(moments, shards.clone(), &job::standardize()));
    let evaluate = Program::new(EVALUATE, program::inline(&Count::default()));
    let evaluate = job::work(evaluate, input(validation_input, data.validation.len())?, &job::count());
    let train = Program::new(TRAIN, program::inline(&settings.program()));
    let plan = Rounds {
        rounds: settings.rounds,
        base: Payload::blob(base_digest),
        prepare,
        train: job::work(train, shards, &job::merge()),
        evaluate: Some(evaluate).filter(|_: &Work| !data.validation.is_empty()),
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
    let line = line(&settings, &data);
    let baseline = Baseline::of(&data.facts, data.labels.names(), &settings);
    let shards = data.shards.iter().map(|shard| shard.name.clone()).collect();
    let manifests = [(train_input, train_manifest), (validation_input, validation_manifest), (base_digest, base)];
    let pieces = data.shards.into_iter().chain(data.validation).map(|shard| (shard.digest, shard.blob));
    let contents = pieces.chain(manifests).map(|(digest, bytes)| (digest, Content::Bytes(bytes))).collect();
    let what = Counted(settings.epochs as usize, "training epoch").to_string();
    let keep = settings.keep;
    let learning = Some(Learning { settings, line, baseline });
    Ok(Prepared { spec, contents, shards, held_out: data.held_out, learning, what, keep })
}

fn shape(data: &Data) -> Shape {
    let rows: u64 = data.shards.iter().map(|shard| shard.samples).sum();
    let outputs = data.labels.names().len().max(1);
    Shape { features: data.width, outputs, rows: rows as usize, shards: data.shards.len() }
}

/// The model that the first round, or what prepares it, begins with.
fn start(settings: &Settings, data: &Data, layout: &Layout, model: Option<Mlp>, job: JobId) -> Result<Mlp, Failure> {
    let mut base = match model {
        Some(model) => model,
        None => {
            let outputs = data.labels.names().len().max(1);
            let layers = [data.width].into_iter().chain(settings.hidden.iter().copied()).chain([outputs]);
            let architecture =
                Architecture { sizes: layers.collect(), activation: settings.between(), head: data.labels.head() };
            let mut base = Mlp::start(&architecture, settings.drawn(), settings.seed).map_err(too_large)?;
            layout.keep(&data.feature_names, base.metadata_mut());
            base
        }
    };
    base.metadata_mut().insert("job".to_owned(), job.to_string());
    Ok(base)
}

fn input(manifest: Digest, shards: usize) -> Result<Input, Failure> {
    Ok(Input::shards(Payload::blob(manifest), u32::try_from(shards).map_err(Failure::bad_input)?))
}

/// How it trains, for people; and that labels are taken for numbers, where nobody said so.
fn line(settings: &Settings, data: &Data) -> String {
    let task = match &data.labels {
        data::Labels::Value(name) => {
            let of = if name.is_empty() { String::new() } else { format!(" of `{name}`") };
            let why = if data.taken_for_numbers {
                " (not all are whole numbers: --task classification for classes)"
            } else {
                ""
            };
            format!("regression{of}{why}, ")
        }
        data::Labels::Classes(_) => String::new(),
    };
    format!("training: {task}{settings}")
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
            "if labels are numbers to predict, say so with --task regression; --label COLUMN says which column is the label"
        }
        _ => "make --hidden smaller, or leave columns out with --drop",
    };
    Failure::bad_input(error).hint(hint)
}
