//! Softmax and cross-entropy of one padded row of outputs, turned in place into the gradient.
//! The maximum is subtracted first, so nothing overflows; the loss is a sum of logarithms in f64.
//! It does not know which layer produced the row.

use super::products::LANES;
use crate::elementary::{exp, ln};

/// The loss of `row` (`[classes]`, padded to a multiple of eight with -∞) for the class
/// `label`, and whether another class is predicted; a row with NaN is always wrong. Leaves
/// softmax(row) − onehot(label) in `row`: the gradient of the loss.
pub(super) fn loss_and_gradient(row: &mut [f32], label: usize) -> (f64, bool) {
    let (loss, wrong, sum) = exponentials(row, label);
    let share = 1.0 / sum;
    for value in row.iter_mut() {
        *value *= share;
    }
    row[label] -= 1.0;
    (loss, wrong)
}

fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for values in row.as_chunks::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Replaces each value by e^(value − maximum); returns the loss, whether `label` is not
/// predicted, and the sum, added lane by lane.
fn exponentials(row: &mut [f32], label: usize) -> (f64, bool, f32) {
    let max = maximum(row);
    let at_label = row[label];
    let right = at_label == max && !row[..label].contains(&max);
    let mut lanes = [0.0; LANES];
    for values in row.as_chunks_mut::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *value = exp(*value - max);
            *lane += *value;
        }
    }
    let sum: f32 = lanes.into_iter().sum();
    (ln(f64::from(sum)) - f64::from(at_label - max), !right, sum)
}
