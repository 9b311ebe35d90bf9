//! Reads rows of numbers: one sample a line, one cell of it the label.
//! Every complaint names the file, the line and the cell, both from 1, and the column's name where there is a header; no
//! line of more than a MiB is ever held.
//! It does not know classes: labels stay text until a [`LabelSet`] gives them numbers.

mod cells;
mod columns;
mod error;
mod layout;
mod line;
mod unlabelled;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::BufRead;

use crate::{Dataset, LabelSet};
use columns::{Columns, Purpose};
pub use error::{Place, RowError};
pub use layout::{Inputs, LabelColumn, Layout, parse_delimiter};
pub use line::LINE_BYTES_MAX;
use line::{Line, Lines};
pub use unlabelled::UnlabelledRows;

/// The longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// The most labels that one file may tell apart; a file with more has numbers to predict, not
/// classes.
pub const LABELS_MAX: usize = 1 << 16;

/// The labelled samples of one file, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    source_name: String,
    feature_names: Vec<String>,
    features: Vec<f32>,
    width: usize,
    /// Where the features are: the first row's line, from 1, and their columns, from 0.
    first_line: u64,
    columns: Vec<usize>,
    /// The label's column, from 0.
    label: usize,
    /// What the label's column is called; empty where there is no header.
    label_column: String,
    /// One for each row: a position in `labels`.
    label_of_row: Vec<u32>,
    labels: Vec<FirstSeen>,
    /// One for each row, in place of labels, where numbers to predict were read.
    values: Option<Vec<f32>>,
}

/// A label and where it first stood.
#[derive(Debug, Clone, PartialEq)]
struct FirstSeen {
    name: String,
    place: Place,
}

/// The samples of one file for prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlabelled {
    /// `[n, d]`, row-major.
    pub features: Vec<f32>,
    /// Samples: n.
    pub samples: usize,
    /// The column that was taken for labels and skipped, from 1.
    pub labels_ignored: Option<usize>,
}

/// Reads labelled rows. `source_name` is what errors call the input.
///
/// The first row may be a header. Blank lines are skipped; the last line may lack its newline, and lines may end in
/// CRLF.
pub fn read(source_name: &str, input: impl BufRead, layout: &Layout) -> Result<Rows, RowError> {
    read_labelled(source_name, input, layout, Purpose::Training, false)
}

/// Reads rows whose labels are numbers to predict, as [`read`] does: as many different ones as there are rows.
pub fn read_values(source_name: &str, input: impl BufRead, layout: &Layout) -> Result<Rows, RowError> {
    read_labelled(source_name, input, layout, Purpose::Training, true)
}

/// Reads labelled rows for a model: they have its features, by name where both sides have names. Columns that are to be
/// dropped may be missing.
pub fn read_for(source_name: &str, input: impl BufRead, layout: &Layout, model: &Inputs) -> Result<Rows, RowError> {
    read_labelled(source_name, input, layout, Purpose::Measuring(model), false)
}

/// Reads rows whose labels are numbers for a model that predicts some, as [`read_for`] does.
pub fn read_values_for(
    source_name: &str,
    input: impl BufRead,
    layout: &Layout,
    model: &Inputs,
) -> Result<Rows, RowError> {
    read_labelled(source_name, input, layout, Purpose::Measuring(model), true)
}

