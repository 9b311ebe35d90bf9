//! What may be said about learning: where defaults come from, the network, and how it descends.
//!
//! What is not said is picked elsewhere, once the data is known.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

/// What is learned, and from where.
#[derive(Debug, Default, Args)]
pub struct LearningArgs {
    /// What stands where nothing is said: auto is picked from the data; reference is 3 rounds, 75 epochs, 24 hidden, eta
    /// 0.0001, full-batch gradient descent on the summed loss from the uniform start [default: auto]
    #[arg(long, value_enum, hide_possible_values = true)]
    pub preset: Option<Preset>,
    /// What labels are: classification or regression [default: regression where all are numbers and some have fractions]
    #[arg(long, value_enum, hide_possible_values = true)]
    pub task: Option<Task>,
    /// Rounds: each trains every shard from one base and merges the results
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: Option<u32>,
    /// Training epochs a round: passes over each shard
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub epochs: Option<u32>,
    /// Go on from this model, of the same features and labels; with --step, a safetensors file that the first round begins with
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["hidden", "activation", "start", "standardize", "no_standardize"])]
    pub init: Option<PathBuf>,
    /// Where all randomness comes from: the model's start, the split of the rows, batches and random placement
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// What the model is made of.
#[derive(Debug, Default, Args)]
pub struct NetworkArgs {
    /// Units of the hidden layers, such as 24 or 64,32; 0 for none
    #[arg(long, value_name = "N[,N…]", value_parser = parse_layers)]
    pub hidden: Option<Layers>,
    /// What stands between layers: relu or tanh
    #[arg(long, value_enum, hide_possible_values = true)]
    pub activation: Option<Activation>,
    /// How the first parameters are drawn: uniform (the reference's), he (for relu) or xavier (for tanh)
    #[arg(long, value_enum, hide_possible_values = true)]
    pub start: Option<Start>,
    /// Bring features to mean 0 and variance 1 before the first round; the model keeps by what [default: of --preset auto]
    #[arg(long, overrides_with = "no_standardize")]
    pub standardize: bool,
    /// Take features as they are
    #[arg(long, overrides_with = "standardize")]
    pub no_standardize: bool,
}

/// How the model descends.
#[derive(Debug, Default, Args)]
pub struct DescentArgs {
    /// How gradients become steps: sgd, momentum, adam or adamw
    #[arg(long, value_enum, hide_possible_values = true)]
    pub optimizer: Option<Optimizer>,
    /// How long steps on the mean loss are at first
    #[arg(long, value_name = "R", allow_negative_numbers = true, value_parser = parse_rate)]
    pub learning_rate: Option<f32>,
    /// How much of the last step stays in the next; means --optimizer momentum [default: 0.9]
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = parse_momentum)]
    pub momentum: Option<f32>,
    /// Rows of a batch; full for a whole shard
    #[arg(long, value_name = "N|full", value_parser = parse_batch)]
    pub batch: Option<Batch>,
    /// What draws weights to zero: added to their gradient; with adamw, they shrink by it instead
    #[arg(long, value_name = "W", allow_negative_numbers = true, value_parser = parse_decay)]
    pub weight_decay: Option<f32>,
    /// Shorten a batch's gradient to this norm
    #[arg(long, value_name = "C", allow_negative_numbers = true, value_parser = parse_norm)]
    pub clip_norm: Option<f32>,
    /// What becomes of the learning rate over all rounds: constant, or cosine, down to 0
    #[arg(long, value_enum, hide_possible_values = true)]
    pub schedule: Option<Schedule>,
    /// The step of full-batch gradient descent on the summed loss; means --preset reference
    #[arg(long, allow_negative_numbers = true, value_parser = parse_eta)]
    pub eta: Option<f32>,
    /// With that, end a shard's training epochs when its summed loss changes by no more than CHANGE; 0.2 if none is given
    #[arg(long, value_name = "CHANGE", num_args = 0..=1, default_missing_value = "0.2",
          allow_negative_numbers = true, value_parser = parse_change)]
    pub early_stop: Option<f64>,
}

/// A set of defaults for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What is picked from the data
    Auto,
    /// 3 rounds, 75 epochs, 24 hidden, eta 0.0001, full-batch gradient descent from the uniform start
    Reference,
}

/// What labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Names of classes
    Classification,
    /// Numbers
    Regression,
}

/// What stands between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// The hyperbolic tangent
    Tanh,
}

