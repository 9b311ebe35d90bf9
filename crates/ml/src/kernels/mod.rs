//! The passes over data: forward, loss, gradient. One small interface, so that faster kernels
//! can replace these.
//! A [`Kernel`] owns the samples that are loaded and the scratch memory for one architecture; a pass allocates nothing.
//! It does not know why a pass is made: training, evaluation and prediction all come here.
//! Bits are fixed by the order of the sums, which depends on the shape of the model alone.

mod activation;
mod products;
mod softmax;
#[cfg(test)]
mod tests;

use crate::architecture::Activation;
use crate::dataset::{Dataset, Targets};
use crate::model::{Mlp, Standardization};
use activation::{relu, relu_gradient, tanh, tanh_gradient};
use products::{LANES, TILE_ROWS};

/// The name of this arithmetic: results have the same bits wherever the profile is the same.
pub const NUMERIC_PROFILE: &str = "portable-1";

/// Samples in a block: large enough for the tiles, small enough for the first-level cache.
const BLOCK_ROWS_MAX: usize = 64;

/// Activations that a block may hold; only very wide layers get smaller blocks.
const BLOCK_VALUES_MAX: usize = 1 << 22;

/// What a pass over some samples found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pass {
    /// Summed over the samples: cross-entropy in nats, or squared errors of the standardised target.
    pub loss: f64,
    /// Samples whose label is not the predicted class; none where a value is predicted.
    pub wrong: u64,
}

/// Samples, and scratch memory for passes of models of one architecture.
pub(crate) struct Kernel {
    activation: Activation,
    /// The loaded samples, `[n, d]`, standardised.
    features: Vec<f32>,
    /// What is to be predicted of them, standardised.
    targets: Targets,
    block_rows: usize,
    /// The block's samples, `[block_rows, inputs padded]`.
    samples: Vec<f32>,
    layers: Vec<LayerScratch>,
}

struct LayerScratch {
    inputs: usize,
    outputs: usize,
    /// The weights as panels, `[outputs / 8][inputs][8]`.
    panels: Vec<f32>,
    /// The transposed weights as panels, `[inputs / 8][outputs][8]`.
    transposed: Vec<f32>,
    /// `[outputs padded]`; the last layer's padding is -∞, which softmax ignores.
    bias: Vec<f32>,
    /// Zeros, `[inputs padded]`: the way back adds no bias.
    no_bias: Vec<f32>,
    /// The block's activations, later the gradient with respect to them, `[block_rows,
    /// outputs padded]`.
    values: Vec<f32>,
    /// `[inputs padded, outputs padded]`
    weight_gradient: Vec<f32>,
    /// `[outputs padded]`
    bias_gradient: Vec<f32>,
}

impl Kernel {
    /// Scratch memory for models of the architecture of `model`.
    pub(crate) fn new(model: &Mlp) -> Kernel {
        let padded: Vec<usize> = model.sizes().iter().map(|size| size.next_multiple_of(LANES)).collect();
        let per_sample: usize = padded.iter().sum();
        let block_rows = (BLOCK_VALUES_MAX / per_sample).clamp(TILE_ROWS, BLOCK_ROWS_MAX) / TILE_ROWS * TILE_ROWS;
        let layers = model.layers().zip(padded.windows(2)).map(|(layer, padded)| LayerScratch {
            inputs: layer.inputs,
            outputs: layer.outputs,
            panels: vec![0.0; layer.inputs * padded[1]],
            transposed: vec![0.0; layer.outputs * padded[0]],
            bias: vec![0.0; padded[1]],
            no_bias: vec![0.0; padded[0]],
            values: vec![0.0; block_rows * padded[1]],
            weight_gradient: vec![0.0; padded[0] * padded[1]],
            bias_gradient: vec![0.0; padded[1]],
        });
        let mut layers: Vec<_> = layers.collect();
        if let Some(last) = layers.last_mut() {
            last.bias[last.outputs..].fill(f32::NEG_INFINITY);
        }
        let targets = match model.classes() {
            Some(_) => Targets::Classes(Vec::new()),
            None => Targets::Values(Vec::new()),
        };
        let samples = vec![0.0; block_rows * padded[0]];
        Kernel { activation: model.activation(), features: Vec::new(), targets, block_rows, samples, layers }
    }

