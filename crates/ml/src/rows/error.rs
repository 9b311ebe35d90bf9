//! What can be wrong with rows, and where. Values are cut short; nothing here grows with the input.
//! It does not know how rows are read.

use std::fmt;
use std::io;

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// Which cell of the line, from 1.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, line {}, column {}", self.file, self.line, self.column)
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
    /// The first row has a single cell.
    #[error("{place}: one column is a label without features")]
    NoFeatures {
        /// Where.
        place: Place,
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
    },
    /// A feature is not a number.
    #[error("{place}: `{cell}` is not a number")]
    NotANumber {
        /// Where.
        place: Place,
        /// The cell.
        cell: String,
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
