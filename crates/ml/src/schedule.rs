//! What becomes of the learning rate over the steps of a job.
//! The cosine is written out in additions and multiplications: the platform's own differs in the last bit.
//! It does not know what a step is.

/// What becomes of the learning rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Nothing.
    #[default]
    Constant,
    /// Half a cosine, from all of it to nothing (Loshchilov and Hutter 2017, arXiv:1608.03983).
    Cosine,
}

impl Schedule {
    /// What is left of `learning_rate` at `step`, from 0, of `steps`.
    pub(crate) fn at(self, learning_rate: f32, step: u64, steps: u64) -> f32 {
        match self {
            Schedule::Constant => learning_rate,
            Schedule::Cosine => {
                let share = (step as f64 / steps.max(1) as f64).min(1.0);
                (f64::from(learning_rate) * 0.5 * (1.0 + cos_pi(share))) as f32
            }
        }
    }
}

/// cos(πx) for x in [0, 1] with an error of at most 1e-15: as sin(π(½ − x)), by its series.
fn cos_pi(x: f64) -> f64 {
    let angle = std::f64::consts::PI * (0.5 - x);
    let square = angle * angle;
    let mut series = 0.0;
    for even in [22.0, 20.0, 18.0, 16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        series = (1.0 + series) * -square / (even * (even + 1.0));
    }
    angle + angle * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_accurate() {
        for i in 0..=100_000 {
            let x = f64::from(i) * 1e-5;
            let error = (cos_pi(x) - (std::f64::consts::PI * x).cos()).abs();
            assert!(error <= 1e-15, "cos({x}π) is off by {error:e}");
        }
    }

    #[test]
    fn the_learning_rate_falls_along_half_a_cosine() {
        for (step, expected) in [0.2, 0.170_710_68, 0.1, 0.029_289_322, 0.0, 0.0].into_iter().enumerate() {
            let rate = Schedule::Cosine.at(0.2, step as u64, 4);
            assert!((rate - expected).abs() <= 1e-8, "step {step}: {rate}");
        }
        assert_eq!(Schedule::Constant.at(0.2, 3, 4), 0.2);
    }
}
