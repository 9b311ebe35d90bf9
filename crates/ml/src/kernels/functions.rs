//! Exponential, logarithm and hyperbolic tangent of sixteen lanes, written out in additions, multiplications and FMAs.
//!
//! The platform's libm differs from one system to the next in the last bit; these give the same bits everywhere. Without
//! branches: each lane takes all ways, and chooses. They do not know what softmax or an activation is.

use super::lanes::Lanes;

/// Where [`exp`] stops falling: e^-87 is about 1.6e-38, just above the subnormal numbers.
const EXP_INPUT_MIN: f32 = -87.0;

/// 1.5 · 2^23: adding it rounds an f32 of moderate size to the nearest integer, held in the low bits of the sum.
const ROUND_TO_INTEGER: f32 = 12_582_912.0;

/// ln 2 in two parts, the first with so few bits that its product with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below this tanh is a polynomial, above it is made of [`exp`].
const TANH_POLYNOMIAL_MAX: f32 = 0.625;

/// The polynomial with these coefficients, the highest first.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(lanes: L, x: L::Vector, coefficients: [f32; N]) -> L::Vector {
    let mut sum = lanes.splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = lanes.fma(sum, x, lanes.splat(*coefficient));
    }
    sum
}

/// e^x for x in [-87, 0.3] with a relative error of at most 2e-7; e^-87 below that, NaN for NaN.
///
/// Cody and Waite's reduction x = k·ln 2 + r with |r| ≤ ln 2 / 2, then the polynomial of Cephes' `expf`.
#[inline(always)]
pub(super) fn exp<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let min = lanes.splat(EXP_INPUT_MIN);
    let x = lanes.if_greater(min, x, min, x);
    let round = lanes.splat(ROUND_TO_INTEGER);
    let shifted = lanes.fma(x, lanes.splat(std::f32::consts::LOG2_E), round);
    let k = lanes.sub(shifted, round);
    let r = lanes.fma(k, lanes.splat(-LN_2_HIGH), x);
    let r = lanes.fma(k, lanes.splat(-LN_2_LOW), r);
    const TAIL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let tail = polynomial(lanes, r, TAIL);
    let fraction = lanes.add(lanes.fma(tail, lanes.mul(r, r), r), lanes.splat(1.0));
    lanes.mul(fraction, lanes.power_of_two(shifted))
}

/// The natural logarithm of positive normal numbers, with an error of at most 1.2e-7 of it or 6e-8; NaN for NaN and infinity.
///
/// x = 2^k · m with m in [√½, √2), then the polynomial of Cephes' `logf` in m − 1.
#[inline(always)]
pub(super) fn ln<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let one = lanes.splat(1.0);
    let (k, m) = lanes.split(x);
    let root = lanes.splat(std::f32::consts::SQRT_2);
    let halved = lanes.mul(m, lanes.splat(0.5));
    let (k, m) = (lanes.if_greater(m, root, lanes.add(k, one), k), lanes.if_greater(m, root, halved, m));
    let f = lanes.sub(m, one);
    const SERIES: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let square = lanes.mul(f, f);
    let tail = lanes.mul(lanes.mul(polynomial(lanes, f, SERIES), f), square);
    let tail = lanes.fma(k, lanes.splat(LN_2_LOW), tail);
    let tail = lanes.fma(square, lanes.splat(-0.5), tail);
    let result = lanes.fma(k, lanes.splat(LN_2_HIGH), lanes.add(f, tail));
    // What is not finite has no parts, but its difference from itself is NaN.
    lanes.add(result, lanes.sub(x, x))
}

/// tanh x, with an error of at most 2e-7 of it; NaN for NaN.
///
/// Cephes' polynomial near zero, (1 − e^-2|x|) / (1 + e^-2|x|) elsewhere.
#[inline(always)]
pub(super) fn tanh<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let (zero, one) = (lanes.splat(0.0), lanes.splat(1.0));
    let size = lanes.if_greater(x, zero, x, lanes.sub(zero, x));
    let power = exp(lanes, lanes.mul(size, lanes.splat(-2.0)));
    let large = lanes.div(lanes.sub(one, power), lanes.add(one, power));
    let large = lanes.if_greater(zero, x, lanes.sub(zero, large), large);
    let square = lanes.mul(x, x);
    const SERIES: [f32; 5] = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
    let small = lanes.fma(lanes.mul(polynomial(lanes, square, SERIES), square), x, x);
    lanes.if_greater(lanes.splat(TANH_POLYNOMIAL_MAX), size, small, large)
}
