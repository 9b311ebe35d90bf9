//! Reads rows of numbers: one sample a line, cells separated by commas, the label in the last one.
//! Every complaint names the file, the line and the cell, both from 1; no line of more than a
//! MiB is ever held.
//! It does not know classes: labels stay text until a [`LabelSet`] gives them numbers.

mod error;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::BufRead;

use crate::{Dataset, LabelSet};
pub use error::{Place, RowError};
pub use line::LINE_BYTES_MAX;
use line::{Line, Lines};

/// The longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// The most labels that one file may tell apart; a file with more has numbers to predict, not
/// classes.
pub const LABELS_MAX: usize = 1 << 16;

/// The labelled samples of one file, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    source_name: String,
    features: Vec<f32>,
    width: usize,
    /// One for each row: a position in `labels`.
    label_of_row: Vec<u32>,
    labels: Vec<FirstSeen>,
}

/// A label and the line on which it first stood.
#[derive(Debug, Clone, PartialEq)]
struct FirstSeen {
    name: String,
    line: u64,
}

/// The samples of one file for prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlabelled {
    /// `[n, d]`, row-major.
    pub features: Vec<f32>,
    /// Samples: n.
    pub samples: usize,
    /// Whether each row had one cell more, which was taken for a label and skipped.
    pub labels_ignored: bool,
}

/// Reads labelled rows. `source_name` is what errors call the input.
///
/// Blank lines are skipped; the last line may lack its newline, and lines may end in CRLF.
pub fn read(source_name: &str, input: impl BufRead) -> Result<Rows, RowError> {
    let mut lines = Lines::new(source_name, input);
    let mut rows = Rows {
        source_name: source_name.to_string(),
        features: Vec::new(),
        width: 0,
        label_of_row: Vec::new(),
        labels: Vec::new(),
    };
    let mut known = BTreeMap::new();
    while let Some(line) = lines.next_line()? {
        if rows.label_of_row.is_empty() {
            rows.width = line.cell_count() - 1;
            if rows.width == 0 {
                return Err(RowError::NoFeatures { place: line.place(1) });
            }
        }
        line.expect_cells(rows.width + 1)?;
        line.numbers(rows.width, &mut rows.features)?;
        let label = line.label(rows.width + 1)?;
        let position = match known.get(label) {
            Some(position) => *position,
            None => {
                let position = rows.labels.len() as u32;
                if rows.labels.len() == LABELS_MAX {
                    return Err(RowError::TooManyLabels { place: line.place(rows.width + 1) });
                }
                rows.labels.push(FirstSeen { name: label.to_string(), line: line.number });
                known.insert(label.to_string(), position);
                position
            }
        };
        rows.label_of_row.push(position);
    }
    if rows.label_of_row.is_empty() {
        return Err(RowError::Empty { file: source_name.to_string() });
    }
    Ok(rows)
}

/// Reads rows for a model of `width` inputs: with so many cells they are unlabelled; with one
/// more the last cell is skipped.
pub fn read_unlabelled(source_name: &str, input: impl BufRead, width: usize) -> Result<Unlabelled, RowError> {
    let mut lines = Lines::new(source_name, input);
    let mut rows = Unlabelled { features: Vec::new(), samples: 0, labels_ignored: false };
    while let Some(line) = lines.next_line()? {
        if rows.samples == 0 {
            rows.labels_ignored = line.cell_count() == width.saturating_add(1);
            expect_width(&line, width + usize::from(rows.labels_ignored), width)?;
        }
        line.expect_cells(width + usize::from(rows.labels_ignored))?;
        line.numbers(width, &mut rows.features)?;
        rows.samples += 1;
    }
    if rows.samples == 0 {
        return Err(RowError::Empty { file: source_name.to_string() });
    }
    Ok(rows)
}

fn expect_width(line: &Line, cells: usize, width: usize) -> Result<(), RowError> {
    if line.cell_count() == cells {
        return Ok(());
    }
    Err(RowError::Width { place: line.place(line.cell_count()), found: line.cell_count(), width })
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
        self.label_of_row.len()
    }

    /// Each row's label, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.label_of_row.iter().map(|label| self.labels[*label as usize].name.as_str())
    }

    /// The different labels, in order of appearance.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| label.name.as_str())
    }

    /// Gives the labels their class indices. A label that `labels` lacks is an error that
    /// names its first line.
    pub fn encode(self, labels: &LabelSet) -> Result<Dataset, RowError> {
        let mut classes = Vec::with_capacity(self.labels.len());
        for label in &self.labels {
            let class = labels.index(&label.name).ok_or_else(|| RowError::UnknownLabel {
                place: Place { file: self.source_name.clone(), line: label.line, column: self.width as u64 + 1 },
                label: crate::excerpt::excerpt(&label.name),
            })?;
            classes.push(class);
        }
        let encoded = self.label_of_row.iter().map(|label| classes[*label as usize]).collect();
        Ok(Dataset::new(self.features, encoded, self.width).expect("rows are not empty and of equal width"))
    }
}
