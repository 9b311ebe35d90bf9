//! Sixteen logical lanes of f32, and the ways in which processors provide them.
//!
//! What is computed with them has the same bits on each way: every operation is exactly rounded, products are added in one
//! rounding (FMA), and the order of horizontal sums is part of the definition. A way is a token that exists only where the
//! processor has its instructions. What the lanes hold is for the kernels.

mod portable;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

use portable::Portable;

/// How many lanes there are.
pub(super) const LANES: usize = 16;

/// Sixteen values side by side.
pub(super) type Block = [f32; LANES];

/// How many vectors [`Lanes::sums`] sums up at once.
pub(super) const SUMS: usize = 8;

/// A way to compute with sixteen lanes. All arithmetic is lane by lane and exactly rounded.
pub(super) trait Lanes: Copy {
    /// Sixteen lanes.
    type Vector: Copy;

    /// A part of the lanes that is one register.
    type Register: Copy;

    /// How many registers sixteen lanes take: one or two.
    const REGISTERS: usize;

    /// How many vectors' sums of products fit into the registers together: the rows of a tile, at most [`ROWS_MAX`].
    const ROWS: usize;

    /// Runs work compiled for this way's instructions.
    fn run<W: Work>(self, work: W) -> W::Output;

    /// The same value in each lane.
    fn splat(self, value: f32) -> Self::Vector;
    /// Reads the lanes.
    fn load(self, from: &Block) -> Self::Vector;
    /// Writes the lanes.
    fn store(self, value: Self::Vector, to: &mut Block);

    /// a + b
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a − b
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a / b
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b + c in one rounding
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `yes` where a > b, else `no`: also where either is NaN.
    fn if_greater(self, a: Self::Vector, b: Self::Vector, yes: Self::Vector, no: Self::Vector) -> Self::Vector;
    /// `yes` where a = b, else `no`: also where either is NaN.
    fn if_equal(self, a: Self::Vector, b: Self::Vector, yes: Self::Vector, no: Self::Vector) -> Self::Vector;

    /// 2^k, where `shifted` holds the integer k in the low bits of its fraction, and −126 ≤ k ≤ 127.
    fn power_of_two(self, shifted: Self::Vector) -> Self::Vector;
    /// k and m of x = m · 2^k with 1 ≤ m < 2, for positive normal x.
    fn split(self, x: Self::Vector) -> (Self::Vector, Self::Vector);

    /// A register of zeros.
    fn zero(self) -> Self::Register;
    /// Reads one register's part of the lanes.
    fn register(self, from: &Block, part: usize) -> Self::Register;
    /// a · b + c in one rounding
    fn fma_register(self, a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;
    /// The sums of eight vectors, given as their registers, part by part: lane l and lane l + 8, then l and l + 4, l and
    /// l + 2, l and l + 1. Of a way with one register the second part means nothing.
    fn sums(self, parts: &[[Self::Register; SUMS]; 2]) -> [f32; SUMS];
}

/// The most rows of a tile on any way.
pub(super) const ROWS_MAX: usize = 12;

/// Something to compute on whichever way there is. `run` has to be inlined, as does all that it calls with lanes.
pub(super) trait Work {
    /// What it brings.
    type Output;

    /// Computes.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// One of the ways.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Plain arrays: on every processor, slow where it has no FMA.
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Way {
    /// All ways that this processor has, the fastest last.
    pub(super) fn all() -> Vec<Way> {
        let ways = [
            Some(Way::Portable(Portable)),
            #[cfg(target_arch = "x86_64")]
            avx2::Avx2::detect().map(Way::Avx2),
            #[cfg(target_arch = "x86_64")]
            avx512::Avx512::detect().map(Way::Avx512),
        ];
        ways.into_iter().flatten().collect()
    }

    /// The fastest way.
    pub(super) fn fastest() -> Way {
        Way::all().pop().unwrap_or(Way::Portable(Portable))
    }

    /// What its instructions are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Way::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Way::Avx512(_) => "AVX-512",
        }
    }

    /// Computes on this way.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Way::Portable(lanes) => lanes.run(work),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2(lanes) => lanes.run(work),
            #[cfg(target_arch = "x86_64")]
            Way::Avx512(lanes) => lanes.run(work),
        }
    }
}
