//! Passes of larger models: sixteen units a lane each, a layer of a strip of samples at a time.
//!
//! Everything lies in panels of sixteen columns, `[columns / 16][rows][16]`, so that a tile reads both of its factors from
//! one end to the other. The gradient of a weight is a sum over a strip's samples in order, then strip by strip: that order,
//! and the strip, are the definition of the bits.

use super::around::{Activated, Before, Bias, Plain};
use super::head::{self, Tally, Target};
use super::lanes::{Block, LANES, Lanes, Work};
use super::tile::{Around, Left, Sums, products};
use super::{Goal, Pass, Shape, Transform};
use crate::model::Layer;

/// The most samples in a strip.
const STRIP_MAX: usize = 128;

/// Units of hidden and last layers, times samples of a strip: of very wide layers a strip has fewer samples.
const STRIP_VALUES_MAX: usize = 1 << 24;

const ZEROS: Block = [0.0; LANES];

/// How many samples go together.
#[derive(Clone, Copy)]
struct Strip {
    samples: usize,
    /// From a panel's rows to the next panel's: one more, for rows of several panels that lie a power of two apart would share
    /// few places in the cache.
    panel: usize,
}

impl Strip {
    fn of(shape: &Shape) -> Strip {
        let units: usize = shape.sizes[1..].iter().map(|units| panels(*units) * LANES).sum();
        let samples = (STRIP_VALUES_MAX / units).clamp(1, STRIP_MAX);
        Strip { samples, panel: samples + 1 }
    }
}

/// The samples of a pass, packed weights, and what layers make of a strip of samples.
pub(super) struct Tiled {
    width: usize,
    strip: Strip,
    samples: usize,
    /// `[strips][features / 16][panel]`
    features: Vec<Block>,
    targets: Vec<f32>,
    layers: Vec<Scratch>,
    /// The outputs of sixteen samples, a sample a lane: `[outputs]`.
    outputs: Vec<Block>,
}

/// A layer's weights, and what it makes of a strip.
struct Scratch {
    /// `[outputs / 16][inputs]`
    panels: Vec<Block>,
    /// The transposed weights, `[inputs / 16][outputs]`; of the first layer there are none.
    transposed: Vec<Block>,
    /// `[outputs / 16]`
    bias: Vec<Block>,
    /// Activations, `[outputs / 16][panel]`; of the last layer there are none.
    values: Vec<Block>,
    /// The gradient with respect to what the activation is given, `[outputs / 16][panel]`.
    signals: Vec<Block>,
    /// The gradient of the weights of those outputs behind the last whole panel, if there are some: `[inputs]`.
    gradient: Vec<Block>,
}

fn panels(columns: usize) -> usize {
    columns.div_ceil(LANES)
}

impl Tiled {
    /// Memory for models of this shape.
    pub(super) fn new(shape: &Shape) -> Tiled {
        let (last, strip) = (shape.sizes.len() - 2, Strip::of(shape));
        let scratch = |(l, sizes): (usize, &[usize])| {
            let (inputs, outputs) = (sizes[0], sizes[1]);
            let blocks = |count: usize| vec![ZEROS; count];
            Scratch {
                panels: blocks(panels(outputs) * inputs),
                transposed: blocks(if l > 0 { panels(inputs) * outputs } else { 0 }),
                bias: blocks(panels(outputs)),
                values: blocks(if l < last { panels(outputs) * strip.panel } else { 0 }),
                signals: blocks(panels(outputs) * strip.panel),
                gradient: blocks(if outputs.is_multiple_of(LANES) { 0 } else { inputs }),
            }
        };
        Tiled {
            width: shape.sizes[0],
            strip,
            samples: 0,
            features: Vec::new(),
            targets: Vec::new(),
            layers: shape.sizes.windows(2).enumerate().map(scratch).collect(),
            outputs: vec![ZEROS; shape.outputs()],
        }
    }

