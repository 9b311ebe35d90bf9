//! Figures: medians and percentiles, and how they are shown.
//!
//! It does not know what was measured.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

/// The median and the 95th percentile of some durations.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// In milliseconds.
    pub median_ms: f64,
    /// In milliseconds.
    pub p95_ms: f64,
}

impl Spread {
    /// Of these durations.
    pub fn of(durations: &[Duration]) -> Self {
        Self::of_ms(durations.iter().copied().map(milliseconds).collect())
    }

    /// Of these milliseconds, which may be negative.
    pub fn of_ms(milliseconds: Vec<f64>) -> Self {
        Self { median_ms: percentile(milliseconds.clone(), 0.5), p95_ms: percentile(milliseconds, 0.95) }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ms, p95 {:.2} ms", self.median_ms, self.p95_ms)
    }
}

/// The median of some values, and between which all of them are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Span {
    /// Of these values.
    pub fn of(values: Vec<f64>) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { median: percentile(values, 0.5), least, most }
    }
}

/// The value that so large a share of the others does not exceed (nearest rank); NaN of none.
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// As milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What was measured, for people.
pub trait Table {
    /// Lines.
    fn table(&self) -> String;
}

/// Prints what was measured on stdout.
pub fn show(json: bool, measured: &(impl Serialize + Table)) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(measured)?);
    } else {
        println!("{}", measured.table());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 0.5), 10.0);
        assert_eq!(percentile(values.clone(), 0.95), 19.0);
        assert_eq!(percentile(values, 1.0), 20.0);
        assert_eq!(percentile(vec![3.0], 0.5), 3.0);
        assert!(percentile(Vec::new(), 0.5).is_nan());
        assert_eq!(Span::of(vec![3.0, 1.0, 2.0]), Span { median: 2.0, least: 1.0, most: 3.0 });
    }
}
