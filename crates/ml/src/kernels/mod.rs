//! The passes over data: forward, loss, gradient.
//!
//! A [`Kernel`] owns the samples that are loaded and the memory of passes for one architecture; a pass allocates nothing. Its
//! arithmetic is defined for sixteen lanes (`lanes`), and has the same bits on every processor: which way of computing is the
//! model's or the machine's has no part in them but for one choice, made of the model's sizes alone (`FUSED_WEIGHTS_MAX`).
//! Why a pass is made it does not know: training, evaluation and prediction all come here.

mod activation;
mod around;
mod functions;
mod fused;
mod head;
mod lanes;
mod peak;
mod shape;
#[cfg(test)]
mod tests;
mod tile;
mod tiled;

use fused::{Fused, FusedPass};
use lanes::Way;
pub use peak::{instructions, multiply_and_add};
use shape::{Shape, Transform};
use tiled::{Tiled, TiledPass};

use crate::dataset::{Dataset, Targets};
use crate::model::Mlp;

/// The name of this arithmetic: results have the same bits wherever the profile is the same. It names no instructions, since
/// all have the same.
pub const NUMERIC_PROFILE: &str = "lanes16-1";

/// The most weights of a model that is computed a sample a lane, all layers of sixteen samples at a time.
///
/// Measured on AVX2, as the other way's time over this one's, for batches of 32 and 64 and the whole of 1,536 samples:
/// 16-24-26 (1,008 weights) 1.05, 1.16, 1.39; 8-16-3 (176) 1.27, 1.33, 1.70; 16-32-26 (1,344) 0.90, 1.00, 1.15; 32-32-10
/// (1,344) 0.76, 0.84, 0.98; 64-64-10 (4,736) 0.70, 0.81, 0.89.
const FUSED_WEIGHTS_MAX: usize = 1_280;

/// Samples whose outputs are computed at a time.
const OUTPUT_ROWS: usize = 1_024;

/// What a pass over some samples found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pass {
    /// Summed over the samples: cross-entropy in nats, or squared errors of the standardised target.
    pub loss: f64,
    /// Samples whose label is not the predicted class; none where a value is predicted.
    pub wrong: u64,
}

/// Samples, and memory for passes of models of one architecture.
pub(crate) struct Kernel {
    way: Way,
    shape: Shape,
    features: Transform,
    target: (f32, f32),
    engine: Engine,
}

/// The two orders of computing.
enum Engine {
    Fused(Fused),
    Tiled(Tiled),
}

/// What a pass is to bring beside the loss.
enum Goal<'a> {
    #[cfg_attr(not(test), expect(dead_code, reason = "what tests compare the gradient's loss with"))]
    Loss,
    /// The gradient of the summed loss.
    Gradient(&'a mut [f32]),
    /// The outputs, and no loss: appended, `[samples, outputs]`.
    Outputs(&'a mut Vec<f32>),
}

impl Kernel {
    /// Memory for models of the architecture and the standardisation of `model`.
    pub(crate) fn new(model: &Mlp) -> Kernel {
        let is_fused = Shape::of(model).weights() <= FUSED_WEIGHTS_MAX;
        Kernel::by(model, Way::fastest(), is_fused)
    }

    fn by(model: &Mlp, way: Way, is_fused: bool) -> Kernel {
        let shape = Shape::of(model);
        let engine = match is_fused {
            true => Engine::Fused(Fused::new(&shape)),
            false => Engine::Tiled(Tiled::new(&shape)),
        };
        let (features, target) = (Transform::of(model), model.target().unwrap_or((0.0, 1.0)));
        Kernel { way, shape, features, target, engine }
    }

    /// Takes samples in, standardised, in place of those before: all, or `rows` in that order. They have to fit the model.
    pub(crate) fn load(&mut self, data: &Dataset, rows: Option<&[u32]>) {
        let width = data.width();
        let place = |n: usize| rows.map_or(n, |rows| rows[n] as usize);
        let features = |n: usize| &data.features()[place(n) * width..][..width];
        let samples = rows.map_or(data.samples(), <[u32]>::len);
        let (mean, scale) = self.target;
        match data.targets() {
            Targets::Classes(classes) => self.take(samples, |n| (features(n), classes[place(n)] as f32)),
            Targets::Values(values) => self.take(samples, |n| (features(n), (values[place(n)] - mean) / scale)),
        }
    }

    /// Takes in so many samples: each its features and its target.
    fn take<'a>(&mut self, samples: usize, sample: impl Fn(usize) -> (&'a [f32], f32)) {
        match &mut self.engine {
            Engine::Fused(fused) => fused.load(samples, sample, &self.features),
            Engine::Tiled(tiled) => tiled.load(samples, sample, &self.features),
        }
    }

    /// The summed loss of the loaded samples, and its gradient in the order of [`Mlp::parameters`].
    pub(crate) fn loss_and_gradient(&mut self, model: &Mlp, gradient: &mut [f32]) -> Pass {
        assert_eq!(gradient.len(), model.parameters().len(), "a gradient has a place for each parameter");
        self.pass(model, Goal::Gradient(gradient))
    }

    /// The summed loss of the loaded samples and the number of wrong predictions alone.
    #[cfg(test)]
    pub(crate) fn loss(&mut self, model: &Mlp) -> Pass {
        self.pass(model, Goal::Loss)
    }

    /// The model's outputs for samples of `features` (`[n, d]`, row-major), appended to `outputs` (`[n, k]`): logits, or a
    /// standardised value. Takes the place of the loaded samples.
    pub(crate) fn outputs(&mut self, model: &Mlp, features: &[f32], outputs: &mut Vec<f32>) {
        let width = model.inputs();
        outputs.reserve(features.len() / width * model.outputs());
        for features in features.chunks(OUTPUT_ROWS * width) {
            self.take(features.len() / width, |n| (&features[n * width..][..width], 0.0));
            self.pass(model, Goal::Outputs(outputs));
        }
    }

    fn pass(&mut self, model: &Mlp, goal: Goal) -> Pass {
        assert_eq!(model.sizes(), self.shape.sizes, "a kernel made for another shape");
        let (shape, parameters) = (&self.shape, model.parameters());
        match &mut self.engine {
            Engine::Fused(fused) => self.way.run(FusedPass { fused, shape, parameters, goal }),
            Engine::Tiled(tiled) => self.way.run(TiledPass { tiled, shape, parameters, goal }),
        }
    }
}
