//! Averaging: what tasks measured over their samples becomes the mean over all samples, in task order.
//!
//! Which numbers there are is the measurer's to say.

use std::collections::BTreeMap;

use convoke_core::Payload;
use convoke_core::coordinator::{CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_wire::program::{self, Measured};

use super::CombineError;

/// The mean of each number, weighted by the samples of those tasks that say it.
pub(super) fn average(parts: &[Part]) -> Result<CombineOutcome, CombineError> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut samples = 0_u64;
    for part in parts {
        let measured: Measured = program::read("measurement", &part.result)?;
        samples = samples.saturating_add(measured.samples);
        for number in measured.numbers {
            let (sum, weight) = sums.entry(number.name).or_default();
            *sum += number.value * measured.samples as f64;
            *weight += measured.samples as f64;
        }
    }
    let metrics: Metrics = sums.iter().map(|(name, (sum, weight))| (name.as_str(), sum / weight)).collect();
    let numbers = metrics.iter().map(|(name, value)| program::Number { name: name.to_owned(), value }).collect();
    let result = Payload::inline(&program::encode(&Measured { samples, numbers })).unwrap_or_default();
    Ok(CombineOutcome::Combined(Combined { result, metrics, refused: Vec::new() }))
}