    /// Takes samples in: their features and target, as `row` gives them.
    pub(super) fn load<'a>(&mut self, samples: usize, row: impl Fn(usize) -> (&'a [f32], f32), transform: &Transform) {
        let Strip { samples: together, panel: distance } = self.strip;
        let strip = panels(self.width) * distance;
        self.samples = samples;
        self.features.resize(samples.div_ceil(together) * strip, ZEROS);
        self.targets.clear();
        for sample in 0..samples {
            let (values, target) = row(sample);
            let place = &mut self.features[sample / together * strip + sample % together..];
            for (panel, values) in values.chunks(LANES).enumerate() {
                transform.part(panel * LANES, values, &mut place[panel * distance]);
            }
            self.targets.push(target);
        }
    }

    fn pack(&mut self, shape: &Shape, parameters: &[f32]) {
        for (scratch, Layer { inputs, outputs, weight, bias }) in self.layers.iter_mut().zip(shape.layers(parameters)) {
            for (i, row) in weight.chunks_exact(outputs).enumerate() {
                for (panel, values) in row.chunks(LANES).enumerate() {
                    copy(values, &mut scratch.panels[panel * inputs + i]);
                }
                if let Some(panel) = scratch.transposed.chunks_exact_mut(outputs).nth(i / LANES) {
                    panel.iter_mut().zip(row).for_each(|(block, value)| block[i % LANES] = *value);
                }
            }
            for (panel, values) in bias.chunks(LANES).enumerate() {
                copy(values, &mut scratch.bias[panel]);
            }
        }
    }

    /// Takes over the gradient of the weights of those outputs behind the last whole panel.
    fn take_narrow(&self, shape: &Shape, gradient: &mut [f32]) {
        let mut rest = gradient;
        for (scratch, sizes) in self.layers.iter().zip(shape.sizes.windows(2)) {
            let (inputs, outputs) = (sizes[0], sizes[1]);
            let (weights, after) = rest.split_at_mut(inputs * outputs);
            rest = &mut after[outputs..];
            let wide = outputs / LANES * LANES;
            for (row, block) in weights.chunks_exact_mut(outputs).zip(&scratch.gradient) {
                row[wide..].iter_mut().zip(block).for_each(|(value, sum)| *value = *sum);
            }
        }
    }
}

#[inline(always)]
fn copy(values: &[f32], block: &mut Block) {
    match <&Block>::try_from(values) {
        Ok(values) => *block = *values,
        Err(_) => block[..values.len()].copy_from_slice(values),
    }
}

/// One pass over the samples.
pub(super) struct TiledPass<'a> {
    pub tiled: &'a mut Tiled,
    pub shape: &'a Shape,
    pub parameters: &'a [f32],
    pub goal: Goal<'a>,
}

impl Work for TiledPass<'_> {
    type Output = Pass;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Pass {
        let Self { tiled, shape, parameters, mut goal } = self;
        tiled.pack(shape, parameters);
        let (mut loss, mut right) = (0.0, 0);
        let Strip { samples: together, panel } = tiled.strip;
        for strip in 0..tiled.samples.div_ceil(together) {
            let rows = (tiled.samples - strip * together).min(together);
            let blocks = panels(tiled.width) * panel;
            let features = &tiled.features[strip * blocks..][..blocks];
            let targets = &tiled.targets[strip * together..][..rows];
            forward(lanes, shape, panel, features, rows, &mut tiled.layers);
            let last = tiled.layers.last_mut().expect("a model has a layer");
            if let Goal::Outputs(to) = &mut goal {
                append(&last.signals, panel, rows, shape.outputs(), to);
                continue;
            }
            let mut tally = Tally::new(lanes);
            measure(lanes, shape, panel, &mut last.signals, targets, &mut tiled.outputs, &mut tally);
            if let Goal::Gradient(gradient) = &mut goal {
                backward(lanes, shape, panel, rows, &mut tiled.layers);
                let strip = Given { panel, features, rows, is_first: strip == 0 };
                add_gradient(lanes, shape, strip, &mut tiled.layers, gradient);
            }
            let (loss_here, right_here) = tally.read(lanes);
            loss += loss_here;
            right += right_here;
        }
        if let Goal::Gradient(gradient) = goal {
            tiled.take_narrow(shape, gradient);
        }
        Pass { loss, wrong: tiled.samples as u64 - right }
    }
}

/// Appends the outputs of a strip's samples, sample by sample.
fn append(signals: &[Block], panel: usize, rows: usize, outputs: usize, to: &mut Vec<f32>) {
    for row in 0..rows {
        to.extend((0..outputs).map(|o| signals[o / LANES * panel + row][o % LANES]));
    }
}

/// Factors whose rows are samples, and whose products are columns.
#[inline(always)]
fn by_sample(blocks: &[Block], panel: usize) -> Left<'_> {
    Left { values: blocks.as_flattened(), row: LANES, step: 1, chunk: (LANES, panel * LANES) }
}

/// Sums of a strip, added to those of the strips before.
struct Added {
    first: bool,
}

impl Around for Added {
    #[inline(always)]
    fn begin<L: Lanes>(&self, lanes: L, _: usize) -> L::Vector {
        lanes.splat(0.0)
    }

    #[inline(always)]
    fn finish<L: Lanes>(&self, lanes: L, _: usize, sum: L::Vector, old: &Block) -> L::Vector {
        if self.first { sum } else { lanes.add(sum, lanes.load(old)) }
    }
}

