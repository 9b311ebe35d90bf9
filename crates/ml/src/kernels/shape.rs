//! What passes have to know of a model beside its parameters: its shape, and what is done to features first.

use super::head::Loss;
use super::lanes::{Block, LANES};
use crate::architecture::{Activation, Head};
use crate::model::{Layer, Mlp};

/// The shape of a model.
pub(super) struct Shape {
    pub sizes: Vec<usize>,
    pub activation: Activation,
    pub loss: Loss,
}

impl Shape {
    /// The shape of a model.
    pub(super) fn of(model: &Mlp) -> Shape {
        let loss = match model.head() {
            Head::Classes(_) => Loss::CrossEntropy,
            Head::Value(_) => Loss::SquaredError,
        };
        Shape { sizes: model.sizes().to_vec(), activation: model.activation(), loss }
    }

    /// Units of the last layer.
    pub(super) fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// How many weights there are, without the biases.
    pub(super) fn weights(&self) -> usize {
        self.sizes.windows(2).map(|pair| pair[0] * pair[1]).sum()
    }

    /// The layers in order.
    pub(super) fn layers<'a>(&'a self, parameters: &'a [f32]) -> impl Iterator<Item = Layer<'a>> {
        let mut rest = parameters;
        self.sizes.windows(2).map(move |pair| {
            let (weight, after) = rest.split_at(pair[0] * pair[1]);
            let (bias, after) = after.split_at(pair[1]);
            rest = after;
            Layer { inputs: pair[0], outputs: pair[1], weight, bias }
        })
    }

    /// The layers from the last to the first, with their numbers.
    pub(super) fn layers_back<'a>(&'a self, parameters: &'a [f32]) -> impl Iterator<Item = (usize, Layer<'a>)> {
        let mut rest = parameters;
        self.sizes.windows(2).enumerate().rev().map(move |(l, pair)| {
            let (before, bias) = rest.split_at(rest.len() - pair[1]);
            let (before, weight) = before.split_at(before.len() - pair[0] * pair[1]);
            rest = before;
            (l, Layer { inputs: pair[0], outputs: pair[1], weight, bias })
        })
    }
}

/// What is done to features before the first layer: x' = (x − mean) · (1 / scale), or nothing.
pub(super) struct Transform(Option<(Vec<f32>, Vec<f32>)>);

impl Transform {
    /// A model's standardisation.
    pub(super) fn of(model: &Mlp) -> Transform {
        let inverse = |scale: &Vec<f32>| scale.iter().map(|scale| 1.0 / scale).collect();
        Transform(model.features().map(|features| (features.mean.clone(), inverse(&features.scale))))
    }

    /// Hands over each of a sample's features, with its place.
    #[inline(always)]
    pub(super) fn each(&self, features: &[f32], mut take: impl FnMut(usize, f32)) {
        match &self.0 {
            None => features.iter().enumerate().for_each(|(f, value)| take(f, *value)),
            Some((mean, inverse)) => {
                for (f, ((value, mean), inverse)) in features.iter().zip(mean).zip(inverse).enumerate() {
                    take(f, (value - mean) * inverse);
                }
            }
        }
    }

    /// Leaves some of a sample's features, from number `first` on and at most sixteen, in `to`.
    #[inline(always)]
    pub(super) fn part(&self, first: usize, features: &[f32], to: &mut Block) {
        match (&self.0, <&[f32; LANES]>::try_from(features)) {
            (None, Ok(features)) => *to = *features,
            (None, Err(_)) => to[..features.len()].copy_from_slice(features),
            (Some((mean, inverse)), _) => {
                let (mean, inverse) = (&mean[first..], &inverse[first..]);
                for (to, ((value, mean), inverse)) in to.iter_mut().zip(features.iter().zip(mean).zip(inverse)) {
                    *to = (value - mean) * inverse;
                }
            }
        }
    }
}
