//! Averaging: what tasks measured over their samples becomes the mean over all samples, in task order.
//!
//! Which numbers there are is the measurers' to say: where they say more than are kept, those that the most tasks say are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use convoke_core::Payload;
use convoke_core::coordinator::{CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_wire::program::{self, Measured};

use super::{CombineError, take_each};

/// How many names are looked at: the first that come.
const NAMES_MAX: usize = 1_024;

/// A number, summed up.
#[derive(Default)]
struct Sum {
    sum: f64,
    samples: f64,
    tasks: u32,
}

/// The mean of each number, weighted by the samples of those tasks that say it.
pub(super) fn average(parts: &[Part]) -> Result<CombineOutcome, CombineError> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut samples = 0_u64;
    let refused = take_each("measurement", parts, |_, measured: Measured| {
        check(&measured)?;
        samples = samples.saturating_add(measured.samples);
        let weight = measured.samples as f64;
        for number in measured.numbers {
            if sums.len() == NAMES_MAX && !sums.contains_key(&number.name) {
                continue;
            }
            let sum = sums.entry(number.name).or_default();
            sum.sum += number.value * weight;
            sum.samples += weight;
            sum.tasks += 1;
        }
        Ok(())
    })?;
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| Reverse(sum.tasks));
    let metrics: Metrics = sums.iter().map(|(name, sum)| (name.as_str(), sum.sum / sum.samples)).collect();
    let numbers = metrics.iter().map(|(name, value)| program::Number { name: name.to_owned(), value }).collect();
    let result = Payload::inline(&program::encode(&Measured { samples, numbers })).unwrap_or_default();
    Ok(CombineOutcome::Combined(Combined { result, metrics, refused }))
}

/// What the executor would not have said.
fn check(measured: &Measured) -> Result<(), String> {
    let count = measured.numbers.len();
    if count > Metrics::COUNT_MAX {
        return Err(format!("it has {count} numbers, at most {} are allowed", Metrics::COUNT_MAX));
    }
    if let Some(number) = measured.numbers.iter().find(|number| number.name.len() > Metrics::NAME_BYTES_MAX) {
        return Err(format!("a number's name has {} bytes, at most {}", number.name.len(), Metrics::NAME_BYTES_MAX));
    }
    match measured.numbers.iter().find(|number| !number.value.is_finite()) {
        Some(number) => Err(format!("`{}` is {}", number.name, number.value)),
        None => Ok(()),
    }
}
