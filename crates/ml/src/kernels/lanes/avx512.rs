//! Sixteen lanes as one register of AVX-512.
#![expect(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::*;

use super::avx2::sums_of_halves;
use super::{Block, Lanes, SUMS, Work};

/// A processor that has AVX-512 (F and DQ): there is no other way to get one of these than [`Avx512::detect`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// This processor's, if it has them.
    pub(super) fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
        (has && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx512(()))
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

impl Lanes for Avx512 {
    type Vector = __m512;
    type Register = __m512;

    const REGISTERS: usize = 1;
    // More than the eight that hide the latency of two FMAs a cycle, and few enough to leave registers for splats.
    const ROWS: usize = 12;

    fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
        fn run<W: Work>(lanes: Avx512, work: W) -> W::Output {
            work.run(lanes)
        }
        vouched!(run(self, work))
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        vouched!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, from: &Block) -> __m512 {
        vouched!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn store(self, value: __m512, to: &mut Block) {
        vouched!(_mm512_storeu_ps(to.as_mut_ptr(), value));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        vouched!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        vouched!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        vouched!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        vouched!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        vouched!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn if_greater(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        vouched!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes))
    }

    #[inline(always)]
    fn if_equal(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        vouched!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), no, yes))
    }

    #[inline(always)]
    fn power_of_two(self, shifted: __m512) -> __m512 {
        vouched!({
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(127 << 23)))
        })
    }

    #[inline(always)]
    fn split(self, x: __m512) -> (__m512, __m512) {
        vouched!({
            let bits = _mm512_castps_si512(x);
            let exponent = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
            let fraction = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let mantissa = _mm512_or_si512(fraction, _mm512_set1_epi32(0x3f80_0000));
            (_mm512_cvtepi32_ps(exponent), _mm512_castsi512_ps(mantissa))
        })
    }

    #[inline(always)]
    fn zero(self) -> __m512 {
        vouched!(_mm512_setzero_ps())
    }

    #[inline(always)]
    fn register(self, from: &Block, _: usize) -> __m512 {
        self.load(from)
    }

    #[inline(always)]
    fn fma_register(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.fma(a, b, c)
    }

    #[inline(always)]
    fn sums(self, parts: &[[__m512; SUMS]; 2]) -> [f32; SUMS] {
        let halves = |v: usize| {
            vouched!(_mm256_add_ps(_mm512_castps512_ps256(parts[0][v]), _mm512_extractf32x8_ps::<1>(parts[0][v])))
        };
        vouched!(sums_of_halves(std::array::from_fn(halves)))
    }
}
