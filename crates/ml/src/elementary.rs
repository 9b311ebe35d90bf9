//! The exponential and the logarithm, written out in additions and multiplications.
//! The platform's libm differs from one system to the next in the last bit; these give the same
//! bits everywhere.
//! Branch-free where speed counts, so that the compiler turns a loop of them into vector code.
//! They do not know what softmax or a loss is; only the ranges that those need are promised.

/// Where [`exp`] stops falling: e^-87 is about 1.6e-38, just above the subnormal numbers.
const EXP_INPUT_MIN: f32 = -87.0;

/// 1.5 · 2^23: adding it rounds an f32 of moderate size to the nearest integer, held in the low
/// bits of the sum.
const ROUND_TO_INTEGER: f32 = 12_582_912.0;

/// ln 2 in two parts, the first with so few bits that its product with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x in [-87, 0.3] with a relative error of at most 2e-7; e^-87 below that, NaN for NaN.
///
/// Cody and Waite's reduction x = k·ln 2 + r with |r| ≤ ln 2 / 2, then the polynomial of
/// Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = if x < EXP_INPUT_MIN { EXP_INPUT_MIN } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND_TO_INTEGER;
    let k = shifted - ROUND_TO_INTEGER;
    let r = x - k * LN_2_HIGH - k * LN_2_LOW;

    let mut tail = 1.987_569_1e-4_f32;
    tail = tail * r + 1.398_199_9e-3;
    tail = tail * r + 8.333_452e-3;
    tail = tail * r + 4.166_579_6e-2;
    tail = tail * r + 1.666_666_5e-1;
    tail = tail * r + 0.5;
    let fraction = tail * (r * r) + r + 1.0;

    // `shifted` holds k in its low bits, two's complement; the exponent field of 2^k is k + 127.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    fraction * power
}

/// The natural logarithm of a normal positive number, relative error at most 1e-15; NaN and
/// infinity come back as they are.
///
/// x = 2^k · m with m in [√½, √2), then ln m = 2 artanh((m − 1) / (m + 1)) by its series.
pub(crate) fn ln(x: f64) -> f64 {
    const FRACTION_BITS: u32 = 52;
    const BIAS: i64 = 1023;
    if !x.is_finite() {
        return x;
    }
    let bits = x.to_bits();
    let mut k = (bits >> FRACTION_BITS) as i64 - BIAS;
    let mut m = f64::from_bits(bits & ((1 << FRACTION_BITS) - 1) | (BIAS as u64) << FRACTION_BITS);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for odd in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = (series + 1.0 / odd) * square;
    }
    k as f64 * std::f64::consts::LN_2 + 2.0 * (s + s * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error of `exp` at `count` evenly spaced points.
    fn exp_error(from: f32, to: f32, count: u32) -> f64 {
        (0..=count)
            .map(|i| from + (to - from) * (i as f32 / count as f32))
            .map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_accurate_where_softmax_uses_it() {
        let error = exp_error(-87.0, 0.3, 4_000_000).max(exp_error(-1.0, 0.0, 1_000_000));
        assert!(error <= 2e-7, "relative error {error:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
    }

    #[test]
    fn exp_of_the_extremes() {
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert_eq!(exp(-1e30), exp(-87.0));
        assert!(exp(-87.0) > 0.0 && exp(-87.0) < 2e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_accurate() {
        assert_eq!(ln(1.0), 0.0);
        let mut x = 1e-300;
        while x < 1e300 {
            let error = (ln(x) - x.ln()).abs();
            assert!(error <= 1e-15 * x.ln().abs(), "ln({x:e}) is off by {error:e}");
            x *= 1.000_37 + 1e-3;
        }
        for i in 1..=100_000 {
            let x = 1.0 + f64::from(i) * 1e-3;
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln(), "ln({x})");
        }
        assert!(ln(f64::NAN).is_nan());
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
    }
}
