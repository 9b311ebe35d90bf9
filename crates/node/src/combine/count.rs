//! Counting: what evaluation tasks counted over their parts of the data is added up, in task order.
//!
//! What a right or a wrong answer is it does not know.

use std::collections::BTreeMap;

use convoke_core::Payload;
use convoke_core::coordinator::{CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_ml::Counts;
use convoke_wire::program::{self, Count};

use super::{CombineError, take_each};
use crate::counts;

/// Adds counts up, given how many samples each part of the data has. What most samples were counted as decides what is counted.
pub(super) fn count(parts: &[Part], samples: &[u64]) -> Result<CombineOutcome, CombineError> {
    let kind = most_samples(parts);
    let mut total = Counts::default();
    let refused = take_each("count", parts, |part, count: Count| {
        let counts = counts::checked(count)?;
        // Who claims more than there is would outweigh all others.
        if let Some(most) = samples.get(part.index as usize).filter(|most| counts.samples > **most) {
            return Err(format!("it counts {} samples of a part that has {most}", counts.samples));
        }
        if counts.samples > 0 && !kind.is_of(&counts) {
            return Err("it counts what the others do not".to_owned());
        }
        // The loss of a model that diverged may be infinite: then there is none to tell, and still an error.
        total += &counts;
        Ok(())
    })?;
    let numbers = [
        ("validation_error", Some(total.error())),
        ("validation_loss", Some(total.log_loss())),
        ("validation_r2", total.r2()),
    ];
    // Of no samples there is nothing to tell.
    let told = numbers.into_iter().filter_map(|(name, value)| Some((name, value.filter(|_| total.samples > 0)?)));
    let metrics = Metrics::from_iter(told);
    let mut message = counts::message(&total);
    let result = Payload::inline(&program::encode(&message)).unwrap_or_else(|_| {
        message.confusion.clear();
        program::inline(&message)
    });
    Ok(CombineOutcome::Combined(Combined { result, metrics, refused }))
}

/// What is counted.
#[derive(Default)]
struct Kind {
    is_of_values: bool,
    /// The cells of its confusions, where there are some.
    cells: Option<usize>,
}

impl Kind {
    fn is_of(&self, counts: &Counts) -> bool {
        let cells = counts.confusion.as_ref().map(Vec::len);
        counts.residuals.is_some() == self.is_of_values && (cells.is_none() || cells == self.cells)
    }
}

/// What the most samples were counted as.
fn most_samples(parts: &[Part]) -> Kind {
    let (mut of_values, mut of_classes) = (0_u64, 0_u64);
    let mut by_cells: BTreeMap<usize, u64> = BTreeMap::new();
    for part in parts {
        let read: Result<Count, _> = program::read("count", &part.result);
        let Some(counts) = read.ok().and_then(|count| counts::checked(count).ok()) else { continue };
        let sum = if counts.residuals.is_some() { &mut of_values } else { &mut of_classes };
        *sum = sum.saturating_add(counts.samples);
        if let Some(confusion) = counts.confusion {
            let sum = by_cells.entry(confusion.len()).or_default();
            *sum = sum.saturating_add(counts.samples);
        }
    }
    let cells = by_cells.into_iter().max_by_key(|(_, samples)| *samples).map(|(cells, _)| cells);
    Kind { is_of_values: of_values > of_classes, cells }
}
