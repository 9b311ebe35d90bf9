//! How a job trains: what flags say, and what is picked where they say nothing. As JSON, as a line for people, and as
//! programs for workers.
//!
//! It knows the shape of the data, and none of its rows.

use std::fmt;

use convoke_ml::{Activation as Between, Start as Drawn};
use convoke_wire::core::Counted;
use convoke_wire::program::{self, Adam, Descent, FullBatch, Sgd, Train, v1};
use serde::Serialize;

use crate::args::{Activation, Batch, DescentArgs, Keep, Optimizer, Preset, Schedule, Start, Task, TrainArgs};
use crate::failure::Failure;
use crate::picked::Shape;

/// The means of Adam, as everybody has them (Kingma and Ba 2015).
const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// What stays of a step where nothing else is said.
const MOMENTUM: f32 = 0.9;
/// Steps are so much shorter where training goes on from a model: they are not to undo what it knows.
const CONTINUED: f32 = 0.25;
/// AdamW's, as PyTorch has it.
const DECAY: f32 = 0.01;

/// How a job trains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Where defaults come from.
    pub preset: Preset,
    /// What labels are.
    pub task: Task,
    /// The model that it goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// What stands between layers.
    pub activation: Activation,
    /// How the first parameters are drawn, unless it goes on from a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Whether the model takes standardised features.
    pub standardize: bool,
    /// Rounds.
    pub rounds: u32,
    /// Training epochs of each.
    pub epochs: u32,
    /// How it descends.
    #[serde(flatten)]
    pub method: Method,
    /// Which version is the model.
    pub keep: Keep,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// How a model descends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// The reference's: gradient descent on a shard's summed loss.
    FullBatch {
        /// The step.
        eta: f32,
        /// The change of the loss that ends a shard's training epochs.
        early_stop: Option<f64>,
    },
    /// On the mean loss of batches.
    Descent {
        /// How gradients become steps.
        optimizer: Optimizer,
        /// How long steps are at first.
        learning_rate: f32,
        /// How much of a step stays in the next.
        #[serde(skip_serializing_if = "Option::is_none")]
        momentum: Option<f32>,
        /// What becomes of the learning rate.
        schedule: Schedule,
        /// Rows of a batch; 0 is a whole shard.
        batch: u32,
        /// What draws weights to zero.
        weight_decay: f32,
        /// The longest gradient.
        clip_norm: Option<f32>,
    },
}

/// What is known once the data is.
pub struct Known<'a> {
    /// What labels are.
    pub task: Task,
    /// The shape of the data.
    pub shape: Shape,
    /// Whether versions are measured.
    pub is_measured: bool,
    /// The model that is gone on from.
    pub model: Option<&'a convoke_ml::Mlp>,
}

/// Where defaults come from. Flags that do not go together are refused here, before any data is read.
pub fn preset(args: &TrainArgs) -> Result<Preset, Failure> {
    let descent = &args.descent;
    let (summed, mean) = (descent.of_summed_loss(), descent.of_mean_loss());
    let refused = |flag, other: &str, what| {
        let error = format!("{flag} is of full-batch gradient descent on the summed loss, and {other} {what}");
        Err(Failure::bad_input(error).hint("leave out one of both: on the mean loss, --learning-rate is the step"))
    };
    match (summed, mean) {
        (Some(flag), Some(other)) => return refused(flag, other, "of descent on the mean loss"),
        (Some(flag), None) if args.learning.preset == Some(Preset::Auto) => {
            return refused(flag, "--preset auto", "descends on the mean loss");
        }
        _ => {}
    }
    if let (Some(_), Some(optimizer @ (Optimizer::Adam | Optimizer::AdamW))) = (descent.momentum, descent.optimizer) {
        let error = format!("--momentum is of --optimizer momentum or sgd, and --optimizer is {}", name(optimizer));
        return Err(Failure::bad_input(error).hint("leave out one of both"));
    }
    let default = if summed.is_some() { Preset::Reference } else { Preset::Auto };
    Ok(args.learning.preset.unwrap_or(default))
}

