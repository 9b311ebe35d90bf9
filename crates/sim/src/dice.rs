//! The one source of chance: a seeded generator, and the few ways in which it is asked.
//!
//! It does not know what is decided by it; the order of the questions is part of a seed's meaning.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

pub struct Dice(Pcg64Mcg);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // PCG's multiplicative state has to be odd; its first numbers are close for neighbouring seeds.
        let mut generator = Pcg64Mcg::new(u128::from(seed) << 1 | 1);
        for _ in 0..8 {
            generator.next_u64();
        }
        Self(generator)
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number of the range, both ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.next_u64() % (most - least + 1)
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.0.next_u64() % 100 < percent
    }

    /// A number below `count`, which is at least 1.
    pub fn place(&mut self, count: usize) -> usize {
        (self.0.next_u64() % count as u64) as usize
    }
}
