//! Passes of small models: a sample a lane, and all layers of sixteen samples at a time, forward and back, while what they
//! make is in the fastest cache. Weights are read where they lie.
//!
//! The gradient of a weight is a sum over samples: lane by lane over a strip of samples, then over the lanes, then strip by
//! strip. That order, and the strip, are the definition of the bits.
#![expect(unsafe_code, reason = "the innermost loop, where a bound to check costs as much as a product")]

use super::around::{Activated, Before, Bias, Plain};
use super::head::{self, Tally, Target};
use super::lanes::{Block, LANES, Lanes, SUMS, Work};
use super::tile::{Left, Sums, products};
use super::{Goal, Pass, Shape, Transform};
use crate::model::Layer;

/// Blocks of sixteen samples in a strip.
const STRIP_BLOCKS: usize = 16;

/// How many of a layer's outputs and inputs a tile of its weights' gradient has: eight sums.
const TILE_OUTPUTS: usize = 4;
const TILE_INPUTS: usize = 2;

/// The samples of a pass and what layers make of a strip of them.
pub(super) struct Fused {
    width: usize,
    samples: usize,
    /// `[blocks][stride of the features]`
    features: Vec<Block>,
    /// `[blocks]`
    targets: Vec<Target>,
    layers: Vec<Scratch>,
}

/// What one layer makes of a strip.
struct Scratch {
    /// Activations, `[blocks][stride of the outputs]`; of the last layer there are none.
    values: Vec<Block>,
    /// The gradient with respect to what the activation is given, `[blocks][stride of the outputs]`.
    signals: Vec<Block>,
}

impl Fused {
    /// Memory for models of this shape.
    pub(super) fn new(shape: &Shape) -> Fused {
        let scratch = |(l, outputs): (usize, &usize)| {
            let blocks = vec![[0.0; LANES]; stride(*outputs) * STRIP_BLOCKS];
            let values = if l + 2 < shape.sizes.len() { blocks.clone() } else { Vec::new() };
            Scratch { values, signals: blocks }
        };
        let layers = shape.sizes[1..].iter().enumerate().map(scratch).collect();
        Fused { width: shape.sizes[0], samples: 0, features: Vec::new(), targets: Vec::new(), layers }
    }

    /// Takes samples in: their features, `[samples][features]` in whatever order `row` gives them, and their targets.
    pub(super) fn load<'a>(&mut self, samples: usize, row: impl Fn(usize) -> (&'a [f32], f32), transform: &Transform) {
        let blocks = samples.div_ceil(LANES);
        self.samples = samples;
        self.features.resize(blocks * stride(self.width), [0.0; LANES]);
        self.targets.resize(blocks, Target { target: [0.0; LANES], weight: [0.0; LANES] });
        for (b, (features, target)) in
            self.features.chunks_exact_mut(stride(self.width)).zip(&mut self.targets).enumerate()
        {
            for lane in 0..LANES {
                let sample = b * LANES + lane;
                if sample < samples {
                    let (values, value) = row(sample);
                    transform.each(values, |f, value| features[f][lane] = value);
                    (target.target[lane], target.weight[lane]) = (value, 1.0);
                } else {
                    // The block's first sample again, without weight: of any other an output might overflow alone.
                    features.iter_mut().for_each(|feature| feature[lane] = feature[0]);
                    (target.target[lane], target.weight[lane]) = (target.target[0], 0.0);
                }
            }
        }
    }
}

/// One pass over the samples.
pub(super) struct FusedPass<'a> {
    pub fused: &'a mut Fused,
    pub shape: &'a Shape,
    pub parameters: &'a [f32],
    pub goal: Goal<'a>,
}

