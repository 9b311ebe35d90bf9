//! What a descent may say: each number in its range, or an error that names the field.
//!
//! How to descend is for `convoke-ml`.

use crate::program::v1::descent::Optimizer;
use crate::program::{Adam, Descent, ProgramError, Schedule, Sgd};

/// The most training epochs of a round.
pub const TRAINING_EPOCHS_MAX: u32 = 1_000_000;

impl Descent {
    /// Checks what a peer wrote: what is returned are its optimizer and its schedule.
    pub fn checked(&self) -> Result<(Optimizer, Schedule), ProgramError> {
        let epochs = (1..=TRAINING_EPOCHS_MAX).contains(&self.training_epochs);
        expect(epochs, "Descent.training_epochs", self.training_epochs, "1 to 1000000")?;
        let positive = |field, value: f32| expect(value.is_finite() && value > 0.0, field, value, "more than 0");
        let share = |field, value: f32| expect((0.0..1.0).contains(&value), field, value, "0 or more, and less than 1");
        positive("Descent.learning_rate", self.learning_rate)?;
        let decay = self.weight_decay.is_finite() && self.weight_decay >= 0.0;
        expect(decay, "Descent.weight_decay", self.weight_decay, "0 or more")?;
        self.clip_norm.map_or(Ok(()), |norm| positive("Descent.clip_norm", norm))?;
        let optimizer = self.optimizer.ok_or(ProgramError::Missing { field: "Descent.optimizer" })?;
        match optimizer {
            Optimizer::Sgd(Sgd { momentum }) => share("Sgd.momentum", momentum)?,
            Optimizer::Adam(Adam { beta1, beta2, epsilon, .. }) => {
                let decays =
                    |field, value: f32| expect(value > 0.0 && value < 1.0, field, value, "more than 0 and less than 1");
                decays("Adam.beta1", beta1)?;
                decays("Adam.beta2", beta2)?;
                positive("Adam.epsilon", epsilon)?;
            }
        }
        let schedule = match self.schedule() {
            Schedule::Unspecified => return Err(ProgramError::Missing { field: "Descent.schedule" }),
            schedule => schedule,
        };
        let spans = schedule == Schedule::Constant || self.rounds > 0;
        expect(spans, "Descent.rounds", self.rounds, "at least 1, which the schedule spans")?;
        Ok((optimizer, schedule))
    }
}

fn expect(
    is_met: bool,
    field: &'static str,
    found: impl Into<f64>,
    expected: &'static str,
) -> Result<(), ProgramError> {
    if is_met { Ok(()) } else { Err(ProgramError::Number { field, found: found.into(), expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descent() -> Descent {
        Descent {
            training_epochs: 3,
            batch: 32,
            learning_rate: 0.5,
            weight_decay: 0.0,
            clip_norm: Some(1.0),
            schedule: Schedule::Cosine.into(),
            rounds: 7,
            optimizer: Some(Optimizer::Sgd(Sgd { momentum: 0.0 })),
        }
    }

    fn adam(beta1: f32, beta2: f32, epsilon: f32) -> Descent {
        let adam = Adam { beta1, beta2, epsilon, decoupled: true };
        Descent { optimizer: Some(Optimizer::Adam(adam)), ..descent() }
    }

    #[test]
    fn what_can_be_descended_is_read() {
        let (optimizer, schedule) = descent().checked().unwrap();
        assert_eq!((optimizer, schedule), (Optimizer::Sgd(Sgd { momentum: 0.0 }), Schedule::Cosine));
        adam(0.9, 0.999, 1e-8).checked().unwrap();
        let constant = Descent { schedule: Schedule::Constant.into(), rounds: 0, clip_norm: None, ..descent() };
        constant.checked().unwrap();
    }

    #[test]
    fn what_cannot_is_named() {
        let error = |descent: Descent| descent.checked().unwrap_err().to_string();
        let none = Descent { training_epochs: 0, ..descent() };
        assert_eq!(error(none), "Descent.training_epochs is 0, expected 1 to 1000000");
        assert_eq!(
            error(Descent { training_epochs: 1_000_001, ..descent() }),
            "Descent.training_epochs is 1000001, expected 1 to 1000000"
        );
        for rate in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let said = format!("Descent.learning_rate is {rate}, expected more than 0");
            assert_eq!(error(Descent { learning_rate: rate, ..descent() }), said);
            let said = format!("Descent.clip_norm is {rate}, expected more than 0");
            assert_eq!(error(Descent { clip_norm: Some(rate), ..descent() }), said);
            let said = format!("Adam.epsilon is {rate}, expected more than 0");
            assert_eq!(error(adam(0.5, 0.5, rate)), said);
        }
        assert_eq!(
            error(Descent { weight_decay: -0.5, ..descent() }),
            "Descent.weight_decay is -0.5, expected 0 or more"
        );
        let momentum = Some(Optimizer::Sgd(Sgd { momentum: 1.0 }));
        assert_eq!(
            error(Descent { optimizer: momentum, ..descent() }),
            "Sgd.momentum is 1, expected 0 or more, and less than 1"
        );
        assert_eq!(error(adam(1.0, 0.5, 1.0)), "Adam.beta1 is 1, expected more than 0 and less than 1");
        assert_eq!(error(adam(0.5, 0.0, 1.0)), "Adam.beta2 is 0, expected more than 0 and less than 1");
        assert_eq!(
            error(Descent { optimizer: None, ..descent() }),
            "Descent.optimizer is missing or of an unknown kind"
        );
        for schedule in [0, 99] {
            let said = "Descent.schedule is missing or of an unknown kind";
            assert_eq!(error(Descent { schedule, ..descent() }), said);
        }
        assert_eq!(
            error(Descent { rounds: 0, ..descent() }),
            "Descent.rounds is 0, expected at least 1, which the schedule spans"
        );
    }
}
