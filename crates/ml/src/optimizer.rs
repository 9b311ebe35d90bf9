//! Steps down a gradient: SGD with momentum, and Adam with or without decoupled weight decay.
//! A step is one pass over flat slices in plain arithmetic, which the compiler turns into vector code and every machine
//! rounds alike.
//! It does not know where gradients come from, nor what a learning rate follows.

use crate::model::Mlp;

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// v = momentum · v + g; w −= learning rate · v.
    Sgd {
        /// 0 to less than 1.
        momentum: f32,
    },
    /// Adam (Kingma and Ba 2015, arXiv:1412.6980), its means corrected for their start at zero.
    Adam {
        /// How much of the mean gradient stays.
        beta1: f32,
        /// How much of the mean squared gradient stays.
        beta2: f32,
        /// Added to the root of the latter.
        epsilon: f32,
        /// Whether weight decay is kept out of the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101).
        decoupled: bool,
    },
}

/// What one step is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// The step's length.
    pub learning_rate: f32,
    /// The gradient is multiplied by it first.
    pub factor: f32,
    /// Of weights, not of biases.
    pub weight_decay: f32,
}

/// An optimizer and what it remembers.
pub(crate) struct Stepper {
    optimizer: Optimizer,
    /// How many weights and then how many biases each layer has.
    layers: Vec<[usize; 2]>,
    /// The momentum, or the mean gradient.
    first: Vec<f32>,
    /// The mean squared gradient.
    second: Vec<f32>,
    /// `beta1` and `beta2`, to the power of the steps made.
    powers: [f64; 2],
}

impl Stepper {
    /// An optimizer that remembers nothing yet.
    pub(crate) fn new(optimizer: Optimizer, model: &Mlp) -> Stepper {
        let remembers = match optimizer {
            Optimizer::Sgd { momentum: 0.0 } => [0; 2],
            Optimizer::Sgd { .. } => [model.parameters().len(), 0],
            Optimizer::Adam { .. } => [model.parameters().len(); 2],
        };
        let [first, second] = remembers.map(|length| vec![0.0; length]);
        let layers = model.layers().map(|layer| [layer.weight.len(), layer.bias.len()]).collect();
        Stepper { optimizer, layers, first, second, powers: [1.0; 2] }
    }

    /// Changes `parameters` by one step down `gradient`, in the order of [`Mlp::parameters`].
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradient: &[f32], step: Step) {
        if let Optimizer::Adam { beta1, beta2, .. } = self.optimizer {
            self.powers[0] *= f64::from(beta1);
            self.powers[1] *= f64::from(beta2);
        }
        let (mut from, biased) = (0, Step { weight_decay: 0.0, ..step });
        for [weights, biases] in &self.layers {
            for (length, step) in [(*weights, step), (*biases, biased)] {
                let range = from..from + length;
                let (parameters, gradient) = (&mut parameters[range.clone()], &gradient[range.clone()]);
                match self.optimizer {
                    Optimizer::Sgd { momentum: 0.0 } => plain(parameters, gradient, step),
                    Optimizer::Sgd { momentum: share } => {
                        momentum(parameters, gradient, &mut self.first[range.clone()], share, step);
                    }
                    Optimizer::Adam { .. } => {
                        let means = [&mut self.first[range.clone()], &mut self.second[range.clone()]];
                        adam(parameters, gradient, means, self.optimizer, self.powers, step);
                    }
                }
                from = range.end;
            }
        }
    }
}

fn plain(parameters: &mut [f32], gradient: &[f32], step: Step) {
    for (parameter, gradient) in parameters.iter_mut().zip(gradient) {
        *parameter -= step.learning_rate * (gradient * step.factor + step.weight_decay * *parameter);
    }
}

fn momentum(parameters: &mut [f32], gradient: &[f32], velocity: &mut [f32], share: f32, step: Step) {
    for ((parameter, gradient), velocity) in parameters.iter_mut().zip(gradient).zip(velocity) {
        *velocity = flushed(share * *velocity + (gradient * step.factor + step.weight_decay * *parameter));
        *parameter -= step.learning_rate * *velocity;
    }
}

fn adam(
    parameters: &mut [f32],
    gradient: &[f32],
    [first, second]: [&mut [f32]; 2],
    optimizer: Optimizer,
    powers: [f64; 2],
    step: Step,
) {
    let Optimizer::Adam { beta1, beta2, epsilon, decoupled } = optimizer else { return };
    let (decay, kept) = match decoupled {
        true => (0.0, 1.0 - step.learning_rate * step.weight_decay),
        false => (step.weight_decay, 1.0),
    };
    let rate = (f64::from(step.learning_rate) / (1.0 - powers[0])) as f32;
    let correction = (1.0 / (1.0 - powers[1])) as f32;
    let (new1, new2) = (1.0 - beta1, 1.0 - beta2);
    let all = parameters.iter_mut().zip(gradient).zip(first.iter_mut().zip(second));
    for ((parameter, gradient), (first, second)) in all {
        let gradient = gradient * step.factor + decay * *parameter;
        *first = flushed(beta1 * *first + new1 * gradient);
        *second = flushed(beta2 * *second + new2 * (gradient * gradient));
        *parameter = *parameter * kept - rate * *first / ((*second * correction).sqrt() + epsilon);
    }
}

/// Zero in place of a subnormal number: where no gradient comes any more, what is remembered would end among them, and
/// computing with them is slow on many processors.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

#[cfg(test)]
mod tests;