impl Work for FusedPass<'_> {
    type Output = Pass;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Pass {
        let Self { fused, shape, parameters, mut goal } = self;
        if let Goal::Gradient(gradient) = &mut goal {
            gradient.fill(0.0);
        }
        let Fused { width, samples, features, targets, layers } = fused;
        let (mut loss, mut right) = (0.0, 0);
        let strips = features.chunks(stride(*width) * STRIP_BLOCKS).zip(targets.chunks(STRIP_BLOCKS));
        for (features, targets) in strips {
            let mut tally = Tally::new(lanes);
            for (b, target) in targets.iter().enumerate() {
                forward(lanes, shape, parameters, features, b, layers);
                let last = layers.last_mut().expect("a model has a layer");
                let outputs = of_block_mut(&mut last.signals, b, shape.outputs());
                match &mut goal {
                    Goal::Outputs(to) => append(outputs, target, to),
                    Goal::Loss => head::loss_and_gradient(lanes, shape.loss, outputs, target, &mut tally),
                    Goal::Gradient(_) => {
                        head::loss_and_gradient(lanes, shape.loss, outputs, target, &mut tally);
                        backward(lanes, shape, parameters, b, layers);
                    }
                }
            }
            if let Goal::Gradient(gradient) = &mut goal {
                add_gradient(lanes, shape, features, targets.len(), layers, gradient);
            }
            let (loss_here, right_here) = tally.read(lanes);
            loss += loss_here;
            right += right_here;
        }
        Pass { loss, wrong: *samples as u64 - right }
    }
}

/// Appends the outputs of a block's samples, sample by sample.
fn append(outputs: &[Block], target: &Target, to: &mut Vec<f32>) {
    for lane in (0..LANES).filter(|lane| target.weight[*lane] > 0.0) {
        to.extend(outputs.iter().map(|output| output[lane]));
    }
}

/// From a block's values to the next block's: odd, for with an even number of cache lines between them many blocks would
/// share few places in the cache.
#[inline(always)]
fn stride(width: usize) -> usize {
    width | 1
}

#[inline(always)]
fn of_block(blocks: &[Block], b: usize, width: usize) -> &[Block] {
    &blocks[b * stride(width)..][..width]
}

#[inline(always)]
fn of_block_mut(blocks: &mut [Block], b: usize, width: usize) -> &mut [Block] {
    &mut blocks[b * stride(width)..][..width]
}

#[inline(always)]
fn forward<L: Lanes>(
    lanes: L,
    shape: &Shape,
    parameters: &[f32],
    features: &[Block],
    b: usize,
    layers: &mut [Scratch],
) {
    for (l, Layer { inputs, outputs, weight, bias }) in shape.layers(parameters).enumerate() {
        let (before, after) = layers.split_at_mut(l);
        let input = before.last().map_or(features, |layer| &layer.values);
        let input = of_block(input, b, inputs);
        let left = Left::whole(weight, 1, outputs);
        match after[0].values.is_empty() {
            true => products(
                lanes,
                left,
                input,
                &Plain(Bias::OfRows(bias)),
                Sums::of(of_block_mut(&mut after[0].signals, b, outputs)),
            ),
            false => {
                let around = Activated(Bias::OfRows(bias), shape.activation);
                products(lanes, left, input, &around, Sums::of(of_block_mut(&mut after[0].values, b, outputs)));
            }
        }
    }
}

/// Carries the gradient in the last layer's signals back to the first layer's.
#[inline(always)]
fn backward<L: Lanes>(lanes: L, shape: &Shape, parameters: &[f32], b: usize, layers: &mut [Scratch]) {
    for (l, Layer { inputs, outputs, weight, .. }) in shape.layers_back(parameters) {
        if l == 0 {
            break;
        }
        let (before, after) = layers.split_at_mut(l);
        let previous = &mut before[l - 1];
        let signals = of_block_mut(&mut previous.signals, b, inputs);
        let around = Before(shape.activation, of_block(&previous.values, b, inputs));
        let left = Left::whole(weight, outputs, 1);
        products(lanes, left, of_block(&after[0].signals, b, outputs), &around, Sums::of(signals));
    }
}

