//! What may be said about data: how its rows lie, and what is validated on; and the commands that only read data.
//!
//! What is said about rows holds for training, measuring and predicting alike.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use convoke_ml::rows::{self, LabelColumn, Layout};

use super::durations::parse_duration;

/// How rows lie in the files.
#[derive(Clone, Debug, Default, Args)]
pub struct LayoutArgs {
    /// The label's column: first, last, or its name in the header [default: last, or the model's]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// What stands between cells, such as ';', tab or space [default: a comma, or the model's]
    #[arg(long, value_name = "C", value_parser = parse_delimiter)]
    pub delimiter: Option<u8>,
    /// Leave a column out, by its name in the header or its number; several times, or with commas
    #[arg(long, value_name = "COLUMN")]
    pub drop: Vec<String>,
}

impl LayoutArgs {
    /// The layout, with what is not said taken from another.
    pub fn or(&self, other: Layout) -> Layout {
        Layout {
            delimiter: self.delimiter.unwrap_or(other.delimiter),
            label: self.label.as_deref().map_or(other.label, LabelColumn::parse),
            drop: if self.drop.is_empty() { other.drop } else { self.drop.clone() },
        }
    }
}

/// What to train on and what to validate on.
#[derive(Clone, Debug, Default, Args)]
pub struct SplitArgs {
    /// Into how many shards one file is cut [default: one for each 1,500 rows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub shards: Option<u32>,
    /// What to validate on: a labelled file, or a share of the rows [default: validate_* files, or 0.2]
    #[arg(long, value_name = "FILE|FRACTION", value_parser = parse_validate)]
    pub validate: Option<Validate>,
}

/// What to validate on.
#[derive(Clone, Debug, PartialEq)]
pub enum Validate {
    /// A labelled file.
    File(PathBuf),
    /// A share of the rows, from 0 to less than 1.
    Share(f64),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke evaluate convoke-7k3q9x2m.safetensors letters/validate_letters.txt
  convoke evaluate model.safetensors letters/ --output json")]
pub struct EvaluateArgs {
    /// A model that `convoke train` wrote
    pub model: PathBuf,
    /// A file of labelled rows, - for stdin, or a directory with validate_*.txt or .csv
    pub data: PathBuf,
    #[command(flatten)]
    pub layout: LayoutArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke predict model.safetensors rows.csv > labels.txt
  convoke predict model.safetensors rows.csv --probabilities -o probabilities.txt --skip-bad
  convoke predict model.safetensors rows.csv -o labels.txt --coordinator 10.0.0.5:9095     on all its workers
  tail -n 5 letters/validate_letters.txt | convoke predict model.safetensors -

The output has a line for each row, in the order of the rows, the same here and on workers.")]
pub struct PredictArgs {
    /// A model that `convoke train` wrote
    pub model: PathBuf,
    /// A file of rows, - for stdin; where they have labels, these are ignored
    pub data: PathBuf,
    #[command(flatten)]
    pub layout: LayoutArgs,
    /// Print all labels' probabilities for each row, and on stderr the labels in their order
    #[arg(long)]
    pub probabilities: bool,
    /// Leave out rows that cannot be read, and name them on stderr; the first row has to be one
    #[arg(long)]
    pub skip_bad: bool,
    /// Where the output goes [default: stdout]
    #[arg(short, long = "results", value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Predict on this coordinator's workers, host:port [default: here, whatever CONVOKE_COORDINATOR says]
    #[arg(long, value_name = "ADDR")]
    pub coordinator: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration,
          requires = "coordinator")]
    pub wait: Duration,
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    let expected = "a delimiter is one character such as , or ; or | (no letter, digit, quote, point or sign), \
                    or tab, or space";
    rows::parse_delimiter(text).ok_or_else(|| expected.to_owned())
}

fn parse_validate(text: &str) -> Result<Validate, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(Validate::Share(share)),
        Ok(_) => Err("a share of the rows is from 0 to less than 1, such as 0.2 for 20 %".to_owned()),
        Err(_) => Ok(Validate::File(PathBuf::from(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_is_a_share_or_a_file() {
        assert_eq!(parse_validate("0.25"), Ok(Validate::Share(0.25)));
        assert_eq!(parse_validate("0"), Ok(Validate::Share(0.0)));
        assert_eq!(parse_validate("v.csv"), Ok(Validate::File("v.csv".into())));
        for wrong in ["1", "20", "-0.1", "NaN", "inf"] {
            assert!(parse_validate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_overrides_the_model() {
        let model = Layout { delimiter: b';', label: LabelColumn::First, drop: vec!["id".into()] };
        assert_eq!(LayoutArgs::default().or(model.clone()), model);
        let said = LayoutArgs { label: Some("kind".into()), delimiter: Some(b'\t'), drop: vec!["x".into()] };
        let expected = Layout { delimiter: b'\t', label: LabelColumn::Named("kind".into()), drop: vec!["x".into()] };
        assert_eq!(said.or(model), expected);
    }
}
