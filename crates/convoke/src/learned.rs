//! Whether a job has learned anything: its error beside that of always guessing the commonest label, or the mean, and what
//! may help.
//!
//! It judges what a report says; how the job went otherwise is for others.

use crate::data::{Facts, Guess, Guessed, Range};
use crate::report::Report;
use crate::settings::{Method, Settings};

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
    /// What is guessed, and what its error is called.
    guessed: String,
    measure: &'static str,
    /// The features with the largest values, the largest first.
    widest: Vec<Range>,
    /// How far one step on the summed loss goes for each unit of eta.
    reach: f64,
    method: Method,
    is_standardized: bool,
}

/// What a person should know of a job that has succeeded all the same.
pub struct Warning {
    /// What is wrong, a line each.
    pub lines: Vec<String>,
    /// What may help.
    pub hint: String,
}

impl Baseline {
    /// Of data with these facts and labels, trained in this way.
    pub fn of(facts: &Facts, labels: &[String], settings: &Settings) -> Self {
        let mut widest = facts.ranges.clone();
        widest.sort_by(|a, b| b.largest().total_cmp(&a.largest()));
        widest.truncate(NAMED_MAX);
        let guess = facts.guess();
        let (guessed, measure) = match guess.map(|guess| guess.of) {
            Some(Guessed::Mean(mean)) => (format!("the mean, {}", short(mean as f32)), "RMSE"),
            Some(Guessed::Class(class)) => {
                (format!("the commonest label, `{}`", labels.get(class).map_or("", String::as_str)), "error")
            }
            None => (String::new(), "error"),
        };
        let largest = widest.first().map_or(1.0, |range| range.largest().max(1.0));
        let reach = facts.shard_rows as f64 * f64::from(largest);
        Self { guess, guessed, measure, widest, reach, method: settings.method, is_standardized: settings.standardize }
    }

    /// A warning, if the job is done and its model, the version of a round, no better than a guess.
    pub fn warning(&self, report: &Report, round: u32) -> Option<Warning> {
        let guess = self.guess.filter(|_| report.state() == "succeeded")?;
        let row = report.history.rounds.iter().find(|row| row.round == round)?;
        let (what, error) = match row.validation_error {
            Some(error) => ("validation", error),
            None => ("train", row.train_error?),
        };
        if error < guess.error || error == 0.0 {
            return None;
        }
        let line = format!(
            "nothing was learned: {what} {} {error:.4}, and always guessing {}, has {:.4}",
            self.measure, self.guessed, guess.error
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
        match self.method {
            Method::FullBatch { eta, .. } if f64::from(eta) * self.reach > REACH_MAX => {
                format!("the steps may be too long: {}", self.calmer())
            }
            Method::FullBatch { .. } => "try more --epochs or --rounds, or a larger --eta".to_owned(),
            Method::Descent { .. } if self.is_unscaled() => {
                "leave out --no-standardize: some features are too large for the others".to_owned()
            }
            Method::Descent { learning_rate, .. } => format!(
                "the features may not tell; try more --rounds, a wider --hidden, or another --learning-rate, such as {:.0e}",
                learning_rate / 10.0
            ),
        }
    }

    /// How steps become shorter.
    fn calmer(&self) -> String {
        let (smaller, scaled) = match self.method {
            Method::FullBatch { .. } => (format!("--eta {:.0e}", REACH / self.reach), "scaled features"),
            Method::Descent { learning_rate, .. } => {
                (format!("--learning-rate {:.0e}", learning_rate / 10.0), "--clip-norm 1")
            }
        };
        match self.widest.first() {
            Some(range) if range.largest() > LARGE && !self.is_standardized => {
                format!("scale the features to a few units, as --standardize does, or try {smaller}")
            }
            _ => format!("try a smaller step such as {smaller}, or {scaled}"),
        }
    }

    fn is_unscaled(&self) -> bool {
        !self.is_standardized && self.widest.first().is_some_and(|range| range.largest() > LARGE)
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
    use crate::args::{Activation, Keep, Optimizer, Preset, Schedule, Task};
    use convoke_wire::core::history::Round;

    fn settings(method: Method) -> Settings {
        Settings {
            preset: Preset::Auto,
            task: Task::Classification,
            init: None,
            hidden: vec![3],
            activation: Activation::Relu,
            start: None,
            standardize: false,
            rounds: 1,
            epochs: 1,
            method,
            keep: Keep::Last,
            seed: 0,
        }
    }

    fn baseline(scale: f32, eta: f32) -> Baseline {
        let mut facts = Facts::new(vec!["`x`".into(), "`y`".into()], 2);
        facts.add_training(&Dataset::new(vec![1.0, 0.0, 2.0, scale, 3.0, -scale], vec![1, 1, 0], 2).unwrap());
        let method = Method::FullBatch { eta, early_stop: None };
        Baseline::of(&facts, &["no".into(), "yes".into()], &settings(method))
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

    #[test]
    fn numbers_are_judged_by_their_spread() {
        let mut facts = Facts::new(vec!["`x`".into()], 0);
        facts.add_training(&Dataset::of_values(vec![0.0, 9000.0], vec![1.0, 5.0], 1).unwrap());
        let method = Method::Descent {
            optimizer: Optimizer::AdamW,
            learning_rate: 0.02,
            momentum: None,
            schedule: Schedule::Cosine,
            batch: 32,
            weight_decay: 0.0,
            clip_norm: None,
        };
        let of = |standardize| Baseline::of(&facts, &[], &Settings { standardize, ..settings(method) });
        let warning = of(true).warning(&report(Outcome::Succeeded, 2.5), 1).unwrap();
        assert_eq!(
            warning.lines[0],
            "nothing was learned: validation RMSE 2.5000, and always guessing the mean, 3, has 2.0000"
        );
        assert!(warning.hint.contains("--learning-rate, such as 2e-3"), "{}", warning.hint);
        let warning = of(false).warning(&report(Outcome::Succeeded, 2.5), 1).unwrap();
        assert!(warning.hint.contains("--no-standardize"), "{}", warning.hint);
        assert!(of(true).warning(&report(Outcome::Succeeded, 1.5), 1).is_none());
        let reason = "1 of 1 deltas were refused, such as that of 0: it holds NaN".to_owned();
        let hint = of(true).divergence_hint(&report(Outcome::Failed { reason }, 0.0)).unwrap();
        assert!(hint.contains("--learning-rate 2e-3"), "{hint}");
    }
}
