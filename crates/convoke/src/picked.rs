//! What training does where nothing is said: width, rounds, training epochs, batches and learning rate, picked from the
//! shape of the data alone. The same shape gives the same picks on every machine.
//!
//! It knows neither flags nor rows.

use crate::args::Optimizer;

/// Layers of few inputs learn with long steps, which the mean over shards calms down; those of many would diverge. (UCI
/// letters, 128 units, 12 × 4: 11.6 % wrong with 0.003, 8.0 % with 0.01, 5.9 % with 0.02, 6.1 % with 0.04. Pictures of 784
/// features, 12 × 2: 3.6 % with 0.003, 2.9 % with 0.008, 5.5 % with 0.02.)
const RATE: f32 = 0.02;
/// As many features may be met with it; then it goes down with their fourth root.
const RATE_FEATURES: usize = 16;
/// Where it ends.
const RATE_MIN: f32 = 0.001;

/// Rows of a batch. (UCI letters as above: 16 rows 5.7 %, 32 rows 5.9 %, 64 rows 6.6 %.)
const BATCH: u32 = 32;

/// How many rounds there are. (UCI letters, 48 training epochs: 6 rounds 8.5 %, 12 rounds 8.0 %, 24 rounds 7.3 %, each
/// with 0.01.)
const ROUNDS: u32 = 12;

/// Training epochs of a round where shards are of usual size.
const EPOCHS: u32 = 4;
/// A small shard's are as many as make so many steps,
const STEPS: usize = 160;
/// but no more than this: a few rows are soon known by heart. (300 noisy rows of ten features, their best round: an RMSE of
/// 56.0 with 20, 53.6 with 10; the noise alone has 50.)
const EPOCHS_MAX: u32 = 10;
/// More features than this make a hidden unit dear.
const WIDE: usize = 256;
/// What all training epochs may multiply and add together; data that takes more has fewer of them.
const PRODUCTS_MAX: f64 = 4e11;

/// The shape of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Features of a row.
    pub features: usize,
    /// Classes, or 1 where values are predicted.
    pub outputs: usize,
    /// Rows to train on.
    pub rows: usize,
    /// Shards that they are in.
    pub shards: usize,
}

impl Shape {
    /// Units of the one hidden layer: more for more rows, but not where many features make each of them dear. (UCI letters,
    /// 12 × 4 with 0.02: 128 units 6.1 % in 1.0 s, 192 units 5.5 % in 1.5 s, 256 units 4.9 % in 2.1 s, on two cores.)
    pub fn hidden(self) -> Vec<usize> {
        vec![match self.rows {
            0..1_000 => 32,
            1_000..5_000 => 64,
            5_000..10_000 => 128,
            _ if self.features > WIDE => 128,
            _ => 256,
        }]
    }

    /// Rounds.
    pub fn rounds(self) -> u32 {
        ROUNDS
    }

    /// Training epochs of each round, with batches of so many rows (0: whole shards).
    pub fn epochs(self, rounds: u32, batch: u32, parameters: usize) -> u32 {
        let shard = self.rows.div_ceil(self.shards.max(1)).max(1);
        let steps = if batch == 0 { 1 } else { shard.div_ceil(batch as usize) };
        let wanted = u32::try_from(STEPS.div_ceil(steps)).unwrap_or(EPOCHS_MAX).clamp(EPOCHS, EPOCHS_MAX);
        // A product forth, and two back.
        let products = 3.0 * parameters as f64 * self.rows as f64 * f64::from(rounds);
        wanted.min((PRODUCTS_MAX / products) as u32).max(1)
    }

    /// Rows of a batch: not so many that a small shard is but a few batches.
    pub fn batch(self) -> u32 {
        let shard = self.rows.div_ceil(self.shards.max(1)).max(1);
        BATCH.min(shard.div_ceil(8).next_power_of_two() as u32).max(4)
    }

    /// How long steps are at first.
    pub fn learning_rate(self, optimizer: Optimizer, is_standardized: bool) -> f32 {
        let calmed = (RATE_FEATURES as f32 / self.features.max(RATE_FEATURES) as f32).sqrt().sqrt();
        match (optimizer, is_standardized) {
            (Optimizer::Adam | Optimizer::AdamW, true) => rounded(RATE * calmed).max(RATE_MIN),
            (Optimizer::Adam | Optimizer::AdamW, false) => 0.003,
            (Optimizer::Sgd, true) => 0.3,
            (Optimizer::Momentum, true) => 0.1,
            (Optimizer::Sgd | Optimizer::Momentum, false) => 0.01,
        }
    }
}

/// To one digit: nobody can tell more by the shape.
fn rounded(rate: f32) -> f32 {
    format!("{rate:.0e}").parse().unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(features: usize, outputs: usize, rows: usize, shards: usize) -> String {
        let shape = Shape { features, outputs, rows, shards };
        let (hidden, rounds, batch) = (shape.hidden(), shape.rounds(), shape.batch());
        let units: usize = hidden.iter().sum();
        let epochs = shape.epochs(rounds, batch, (features + outputs) * units);
        let rate = shape.learning_rate(Optimizer::AdamW, true);
        format!("{hidden:?}, {rate}, {rounds} x {epochs}, batches of {batch}")
    }

    #[test]
    fn shapes_have_their_picks() {
        assert_eq!(picked(16, 26, 16_500, 11), "[256], 0.02, 12 x 4, batches of 32", "letters");
        assert_eq!(picked(4, 3, 120, 1), "[32], 0.02, 12 x 10, batches of 16", "flowers");
        assert_eq!(picked(784, 10, 48_000, 32), "[128], 0.008, 12 x 2, batches of 32", "digits");
    }
}
