//! What can be wrong with rows, and where. Values are cut short; nothing here grows with the input.
//! It does not know how rows are read.

use std::fmt;
use std::io;

use crate::excerpt::excerpt;

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// Which cell of the line, from 1.
    pub column: u64,
    /// The column's name, where there is a header.
    pub name: Option<String>,
}

impl Place {
    pub(super) fn new(file: &str, line: u64, column: usize, names: &[String]) -> Place {
        let name = names.get(column.wrapping_sub(1)).map(|name| excerpt(name));
        Place { file: file.to_string(), line, column: column as u64, name }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, line {}, column {}", self.file, self.line, self.column)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(formatter, " (`{name}`)"))
    }
}

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The input itself failed.
    #[error("{file}, line {line}: cannot read: {source}")]
    Read {
        /// The file's name.
        file: String,
        /// The line that was to be read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// No rows at all.
    #[error("{file} has no rows")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// A header, and nothing behind it.
    #[error("{file}, line {line}: no rows behind the header")]
    HeaderOnly {
        /// The file's name.
        file: String,
        /// The header's line.
        line: u64,
    },
    /// Not text of rows at all.
    #[error("{place}: this is {format}, not rows of UTF-8 text")]
    Format {
        /// Where the file begins.
        place: Place,
        /// What it looks like.
        format: &'static str,
    },
    /// A line of more than [`LINE_BYTES_MAX`](super::LINE_BYTES_MAX) bytes.
    #[error("{place}: the line is longer than {} bytes", super::LINE_BYTES_MAX)]
    LineTooLong {
        /// The cell in which the limit was passed.
        place: Place,
    },
    /// A control character, or bytes that are not UTF-8.
    #[error("{place}: byte 0x{byte:02x} is not text")]
    NotText {
        /// Where.
        place: Place,
        /// The byte.
        byte: u8,
    },
    /// A quote is opened and not closed on its line.
    #[error("{place}: a quote is opened and not closed on this line")]
    UnclosedQuote {
        /// Where.
        place: Place,
    },
    /// Text stands between a closing quote and the delimiter.
    #[error("{place}: text stands behind the closing quote")]
    TextBehindQuote {
        /// Where.
        place: Place,
    },
    /// The header gives a name twice.
    #[error("{place}: the header has the name `{name}` twice")]
    RepeatedName {
        /// The second one.
        place: Place,
        /// The name.
        name: String,
    },
    /// There is no such column.
    #[error("{file}, line {line}, columns 1 to {count}: none is called `{wanted}`: {known}")]
    UnknownColumn {
        /// The file's name.
        file: String,
        /// The first row's line.
        line: u64,
        /// How many columns there are.
        count: usize,
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// The label's column is to be dropped.
    #[error("{place}: `{label}` is the label, and cannot be dropped")]
    LabelDropped {
        /// Where.
        place: Place,
        /// The column.
        label: String,
    },
    /// Too much is dropped.
    #[error("{place}: of {count} columns, what is dropped leaves none for features")]
    AllDropped {
        /// The last column.
        place: Place,
        /// How many columns there are.
        count: usize,
    },
    /// The header names another feature than the model, or other files.
    #[error("{place}: the column is `{found}`, expected `{expected}`")]
    FeatureName {
        /// Where.
        place: Place,
        /// The header's name.
        found: String,
        /// The model's.
        expected: String,
    },
    /// The first row has a single cell.
    #[error("{place}: one column is a label without features")]
    NoFeatures {
        /// Where.
        place: Place,
        /// What may be the delimiter.
        delimiter: Option<char>,
    },
    /// A row has another number of cells than the first one.
    #[error("{place}: {found} columns, but {expected} in the first row")]
    Ragged {
        /// The first cell too many, or the last one there is.
        place: Place,
        /// Cells of this row.
        found: usize,
        /// Cells of the first row.
        expected: usize,
    },
    /// Rows for prediction do not fit the model.
    #[error("{place}: {found} columns, but the model has {width} features")]
    Width {
        /// The last cell.
        place: Place,
        /// Cells of the first row.
        found: usize,
        /// The model's inputs.
        width: usize,
        /// What may be the delimiter, where the row has a single cell.
        delimiter: Option<char>,
    },
    /// A feature is empty.
    #[error("{place}: the cell is empty")]
    EmptyCell {
        /// Where.
        place: Place,
    },
    /// A feature is not a number.
    #[error("{place}: `{cell}` is not a number")]
    NotANumber {
        /// Where.
        place: Place,
        /// The cell.
        cell: String,
        /// What may be the delimiter, where the cell is several numbers.
        delimiter: Option<char>,
    },
    /// A feature is NaN, infinite, or too large for f32.
    #[error("{place}: `{cell}` is not a finite number")]
    NotFinite {
        /// Where.
        place: Place,
        /// The cell.
        cell: String,
    },
    /// A label is empty.
    #[error("{place}: the label is empty")]
    EmptyLabel {
        /// Where.
        place: Place,
    },
    /// A label is too long.
    #[error("{place}: the label has {label_bytes} bytes, more than {}", super::LABEL_BYTES_MAX)]
    LabelTooLong {
        /// Where.
        place: Place,
        /// Its bytes.
        label_bytes: usize,
    },
    /// Too many different labels.
    #[error("{place}: more than {} different labels", super::LABELS_MAX)]
    TooManyLabels {
        /// The first one too many.
        place: Place,
    },
    /// A label that the label set lacks.
    #[error("{place}: label `{label}` is unknown")]
    UnknownLabel {
        /// Where it first stands.
        place: Place,
        /// The label.
        label: String,
    },
}

impl RowError {
    /// Whether it is one row's fault: the rows behind it can be read.
    pub fn is_of_one_row(&self) -> bool {
        matches!(
            self,
            Self::NotText { .. }
                | Self::UnclosedQuote { .. }
                | Self::TextBehindQuote { .. }
                | Self::Ragged { .. }
                | Self::EmptyCell { .. }
                | Self::NotANumber { .. }
                | Self::NotFinite { .. }
        )
    }
}
