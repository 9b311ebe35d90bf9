//! What stands around sums of products in a layer: the bias before them, the activation after them, on the way back its
//! gradient.

use super::lanes::{Block, Lanes};
use super::tile::Around;
use crate::architecture::Activation;

/// A layer's biases.
#[derive(Clone, Copy)]
pub(super) enum Bias<'a> {
    /// Each row has its own, in all lanes.
    OfRows(&'a [f32]),
    /// Each lane has its own, in all rows.
    OfLanes(&'a Block),
}

impl Bias<'_> {
    #[inline(always)]
    fn of<L: Lanes>(self, lanes: L, row: usize) -> L::Vector {
        match self {
            Bias::OfRows(rows) => lanes.splat(rows[row]),
            Bias::OfLanes(block) => lanes.load(block),
        }
    }
}

/// The last layer's outputs.
pub(super) struct Plain<'a>(pub Bias<'a>);

impl Around for Plain<'_> {
    #[inline(always)]
    fn begin<L: Lanes>(&self, lanes: L, row: usize) -> L::Vector {
        self.0.of(lanes, row)
    }

    #[inline(always)]
    fn finish<L: Lanes>(&self, _: L, _: usize, sum: L::Vector, _: &Block) -> L::Vector {
        sum
    }
}

/// A hidden layer's activations.
pub(super) struct Activated<'a>(pub Bias<'a>, pub Activation);

impl Around for Activated<'_> {
    #[inline(always)]
    fn begin<L: Lanes>(&self, lanes: L, row: usize) -> L::Vector {
        self.0.of(lanes, row)
    }

    #[inline(always)]
    fn finish<L: Lanes>(&self, lanes: L, _: usize, sum: L::Vector, _: &Block) -> L::Vector {
        self.1.of(lanes, sum)
    }
}

/// The gradient before an activation that had these values.
pub(super) struct Before<'a>(pub Activation, pub &'a [Block]);

impl Around for Before<'_> {
    #[inline(always)]
    fn begin<L: Lanes>(&self, lanes: L, _: usize) -> L::Vector {
        lanes.splat(0.0)
    }

    #[inline(always)]
    fn finish<L: Lanes>(&self, lanes: L, row: usize, sum: L::Vector, _: &Block) -> L::Vector {
        self.0.gradient(lanes, lanes.load(&self.1[row]), sum)
    }
}
