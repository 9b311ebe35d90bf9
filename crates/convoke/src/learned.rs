//! Whether a job has learned anything: its error beside that of always guessing the commonest label, and what may help.
//!
//! It judges what a report says; how the job went otherwise is for others.

use crate::data::{Facts, Guess, Range};
use crate::report::Report;

/// How many features are named: those with the largest values say most.
const NAMED_MAX: usize = 3;

/// Values beyond this are better scaled than met with a tiny step, which is too short for the other features.
const LARGE: f32 = 100.0;

/// How far one step may go and still lead somewhere. A step on the summed loss goes as far as rows, values and eta
/// together; the reference job's goes 2.25, and beyond that hidden units soon end where none answers any more.
const REACH_MAX: f64 = 3.0;

/// The reach that is recommended: about the reference job's.
const REACH: f64 = 2.0;

/// What is known before training that a result is judged by.
#[derive(Clone)]
pub struct Baseline {
    guess: Option<Guess>,
    /// What is guessed.
    label: String,
    /// The features with the largest values, the largest first.
    widest: Vec<Range>,
    /// How far one step goes for each unit of eta.
    reach: f64,
    eta: f32,
}

/// What a person should know of a job that has succeeded all the same.
pub struct Warning {
    /// What is wrong, a line each.
    pub lines: Vec<String>,
    /// What may help.
    pub hint: String,
}

impl Baseline {
    /// Of data with these facts and labels, trained with this step.
    pub fn of(facts: &Facts, labels: &[String], eta: f32) -> Self {
        let mut widest = facts.ranges.clone();
        widest.sort_by(|a, b| b.largest().total_cmp(&a.largest()));
        widest.truncate(NAMED_MAX);
        let guess = facts.guess();
        let label = guess.and_then(|guess| labels.get(guess.class)).cloned().unwrap_or_default();
        let largest = widest.first().map_or(1.0, |range| range.largest().max(1.0));
        Self { guess, label, widest, reach: facts.shard_rows as f64 * f64::from(largest), eta }
    }

    /// A warning, if the job is done and its model, the version of a round, no better than a guess.
    pub fn warning(&self, report: &Report, round: u32) -> Option<Warning> {
        let guess = self.guess.filter(|_| report.state() == "succeeded")?;
        let row = report.history.rounds.iter().find(|row| row.round == round)?;
        let (what, error) = match row.validation_error {
            Some(error) => ("validation error", error),
            None => ("train error", row.train_error?),
        };
        if error < guess.error || error == 0.0 {
            return None;
        }
        let line = format!(
            "nothing was learned: {what} {error:.4}, and always guessing the commonest label, `{}`, has {:.4}",
            self.label, guess.error
        );
        Some(Warning { lines: vec![line, format!("largest features: {}", self.named())], hint: self.hint() })
    }

    /// What to do where training ended in numbers that are none, if that is why the job failed.
    pub fn divergence_hint(&self, report: &Report) -> Option<String> {
        let reason = report.history.failure()?;
        let diverged = reason.contains("deltas were refused")
            && (reason.contains("holds NaN") || reason.contains("inf"))
            || reason.contains("merged version is not finite");
        diverged.then(|| format!("training diverged: {} (largest: {})", self.calmer(), self.named()))
    }

    fn hint(&self) -> String {
        if f64::from(self.eta) * self.reach > REACH_MAX {
            return format!("the steps may be too long: {}", self.calmer());
        }
        "try more --epochs or --rounds, or a larger --eta".to_owned()
    }

    /// How steps become shorter.
    fn calmer(&self) -> String {
        let smaller = format!("--eta {:.0e}", REACH / self.reach);
        match self.widest.first() {
            Some(range) if range.largest() > LARGE => {
                format!("scale the features to a few units, for example from 0 to 1, or try {smaller}")
            }
            _ => format!("try a smaller step such as {smaller}, or scaled features"),
        }
    }

    fn named(&self) -> String {
        let named =
            self.widest.iter().map(|range| format!("{} from {} to {}", range.name, short(range.min), short(range.max)));
        named.collect::<Vec<_>>().join(", ")
    }
}

/// A number to four digits, as people read it.
fn short(value: f32) -> String {
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use convoke_ml::Dataset;
    use convoke_wire::core::JobId;
    use convoke_wire::core::event::Outcome;

    use super::*;
    use convoke_wire::core::history::Round;

    fn baseline(scale: f32, eta: f32) -> Baseline {
        let mut facts = Facts::new(vec!["`x`".into(), "`y`".into()], 2);
        facts.add_training(&Dataset::new(vec![1.0, 0.0, 2.0, scale, 3.0, -scale], vec![1, 1, 0], 2).unwrap());
        Baseline::of(&facts, &["no".into(), "yes".into()], eta)
    }

    fn report(outcome: Outcome, error: f64) -> Report {
        let mut report = Report::new(JobId::from_bits(1), Vec::new());
        report.history.outcome = Some(outcome);
        report.history.rounds.push(Round { round: 1, validation_error: Some(error), ..Round::default() });
        report
    }

    #[test]
    fn a_model_no_better_than_a_guess_is_told() {
        let warning = baseline(5000.0, 1.0).warning(&report(Outcome::Succeeded, 0.5), 1).unwrap();
        assert_eq!(
            warning.lines,
            [
                "nothing was learned: validation error 0.5000, and always guessing the commonest label, `yes`, has 0.3333",
                "largest features: `y` from -5000 to 5000, `x` from 1 to 3"
            ]
        );
        assert!(warning.hint.contains("scale the features"), "{}", warning.hint);
        assert!(
            baseline(5.0, 1e6)
                .warning(&report(Outcome::Succeeded, 0.5), 1)
                .unwrap()
                .hint
                .contains("smaller step such as --eta 1e-1")
        );
        let warning = baseline(5.0, 0.1).warning(&report(Outcome::Succeeded, 1.0 / 3.0), 1).unwrap();
        assert!(warning.hint.contains("more --epochs"), "{}", warning.hint);
        assert!(baseline(5.0, 0.1).warning(&report(Outcome::Succeeded, 0.3), 1).is_none());
        assert!(baseline(5.0, 0.1).warning(&report(Outcome::Cancelled, 0.5), 1).is_none());
    }

    #[test]
    fn divergence_is_told_from_other_failures() {
        let hint = |reason: &str| {
            let failed = report(Outcome::Failed { reason: reason.to_owned() }, 0.5);
            baseline(5.0, 0.1).divergence_hint(&failed)
        };
        assert_eq!([0.0, -0.040_105_8, 15.0, 89_444.5, 1e-12].map(short), ["0", "-0.04011", "15", "89444", "0"]);
        let refused =
            "stage 0 cannot be combined: all 5 deltas were refused, number 0 because: tensor `a` holds NaN at 0";
        assert!(hint(refused).unwrap().contains("--eta 1e-1"));
        assert_eq!(hint("stage 0 cannot be combined: the combine panicked"), None);
    }
}
