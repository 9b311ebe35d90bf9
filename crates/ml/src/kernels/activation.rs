//! What stands between layers, and its gradient given what it made.
//! They do not know layers, only single values.

use crate::elementary::exp;

/// Below this, tanh is a polynomial: 1 − e^−2x would leave few digits.
const TANH_SMALL: f32 = 0.625;

/// max(0, x), and NaN for NaN: a diverged model must not look well.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The gradient before ReLU, given ReLU's value and the gradient after it.
#[inline(always)]
pub(super) fn relu_gradient(activation: f32, gradient: f32) -> f32 {
    if activation > 0.0 { gradient } else { 0.0 }
}

/// The hyperbolic tangent with a relative error of at most 4e-7, the polynomial being that of Cephes' `tanhf`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let mut tail = -5.704_988_7e-3_f32;
    tail = tail * square + 2.063_908_8e-2;
    tail = tail * square - 5.373_971_6e-2;
    tail = tail * square + 1.333_144_2e-1;
    tail = tail * square - 3.333_328e-1;
    let small = tail * square * x + x;
    let power = exp(-2.0 * magnitude);
    let large = ((1.0 - power) / (1.0 + power)).copysign(x);
    if magnitude < TANH_SMALL { small } else { large }
}

/// The gradient before tanh, given tanh's value and the gradient after it.
#[inline(always)]
pub(super) fn tanh_gradient(activation: f32, gradient: f32) -> f32 {
    gradient * (1.0 - activation * activation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_accurate() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - expected).abs();
            assert!(error <= 4e-7 * expected.abs(), "tanh({x}) is off by {error:e}");
        }
        assert_eq!([tanh(f32::INFINITY), tanh(-1e30), tanh(0.0)], [1.0, -1.0, 0.0]);
        assert!(tanh(f32::NAN).is_nan());
    }
}
