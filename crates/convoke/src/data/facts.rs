//! What is known of the data before anything is learned: the range of each feature, and how good a mere guess would be.
//!
//! It is gathered while shards are made; what to conclude from it is for others.

use convoke_ml::Dataset;

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

/// Always guessing one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The commonest class of the training rows; of several the first.
    pub class: usize,
    /// The share of the validation rows, or of the training rows where there are no others, that it gets wrong.
    pub error: f64,
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
        count(&mut self.training, rows);
    }

    /// Takes rows to validate on into account.
    pub fn add_validation(&mut self, rows: &Dataset) {
        count(&mut self.validation, rows);
    }

    /// How good it is to guess always the same.
    pub fn guess(&self) -> Option<Guess> {
        let class = (0..self.training.len()).rev().max_by_key(|class| self.training[*class])?;
        let measured = if self.validation.iter().all(|rows| *rows == 0) { &self.training } else { &self.validation };
        let rows: u64 = measured.iter().sum();
        Some(Guess { class, error: (rows - measured[class]) as f64 / rows as f64 })
    }
}

fn count(classes: &mut [u64], rows: &Dataset) {
    for class in rows.labels() {
        classes[*class as usize] += 1;
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
        assert_eq!(facts.guess(), Some(Guess { class: 1, error: 1.0 / 3.0 }));
        facts.add_validation(&Dataset::new(vec![9.0; 8], vec![0, 0, 0, 1], 2).unwrap());
        assert_eq!(facts.guess(), Some(Guess { class: 1, error: 0.75 }));
        assert_eq!(facts.ranges[0].max, 3.0);
    }
}
