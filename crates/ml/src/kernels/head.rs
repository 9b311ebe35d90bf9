//! The loss of blocks of sixteen samples, and its gradient: softmax cross-entropy over classes, or the squared error of a value.
//!
//! A sample a lane: neither the maximum nor the sum over classes crosses lanes. It does not know which layers made the outputs.

use super::functions::{exp, ln};
use super::lanes::{Block, LANES, Lanes};

/// What a model's outputs are, and how wrong they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The outputs are one logit a class, the target is a class: cross-entropy in nats.
    CrossEntropy,
    /// The output is a value: (output − target)².
    SquaredError,
}

/// Sixteen samples' targets. Lanes behind the last sample have no weight.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Classes, which are exact in f32, or values.
    pub target: Block,
    /// 1 for a sample, 0 for none.
    pub weight: Block,
}

/// What blocks' samples come to, lane by lane.
#[derive(Clone, Copy)]
pub(super) struct Tally<V> {
    loss: V,
    right: V,
}

impl<V: Copy> Tally<V> {
    /// Of no samples.
    #[inline(always)]
    pub(super) fn new<L: Lanes<Vector = V>>(lanes: L) -> Self {
        let zero = lanes.splat(0.0);
        Tally { loss: zero, right: zero }
    }

    /// The summed loss, and how many samples are right.
    #[inline(always)]
    pub(super) fn read<L: Lanes<Vector = V>>(self, lanes: L) -> (f64, u64) {
        let mut each = [0.0; LANES];
        lanes.store(self.loss, &mut each);
        let loss = each.iter().map(|loss| f64::from(*loss)).sum();
        lanes.store(self.right, &mut each);
        (loss, each.iter().map(|right| *right as u64).sum())
    }
}

/// Adds the block's loss to the tally, and turns its outputs (`[outputs]`) into the gradient of the summed loss.
#[inline(always)]
pub(super) fn loss_and_gradient<L: Lanes>(
    lanes: L,
    loss: Loss,
    outputs: &mut [Block],
    target: &Target,
    tally: &mut Tally<L::Vector>,
) {
    match loss {
        Loss::CrossEntropy => cross_entropy(lanes, outputs, target, tally),
        Loss::SquaredError => squared_error(lanes, outputs, target, tally),
    }
}

#[inline(always)]
fn cross_entropy<L: Lanes>(lanes: L, outputs: &mut [Block], target: &Target, tally: &mut Tally<L::Vector>) {
    let (zero, one) = (lanes.splat(0.0), lanes.splat(1.0));
    let (class, weight) = (lanes.load(&target.target), lanes.load(&target.weight));
    let (mut max, mut predicted, mut own) = (lanes.splat(f32::NEG_INFINITY), zero, zero);
    for (o, output) in outputs.iter().enumerate() {
        let (output, o) = (lanes.load(output), lanes.splat(o as f32));
        predicted = lanes.if_greater(output, max, o, predicted);
        max = lanes.if_greater(output, max, output, max);
        own = lanes.if_equal(class, o, output, own);
    }
    let mut sum = zero;
    for output in outputs.iter_mut() {
        let power = exp(lanes, lanes.sub(lanes.load(output), max));
        sum = lanes.add(sum, power);
        lanes.store(power, output);
    }
    let share = lanes.div(weight, sum);
    for (o, output) in outputs.iter_mut().enumerate() {
        let own = lanes.if_equal(class, lanes.splat(o as f32), weight, zero);
        let probability = lanes.mul(lanes.load(output), share);
        lanes.store(lanes.sub(probability, own), output);
    }
    let loss = lanes.sub(ln(lanes, sum), lanes.sub(own, max));
    // A sample whose outputs hold NaN is wrong, whichever class that leaves as the largest.
    let right = lanes.if_equal(predicted, class, lanes.if_equal(loss, loss, one, zero), zero);
    tally.loss = lanes.add(tally.loss, lanes.if_greater(weight, zero, loss, zero));
    tally.right = lanes.add(tally.right, lanes.if_greater(weight, zero, right, zero));
}

#[inline(always)]
fn squared_error<L: Lanes>(lanes: L, outputs: &mut [Block], target: &Target, tally: &mut Tally<L::Vector>) {
    let [output] = outputs else { unreachable!("a value is one output") };
    let zero = lanes.splat(0.0);
    let weight = lanes.load(&target.weight);
    let error = lanes.sub(lanes.load(output), lanes.load(&target.target));
    lanes.store(lanes.mul(lanes.mul(error, lanes.splat(2.0)), weight), output);
    tally.loss = lanes.add(tally.loss, lanes.if_greater(weight, zero, lanes.mul(error, error), zero));
    tally.right = lanes.add(tally.right, weight);
}