/// How the first parameters are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The reference's
    Uniform,
    /// For relu
    He,
    /// For tanh
    Xavier,
}

/// How gradients become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Down the gradient
    Sgd,
    /// With what is left of the last step
    Momentum,
    /// Adam, weight decay in the gradient
    Adam,
    /// Adam, weight decay apart
    #[value(name = "adamw")]
    #[serde(rename = "adamw")]
    AdamW,
}

/// What becomes of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Nothing
    Constant,
    /// Half a cosine, down to 0
    Cosine,
}

/// Rows of a batch; 0 is a whole shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch(pub u32);

/// Units of the hidden layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers(pub Vec<usize>);

impl DescentArgs {
    /// The first flag that is only for descent on the mean loss.
    pub fn of_mean_loss(&self) -> Option<&'static str> {
        let given = [
            ("--optimizer", self.optimizer.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--momentum", self.momentum.is_some()),
            ("--batch", self.batch.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--clip-norm", self.clip_norm.is_some()),
            ("--schedule", self.schedule.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The first flag that is only for descent on the summed loss.
    pub fn of_summed_loss(&self) -> Option<&'static str> {
        let given = [("--eta", self.eta.is_some()), ("--early-stop", self.early_stop.is_some())];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

fn parse_layers(text: &str) -> Result<Layers, String> {
    if text == "0" {
        return Ok(Layers(Vec::new()));
    }
    let unit = |text: &str| text.trim().parse::<usize>().ok().filter(|units| (1..=65_536).contains(units));
    let layers: Option<Vec<_>> = text.split(',').map(unit).collect();
    let layers = layers.filter(|layers| layers.len() <= 16);
    layers.map(Layers).ok_or_else(|| "up to 16 layers of 1 to 65536 units, such as 64,32; or 0 for none".to_owned())
}

fn parse_batch(text: &str) -> Result<Batch, String> {
    if text == "full" {
        return Ok(Batch(0));
    }
    let rows = text.parse().ok().filter(|rows| *rows > 0);
    rows.map(Batch).ok_or_else(|| "a number of rows from 1, or full".to_owned())
}

fn parse_eta(text: &str) -> Result<f32, String> {
    positive(text).ok_or_else(|| "a step is a positive number, such as 0.0001".to_owned())
}

fn parse_rate(text: &str) -> Result<f32, String> {
    positive(text).ok_or_else(|| "a learning rate is a positive number, such as 0.01".to_owned())
}

fn parse_norm(text: &str) -> Result<f32, String> {
    positive(text).ok_or_else(|| "a norm is a positive number, such as 1".to_owned())
}

fn parse_momentum(text: &str) -> Result<f32, String> {
    let momentum = text.parse().ok().filter(|momentum| (0.0..1.0).contains(momentum));
    momentum.ok_or_else(|| "momentum is from 0 to less than 1, such as 0.9".to_owned())
}

fn parse_decay(text: &str) -> Result<f32, String> {
    let decay = text.parse().ok().filter(|decay: &f32| decay.is_finite() && *decay >= 0.0);
    decay.ok_or_else(|| "weight decay is a number from 0, such as 0.01".to_owned())
}

fn parse_change(text: &str) -> Result<f64, String> {
    let change = text.parse().ok().filter(|change: &f64| change.is_finite() && *change >= 0.0);
    change.ok_or_else(|| "a change of the summed loss is a number from 0, as in --early-stop=0.2".to_owned())
}

fn positive(text: &str) -> Option<f32> {
    text.parse().ok().filter(|number: &f32| number.is_finite() && *number > 0.0)
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

    #[test]
    fn numbers_have_their_ranges() {
        assert_eq!((parse_batch("full"), parse_batch("32")), (Ok(Batch(0)), Ok(Batch(32))));
        assert!(["0", "-1", "x", "1.5", ""].iter().all(|wrong| parse_batch(wrong).is_err()));
        assert!(["0", "-1", "NaN", "inf", "x"].iter().all(|wrong| parse_rate(wrong).is_err()));
        assert_eq!((parse_momentum("0"), parse_decay("0")), (Ok(0.0), Ok(0.0)));
        assert!(["1", "-0.1", "NaN"].iter().all(|wrong| parse_momentum(wrong).is_err()));
        assert!(["inf", "-0.1", "NaN"].iter().all(|wrong| parse_decay(wrong).is_err()));
    }
}
