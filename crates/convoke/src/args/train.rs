//! What may be said about training: what is learned, where it runs, and which version is kept.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use convoke_wire::core::{PRIORITY_MAX, Policy};

use super::{At, LayoutArgs, LoadArgs, SplitArgs, StepArgs};

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  convoke train @letters                                   the built-in letters, on this machine
  convoke train letters/ --rounds 15 --epochs 50           a directory of shards
  convoke train iris.csv --label first --delimiter ';'     one file: cut into shards, with rows held out
  convoke train letters/ --coordinator 10.0.0.5:9095       on a cluster
  convoke train letters/ --output json | jq .validation_error
  convoke train data/ --step 'python3 step.py' --init init.safetensors --eval 'python3 eval.py' --with step.py --with eval.py

With --step, DATA is files of any kind: each file of a directory is a shard (train_* files, if there are any), a .csv or .txt
file is cut between its lines. A step reads $CONVOKE_BASE and $CONVOKE_SHARD, and writes $CONVOKE_RESULT: safetensors with
the names, shapes and types of --init. It runs in a directory of its own that holds what --with names. --eval is given the
same, without a result to write; without validation data it has no $CONVOKE_SHARD, and brings its own. Numbers are lines of
JSON on stdout, such as {\"samples\": 500, \"error\": 0.1}."
)]
pub struct TrainArgs {
    /// A directory of shards (train_*.txt or .csv, and perhaps validate_*.txt or .csv), one file, or @letters
    pub data: PathBuf,
    #[command(flatten, next_help_heading = "Data")]
    pub layout: LayoutArgs,
    #[command(flatten, next_help_heading = "Data")]
    pub split: SplitArgs,
    #[command(flatten, next_help_heading = "Training")]
    pub learning: LearningArgs,
    #[command(flatten, next_help_heading = "Your own training")]
    pub step: StepArgs,
    #[command(flatten, next_help_heading = "Model")]
    pub model: ModelArgs,
    #[command(flatten, next_help_heading = "Cluster")]
    pub run: RunArgs,
}

/// What is learned, and how.
#[derive(Debug, Args)]
pub struct LearningArgs {
    /// Defaults that flags override: reference is 3 rounds, 75 epochs, 24 hidden, eta 0.0001, full-batch gradient descent
    #[arg(long, value_enum, default_value_t = Preset::Reference, hide_possible_values = true)]
    pub preset: Preset,
    /// Rounds: each trains every shard from one base and merges the results
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: u32,
    /// Training epochs a round: passes over each shard
    #[arg(long, value_name = "N", default_value_t = 75, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub epochs: u32,
    /// Units of the hidden layers, such as 24 or 64,32; 0 for none
    #[arg(long, value_name = "N[,N…]", default_value = "24", value_parser = parse_layers)]
    pub hidden: Layers,
    /// The step of gradient descent on the summed loss
    #[arg(long, default_value_t = 0.0001, allow_negative_numbers = true, value_parser = parse_eta)]
    pub eta: f32,
    /// End a shard's training epochs when its summed loss changes by no more than CHANGE; 0.2 if none is given
    #[arg(long, value_name = "CHANGE", num_args = 0..=1, default_missing_value = "0.2",
          allow_negative_numbers = true, value_parser = parse_change)]
    pub early_stop: Option<f64>,
    /// Where all randomness comes from: the model's start, the split of the rows, and random placement
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// What becomes of the model.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Where the model goes [default: ./convoke-JOB.safetensors]
    #[arg(long = "model", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which version is the model: last, or best, the one with the smallest validation error
    #[arg(long, value_enum, default_value_t = Keep::Last, value_name = "VERSION", hide_possible_values = true)]
    pub keep: Keep,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// The last round's
    Last,
    /// The one with the smallest validation error
    Best,
}

/// A set of defaults for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 3 rounds, 75 epochs, 24 hidden, eta 0.0001, full-batch gradient descent from the uniform start
    Reference,
}

/// Units of the hidden layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers(pub Vec<usize>);

fn parse_layers(text: &str) -> Result<Layers, String> {
    if text == "0" {
        return Ok(Layers(Vec::new()));
    }
    let unit = |text: &str| text.trim().parse::<usize>().ok().filter(|units| (1..=65_536).contains(units));
    let layers: Option<Vec<_>> = text.split(',').map(unit).collect();
    let layers = layers.filter(|layers| layers.len() <= 16);
    layers.map(Layers).ok_or_else(|| "up to 16 layers of 1 to 65536 units, such as 64,32; or 0 for none".to_owned())
}

fn parse_eta(text: &str) -> Result<f32, String> {
    let eta = text.parse().ok().filter(|eta: &f32| eta.is_finite() && *eta > 0.0);
    eta.ok_or_else(|| "a step is a positive number, such as 0.0001".to_owned())
}

fn parse_change(text: &str) -> Result<f64, String> {
    let change = text.parse().ok().filter(|change: &f64| change.is_finite() && *change >= 0.0);
    change.ok_or_else(|| "a change of the summed loss is a number from 0, as in --early-stop=0.2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_layers_are_read() {
        assert_eq!(parse_layers("64,32"), Ok(Layers(vec![64, 32])));
        assert_eq!(parse_layers("0"), Ok(Layers(vec![])));
        for wrong in ["", "64,", "0,3", "-1", "x", "70000"] {
            assert!(parse_layers(wrong).is_err(), "{wrong}");
        }
    }
}
