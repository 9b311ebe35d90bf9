//! Random numbers from a seed, the same on every machine.
//! It does not know what is drawn.

use rand_core::Rng;
use rand_pcg::Pcg64;

/// PCG-64 (O'Neill 2014) seeded with `seed`, for one purpose, which `stream` stands for.
pub(crate) fn generator(seed: u64, stream: u128) -> Pcg64 {
    Pcg64::new(spread(seed), stream)
}

/// Fisher and Yates' shuffle (Durstenfeld 1964).
pub(crate) fn shuffle<T>(items: &mut [T], generator: &mut Pcg64) {
    for last in (1..items.len()).rev() {
        // The high half of the product is below `last + 1`, and uneven by less than one in 2^32 (Lemire 2019).
        let drawn = (u128::from(generator.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, drawn as usize);
    }
}

/// Mixes all bits of a seed (splitmix64's finish, Steele 2014), so that neighbouring seeds give
/// unrelated numbers.
fn spread(seed: u64) -> u128 {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let high = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let low = mix(seed.wrapping_add(0x3c6e_f372_fe94_f82a));
    u128::from(high) << 64 | u128::from(low)
}