fn read_labelled(
    source_name: &str,
    input: impl BufRead,
    layout: &Layout,
    purpose: Purpose,
    as_values: bool,
) -> Result<Rows, RowError> {
    let mut rows = Rows {
        source_name: source_name.to_string(),
        feature_names: Vec::new(),
        features: Vec::new(),
        width: 0,
        first_line: 0,
        columns: Vec::new(),
        label: 0,
        label_column: String::new(),
        label_of_row: Vec::new(),
        labels: Vec::new(),
        values: as_values.then(Vec::new),
    };
    let mut known = BTreeMap::new();
    let columns = each_row(source_name, input, layout, purpose, |line, columns| {
        line.numbers(&columns.features, &mut rows.features)?;
        let column = columns.label.expect("labelled rows have a label");
        let label = check_label(line, column)?;
        if let Some(values) = &mut rows.values {
            values.push(value_of(label, || line.place(column + 1))?);
            return Ok(());
        }
        let position = match known.get(label) {
            Some(position) => *position,
            None => {
                let (position, place) = (rows.labels.len() as u32, line.place(column + 1));
                if rows.labels.len() == LABELS_MAX {
                    return Err(RowError::TooManyLabels { place });
                }
                rows.labels.push(FirstSeen { name: label.to_string(), place });
                known.insert(label.to_string(), position);
                position
            }
        };
        rows.label_of_row.push(position);
        Ok(())
    })?;
    rows.width = columns.features.len();
    rows.feature_names = columns.feature_names();
    rows.label = columns.label.expect("labelled rows have a label");
    rows.label_column = columns.names.as_ref().map_or_else(String::new, |names| names[rows.label].clone());
    (rows.first_line, rows.columns) = (columns.line, columns.features);
    // What growing left over may be as much again as the rows.
    rows.features.shrink_to_fit();
    rows.label_of_row.shrink_to_fit();
    Ok(rows)
}

/// Reads rows for a model. Where they have a column more than the model has features, the label is skipped; columns that
/// are to be dropped may be missing.
pub fn read_unlabelled(
    source_name: &str,
    input: impl BufRead,
    layout: &Layout,
    model: &Inputs,
) -> Result<Unlabelled, RowError> {
    let mut rows = UnlabelledRows::open(source_name, input, layout, model)?;
    let (mut features, mut samples) = (Vec::new(), 0);
    while rows.next_row(&mut features)? {
        samples += 1;
    }
    if samples == 0 {
        return Err(rows.header_only());
    }
    Ok(Unlabelled { features, samples, labels_ignored: rows.labels_ignored() })
}

/// Resolves the layout against the first row, and gives each row that is no header to `take`; there is at least one.
fn each_row(
    source_name: &str,
    input: impl BufRead,
    layout: &Layout,
    purpose: Purpose,
    mut take: impl FnMut(&Line, &Columns) -> Result<(), RowError>,
) -> Result<Columns, RowError> {
    let mut lines = Lines::new(source_name, input, layout.delimiter);
    let Some(first) = lines.next_line()? else {
        return Err(RowError::Empty { file: source_name.to_string() });
    };
    let columns = Columns::resolve(layout, &first, purpose)?;
    let mut taken = false;
    match &columns.names {
        Some(names) => lines.names.clone_from(names),
        None => {
            take(&first, &columns)?;
            taken = true;
        }
    }
    while let Some(line) = lines.next_line()? {
        line.expect_cells(columns.count)?;
        take(&line, &columns)?;
        taken = true;
    }
    if !taken {
        return Err(RowError::HeaderOnly { file: source_name.to_string(), line: columns.line });
    }
    Ok(columns)
}

/// The label in a column, from 0.
fn check_label<'a>(line: &Line<'a>, column: usize) -> Result<&'a str, RowError> {
    let label = line.cell(column);
    match label.len() {
        0 => Err(RowError::EmptyLabel { place: line.place(column + 1) }),
        1..=LABEL_BYTES_MAX => Ok(label),
        label_bytes => Err(RowError::LabelTooLong { place: line.place(column + 1), label_bytes }),
    }
}

impl Rows {
    /// What errors call the file.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// `[n, d]`, row-major.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Features of a row: d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are: n.
    pub fn samples(&self) -> usize {
        self.values.as_ref().map_or(self.label_of_row.len(), Vec::len)
    }

    /// What the label's column is called; empty where the file has no header.
    pub fn label_column(&self) -> &str {
        &self.label_column
    }

