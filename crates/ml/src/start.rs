//! Where training starts: the first parameters, drawn from a seed.
//! The same seed gives the same bits on every platform: random bits, exact scaling, and a square root, which every
//! processor rounds alike.
//! It does not know what the parameters will be trained on.

use rand_core::Rng;
use rand_pcg::Pcg64;

use crate::architecture::Architecture;
use crate::model::{Mlp, ModelError};
use crate::random::generator;

/// How the first parameters are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// The reference job's: every weight and bias uniform in [-0.01, 0.01).
    #[default]
    Uniform,
    /// For ReLU: weights uniform in ±√(6 / inputs), biases zero (He 2015, arXiv:1502.01852).
    He,
    /// For tanh: weights uniform in ±√(6 / (inputs + outputs)), biases zero (Glorot 2010).
    Xavier,
}

impl Start {
    /// How far from zero the weights of a layer may be.
    fn reach(self, inputs: usize, outputs: usize) -> f32 {
        match self {
            Start::Uniform => 0.01,
            Start::He => (6.0 / inputs as f64).sqrt() as f32,
            Start::Xavier => (6.0 / (inputs as f64 + outputs as f64)).sqrt() as f32,
        }
    }
}

impl Mlp {
    /// A model with its first parameters, from PCG-64 (O'Neill 2014) seeded with `seed`.
    pub fn start(architecture: &Architecture, start: Start, seed: u64) -> Result<Mlp, ModelError> {
        let mut model = Mlp::zeros(architecture.clone())?;
        let mut generator = generator(seed, 0xa02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96);
        let mut rest = model.parameters_mut();
        for pair in architecture.sizes.windows(2) {
            let (weights, after) = rest.split_at_mut(pair[0] * pair[1]);
            let (biases, after) = after.split_at_mut(pair[1]);
            let reach = start.reach(pair[0], pair[1]);
            draw(weights, reach, &mut generator);
            if start == Start::Uniform {
                draw(biases, reach, &mut generator);
            }
            rest = after;
        }
        Ok(model)
    }

    /// The reference job's start of a classifier with ReLU.
    pub fn uniform_start(sizes: &[usize], labels: Vec<String>, seed: u64) -> Result<Mlp, ModelError> {
        Mlp::start(&Architecture::classifier(sizes, labels), Start::Uniform, seed)
    }
}

/// Uniform in [-reach, reach): 24 random bits are scaled by one multiplication.
fn draw(parameters: &mut [f32], reach: f32, generator: &mut Pcg64) {
    const HALF: i64 = 1 << 23;
    for parameter in parameters {
        let bits = (generator.next_u64() >> 40) as i64;
        *parameter = (bits - HALF) as f32 * (reach / HALF as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Head};

    #[test]
    fn the_uniform_start_is_pinned() {
        let labels = (0..26).map(|label| label.to_string()).collect();
        let model = Mlp::uniform_start(&[16, 24, 26], labels, 7).unwrap();
        assert_eq!(model.parameters().len(), 16 * 24 + 24 + 24 * 26 + 26);
        assert!(model.parameters().iter().all(|value| value.abs() <= 0.01));
        let mean = model.parameters().iter().sum::<f32>() / 1058.0;
        assert!(mean.abs() < 0.001, "mean {mean}");
        assert_eq!(model.parameters()[..3], [-0.005_085_835_2, 0.008_043_17, 0.004_976_947_3]);
    }

    #[test]
    fn the_scaled_starts_have_their_variance_and_no_bias() {
        let architecture =
            Architecture { sizes: vec![150, 50, 1], activation: Activation::Tanh, head: Head::Value(String::new()) };
        for (start, variances) in [(Start::He, [2.0 / 150.0, 2.0 / 50.0]), (Start::Xavier, [2.0 / 200.0, 2.0 / 51.0])] {
            let model = Mlp::start(&architecture, start, 5).unwrap();
            for (layer, expected) in model.layers().zip(variances) {
                let squares: f64 = layer.weight.iter().map(|weight| f64::from(*weight).powi(2)).sum();
                let variance = squares / layer.weight.len() as f64;
                assert!((variance / expected - 1.0).abs() < 0.3, "{start:?}: {variance} and {expected}");
                assert!(layer.weight.iter().all(|weight| f64::from(weight.abs()) <= (3.0 * expected).sqrt() + 1e-9));
                assert!(layer.bias.iter().all(|bias| *bias == 0.0));
            }
        }
    }
}
