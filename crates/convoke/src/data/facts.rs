//! What is known of the data before anything is learned: the range of each feature, and how good a mere guess would be.
//!
//! It is gathered while shards are made; what to conclude from it is for others.

use convoke_ml::{Dataset, Moments, Targets};

/// What is known of the data.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Each feature's range in the training rows, in order.
    pub ranges: Vec<Range>,
    /// The rows of the largest shard.
    pub shard_rows: usize,
    /// Training rows of each class.
    training: Vec<u64>,
    /// Validation rows of each class.
    validation: Vec<u64>,
    /// The values of the training rows, and of the validation rows, where numbers are to be predicted.
    values: [Moments; 2],
}

/// The values of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// Its name in the header, or its column's number.
    pub name: String,
    /// Its least value.
    pub min: f32,
    /// Its greatest value.
    pub max: f32,
}

impl Range {
    /// The largest value, whatever its sign.
    pub fn largest(&self) -> f32 {
        self.min.abs().max(self.max.abs())
    }
}

/// Always guessing the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// What is guessed.
    pub of: Guessed,
    /// The error of it on the validation rows, or on the training rows where there are no others: the share that is
    /// wrong, or the root mean squared error.
    pub error: f64,
}

/// What is guessed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guessed {
    /// The commonest class of the training rows; of several the first.
    Class(usize),
    /// The mean of their values.
    Mean(f64),
}

impl Facts {
    /// Nothing is known yet of features with these names, and of so many classes.
    pub fn new(names: Vec<String>, classes: usize) -> Self {
        let range = |name| Range { name, min: f32::INFINITY, max: f32::NEG_INFINITY };
        Self {
            ranges: names.into_iter().map(range).collect(),
            shard_rows: 0,
            training: vec![0; classes],
            validation: vec![0; classes],
            values: Default::default(),
        }
    }

    /// Takes rows to train on into account.
    pub fn add_training(&mut self, rows: &Dataset) {
        for row in rows.features().chunks_exact(rows.width()) {
            for (range, value) in self.ranges.iter_mut().zip(row) {
                (range.min, range.max) = (range.min.min(*value), range.max.max(*value));
            }
        }
        self.shard_rows = self.shard_rows.max(rows.samples());
        count(&mut self.training, &mut self.values[0], rows);
    }

    /// Takes rows to validate on into account.
    pub fn add_validation(&mut self, rows: &Dataset) {
        count(&mut self.validation, &mut self.values[1], rows);
    }

    /// How good it is to guess always the same.
    pub fn guess(&self) -> Option<Guess> {
        let [training, validation] = &self.values;
        if let Some(mean) = training.means.first() {
            let measured = if validation.samples == 0 { training } else { validation };
            let (bias, variance) = (measured.means[0] - mean, measured.squares[0] / measured.samples as f64);
            return Some(Guess { of: Guessed::Mean(*mean), error: (variance + bias * bias).sqrt() });
        }
        let class = (0..self.training.len()).rev().max_by_key(|class| self.training[*class])?;
        let measured = if self.validation.iter().all(|rows| *rows == 0) { &self.training } else { &self.validation };
        let rows: u64 = measured.iter().sum();
        Some(Guess { of: Guessed::Class(class), error: (rows - measured[class]) as f64 / rows as f64 })
    }
}

fn count(classes: &mut [u64], values: &mut Moments, rows: &Dataset) {
    match rows.targets() {
        Targets::Classes(labels) => labels.iter().for_each(|class| classes[*class as usize] += 1),
        Targets::Values(more) => {
            // Of the same one column, and of no more rows than there is memory for.
            values.merge(&Moments::of_values(more)).expect("moments of one column go together");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_guesses_are_of_the_right_rows() {
        let mut facts = Facts::new(vec!["x".into(), "y".into()], 2);
        facts.add_training(&Dataset::new(vec![1.0, -2.0, 3.0, 5.0, 2.0, 0.0], vec![1, 1, 0], 2).unwrap());
        let range = |name: &str, min, max| Range { name: name.into(), min, max };
        assert_eq!(facts.ranges, [range("x", 1.0, 3.0), range("y", -2.0, 5.0)]);
        assert_eq!(facts.guess(), Some(Guess { of: Guessed::Class(1), error: 1.0 / 3.0 }));
        facts.add_validation(&Dataset::new(vec![9.0; 8], vec![0, 0, 0, 1], 2).unwrap());
        assert_eq!(facts.guess(), Some(Guess { of: Guessed::Class(1), error: 0.75 }));
        assert_eq!(facts.ranges[0].max, 3.0);

        let mut facts = Facts::new(vec!["x".into()], 0);
        facts.add_training(&Dataset::of_values(vec![0.0; 2], vec![1.0, 5.0], 1).unwrap());
        assert_eq!(facts.guess(), Some(Guess { of: Guessed::Mean(3.0), error: 2.0 }));
        facts.add_validation(&Dataset::of_values(vec![0.0; 2], vec![7.0, 7.0], 1).unwrap());
        assert_eq!(facts.guess(), Some(Guess { of: Guessed::Mean(3.0), error: 4.0 }));
    }
}
