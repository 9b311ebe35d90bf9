//! Count, mean and variance of each feature, so that training can start from features of one scale.
//! Moments of parts merge to those of the whole by the rule of Chan, Golub and LeVeque (1979): nothing large is subtracted
//! from anything large, so an offset of the features costs no digits.
//! It does not know where the parts came from, and trusts none that is not its own.

use crate::dataset::{Dataset, Targets};
use crate::model::{Mlp, ModelError, Standardization};

/// Samples that are summed at once.
const BLOCK_ROWS: usize = 256;

/// The most samples that moments may claim; keeps the count exact as f64.
pub const MOMENTS_SAMPLES_MAX: u64 = 1 << 53;

/// Moments of some samples: columns are the features, and behind them the target where values are predicted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// How many there are: n.
    pub samples: u64,
    /// The mean of each column.
    pub means: Vec<f64>,
    /// Σ (x − mean)² of each column.
    pub squares: Vec<f64>,
}

/// Why moments cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MomentsError {
    /// Of nothing, or of more than anybody has.
    #[error("moments of {samples} samples, expected 1 to {MOMENTS_SAMPLES_MAX}")]
    Samples {
        /// The claim.
        samples: u64,
    },
    /// Not one square for each mean.
    #[error("{means} means and {squares} sums of squares")]
    Lengths {
        /// Means.
        means: usize,
        /// Sums of squares.
        squares: usize,
    },
    /// Another number of columns than the others, or than the model.
    #[error("moments of {found} columns, expected {expected}")]
    Width {
        /// Columns.
        found: usize,
        /// Columns of the others.
        expected: usize,
    },
    /// A number that no samples have.
    #[error("column {column} has mean {mean} and squares {squares}")]
    Impossible {
        /// Which column, from 0.
        column: usize,
        /// Its mean.
        mean: f64,
        /// Its sum of squares.
        squares: f64,
    },
}

impl Moments {
    /// The moments of a data set.
    pub fn of(data: &Dataset) -> Moments {
        let width = data.width();
        let values = match data.targets() {
            Targets::Classes(_) => None,
            Targets::Values(values) => Some(values),
        };
        let mut total = Moments::default();
        let mut block = Moments::zeros(width + usize::from(values.is_some()));
        let mut values = values.map(|values| values.chunks(BLOCK_ROWS));
        for features in data.features().chunks(BLOCK_ROWS * width) {
            block.samples = (features.len() / width) as u64;
            sum_up(features, &mut block, 0, width);
            if let Some(values) = values.as_mut().and_then(Iterator::next) {
                sum_up(values, &mut block, width, 1);
            }
            total.add(&block);
        }
        total
    }

    /// The moments of single numbers.
    pub fn of_values(values: &[f32]) -> Moments {
        let (mut total, mut block) = (Moments::default(), Moments::zeros(1));
        for values in values.chunks(BLOCK_ROWS) {
            block.samples = values.len() as u64;
            sum_up(values, &mut block, 0, 1);
            total.add(&block);
        }
        total
    }

    fn zeros(width: usize) -> Moments {
        Moments { samples: 0, means: vec![0.0; width], squares: vec![0.0; width] }
    }

    /// Checks what came from elsewhere: samples, and for each column a finite mean and no negative sum of squares.
    pub fn check(&self) -> Result<(), MomentsError> {
        if !(1..=MOMENTS_SAMPLES_MAX).contains(&self.samples) {
            return Err(MomentsError::Samples { samples: self.samples });
        }
        let (means, squares) = (self.means.len(), self.squares.len());
        if means != squares {
            return Err(MomentsError::Lengths { means, squares });
        }
        let possible = |mean: f64, squares: f64| mean.is_finite() && squares.is_finite() && squares >= 0.0;
        match self.means.iter().zip(&self.squares).position(|(mean, squares)| !possible(*mean, *squares)) {
            Some(column) => {
                let (mean, squares) = (self.means[column], self.squares[column]);
                Err(MomentsError::Impossible { column, mean, squares })
            }
            None => Ok(()),
        }
    }