impl Settings {
    /// What flags say, and what is picked for the rest.
    pub fn of(args: &TrainArgs, preset: Preset, known: &Known) -> Self {
        let (learning, network) = (&args.learning, &args.network);
        let is_auto = preset == Preset::Auto;
        let shape = known.shape;
        let sizes = known.model.map(|model| model.sizes());
        let hidden = match (sizes, &network.hidden) {
            (Some(sizes), _) => sizes[1..sizes.len() - 1].to_vec(),
            (None, Some(layers)) => layers.0.clone(),
            (None, None) if is_auto => shape.hidden(),
            (None, None) => vec![24],
        };
        let activation = match known.model.map(|model| model.activation()) {
            Some(Between::Tanh) => Activation::Tanh,
            Some(Between::Relu) => Activation::Relu,
            None => network.activation.unwrap_or(Activation::Relu),
        };
        let start = network.start.unwrap_or(match (is_auto, activation) {
            (false, _) => Start::Uniform,
            (true, Activation::Relu) => Start::He,
            (true, Activation::Tanh) => Start::Xavier,
        });
        let standardize = match known.model {
            Some(model) => model.features().is_some(),
            None => network.standardize || is_auto && !network.no_standardize,
        };
        let rounds = learning.rounds.unwrap_or(if is_auto { shape.rounds() } else { 3 });
        let method = if is_auto || args.descent.of_mean_loss().is_some() {
            descent(&args.descent, is_auto, known, standardize)
        } else {
            let DescentArgs { eta, early_stop, .. } = args.descent;
            Method::FullBatch { eta: eta.unwrap_or(0.0001), early_stop }
        };
        let parameters = parameters(shape.features, &hidden, shape.outputs);
        let epochs = learning.epochs.unwrap_or_else(|| match method {
            Method::Descent { batch, .. } if is_auto => shape.epochs(rounds, batch, parameters),
            _ => 75,
        });
        let best = is_auto && known.is_measured;
        Self {
            preset,
            task: known.task,
            init: learning.init.as_ref().map(|path| path.display().to_string()),
            hidden,
            activation,
            start: known.model.is_none().then_some(start),
            standardize,
            rounds,
            epochs,
            method,
            keep: args.model.keep.unwrap_or(if best { Keep::Best } else { Keep::Last }),
            seed: learning.seed,
        }
    }

    /// Whether features are standardised before the first round.
    pub fn prepares(&self) -> bool {
        self.standardize && self.init.is_none()
    }

    /// The program of a training task.
    pub fn program(&self) -> Train {
        let kind = match self.method {
            Method::FullBatch { eta, early_stop } => {
                v1::train::Kind::FullBatch(FullBatch { training_epochs: self.epochs, eta, early_stop })
            }
            Method::Descent { optimizer, learning_rate, momentum, schedule, batch, weight_decay, clip_norm } => {
                let adam = |decoupled| {
                    let [beta1, beta2] = BETAS;
                    v1::descent::Optimizer::Adam(Adam { beta1, beta2, epsilon: EPSILON, decoupled })
                };
                v1::train::Kind::Descent(Descent {
                    training_epochs: self.epochs,
                    batch,
                    learning_rate,
                    optimizer: Some(match optimizer {
                        Optimizer::Sgd | Optimizer::Momentum => {
                            v1::descent::Optimizer::Sgd(Sgd { momentum: momentum.unwrap_or(0.0) })
                        }
                        Optimizer::Adam => adam(false),
                        Optimizer::AdamW => adam(true),
                    }),
                    weight_decay,
                    clip_norm,
                    schedule: match schedule {
                        Schedule::Constant => program::Schedule::Constant,
                        Schedule::Cosine => program::Schedule::Cosine,
                    }
                    .into(),
                    rounds: self.rounds,
                })
            }
        };
        Train { kind: Some(kind) }
    }

