//! Counting: what evaluation tasks counted over their parts of the data is added up, in task order.
//!
//! What a right or a wrong answer is it does not know.

use convoke_core::Payload;
use convoke_core::coordinator::{CombineOutcome, Part};
use convoke_core::event::{Combined, Metrics};
use convoke_ml::Counts;
use convoke_wire::program::{self, Count};

use super::{CombineError, take_each};
use crate::counts;

/// Adds counts up. The first one says whether they are of classes, and of how many, or of values.
pub(super) fn count(parts: &[Part]) -> Result<CombineOutcome, CombineError> {
    let mut total = Counts::default();
    let refused = take_each("count", parts, |count: Count| {
        let counts = counts::checked(count)?;
        if total.samples > 0 && counts.samples > 0 && total.residuals.is_some() != counts.residuals.is_some() {
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