    /// Makes these the moments of both parts together; [`Moments::default`] is of nothing yet. Merged in the same order,
    /// parts give the same bits. After an error nothing has changed.
    pub fn merge(&mut self, other: &Moments) -> Result<(), MomentsError> {
        other.check()?;
        if self.samples > 0 && self.means.len() != other.means.len() {
            return Err(MomentsError::Width { found: other.means.len(), expected: self.means.len() });
        }
        let samples = self.samples.saturating_add(other.samples);
        if samples > MOMENTS_SAMPLES_MAX {
            return Err(MomentsError::Samples { samples });
        }
        self.add(other);
        Ok(())
    }

    fn add(&mut self, other: &Moments) {
        if self.samples == 0 {
            self.clone_from(other);
            return;
        }
        let (samples, other_samples) = (self.samples as f64, other.samples as f64);
        let share = other_samples / (samples + other_samples);
        let columns = self.means.iter_mut().zip(&mut self.squares).zip(other.means.iter().zip(&other.squares));
        for ((mean, squares), (other_mean, other_squares)) in columns {
            let distance = other_mean - *mean;
            *mean += distance * share;
            *squares += other_squares + distance * distance * (samples * share);
        }
        self.samples += other.samples;
    }
}

/// The moments of one block of `values` (`[n, width]`) become those of the columns from `first` on.
fn sum_up(values: &[f32], block: &mut Moments, first: usize, width: usize) {
    let means = &mut block.means[first..first + width];
    means.fill(0.0);
    for row in values.chunks_exact(width) {
        means.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let samples = block.samples as f64;
    means.iter_mut().for_each(|sum| *sum /= samples);
    let squares = &mut block.squares[first..first + width];
    squares.fill(0.0);
    for row in values.chunks_exact(width) {
        for ((squares, mean), value) in squares.iter_mut().zip(&*means).zip(row) {
            let distance = f64::from(*value) - mean;
            *squares += distance * distance;
        }
    }
}

impl Mlp {
    /// Makes the model take features, and the target where it predicts a value, as (x − mean) / scale from now on. The
    /// scale is √(Σ (x − mean)² / n), and 1 where nothing varies.
    pub fn standardize(&mut self, moments: &Moments) -> Result<(), ModelError> {
        moments.check()?;
        let (width, columns) = (self.inputs(), moments.means.len());
        let expected = width + usize::from(self.classes().is_none());
        if columns != expected {
            return Err(MomentsError::Width { found: columns, expected }.into());
        }
        // Zero is added so that no mean is -0, which would not come out of a merge as it was.
        let mut mean: Vec<f32> = moments.means.iter().map(|mean| *mean as f32 + 0.0).collect();
        let deviation = |squares: &f64| (squares / moments.samples as f64).sqrt() as f32;
        let mut scale: Vec<f32> = moments.squares.iter().map(deviation).collect();
        if let Some(column) = mean.iter().zip(&scale).position(|(mean, scale)| !(mean + scale).is_finite()) {
            let (mean, squares) = (moments.means[column], moments.squares[column]);
            return Err(MomentsError::Impossible { column, mean, squares }.into());
        }
        scale.iter_mut().filter(|scale| !scale.is_normal()).for_each(|scale| *scale = 1.0);
        let target = mean.get(width).copied().zip(scale.get(width).copied());
        mean.truncate(width);
        scale.truncate(width);
        self.set_standardization(Some(Standardization { mean, scale }), target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::architecture::{Activation, Architecture, Head};

    fn close(found: f64, expected: f64, allowed: f64) -> bool {
        (found - expected).abs() <= allowed * expected.abs().max(f64::MIN_POSITIVE)
    }

    /// Rows of two features and a target around `offset`.
    fn rows(offset: f32, samples: usize) -> (Vec<f32>, Vec<f32>) {
        let value = |i: usize| offset + ((i * 37 + i / 5) % 101) as f32 / 8.0;
        ((0..2 * samples).map(value).collect(), (0..samples).map(|i| value(7 * i + 3) - offset).collect())
    }

    #[test]
    fn moments_are_what_their_names_say() {
        let data = Dataset::of_values(vec![1.0, 5.0, 2.0, 5.0, 6.0, 5.0], vec![0.0, 2.0, 4.0], 2).unwrap();
        let moments = Moments::of(&data);
        assert_eq!(moments, Moments { samples: 3, means: vec![3.0, 5.0, 2.0], squares: vec![14.0, 0.0, 8.0] });
        let classes = Dataset::new(vec![1.0, 2.0], vec![0, 1], 1).unwrap();
        assert_eq!(Moments::of(&classes), Moments { samples: 2, means: vec![1.5], squares: vec![0.5] });
    }

    #[test]
    fn a_model_takes_features_of_one_scale() {
        let architecture = |head| Architecture { sizes: vec![2, 1], activation: Activation::Relu, head };
        let mut model = Mlp::zeros(architecture(Head::Value("y".into()))).unwrap();
        let moments = Moments { samples: 2, means: vec![3.0, -0.0, 10.0], squares: vec![8.0, 0.0, 50.0] };
        model.standardize(&moments).unwrap();
        assert_eq!(model.features(), Some(&Standardization { mean: vec![3.0, 0.0], scale: vec![2.0, 1.0] }));
        assert!(model.features().unwrap().mean[1].is_sign_positive());
        assert_eq!(model.target(), Some((10.0, 5.0)));

        let mut classifier = Mlp::zeros(architecture(Head::Classes(vec!["only".into()]))).unwrap();
        let error = |classifier: &mut Mlp, moments: &Moments| classifier.standardize(moments).unwrap_err().to_string();
        assert_eq!(error(&mut classifier, &moments), "moments of 3 columns, expected 2");
        let far = Moments { samples: 1, means: vec![0.0, 1e39], squares: vec![0.0; 2] };
        assert!(error(&mut classifier, &far).starts_with("column 1 has mean 1"));
        let wide = Moments { samples: 1, means: vec![0.0; 2], squares: vec![1e80, 1.0] };
        assert!(error(&mut classifier, &wide).starts_with("column 0 has mean 0 and squares 1"));
        assert_eq!(classifier.features(), None);
    }

    #[test]
    fn what_no_samples_have_is_refused() {
        let good = Moments { samples: 2, means: vec![0.0; 2], squares: vec![1.0; 2] };
        let error = |other: Moments| good.clone().merge(&other).unwrap_err().to_string();
        assert_eq!(error(Moments::default()), "moments of 0 samples, expected 1 to 9007199254740992");
        assert_eq!(error(Moments { squares: vec![1.0], ..good.clone() }), "2 means and 1 sums of squares");
        assert_eq!(
            error(Moments { samples: 1, means: vec![1.0], squares: vec![0.0] }),
            "moments of 1 columns, expected 2"
        );
        assert_eq!(error(Moments { squares: vec![1.0, -1.0], ..good.clone() }), "column 1 has mean 0 and squares -1");
        assert_eq!(
            error(Moments { means: vec![f64::NAN, 0.0], ..good.clone() }),
            "column 0 has mean NaN and squares 1"
        );
        assert!(error(Moments { samples: 1 << 53, ..good.clone() }).starts_with("moments of 9007199254740994 samples"));
        let mut nothing = Moments::default();
        nothing.merge(&good).unwrap();
        assert_eq!(nothing, good);
    }

    proptest! {
        #[test]
        fn moments_of_parts_merge_to_those_of_the_whole(
            offset in prop_oneof![Just(0.0f32), Just(1e6), Just(-1e6)],
            sizes in proptest::collection::vec(1..700usize, 1..6),
        ) {
            let samples = sizes.iter().sum();
            let (features, values) = rows(offset, samples);
            let mut merged = Moments::default();
            let mut start = 0;
            for size in sizes {
                let (features, values) = (&features[2 * start..2 * (start + size)], &values[start..start + size]);
                merged.merge(&Moments::of(&Dataset::of_values(features.to_vec(), values.to_vec(), 2).unwrap())).unwrap();
                start += size;
            }
            prop_assert_eq!(merged.samples, samples as u64);
            for column in 0..3 {
                let column_values: Vec<f64> = match column {
                    2 => values.iter().map(|value| f64::from(*value)).collect(),
                    _ => features.chunks(2).map(|row| f64::from(row[column])).collect(),
                };
                // Sums of values with so few bits are exact.
                let mean = column_values.iter().sum::<f64>() / samples as f64;
                let squares: f64 = column_values.iter().map(|value| (value - mean).powi(2)).sum();
                prop_assert!(close(merged.means[column], mean, 1e-12), "mean {} and {mean}", merged.means[column]);
                prop_assert!(
                    close(merged.squares[column], squares, 1e-12) || squares < 1e-12,
                    "squares {} and {squares}", merged.squares[column]
                );
            }
        }
    }
}
