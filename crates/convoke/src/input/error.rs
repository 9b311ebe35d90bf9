//! Why an input cannot be cut, and what to do about it.
//!
//! The hints know the flags; how an input is read is not known here.

use std::path::PathBuf;

use convoke_ml::rows::RowError;
use convoke_wire::core::TASKS_MAX;
use convoke_wire::items::HEADER_BYTES_MAX;
use convoke_wire::program::MANIFEST_BYTES_MAX;
use convoke_wire::protocol::BLOB_BYTES_MAX;

use super::ITEM_BYTES_MAX;
use crate::data::row_hint;
use crate::failure::Failure;

/// Why an input cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Reading broke off.
    #[error("{file}: line {line}: cannot read: {source}")]
    Read {
        /// What is read.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What the system says.
        source: std::io::Error,
    },
    /// A directory stands where a text is expected.
    #[error("{} is a directory, and a file is expected", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing in the file.
    #[error("{file} is empty: there is nothing to do")]
    Empty {
        /// The file.
        file: String,
    },
    /// There is nothing behind the header.
    #[error("{file} holds a header and no record: there is nothing to do")]
    HeaderOnly {
        /// The file.
        file: String,
    },
    /// A row is wrong.
    #[error(transparent)]
    Row(#[from] RowError),
    /// All rows are.
    #[error("{file}: none of its {rows} rows can be read; the first: {first}")]
    AllBad {
        /// The file.
        file: String,
        /// How many there are.
        rows: u64,
        /// What is wrong with the first.
        first: String,
    },
    /// There are no files in the directory.
    #[error("{} holds no files: there is nothing to do", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// An item is too large to be held in memory.
    #[error("{file}: line {line}: an item has more than {bytes_max} bytes")]
    ItemTooLong {
        /// The file.
        file: String,
        /// Where it becomes too large, or where the line or record begins that is too large.
        line: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The header is too large for a manifest.
    #[error("{file}: line {line}: the header has more than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLong {
        /// The file.
        file: String,
        /// The line in which it begins.
        line: u64,
    },
    /// The file ends within quotes.
    #[error("{file}: line {line}: a record begins here with a quote in it that is never closed")]
    UnclosedQuote {
        /// The file.
        file: String,
        /// The line in which the record begins.
        line: u64,
    },
    /// A file is too large to be stored.
    #[error("{}: {bytes} bytes are too many: a file has at most {BLOB_BYTES_MAX}", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// There are more items than a job may have tasks.
    #[error("{file} makes more than {TASKS_MAX} items, and a job has at most so many tasks")]
    TooManyItems {
        /// The file.
        file: String,
    },
    /// There are more files than a job may have tasks.
    #[error("{} holds more than {TASKS_MAX} files, and a job has at most so many tasks", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// The list of the items is too large.
    #[error("{file}: a list of its items would have more than {MANIFEST_BYTES_MAX} bytes")]
    ManifestTooLarge {
        /// The file or directory.
        file: String,
    },
}

impl InputError {
    /// The next step to take.
    pub fn hint(&self) -> String {
        use InputError::*;
        match self {
            Open { .. } | Read { .. } => "check the path and its permissions".to_owned(),
            Row(error) => row_hint(error),
            AllBad { .. } => {
                "check that these are rows for this model, and what stands between cells: --delimiter".to_owned()
            }
            Directory { .. } => "name one of its files".to_owned(),
            Empty { .. } | HeaderOnly { .. } | NoFiles { .. } => {
                "check that it is the input that you mean, and that whatever writes it is done".to_owned()
            }
            ItemTooLong { .. } => format!(
                "cut smaller items, with --chunk-lines N or --chunk-bytes SIZE; a line or record is never cut, and has at \
                 most {ITEM_BYTES_MAX} bytes"
            ),
            HeaderTooLong { .. } => {
                "the first record is taken for the header: check the quotes in it, and that lines end with LF or CRLF"
                    .into()
            }
            UnclosedQuote { .. } => "close the quote; a quote within quotes is written twice".to_owned(),
            FileTooLarge { .. } => {
                "split the file, or have the tasks read it from storage that all workers share".into()
            }
            TooManyItems { .. } => {
                "cut larger items: `convoke map` with a larger --chunk-lines N or --chunk-bytes SIZE \
                                    gives a task several lines at a time"
                    .to_owned()
            }
            TooManyFiles { .. } | ManifestTooLarge { .. } => "share the input out among several jobs".to_owned(),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = error.hint();
        Self::bad_input(error).hint(hint)
    }
}
