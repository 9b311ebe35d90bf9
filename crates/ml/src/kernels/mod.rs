//! The passes over data: forward, loss, gradient. One small interface, so that faster kernels
//! can replace these.
//! A [`Kernel`] owns the scratch memory for one shape of model; a pass allocates nothing.
//! It does not know why a pass is made: training, evaluation and prediction all come here.
//! Bits are fixed by the order of the sums, which depends on the shape of the model alone.

mod products;
mod softmax;
#[cfg(test)]
mod tests;

use crate::model::Mlp;
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
    /// Cross-entropy summed over the samples, in nats.
    pub loss: f64,
    /// Samples whose label is not the predicted class.
    pub wrong: u64,
}

/// Scratch memory for passes of models of one shape.
pub(crate) struct Kernel {
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
    /// Scratch memory for models of the shape of `model`.
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
        Kernel { block_rows, samples: vec![0.0; block_rows * padded[0]], layers }
    }

    /// The summed cross-entropy of `features` (`[n, d]`, row-major) with `labels` (`[n]`),
    /// and its gradient in the order of [`Mlp::parameters`]. Widths and labels must fit the
    /// model.
    pub(crate) fn loss_and_gradient(
        &mut self,
        model: &Mlp,
        features: &[f32],
        labels: &[u32],
        gradient: &mut [f32],
    ) -> Pass {
        self.load(model);
        for layer in &mut self.layers {
            layer.weight_gradient.fill(0.0);
            layer.bias_gradient.fill(0.0);
        }
        let mut pass = Pass::default();
        let width = model.inputs();
        for (features, labels) in features.chunks(self.block_rows * width).zip(labels.chunks(self.block_rows)) {
            let rows = self.forward(features, width);
            pass.add(self.outputs(rows), labels, softmax::loss_and_gradient);
            self.backward(labels.len(), rows);
        }
        self.store_gradient(gradient);
        pass
    }

    /// The summed cross-entropy and the number of wrong predictions alone.
    pub(crate) fn loss(&mut self, model: &Mlp, features: &[f32], labels: &[u32]) -> Pass {
        self.load(model);
        let mut pass = Pass::default();
        let width = model.inputs();
        for (features, labels) in features.chunks(self.block_rows * width).zip(labels.chunks(self.block_rows)) {
            let rows = self.forward(features, width);
            pass.add(self.outputs(rows), labels, softmax::loss);
        }
        pass
    }

    /// The predicted class of each sample of `features` (`[n, d]`), appended to `classes`.
    pub(crate) fn predict(&mut self, model: &Mlp, features: &[f32], classes: &mut Vec<u32>) {
        self.load(model);
        let width = model.inputs();
        for features in features.chunks(self.block_rows * width) {
            let rows = self.forward(features, width);
            let predicted = self.outputs(rows).take(features.len() / width);
            classes.extend(predicted.map(|row| softmax::predict(row) as u32));
        }
    }

    /// The probability of each class for each sample of `features` (`[n, d]`), appended to `probabilities` (`[n, k]`).
    pub(crate) fn probabilities(&mut self, model: &Mlp, features: &[f32], probabilities: &mut Vec<f32>) {
        self.load(model);
        let (width, classes) = (model.inputs(), model.outputs());
        let mut values = Vec::new();
        for features in features.chunks(self.block_rows * width) {
            let rows = self.forward(features, width);
            for row in self.outputs(rows).take(features.len() / width) {
                values.clear();
                values.extend_from_slice(row);
                softmax::normalize(&mut values);
                probabilities.extend_from_slice(&values[..classes]);
            }
        }
    }

    /// Packs the weights once a pass; they change between passes only.
    fn load(&mut self, model: &Mlp) {
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
            if l == last {
                products::multiply(input, stride, layer.inputs, &layer.panels, &layer.bias, values, |_, sum| sum);
            } else {
                products::multiply(input, stride, layer.inputs, &layer.panels, &layer.bias, values, |_, sum| relu(sum));
            }
            (input, stride) = (values, layer.bias.len());
        }
        rows
    }

    /// The last layer's rows in the current block.
    fn outputs(&mut self, rows: usize) -> std::slice::ChunksExactMut<'_, f32> {
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
            // ReLU's: they give way to it.
            if let Some(previous) = before.last_mut() {
                let values = &mut previous.values[..rows * input_stride];
                products::multiply(
                    signal,
                    stride,
                    layer.outputs,
                    &layer.transposed,
                    &layer.no_bias,
                    values,
                    relu_gradient,
                );
            }
        }
    }

    /// Zeros the gradient of what is only padding: in columns softmax left numbers so small that computing with them is
    /// slow on many processors, and the rows behind the samples are no samples at all.
    fn clear_padding(&mut self, samples: usize, rows: usize) {
        let classes = self.layers.last().map_or(0, |layer| layer.outputs);
        for (r, row) in self.outputs(rows).enumerate() {
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
    fn add<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a mut [f32]>,
        labels: &[u32],
        row_loss: fn(&mut [f32], usize) -> (f64, bool),
    ) {
        for (row, label) in rows.zip(labels) {
            let (loss, wrong) = row_loss(row, *label as usize);
            self.loss += loss;
            self.wrong += u64::from(wrong);
        }
    }
}

/// max(0, x), and NaN for NaN: a diverged model must not look well.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The gradient before ReLU, given ReLU's value and the gradient after it.
#[inline(always)]
fn relu_gradient(activation: f32, gradient: f32) -> f32 {
    if activation > 0.0 { gradient } else { 0.0 }
}
