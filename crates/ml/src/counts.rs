//! What an evaluation counts, and the measures that come of it.
//! Counts of parts add up in order to the counts of the whole.
//! It does not know how they were counted.

use std::iter::Sum;
use std::ops::AddAssign;

/// The most classes between which confusions are counted.
pub const CONFUSION_CLASSES_MAX: usize = 64;

/// What an evaluation counts. Parts are added in order, so that sums have the same bits each time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Samples seen.
    pub samples: u64,
    /// Samples whose label is not the predicted class; none where a value is predicted.
    pub wrong: u64,
    /// Summed over the samples: cross-entropy in nats, or squared errors of the standardised target.
    pub loss: f64,
    /// How often samples of one class are taken for another: `[k, k]` row-major, rows the true class. Only up to 64
    /// classes; samples for which nothing is predicted are not in it.
    pub confusion: Option<Vec<u64>>,
    /// Where a value is predicted.
    pub residuals: Option<Residuals>,
}

/// How far predicted values are off, in the target's own units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Residuals {
    /// Σ (y − ŷ)²
    pub squared_error: f64,
    /// The mean of y.
    pub target_mean: f64,
    /// Σ (y − mean)²
    pub target_squares: f64,
}

impl Counts {
    /// The error by which models are compared: the share of wrong predictions, 0 to 1, or the root mean squared error
    /// in the target's units. 0 where there are no samples.
    pub fn error(&self) -> f64 {
        self.rmse().unwrap_or_else(|| self.mean(self.wrong as f64))
    }

    /// The share of right predictions, 0 to 1, where classes are predicted.
    pub fn accuracy(&self) -> Option<f64> {
        self.residuals.is_none().then(|| self.mean((self.samples - self.wrong.min(self.samples)) as f64))
    }

    /// The mean loss of a sample.
    pub fn log_loss(&self) -> f64 {
        self.mean(self.loss)
    }

    /// The root of the mean squared error, in the target's units, where a value is predicted.
    pub fn rmse(&self) -> Option<f64> {
        self.residuals.map(|residuals| self.mean(residuals.squared_error).sqrt())
    }

    /// The share of the target's variance that is explained, 1 at most; `None` where the target does not vary.
    pub fn r2(&self) -> Option<f64> {
        let Residuals { squared_error, target_squares, .. } = self.residuals?;
        (target_squares > 0.0).then(|| 1.0 - squared_error / target_squares)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.samples == 0 { 0.0 } else { sum / self.samples as f64 }
    }
}

impl Residuals {
    /// Those of `samples` here and `other_samples` there together (Chan, Golub and LeVeque 1979).
    fn and(self, samples: u64, other: Residuals, other_samples: u64) -> Residuals {
        let (samples, other_samples) = (samples as f64, other_samples as f64);
        let share = other_samples / (samples + other_samples);
        let distance = other.target_mean - self.target_mean;
        Residuals {
            squared_error: self.squared_error + other.squared_error,
            target_mean: self.target_mean + distance * share,
            target_squares: self.target_squares + other.target_squares + distance * distance * (samples * share),
        }
    }
}

/// What only one side has is lost; counts of nothing have it all.
impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        if other.samples == 0 {
            return;
        }
        if self.samples == 0 {
            self.clone_from(other);
            return;
        }
        self.residuals = match (self.residuals, other.residuals) {
            (Some(here), Some(there)) => Some(here.and(self.samples, there, other.samples)),
            _ => None,
        };
        self.confusion = match (self.confusion.take(), &other.confusion) {
            (Some(mut here), Some(there)) if here.len() == there.len() => {
                here.iter_mut().zip(there).for_each(|(here, there)| *here = here.saturating_add(*there));
                Some(here)
            }
            _ => None,
        };
        self.samples = self.samples.saturating_add(other.samples);
        self.wrong = self.wrong.saturating_add(other.wrong);
        self.loss += other.loss;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(parts: I) -> Counts {
        parts.fold(Counts::default(), |mut total, part| {
            total += &part;
            total
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_come_of_counts() {
        let classes = Counts { samples: 4, wrong: 1, loss: 2.0, confusion: Some(vec![2, 1, 0, 1]), residuals: None };
        assert_eq!((classes.error(), classes.accuracy(), classes.log_loss()), (0.25, Some(0.75), 0.5));
        assert_eq!((classes.rmse(), classes.r2()), (None, None));
        let residuals = Residuals { squared_error: 16.0, target_mean: 3.0, target_squares: 64.0 };
        let values = Counts { samples: 4, residuals: Some(residuals), ..Counts::default() };
        assert_eq!((values.error(), values.rmse(), values.r2(), values.accuracy()), (2.0, Some(2.0), Some(0.75), None));
        let constant = Residuals { target_squares: 0.0, ..residuals };
        assert_eq!(Counts { residuals: Some(constant), ..values }.r2(), None);
        assert_eq!(Counts::default().error(), 0.0);
    }

    #[test]
    fn parts_add_up() {
        let part = |confusion: Option<Vec<u64>>| Counts { samples: 2, wrong: 1, loss: 0.5, confusion, residuals: None };
        let both: Counts = [part(Some(vec![1, 0, 1, 0])), part(Some(vec![1, 1, 0, 0]))].into_iter().sum();
        let expected = Some(vec![2, 1, 1, 0]);
        assert_eq!(both, Counts { samples: 4, wrong: 2, loss: 1.0, confusion: expected, residuals: None });
        let lost: Counts = [part(Some(vec![1, 0, 1, 0])), Counts::default(), part(None)].into_iter().sum();
        assert_eq!((lost.samples, lost.confusion), (4, None));
    }
}
