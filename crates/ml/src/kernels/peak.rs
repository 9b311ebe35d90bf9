//! What the processor can do at most: multiplications and additions alone, as many side by side as tiles have.
//!
//! For measuring: whoever knows the time knows which share of it the kernels reach. Clocks are the caller's.

use std::hint::black_box;

use super::lanes::{LANES, Lanes, ROWS_MAX, Way, Work};

/// The instructions that models are computed with on this processor.
pub fn instructions() -> &'static str {
    Way::fastest().name()
}

/// Does so many rounds of FMAs that wait for no other of their round, with the instructions that models are computed with,
/// and returns how many operations these were: an FMA on one lane counts as two.
pub fn multiply_and_add(rounds: u64) -> u64 {
    Way::fastest().run(Peak { rounds })
}

struct Peak {
    rounds: u64,
}

impl Work for Peak {
    type Output = u64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> u64 {
        match L::ROWS {
            ROWS_MAX => chains::<L, ROWS_MAX>(lanes, self.rounds),
            _ => chains::<L, 6>(lanes, self.rounds),
        }
    }
}

/// So many sums at once, each a chain of FMAs.
#[inline(always)]
fn chains<L: Lanes, const R: usize>(lanes: L, rounds: u64) -> u64 {
    // Nothing is known of them that would spare the work; the sums come to rest at 1.
    let (share, rest) = (lanes.splat(black_box(0.5)), lanes.splat(black_box(0.5)));
    let mut sums = [lanes.splat(black_box(0.0)); R];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = lanes.fma(*sum, share, rest);
        }
    }
    black_box(sums);
    rounds * (2 * R * LANES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_on_each_way() {
        for way in Way::all() {
            let counted = way.run(Peak { rounds: 10 });
            assert!([10 * 2 * 6 * 16, 10 * 2 * 12 * 16].contains(&counted), "{}: {counted}", way.name());
        }
        assert!(!instructions().is_empty());
    }
}