/// Adds the strip's part of the gradient.
#[inline(always)]
fn add_gradient<L: Lanes>(
    lanes: L,
    shape: &Shape,
    features: &[Block],
    blocks: usize,
    layers: &[Scratch],
    gradient: &mut [f32],
) {
    let mut rest = gradient;
    for (l, sizes) in shape.sizes.windows(2).enumerate() {
        let (inputs, outputs) = (sizes[0], sizes[1]);
        let (weights, after) = rest.split_at_mut(inputs * outputs);
        let (biases, after) = after.split_at_mut(outputs);
        rest = after;
        let input = if l == 0 { features } else { &layers[l - 1].values };
        let (input, signals) = (&input[..blocks * stride(inputs)], &layers[l].signals[..blocks * stride(outputs)]);
        for o in (0..outputs).step_by(TILE_OUTPUTS) {
            for i in (0..inputs).step_by(TILE_INPUTS) {
                let sums = weight_tile(lanes, input, inputs, i, signals, outputs, o);
                for (i, sums) in (i..inputs).zip(sums.chunks_exact(TILE_OUTPUTS)) {
                    add(&mut weights[i * outputs..(i + 1) * outputs][o..], sums);
                }
            }
        }
        for o in (0..outputs).step_by(SUMS) {
            add(&mut biases[o..], &bias_tile(lanes, signals, outputs, o));
        }
    }
}

#[inline(always)]
fn add(to: &mut [f32], sums: &[f32]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to += *sum;
    }
}

/// Σ input · signal over the samples of the strip, for two inputs by four outputs. Behind the last ones there are more of the
/// last, which nobody reads.
#[inline(always)]
fn weight_tile<L: Lanes>(
    lanes: L,
    input: &[Block],
    inputs: usize,
    i: usize,
    signals: &[Block],
    outputs: usize,
    o: usize,
) -> [f32; SUMS] {
    let (input_stride, signal_stride) = (stride(inputs), stride(outputs));
    let blocks = input.len() / input_stride;
    assert!(blocks * input_stride == input.len() && blocks * signal_stride == signals.len(), "ragged strips");
    let [a, b] = std::array::from_fn(|n| (i + n).min(inputs - 1));
    let [c, d, e, f] = std::array::from_fn(|n| (o + n).min(outputs - 1));
    let mut parts = [[lanes.zero(); SUMS]; 2];
    for (part, sums) in parts.iter_mut().enumerate().take(L::REGISTERS) {
        for block in 0..blocks {
            // SAFETY: each place is below its stride, and of both there are as many blocks as were counted.
            let input = |place| unsafe { input.get_unchecked(block * input_stride + place) };
            // SAFETY: as above.
            let signal = |place| unsafe { signals.get_unchecked(block * signal_stride + place) };
            let (first, second) = (lanes.register(input(a), part), lanes.register(input(b), part));
            // Written out: an array of registers is kept in memory.
            let signal_c = lanes.register(signal(c), part);
            sums[0] = lanes.fma_register(first, signal_c, sums[0]);
            sums[4] = lanes.fma_register(second, signal_c, sums[4]);
            let signal_d = lanes.register(signal(d), part);
            sums[1] = lanes.fma_register(first, signal_d, sums[1]);
            sums[5] = lanes.fma_register(second, signal_d, sums[5]);
            let signal_e = lanes.register(signal(e), part);
            sums[2] = lanes.fma_register(first, signal_e, sums[2]);
            sums[6] = lanes.fma_register(second, signal_e, sums[6]);
            let signal_f = lanes.register(signal(f), part);
            sums[3] = lanes.fma_register(first, signal_f, sums[3]);
            sums[7] = lanes.fma_register(second, signal_f, sums[7]);
        }
    }
    lanes.sums(&parts)
}

/// Σ signal over the samples of the strip, for eight outputs.
#[inline(always)]
fn bias_tile<L: Lanes>(lanes: L, signals: &[Block], outputs: usize, o: usize) -> [f32; SUMS] {
    const ONES: Block = [1.0; LANES];
    let mut parts = [[lanes.zero(); SUMS]; 2];
    for (part, sums) in parts.iter_mut().enumerate().take(L::REGISTERS) {
        let one = lanes.register(&ONES, part);
        for signal in signals.chunks_exact(stride(outputs)) {
            for (s, sum) in sums.iter_mut().enumerate() {
                *sum = lanes.fma_register(lanes.register(&signal[(o + s).min(outputs - 1)], part), one, *sum);
            }
        }
    }
    lanes.sums(&parts)
}
