//! Counts of an evaluation as messages: what tasks bring, and what a combine adds up.
//!
//! What comes from elsewhere is checked here; how counts add up `convoke-ml` knows.

use convoke_core::message::REPORT_INLINE_BYTES_MAX;
use convoke_ml::merge::SAMPLES_MAX;
use convoke_ml::{CONFUSION_CLASSES_MAX, Counts, Residuals};
use convoke_wire::program::{self, Count, Message};

/// The message of some counts.
pub(crate) fn message(counts: &Counts) -> Count {
    let residuals = |residuals: Residuals| program::Residuals {
        squared_error: residuals.squared_error,
        target_mean: residuals.target_mean,
        target_squares: residuals.target_squares,
    };
    Count {
        samples: counts.samples,
        wrong: counts.wrong,
        loss: counts.loss,
        confusion: counts.confusion.clone().unwrap_or_default(),
        residuals: counts.residuals.map(residuals),
    }
}

/// The message that a task reports in place: what confusions do not fit are left out.
pub(crate) fn report(counts: &Counts) -> Vec<u8> {
    let mut message = message(counts);
    if message.encoded_len() > REPORT_INLINE_BYTES_MAX {
        message.confusion.clear();
    }
    program::encode(&message)
}

/// The counts of a message, or what is wrong with them.
pub(crate) fn checked(count: Count) -> Result<Counts, String> {
    let Count { samples, wrong, loss, confusion, residuals } = count;
    if samples > SAMPLES_MAX {
        return Err(format!("it counts {samples} samples, more than {SAMPLES_MAX}"));
    }
    if wrong > samples {
        return Err(format!("it counts {wrong} wrong of {samples} samples"));
    }
    let confusion = if confusion.is_empty() { None } else { Some(check_confusion(confusion, samples, wrong)?) };
    let residuals = residuals.map(check_residuals).transpose()?;
    if residuals.is_some() && (wrong > 0 || confusion.is_some()) {
        return Err("it counts both classes and residuals".to_owned());
    }
    Ok(Counts { samples, wrong, loss, confusion, residuals })
}

/// A square of numbers that add up to no more than the samples, and on its diagonal to those that are right.
fn check_confusion(confusion: Vec<u64>, samples: u64, wrong: u64) -> Result<Vec<u64>, String> {
    let cells = confusion.len();
    let classes = cells.isqrt();
    if classes * classes != cells || classes > CONFUSION_CLASSES_MAX {
        return Err(format!("its confusions are {cells}, not those of 1 to {CONFUSION_CLASSES_MAX} classes"));
    }
    let sum = |cells: &mut dyn Iterator<Item = &u64>| cells.fold(0_u64, |sum, cell| sum.saturating_add(*cell));
    let all = sum(&mut confusion.iter());
    let right = sum(&mut confusion.iter().step_by(classes + 1));
    if all > samples || right != samples - wrong {
        return Err(format!(
            "its confusions are of {all} samples, {right} of them right; it counts {samples}, {wrong} wrong"
        ));
    }
    Ok(confusion)
}

/// Those of a model that diverged may be infinite, or none: then there is no error to tell.
fn check_residuals(residuals: program::Residuals) -> Result<Residuals, String> {
    let program::Residuals { squared_error, target_mean, target_squares } = residuals;
    if squared_error < 0.0 || !target_mean.is_finite() || !target_squares.is_finite() || target_squares < 0.0 {
        return Err(format!(
            "its residuals are impossible: squares of {squared_error}, around a mean of {target_mean} of {target_squares}"
        ));
    }
    Ok(Residuals { squared_error, target_mean, target_squares })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(count: Count) -> String {
        checked(count).unwrap_err()
    }

    #[test]
    fn what_is_counted_comes_back() {
        let classes = Counts { samples: 5, wrong: 2, loss: 1.5, confusion: Some(vec![1, 2, 0, 2]), residuals: None };
        assert_eq!(checked(message(&classes)), Ok(classes));
        let residuals = Some(Residuals { squared_error: 2.0, target_mean: -1.0, target_squares: 3.0 });
        let values = Counts { samples: 5, loss: 1.5, residuals, ..Counts::default() };
        assert_eq!(checked(message(&values)), Ok(values));
        let diverged = Some(Residuals { squared_error: f64::INFINITY, ..Residuals::default() });
        checked(message(&Counts { samples: 5, residuals: diverged, ..Counts::default() })).unwrap();
    }

    #[test]
    fn confusions_that_do_not_fit_are_left_out() {
        let of = |classes: u64| {
            let confusion = Some(vec![1; (classes * classes) as usize]);
            Counts { samples: classes * classes, wrong: classes * (classes - 1), confusion, ..Counts::default() }
        };
        let brings = |counts: &Counts| checked(Count::decode(&report(counts)[..]).unwrap()).unwrap();
        assert_eq!(brings(&of(60)), of(60));
        assert_eq!(brings(&of(64)), Counts { confusion: None, ..of(64) });
    }

    #[test]
    fn what_cannot_be_is_called_by_name() {
        let good = Count { samples: 3, wrong: 1, confusion: vec![1, 1, 0, 1], ..Count::default() };
        checked(good.clone()).unwrap();
        assert_eq!(error(Count { wrong: 4, ..good.clone() }), "it counts 4 wrong of 3 samples");
        assert_eq!(
            error(Count { samples: 1 << 50, ..good.clone() }),
            "it counts 1125899906842624 samples, more than 1099511627776"
        );
        assert_eq!(
            error(Count { confusion: vec![1; 3], ..good.clone() }),
            "its confusions are 3, not those of 1 to 64 classes"
        );
        assert_eq!(
            error(Count { confusion: vec![0; 65 * 65], ..good.clone() }),
            "its confusions are 4225, not those of 1 to 64 classes"
        );
        let said = "its confusions are of 18446744073709551615 samples, 2 of them right; it counts 3, 1 wrong";
        assert_eq!(error(Count { confusion: vec![1, u64::MAX, u64::MAX, 1], ..good.clone() }), said);
        let residuals = program::Residuals { squared_error: 1.0, target_mean: 0.0, target_squares: 1.0 };
        assert_eq!(error(Count { residuals: Some(residuals), ..good }), "it counts both classes and residuals");
        let of = |residuals| error(Count { samples: 1, residuals: Some(residuals), ..Count::default() });
        let said = "its residuals are impossible: squares of -1, around a mean of 0 of 1";
        assert_eq!(of(program::Residuals { squared_error: -1.0, ..residuals }), said);
        let said = "its residuals are impossible: squares of 1, around a mean of NaN of 1";
        assert_eq!(of(program::Residuals { target_mean: f64::NAN, ..residuals }), said);
    }
}
