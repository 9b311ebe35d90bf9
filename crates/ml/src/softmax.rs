//! What one row of a classifier's outputs says: the class, the probabilities, the loss.
//! The maximum is subtracted first, so nothing overflows; sums are f64, in order.
//! It does not know which model made the row.

use crate::elementary::{exp, ln};

/// The class of the largest output, the first of equals; `None` where nothing compares, as in a model that diverged.
pub(crate) fn largest(row: &[f32]) -> Option<usize> {
    let max = maximum(row);
    row.iter().position(|value| *value == max)
}

/// The cross-entropy of `row` with the class `label`, in nats.
pub(crate) fn loss(row: &[f32], label: usize) -> f64 {
    let max = maximum(row);
    let sum: f64 = row.iter().map(|value| f64::from(exp(*value - max))).sum();
    ln(sum) - f64::from(row[label] - max)
}

/// Replaces each output by its class's probability.
pub(crate) fn normalize(row: &mut [f32]) {
    let max = maximum(row);
    row.iter_mut().for_each(|value| *value = exp(*value - max));
    let sum: f64 = row.iter().map(|value| f64::from(*value)).sum();
    let share = (1.0 / sum) as f32;
    row.iter_mut().for_each(|value| *value *= share);
}

fn maximum(row: &[f32]) -> f32 {
    row.iter().fold(f32::NEG_INFINITY, |max, value| if *value > max { *value } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_in_f64() {
        let row = [1.5f32, -3.0, 88.0, 87.25, -1000.0];
        let powers = row.map(|value| (f64::from(value) - 88.0).exp());
        let sum: f64 = powers.iter().sum();
        for (class, power) in powers.iter().enumerate().take(4) {
            assert!((loss(&row, class) + (power / sum).ln()).abs() <= 1e-6, "class {class}");
        }
        let mut shares = row;
        normalize(&mut shares);
        for (share, power) in shares.iter().zip(powers) {
            assert!((f64::from(*share) - power / sum).abs() <= 2e-7);
        }
        assert_eq!(largest(&row), Some(2));
        assert_eq!(largest(&[1.0, 2.0, 2.0]), Some(1));
        assert_eq!(largest(&[f32::NAN; 2]), None);
        assert!(loss(&[f32::NAN, 0.0], 1).is_nan());
    }
}