#[inline(always)]
fn forward<L: Lanes>(lanes: L, shape: &Shape, panel: usize, features: &[Block], rows: usize, layers: &mut [Scratch]) {
    for (l, sizes) in shape.sizes.windows(2).enumerate() {
        let (before, after) = layers.split_at_mut(l);
        let left = by_sample(before.last().map_or(features, |layer| &layer.values), panel);
        let Scratch { panels, bias, values, signals, .. } = &mut after[0];
        for (p, (weights, bias)) in panels.chunks_exact(sizes[0]).zip(bias.iter()).enumerate() {
            if values.is_empty() {
                products(
                    lanes,
                    left,
                    weights,
                    &Plain(Bias::OfLanes(bias)),
                    Sums::of(&mut signals[p * panel..][..rows]),
                );
            } else {
                let around = Activated(Bias::OfLanes(bias), shape.activation);
                products(lanes, left, weights, &around, Sums::of(&mut values[p * panel..][..rows]));
            }
        }
    }
}

/// Turns the last layer's signals from outputs into the gradient of the summed loss.
#[inline(always)]
fn measure<L: Lanes>(
    lanes: L,
    shape: &Shape,
    panel: usize,
    signals: &mut [Block],
    targets: &[f32],
    outputs: &mut [Block],
    tally: &mut Tally<L::Vector>,
) {
    for (group, targets) in targets.chunks(LANES).enumerate() {
        let mut target = Target { target: ZEROS, weight: ZEROS };
        for (lane, value) in targets.iter().enumerate() {
            (target.target[lane], target.weight[lane]) = (*value, 1.0);
        }
        for (o, output) in outputs.iter_mut().enumerate() {
            for lane in 0..LANES {
                // Lanes behind the last sample have what an earlier strip left, and no weight.
                output[lane] = signals[o / LANES * panel + group * LANES + lane][o % LANES];
            }
        }
        head::loss_and_gradient(lanes, shape.loss, outputs, &target, tally);
        for (o, output) in outputs.iter().enumerate() {
            for lane in 0..targets.len() {
                signals[o / LANES * panel + group * LANES + lane][o % LANES] = output[lane];
            }
        }
    }
}

/// Carries the gradient in the last layer's signals back to the first layer's.
#[inline(always)]
fn backward<L: Lanes>(lanes: L, shape: &Shape, panel: usize, rows: usize, layers: &mut [Scratch]) {
    for l in (1..layers.len()).rev() {
        let (before, after) = layers.split_at_mut(l);
        let left = by_sample(&after[0].signals, panel);
        let Scratch { values, signals, .. } = &mut before[l - 1];
        for (p, weights) in after[0].transposed.chunks_exact(shape.sizes[l + 1]).enumerate() {
            let around = Before(shape.activation, &values[p * panel..][..rows]);
            products(lanes, left, weights, &around, Sums::of(&mut signals[p * panel..][..rows]));
        }
    }
}

/// A strip whose gradient is known.
struct Given<'a> {
    panel: usize,
    features: &'a [Block],
    rows: usize,
    is_first: bool,
}

/// Adds the strip's part of the gradient.
#[inline(always)]
fn add_gradient<L: Lanes>(lanes: L, shape: &Shape, strip: Given, layers: &mut [Scratch], gradient: &mut [f32]) {
    const ONES: [f32; STRIP_MAX] = [1.0; STRIP_MAX];
    let Given { panel, features, rows, is_first: first } = strip;
    let mut rest = gradient;
    for (l, sizes) in shape.sizes.windows(2).enumerate() {
        let (inputs, outputs) = (sizes[0], sizes[1]);
        let (weights, after) = rest.split_at_mut(inputs * outputs);
        let (biases, after) = after.split_at_mut(outputs);
        rest = after;
        let (before, after) = layers.split_at_mut(l);
        let input = before.last().map_or(features, |layer| &layer.values);
        let Scratch { signals, gradient: narrow, .. } = &mut after[0];
        let around = Added { first };
        for i in (0..inputs).step_by(LANES) {
            let left = Left::whole(input[i / LANES * panel..][..rows].as_flattened(), 1, LANES);
            let count = LANES.min(inputs - i);
            for (o, signal) in (0..outputs).step_by(LANES).zip(signals.chunks_exact(panel)) {
                let sums = match o + LANES <= outputs {
                    true => Sums { values: &mut weights[i * outputs + o..], rows: count, stride: outputs },
                    false => Sums::of(&mut narrow[i..i + count]),
                };
                products(lanes, left, &signal[..rows], &around, sums);
            }
        }
        for (biases, signal) in biases.chunks_mut(LANES).zip(signals.chunks_exact(panel)) {
            let mut sum = [ZEROS];
            products(lanes, Left::whole(&ONES, 0, 1), &signal[..rows], &Added { first: true }, Sums::of(&mut sum));
            for (bias, sum) in biases.iter_mut().zip(&sum[0]) {
                *bias = if first { *sum } else { *bias + *sum };
            }
        }
    }
}

#[cfg(test)]
pub(super) fn strip_samples(shape: &Shape) -> usize {
    Strip::of(shape).samples
}