    /// Each row's label, in order; none where numbers were read in their place.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.label_of_row.iter().map(|label| self.labels[*label as usize].name.as_str())
    }

    /// The different labels, in order of appearance.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| label.name.as_str())
    }

    /// The features' names, or none where the file has no header.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Where a feature, from 0, stands in the first row, which may be the header.
    pub fn feature_place(&self, feature: usize) -> Place {
        let column = self.columns.get(feature).map_or(0, |column| column + 1);
        Place::new(&self.source_name, self.first_line, column, &[])
    }

    /// Where the label stands in the first row, which may be the header.
    pub fn label_place(&self) -> Place {
        Place::new(&self.source_name, self.first_line, self.label + 1, &[])
    }

    /// Where a label first stands.
    pub fn place_of(&self, label: &str) -> Option<&Place> {
        self.labels.iter().find(|seen| seen.name == label).map(|seen| &seen.place)
    }

    /// Each row's class index. A label that `labels` lacks is an error that names its first line.
    pub fn classes(&self, labels: &LabelSet) -> Result<Vec<u32>, RowError> {
        let class = |label: &FirstSeen| {
            let unknown = || (label.place.clone(), crate::excerpt::excerpt(&label.name));
            labels.index(&label.name).ok_or_else(unknown)
        };
        let classes: Result<Vec<u32>, _> = self.labels.iter().map(class).collect();
        let classes = classes.map_err(|(place, label)| RowError::UnknownLabel { place, label })?;
        Ok(self.label_of_row.iter().map(|label| classes[*label as usize]).collect())
    }

    /// Some of the rows, from 0, as a data set of its own; `classes` are all rows' class indices.
    ///
    /// # Panics
    ///
    /// Where `chosen` is empty or names a row that there is not.
    pub fn choose(&self, chosen: &[u32], classes: &[u32]) -> Dataset {
        let classes = chosen.iter().map(|row| classes[*row as usize]).collect();
        Dataset::new(self.gather(chosen), classes, self.width)
            .expect("at least one row is chosen, and all are of equal width")
    }

    /// Gives the labels their class indices, as [`Rows::classes`] does.
    pub fn encode(self, labels: &LabelSet) -> Result<Dataset, RowError> {
        let classes = self.classes(labels)?;
        Ok(Dataset::new(self.features, classes, self.width).expect("rows are not empty and of equal width"))
    }

    /// Each row's label as a number to predict. One that is no finite number is an error that names where it first stands.
    pub fn values(&self) -> Result<Vec<f32>, RowError> {
        if let Some(values) = &self.values {
            return Ok(values.clone());
        }
        let values: Result<Vec<f32>, _> =
            self.labels.iter().map(|seen| value_of(&seen.name, || seen.place.clone())).collect();
        let values = values?;
        Ok(self.label_of_row.iter().map(|label| values[*label as usize]).collect())
    }

    /// Some of the rows, as [`Rows::choose`] does; `values` are all rows' numbers to predict, which have to be finite.
    ///
    /// # Panics
    ///
    /// Where `chosen` is empty or names a row that there is not, or a value is not finite.
    pub fn choose_values(&self, chosen: &[u32], values: &[f32]) -> Dataset {
        let values = chosen.iter().map(|row| values[*row as usize]).collect();
        let dataset = Dataset::of_values(self.gather(chosen), values, self.width);
        dataset.expect("at least one row is chosen, all are of equal width, and values are finite")
    }

    /// Takes the labels as numbers to predict, as [`Rows::values`] does.
    pub fn encode_values(mut self) -> Result<Dataset, RowError> {
        let values = match self.values.take() {
            Some(values) => values,
            None => self.values()?,
        };
        let dataset = Dataset::of_values(self.features, values, self.width);
        Ok(dataset.expect("rows are not empty and of equal width, and their values are finite"))
    }

    /// The features of some of the rows.
    fn gather(&self, chosen: &[u32]) -> Vec<f32> {
        let mut features = Vec::with_capacity(chosen.len() * self.width);
        for row in chosen {
            let start = *row as usize * self.width;
            features.extend_from_slice(&self.features[start..start + self.width]);
        }
        features
    }
}

/// A label as a number to predict.
fn value_of(label: &str, place: impl FnOnce() -> Place) -> Result<f32, RowError> {
    let cell = || crate::excerpt::excerpt(label);
    match label.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(RowError::NotFinite { place: place(), cell: cell() }),
        Err(_) => Err(RowError::NotANumber { place: place(), cell: cell(), delimiter: None }),
    }
}
