//! Sixteen lanes as an array, in plain loops that the compiler may turn into vector code. It is also the definition that the
//! other ways are tested against.

use super::{Block, LANES, Lanes, SUMS, Work};

/// The way of every processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Block {
    std::array::from_fn(f)
}

impl Lanes for Portable {
    type Vector = Block;
    type Register = Block;

    const REGISTERS: usize = 1;

    const ROWS: usize = 6;

    fn run<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Block {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &Block) -> Block {
        *from
    }

    #[inline(always)]
    fn store(self, value: Block, to: &mut Block) {
        *to = value;
    }

    #[inline(always)]
    fn add(self, a: Block, b: Block) -> Block {
        each(|l| a[l] + b[l])
    }

    #[inline(always)]
    fn sub(self, a: Block, b: Block) -> Block {
        each(|l| a[l] - b[l])
    }

    #[inline(always)]
    fn mul(self, a: Block, b: Block) -> Block {
        each(|l| a[l] * b[l])
    }

    #[inline(always)]
    fn div(self, a: Block, b: Block) -> Block {
        each(|l| a[l] / b[l])
    }

    #[inline(always)]
    fn fma(self, a: Block, b: Block, c: Block) -> Block {
        each(|l| a[l].mul_add(b[l], c[l]))
    }

    #[inline(always)]
    fn if_greater(self, a: Block, b: Block, yes: Block, no: Block) -> Block {
        each(|l| if a[l] > b[l] { yes[l] } else { no[l] })
    }

    #[inline(always)]
    fn if_equal(self, a: Block, b: Block, yes: Block, no: Block) -> Block {
        each(|l| if a[l] == b[l] { yes[l] } else { no[l] })
    }

    #[inline(always)]
    fn power_of_two(self, shifted: Block) -> Block {
        each(|l| f32::from_bits((shifted[l].to_bits() << 23).wrapping_add(127 << 23)))
    }

    #[inline(always)]
    fn split(self, x: Block) -> (Block, Block) {
        let exponent = each(|l| ((x[l].to_bits() >> 23) as i32 - 127) as f32);
        let mantissa = each(|l| f32::from_bits(x[l].to_bits() & 0x007f_ffff | 0x3f80_0000));
        (exponent, mantissa)
    }

    #[inline(always)]
    fn zero(self) -> Block {
        [0.0; LANES]
    }

    #[inline(always)]
    fn register(self, from: &Block, _: usize) -> Block {
        *from
    }

    #[inline(always)]
    fn fma_register(self, a: Block, b: Block, c: Block) -> Block {
        self.fma(a, b, c)
    }

    #[inline(always)]
    fn sums(self, parts: &[[Block; SUMS]; 2]) -> [f32; SUMS] {
        parts[0].map(|mut lanes| {
            let mut half = LANES / 2;
            while half > 0 {
                for l in 0..half {
                    lanes[l] += lanes[l + half];
                }
                half /= 2;
            }
            lanes[0]
        })
    }
}