    /// Takes samples in, standardised by the model, in place of those before: all, or `rows` in that order. They have to
    /// fit the model.
    pub(crate) fn load(&mut self, model: &Mlp, data: &Dataset, rows: Option<&[u32]>) {
        self.features.clear();
        let width = data.width();
        match rows {
            None => standardize(data.features(), model.features(), &mut self.features),
            Some(rows) => rows.iter().for_each(|row| {
                let row = &data.features()[*row as usize * width..][..width];
                standardize(row, model.features(), &mut self.features);
            }),
        }
        let (mean, scale) = model.target().unwrap_or((0.0, 1.0));
        match (&mut self.targets, data.targets()) {
            (Targets::Classes(loaded), Targets::Classes(classes)) => take(classes, rows, loaded, |class| class),
            (Targets::Values(loaded), Targets::Values(values)) => {
                take(values, rows, loaded, |value| (value - mean) / scale);
            }
            _ => panic!("data of another kind than the model's"),
        }
    }

    /// The summed loss of the loaded samples, and its gradient in the order of [`Mlp::parameters`].
    pub(crate) fn loss_and_gradient(&mut self, model: &Mlp, gradient: &mut [f32]) -> Pass {
        for layer in &mut self.layers {
            layer.weight_gradient.fill(0.0);
            layer.bias_gradient.fill(0.0);
        }
        let pass = self.pass(model, true);
        self.store_gradient(gradient);
        pass
    }

    /// The summed loss of the loaded samples and the number of wrong predictions alone.
    #[cfg(test)]
    pub(crate) fn loss(&mut self, model: &Mlp) -> Pass {
        self.pass(model, false)
    }

    fn pass(&mut self, model: &Mlp, goes_back: bool) -> Pass {
        self.pack(model);
        let mut pass = Pass::default();
        let width = model.inputs();
        let (all, targets) = (std::mem::take(&mut self.features), std::mem::replace(&mut self.targets, NOTHING));
        for (block, features) in all.chunks(self.block_rows * width).enumerate() {
            let first = block * self.block_rows;
            let samples = features.len() / width;
            let rows = self.forward(features, width);
            match &targets {
                Targets::Classes(classes) => pass.add_classes(self.outputs_of(rows), &classes[first..first + samples]),
                Targets::Values(values) => pass.add_values(self.outputs_of(rows), &values[first..first + samples]),
            }
            if goes_back {
                self.backward(samples, rows);
            }
        }
        (self.features, self.targets) = (all, targets);
        pass
    }

    /// The outputs (`[n, k]`, before softmax, or a value in standardised units) for `features` (`[n, d]`, as they come),
    /// appended to `outputs`.
    pub(crate) fn outputs(&mut self, model: &Mlp, features: &[f32], outputs: &mut Vec<f32>) {
        self.pack(model);
        let (width, classes) = (model.inputs(), model.outputs());
        let mut block = Vec::new();
        for features in features.chunks(self.block_rows * width) {
            block.clear();
            standardize(features, model.features(), &mut block);
            let rows = self.forward(&block, width);
            for row in self.outputs_of(rows).take(features.len() / width) {
                outputs.extend_from_slice(&row[..classes]);
            }
        }
    }

    /// Packs the weights once a pass; they change between passes only.
    fn pack(&mut self, model: &Mlp) {
        for (scratch, layer) in self.layers.iter_mut().zip(model.layers()) {
            assert!(
                scratch.inputs == layer.inputs && scratch.outputs == layer.outputs,
                "kernel made for another shape"
            );
            products::pack(layer.weight, layer.outputs, &mut scratch.panels);
            products::pack_transposed(layer.weight, layer.outputs, &mut scratch.transposed);
            scratch.bias[..layer.outputs].copy_from_slice(layer.bias);
        }
    }

    /// Runs one block forward and returns its rows, rounded up to whole tiles; the added
    /// rows are zero samples.
    fn forward(&mut self, features: &[f32], width: usize) -> usize {
        let rows = (features.len() / width).next_multiple_of(TILE_ROWS);
        let stride = width.next_multiple_of(LANES);
        for (r, row) in self.samples.chunks_exact_mut(stride).take(rows).enumerate() {
            match features.get(r * width..(r + 1) * width) {
                Some(sample) => row[..width].copy_from_slice(sample),
                None => row.fill(0.0),
            }
        }
        let last = self.layers.len() - 1;
        let (mut input, mut stride) = (&self.samples[..rows * stride], stride);
        for (l, layer) in self.layers.iter_mut().enumerate() {
            let values = &mut layer.values[..rows * layer.bias.len()];
            let (panels, bias) = (&layer.panels, &layer.bias);
            match self.activation {
                _ if l == last => products::multiply(input, stride, layer.inputs, panels, bias, values, |_, sum| sum),
                Activation::Relu => {
                    products::multiply(input, stride, layer.inputs, panels, bias, values, |_, sum| relu(sum));
                }
                Activation::Tanh => {
                    products::multiply(input, stride, layer.inputs, panels, bias, values, |_, sum| tanh(sum));
                }
            }
            (input, stride) = (values, layer.bias.len());
        }
        rows
    }

