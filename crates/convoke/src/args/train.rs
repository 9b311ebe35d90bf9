//! What may be said about training: what is learned, where it runs, and which version is kept.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use convoke_wire::core::{PRIORITY_MAX, Policy};
use serde::Serialize;

use super::{At, DescentArgs, LayoutArgs, LearningArgs, LoadArgs, NetworkArgs, SplitArgs, StepArgs};

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  convoke train @letters                                   the built-in letters, on this machine
  convoke train letters/ --rounds 30                       a directory of shards, for longer
  convoke train iris.csv --label first --delimiter ';'     one file: cut into shards, with rows held out
  convoke train letters/ --coordinator 10.0.0.5:9095       on a cluster
  convoke train houses.csv --label price --task regression --hidden 64,32 --learning-rate 0.003
  convoke train more/ --init convoke-7k3q9x2m.safetensors  on from a model
  convoke train letters/ --output json | jq .validation_error
  convoke train job.toml --rounds 20                       what a job file says, but for the rounds
  convoke train data/ --step 'python3 step.py' --init init.safetensors --eval 'python3 eval.py' --with step.py --with eval.py

A job file says what flags say, by their names, and where the data is. Paths in it are relative to it. Flags override it:
  data = \"letters/\"
  rounds = 20
  hidden = [64, 32]
  optimizer = \"adamw\"
  learning-rate = 0.01

With --step, DATA is files of any kind: each file of a directory is a shard (train_* files, if there are any), a .csv or .txt
file is cut between its lines. A step reads $CONVOKE_BASE and $CONVOKE_SHARD, and writes $CONVOKE_RESULT: safetensors with
the names, shapes and types of --init. It runs in a directory of its own that holds what --with names. --eval is given the
same, without a result to write; without validation data it has no $CONVOKE_SHARD, and brings its own. Numbers are lines of
JSON on stdout, such as {\"samples\": 500, \"error\": 0.1}."
)]
pub struct TrainArgs {
    /// A directory of shards (train_*.txt or .csv, and perhaps validate_*.txt or .csv), one file, @letters, or a job file
    /// (.toml)
    pub data: PathBuf,
    #[command(flatten, next_help_heading = "Data")]
    pub layout: LayoutArgs,
    #[command(flatten, next_help_heading = "Data")]
    pub split: SplitArgs,
    #[command(flatten, next_help_heading = "Training")]
    pub learning: LearningArgs,
    #[command(flatten, next_help_heading = "Network")]
    pub network: NetworkArgs,
    #[command(flatten, next_help_heading = "Descent")]
    pub descent: DescentArgs,
    #[command(flatten, next_help_heading = "Your own training")]
    pub step: StepArgs,
    #[command(flatten, next_help_heading = "Model")]
    pub model: ModelArgs,
    #[command(flatten, next_help_heading = "Cluster")]
    pub run: RunArgs,
}

/// What becomes of the model.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Where the model goes [default: ./convoke-JOB.safetensors]
    #[arg(long = "model", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which version is the model: last, or best, the one with the smallest validation error [default: last; best of
    /// --preset auto with validation data]
    #[arg(long, value_enum, value_name = "VERSION", hide_possible_values = true)]
    pub keep: Option<Keep>,
}

/// Where the job runs, and how its tasks are placed.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub at: At,
    /// Submit and return; needs a coordinator
    #[arg(long)]
    pub detach: bool,
    /// How tasks are placed: random (1), round-robin or load-balancing (2) [default: the coordinator's]
    #[arg(long)]
    pub policy: Option<Policy>,
    /// The job's weight among jobs, from -10 to 10: one more doubles its share of the workers
    #[arg(long, default_value_t = 0, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(i64::from(-PRIORITY_MAX)..=i64::from(PRIORITY_MAX)))]
    pub priority: i32,
    /// Workers of the embedded cluster [default: one for each core]
    #[arg(long, value_name = "N", conflicts_with = "detach",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Which version of a job's model is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last round's
    Last,
    /// The one with the smallest validation error
    Best,
}
