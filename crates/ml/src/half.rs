//! Floats of sixteen bits, as IEEE 754 (F16) and bfloat16 (BF16) split them, widened to f64 and rounded back.
//! Rounding is once, to the nearest, ties to even: by way of f32 it would be twice.
//! It does not know what the numbers mean.

/// How sixteen bits split into a sign, an exponent and a fraction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    fraction_bits: u32,
}

/// Five bits of exponent, ten of fraction.
pub(crate) const F16: Half = Half { fraction_bits: 10 };
/// The upper half of an f32: eight bits of exponent, seven of fraction.
pub(crate) const BF16: Half = Half { fraction_bits: 7 };

const SIGN: u16 = 1 << 15;

impl Half {
    /// The exponent of the smallest normal number; the largest number's is `1 - exponent_min`.
    fn exponent_min(self) -> i32 {
        2 - (1 << (14 - self.fraction_bits))
    }

    /// An exponent of ones and no fraction.
    fn infinity(self) -> u16 {
        (SIGN - 1) >> self.fraction_bits << self.fraction_bits
    }

    /// The value of these bits, exactly.
    pub(crate) fn widen(self, bits: u16) -> f64 {
        let magnitude = bits & !SIGN;
        let hidden = 1 << self.fraction_bits;
        let (exponent, fraction) = (magnitude >> self.fraction_bits, magnitude & (hidden - 1));
        let quantum =
            |exponent: u16| power_of_two(i32::from(exponent) + self.exponent_min() - self.fraction_bits as i32);
        let value = match exponent {
            _ if magnitude == self.infinity() => f64::INFINITY,
            _ if magnitude > self.infinity() => f64::NAN,
            0 => f64::from(fraction) * quantum(0),
            _ => f64::from(hidden + fraction) * quantum(exponent - 1),
        };
        if bits & SIGN == 0 { value } else { -value }
    }

    /// The bits of the nearest number; of two, the even one.
    pub(crate) fn narrow(self, value: f64) -> u16 {
        let sign = if value.is_sign_negative() { SIGN } else { 0 };
        let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(self.exponent_min());
        if value.is_nan() {
            return sign | self.infinity() | 1 << (self.fraction_bits - 1);
        }
        if exponent > 1 - self.exponent_min() {
            return sign | self.infinity();
        }
        // A power of two divides exactly. The leading one, and a carry out of the fraction, go into the exponent.
        let steps = (value.abs() / power_of_two(exponent - self.fraction_bits as i32)).round_ties_even() as u16;
        sign | ((((exponent - self.exponent_min()) as u16) << self.fraction_bits) + steps)
    }
}

/// `2^exponent`, for a normal f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IEEE 754, section 3.4, word for word: exponent bits, and the bias that belongs to them.
    fn by_definition(half: Half, bits: u16) -> f64 {
        let exponent_bits = 15 - half.fraction_bits;
        let bias = 2f64.powi(exponent_bits as i32 - 1) - 1.0;
        let fraction = f64::from(bits % (1 << half.fraction_bits)) / 2f64.powi(half.fraction_bits as i32);
        let exponent = f64::from((bits >> half.fraction_bits) % (1 << exponent_bits));
        let sign = if bits >= 1 << 15 { -1.0 } else { 1.0 };
        if exponent == 2f64.powi(exponent_bits as i32) - 1.0 {
            return if fraction == 0.0 { sign * f64::INFINITY } else { f64::NAN };
        }
        match exponent {
            0.0 => sign * 2f64.powf(1.0 - bias) * fraction,
            _ => sign * 2f64.powf(exponent - bias) * (1.0 + fraction),
        }
    }

    #[test]
    fn every_value_is_what_the_definition_says_and_comes_back() {
        for half in [F16, BF16] {
            for bits in 0..=u16::MAX {
                let (value, expected) = (half.widen(bits), by_definition(half, bits));
                if expected.is_nan() {
                    assert!(value.is_nan() && half.widen(half.narrow(value)).is_nan(), "{half:?} {bits:#x}");
                } else {
                    assert_eq!(value.to_bits(), expected.to_bits(), "{half:?} {bits:#x}");
                    assert_eq!(half.narrow(value), bits, "{half:?} {bits:#x}");
                }
            }
        }
    }

    /// BF16 is the upper half of an f32, which knows nothing of the code above.
    #[test]
    fn bf16_is_half_an_f32() {
        for bits in 0..=u16::MAX {
            let value = f32::from_bits(u32::from(bits) << 16);
            let widened = BF16.widen(bits);
            assert!(widened == f64::from(value) || (widened.is_nan() && value.is_nan()), "{bits:#x}");
        }
    }

    /// Between every two neighbours: what is nearer wins, the middle goes to the even one, in f64's last bit.
    #[test]
    fn rounding_is_to_the_nearest_and_ties_to_even() {
        for half in [F16, BF16] {
            for bits in 0..half.infinity() {
                let low = half.widen(bits);
                let next = half.widen(bits + 1);
                // Beyond the largest number, infinity stands where the next one would.
                let next = if next.is_finite() { next } else { 2.0 * low - half.widen(bits - 1) };
                let middle = f64::midpoint(low, next);
                let even = bits + bits % 2;
                for (value, expected) in [(middle.next_down(), bits), (middle, even), (middle.next_up(), bits + 1)] {
                    assert_eq!(half.narrow(value), expected, "{half:?} {value:e}");
                    assert_eq!(half.narrow(-value), SIGN | expected, "{half:?} {:e}", -value);
                }
            }
            for value in [f64::MAX, f64::INFINITY, 1e300] {
                assert_eq!(half.narrow(value), half.infinity());
            }
            for value in [0.0, f64::MIN_POSITIVE, 5e-324] {
                assert_eq!((half.narrow(value), half.narrow(-value)), (0, SIGN));
            }
        }
    }
}