    /// The last layer's rows in the current block.
    fn outputs_of(&mut self, rows: usize) -> std::slice::ChunksExactMut<'_, f32> {
        let last = self.layers.last_mut().expect("a model has a layer");
        let stride = last.bias.len();
        last.values[..rows * stride].chunks_exact_mut(stride)
    }

    /// Carries the gradient in the last layer's values back, adding up the parameters' gradients.
    fn backward(&mut self, samples: usize, rows: usize) {
        self.clear_padding(samples, rows);
        for l in (0..self.layers.len()).rev() {
            let (before, after) = self.layers.split_at_mut(l);
            let layer = &mut after[0];
            let stride = layer.bias.len();
            let signal = &layer.values[..rows * stride];
            let input_stride = layer.weight_gradient.len() / stride;
            let input = match before.last() {
                Some(previous) => &previous.values[..rows * input_stride],
                None => &self.samples[..rows * input_stride],
            };
            products::multiply_transposed(input, input_stride, signal, stride, &mut layer.weight_gradient);
            products::sum_rows(signal, &mut layer.bias_gradient);
            // The activations were needed for the weights' gradient and now only for
            // their own: they give way to it.
            if let Some(previous) = before.last_mut() {
                let values = &mut previous.values[..rows * input_stride];
                let (panels, bias) = (&layer.transposed, &layer.no_bias);
                match self.activation {
                    Activation::Relu => {
                        products::multiply(signal, stride, layer.outputs, panels, bias, values, relu_gradient);
                    }
                    Activation::Tanh => {
                        products::multiply(signal, stride, layer.outputs, panels, bias, values, tanh_gradient);
                    }
                }
            }
        }
    }

    /// Zeros the gradient of what is only padding: in columns softmax left numbers so small that computing with them is
    /// slow on many processors, and the rows behind the samples are no samples at all.
    fn clear_padding(&mut self, samples: usize, rows: usize) {
        let classes = self.layers.last().map_or(0, |layer| layer.outputs);
        for (r, row) in self.outputs_of(rows).enumerate() {
            let from = if r < samples { classes } else { 0 };
            row[from..].fill(0.0);
        }
    }

    fn store_gradient(&self, gradient: &mut [f32]) {
        let mut rest = gradient;
        for layer in &self.layers {
            let stride = layer.bias.len();
            for row in layer.weight_gradient.chunks_exact(stride).take(layer.inputs) {
                let (target, after) = rest.split_at_mut(layer.outputs);
                target.copy_from_slice(&row[..layer.outputs]);
                rest = after;
            }
            let (target, after) = rest.split_at_mut(layer.outputs);
            target.copy_from_slice(&layer.bias_gradient[..layer.outputs]);
            rest = after;
        }
    }
}

impl Pass {
    /// Leaves the gradient of the loss in the outputs.
    fn add_classes<'a>(&mut self, rows: impl Iterator<Item = &'a mut [f32]>, classes: &[u32]) {
        for (row, class) in rows.zip(classes) {
            let (loss, wrong) = softmax::loss_and_gradient(row, *class as usize);
            self.loss += loss;
            self.wrong += u64::from(wrong);
        }
    }

    /// The same for the squared error.
    fn add_values<'a>(&mut self, rows: impl Iterator<Item = &'a mut [f32]>, values: &[f32]) {
        for (row, value) in rows.zip(values) {
            let error = row[0] - value;
            self.loss += f64::from(error) * f64::from(error);
            row[0] = 2.0 * error;
        }
    }
}

/// Stands in for the targets while they are lent.
const NOTHING: Targets = Targets::Classes(Vec::new());

/// Appends (x − mean) / scale of whole samples.
fn standardize(features: &[f32], by: Option<&Standardization>, to: &mut Vec<f32>) {
    let Some(Standardization { mean, scale }) = by else { return to.extend_from_slice(features) };
    for sample in features.chunks_exact(mean.len()) {
        to.extend(sample.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (x - mean) / scale));
    }
}

/// All of `values`, or those of `rows`, in place of what was there.
fn take<T: Copy>(values: &[T], rows: Option<&[u32]>, to: &mut Vec<T>, made: impl Fn(T) -> T) {
    to.clear();
    match rows {
        None => to.extend(values.iter().map(|value| made(*value))),
        Some(rows) => to.extend(rows.iter().map(|row| made(values[*row as usize]))),
    }
}
