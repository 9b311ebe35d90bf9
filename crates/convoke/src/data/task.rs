//! What labels are, classes or numbers: as it was said, as the model has it that is gone on from, or by what stands in them.
//!
//! It reads all files; what becomes of their rows is for others.

use convoke_ml::LabelSet;
use convoke_ml::rows::{self, RowError, Rows};

use super::sources::{Source, Sources};
use super::{DataError, Labels, Reading};
use crate::args::Task;

/// All rows, and what is to be predicted of them.
pub struct Read {
    /// Of each file to train on.
    pub train: Vec<Rows>,
    /// Of each file to validate on.
    pub validation: Vec<Rows>,
    /// What is to be predicted.
    pub labels: Labels,
    /// Whether nobody said that labels are numbers.
    pub taken_for_numbers: bool,
}

/// Reads all files.
pub fn read(sources: &Sources, reading: &Reading) -> Result<Read, DataError> {
    let task = reading.model.as_ref().map(|model| model.labels.task()).or(reading.task);
    let read = |as_values| -> Result<_, DataError> {
        Ok((read_all(&sources.train, reading, as_values)?, read_all(&sources.validate, reading, as_values)?))
    };
    let (train, validation) = match read(task == Some(Task::Regression)) {
        // More labels than classes may be: all are read again as numbers. If some is none, there were too many labels.
        Err(error @ DataError::Row(RowError::TooManyLabels { .. })) if task.is_none() => {
            let (train, validation) = read(true).map_err(|_| error)?;
            let labels = Labels::Value(train[0].label_column().to_owned());
            return Ok(Read { train, validation, labels, taken_for_numbers: true });
        }
        read => read?,
    };
    let taken_for_numbers = task.is_none() && are_numbers(train.iter().chain(&validation));
    let labels = match &reading.model {
        Some(model) => model.labels.clone(),
        None if taken_for_numbers || task == Some(Task::Regression) => {
            Labels::Value(train[0].label_column().to_owned())
        }
        None => Labels::Classes(LabelSet::union(&train)),
    };
    Ok(Read { train, validation, labels, taken_for_numbers })
}

fn read_all(sources: &[Source], reading: &Reading, as_values: bool) -> Result<Vec<Rows>, DataError> {
    let one = |source: &Source| {
        let (name, opened, layout) = (source.name(), source.open()?, &reading.layout);
        let inputs = reading.model.as_ref().map(|model| &model.inputs);
        Ok(match (inputs, as_values) {
            (None, false) => rows::read(&name, opened, layout)?,
            (None, true) => rows::read_values(&name, opened, layout)?,
            (Some(inputs), false) => rows::read_for(&name, opened, layout, inputs)?,
            (Some(inputs), true) => rows::read_values_for(&name, opened, layout, inputs)?,
        })
    };
    sources.iter().map(one).collect()
}

/// Whether labels can only be numbers to predict: all are finite, and some has a fraction or an exponent. Classes may be
/// numbered, in whole numbers, which some programs write with `.0`.
fn are_numbers<'a>(files: impl Iterator<Item = &'a Rows>) -> bool {
    let mut some_is_no_class = false;
    for label in files.flat_map(Rows::label_names) {
        let Some(value) = label.parse::<f64>().ok().filter(|value| value.is_finite()) else { return false };
        some_is_no_class |= value.fract() != 0.0 || label.contains(['e', 'E']);
    }
    some_is_no_class
}