    /// What stands between layers.
    pub fn between(&self) -> Between {
        match self.activation {
            Activation::Relu => Between::Relu,
            Activation::Tanh => Between::Tanh,
        }
    }

    /// How the first parameters are drawn.
    pub fn drawn(&self) -> Drawn {
        match self.start {
            Some(Start::He) => Drawn::He,
            Some(Start::Xavier) => Drawn::Xavier,
            Some(Start::Uniform) | None => Drawn::Uniform,
        }
    }
}

fn descent(args: &DescentArgs, is_auto: bool, known: &Known, is_standardized: bool) -> Method {
    let shape = known.shape;
    let optimizer = args.optimizer.unwrap_or(match (args.momentum, is_auto) {
        (Some(_), _) => Optimizer::Momentum,
        (None, true) => Optimizer::AdamW,
        (None, false) => Optimizer::Sgd,
    });
    let batch = if is_auto { shape.batch() } else { 0 };
    let rate = || {
        let rate = shape.learning_rate(optimizer, is_standardized);
        if known.model.is_some() { rate * CONTINUED } else { rate }
    };
    let schedule = if is_auto { Schedule::Cosine } else { Schedule::Constant };
    Method::Descent {
        optimizer,
        learning_rate: args.learning_rate.unwrap_or_else(rate),
        momentum: args.momentum.or((optimizer == Optimizer::Momentum).then_some(MOMENTUM)),
        schedule: args.schedule.unwrap_or(schedule),
        batch: args.batch.map_or(batch, |Batch(rows)| rows),
        weight_decay: args.weight_decay.unwrap_or(if optimizer == Optimizer::AdamW { DECAY } else { 0.0 }),
        clip_norm: args.clip_norm,
    }
}

fn parameters(features: usize, hidden: &[usize], outputs: usize) -> usize {
    let ends = hidden.iter().copied().chain([outputs]);
    let begins = [features].into_iter().chain(hidden.iter().copied());
    begins.zip(ends).map(|(inputs, units)| inputs.saturating_mul(units)).fold(0, usize::saturating_add)
}

/// A line for people.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<_> = self.hidden.iter().map(ToString::to_string).collect();
        let activation = if self.activation == Activation::Relu { "relu" } else { "tanh" };
        match (&self.init, &layers[..]) {
            (Some(init), _) => write!(f, "on from {init}")?,
            (None, []) => write!(f, "no hidden layer")?,
            (None, layers) => write!(f, "{} hidden units ({activation})", layers.join(" and "))?,
        }
        match self.method {
            Method::FullBatch { eta, .. } => write!(f, ", full-batch gradient descent, eta {eta} on the summed loss")?,
            Method::Descent { optimizer, learning_rate, momentum, schedule, batch, .. } => {
                write!(f, ", {}", name(optimizer))?;
                momentum.map_or(Ok(()), |momentum| write!(f, " ({momentum})"))?;
                write!(f, " {learning_rate}")?;
                f.write_str(if schedule == Schedule::Cosine { " cosine" } else { "" })?;
                match batch {
                    0 => write!(f, ", full batches")?,
                    rows => write!(f, ", batches of {rows}")?,
                }
            }
        }
        let rounds = Counted(self.rounds as usize, "round");
        write!(f, ", {rounds} of {}", Counted(self.epochs as usize, "epoch"))?;
        if self.standardize {
            write!(f, ", standardised features")?;
        }
        if self.preset == Preset::Auto {
            write!(f, "; --preset reference for the reference's")?;
        }
        Ok(())
    }
}

/// An optimizer's name, as people write it.
fn name(optimizer: Optimizer) -> &'static str {
    match optimizer {
        Optimizer::Sgd => "SGD",
        Optimizer::Momentum => "SGD with momentum",
        Optimizer::Adam => "Adam",
        Optimizer::AdamW => "AdamW",
    }
}

#[cfg(test)]
mod tests;
