//! Counting: what evaluation tasks counted over their parts of the data is added up, in task order.
//!
//! What a right or a wrong answer is it does not know.

use convoke_core::coordinator::{CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_wire::program::{self, Count};

use super::{CombineError, take_each};

/// Adds counts up.
pub(super) fn count(parts: &[Part]) -> Result<CombineOutcome, CombineError> {
    let mut total = Count::default();
    let refused = take_each("count", parts, |count: Count| {
        if count.wrong > count.samples {
            return Err(format!("it counts {} wrong of {} samples", count.wrong, count.samples));
        }
        total.samples = total.samples.saturating_add(count.samples);
        total.wrong = total.wrong.saturating_add(count.wrong);
        // That of a model that diverged may be infinite: then there is no loss to tell, and still an error.
        total.loss += count.loss;
        Ok(())
    })?;
    let share = |sum: f64| sum / total.samples as f64;
    let numbers = [("validation_error", share(total.wrong as f64)), ("validation_loss", share(total.loss))];
    let metrics = Metrics::from_iter(numbers);
    Ok(CombineOutcome::Combined(Combined { result: program::inline(&total), metrics, refused }))
}
