//! What stands between two dense layers, for sixteen lanes.

use super::functions::tanh;
use super::lanes::Lanes;
use crate::architecture::Activation;

impl Activation {
    /// Its value; NaN for NaN, so that a model which diverged does not look well.
    #[inline(always)]
    pub(super) fn of<L: Lanes>(self, lanes: L, x: L::Vector) -> L::Vector {
        let zero = lanes.splat(0.0);
        match self {
            Activation::Relu => lanes.if_greater(zero, x, zero, x),
            Activation::Tanh => tanh(lanes, x),
        }
    }

    /// The gradient before it, given its value and the gradient after it.
    #[inline(always)]
    pub(super) fn gradient<L: Lanes>(self, lanes: L, value: L::Vector, gradient: L::Vector) -> L::Vector {
        let zero = lanes.splat(0.0);
        match self {
            Activation::Relu => lanes.if_greater(value, zero, gradient, zero),
            Activation::Tanh => {
                let slope = lanes.fma(lanes.sub(zero, value), value, lanes.splat(1.0));
                lanes.mul(gradient, slope)
            }
        }
    }
}
