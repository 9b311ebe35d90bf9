//! Sixteen lanes as two registers of AVX2, with FMA.
#![expect(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::*;

use super::{Block, Lanes, SUMS, Work};

/// A processor that has AVX2 and FMA: there is no other way to get one of these than [`Avx2::detect`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// This processor's, if it has them.
    pub(super) fn detect() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }
}

/// Calls an instruction that a token vouches for.
macro_rules! vouched {
    ($call:expr) => {
        // SAFETY: a token exists only where the processor was found to have the instructions, and they touch no memory but
        // through references to as many values as they read or write.
        unsafe { $call }
    };
}

/// The lower eight lanes and the upper eight. (An array of two is kept in memory where this is kept in registers.)
#[derive(Clone, Copy)]
pub(crate) struct Vector(__m256, __m256);

impl Lanes for Avx2 {
    type Vector = Vector;
    type Register = __m256;

    const REGISTERS: usize = 2;
    // Twelve registers of sums, two of values, one of a splat: of sixteen.
    const ROWS: usize = 6;

    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma")]
        fn run<W: Work>(lanes: Avx2, work: W) -> W::Output {
            work.run(lanes)
        }
        vouched!(run(self, work))
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        let value = vouched!(_mm256_set1_ps(value));
        Vector(value, value)
    }

    #[inline(always)]
    fn load(self, from: &Block) -> Vector {
        let (low, high) = from.split_at(8);
        vouched!(Vector(_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())))
    }

    #[inline(always)]
    fn store(self, value: Vector, to: &mut Block) {
        let (low, high) = to.split_at_mut(8);
        vouched!({
            _mm256_storeu_ps(low.as_mut_ptr(), value.0);
            _mm256_storeu_ps(high.as_mut_ptr(), value.1);
        });
    }

    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        Vector(vouched!(_mm256_add_ps(a.0, b.0)), vouched!(_mm256_add_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn sub(self, a: Vector, b: Vector) -> Vector {
        Vector(vouched!(_mm256_sub_ps(a.0, b.0)), vouched!(_mm256_sub_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        Vector(vouched!(_mm256_mul_ps(a.0, b.0)), vouched!(_mm256_mul_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        Vector(vouched!(_mm256_div_ps(a.0, b.0)), vouched!(_mm256_div_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn fma(self, a: Vector, b: Vector, c: Vector) -> Vector {
        Vector(vouched!(_mm256_fmadd_ps(a.0, b.0, c.0)), vouched!(_mm256_fmadd_ps(a.1, b.1, c.1)))
    }

    #[inline(always)]
    fn if_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        Vector(
            vouched!(_mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0))),
            vouched!(_mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_GT_OQ>(a.1, b.1))),
        )
    }

    #[inline(always)]
    fn if_equal(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        Vector(
            vouched!(_mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0))),
            vouched!(_mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1))),
        )
    }

    #[inline(always)]
    fn power_of_two(self, shifted: Vector) -> Vector {
        #[inline(always)]
        fn power(shifted: __m256) -> __m256 {
            vouched!({
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
                _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(127 << 23)))
            })
        }
        Vector(power(shifted.0), power(shifted.1))
    }

    #[inline(always)]
    fn split(self, x: Vector) -> (Vector, Vector) {
        #[inline(always)]
        fn exponent(x: __m256) -> __m256 {
            vouched!({
                let biased = _mm256_srli_epi32::<23>(_mm256_castps_si256(x));
                _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))
            })
        }
        #[inline(always)]
        fn mantissa(x: __m256) -> __m256 {
            vouched!({
                let fraction = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007f_ffff));
                _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f80_0000)))
            })
        }
        (Vector(exponent(x.0), exponent(x.1)), Vector(mantissa(x.0), mantissa(x.1)))
    }

    #[inline(always)]
    fn zero(self) -> __m256 {
        vouched!(_mm256_setzero_ps())
    }

    #[inline(always)]
    fn register(self, from: &Block, part: usize) -> __m256 {
        let (low, high) = from.split_at(8);
        vouched!(_mm256_loadu_ps(if part == 0 { low.as_ptr() } else { high.as_ptr() }))
    }

    #[inline(always)]
    fn fma_register(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        vouched!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn sums(self, parts: &[[__m256; SUMS]; 2]) -> [f32; SUMS] {
        vouched!(sums_of_halves(std::array::from_fn(|v| _mm256_add_ps(parts[0][v], parts[1][v]))))
    }
}

/// Sums up each of eight registers: lane l and lane l + 4, then l and l + 2, l and l + 1. Each step halves how many there
/// are, so that eight sums take as many additions as one and a half.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn sums_of_halves(v: [__m256; 8]) -> [f32; SUMS] {
    #[inline(always)]
    fn quarters(a: __m256, b: __m256) -> __m256 {
        vouched!(_mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)))
    }
    #[inline(always)]
    fn eighths(a: __m256, b: __m256) -> __m256 {
        vouched!(_mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b)))
    }
    #[inline(always)]
    fn last(a: __m256, b: __m256) -> __m256 {
        vouched!(_mm256_add_ps(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b)))
    }
    // Each step interleaves its two: in this order the sums end up where they belong.
    let low = eighths(quarters(v[0], v[4]), quarters(v[1], v[5]));
    let high = eighths(quarters(v[2], v[6]), quarters(v[3], v[7]));
    let mut sums = [0.0; SUMS];
    vouched!(_mm256_storeu_ps(sums.as_mut_ptr(), last(low, high)));
    sums
}
