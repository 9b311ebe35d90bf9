//! Why data cannot be used, and what to do about it.
//!
//! Errors of rows come from `convoke-ml`, which names the file, the line and the column; the hints know the flags.

use std::path::PathBuf;

use convoke_ml::rows::{Place, RowError};

use super::sources::BUILT_IN;

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The directory holds no shards.
    #[error("{} holds no shards: files named train_*.txt or train_*.csv are expected", path.display())]
    NoShards {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds no files at all.
    #[error("{} holds no files to train on", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds nothing to measure on.
    #[error("{} holds no validation data: files named validate_*.txt or validate_*.csv are expected", path.display())]
    NoValidation {
        /// The directory.
        path: PathBuf,
    },
    /// There is no built-in set of this name.
    #[error("there is no built-in data set `{name}`")]
    NoSuchSet {
        /// The name.
        name: String,
    },
    /// Shards that exist are not cut again.
    #[error("--shards {wanted} is for one file, and {} is {found} shards already", path.display())]
    ShardsExist {
        /// The directory or set.
        path: PathBuf,
        /// How many shards were asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A file that is no text is not cut.
    #[error("--shards {wanted} is for a .csv or .txt file, and {} is neither: it is one shard", path.display())]
    NotCut {
        /// The file.
        path: PathBuf,
        /// How many shards were asked for.
        wanted: usize,
    },
    /// A quoted cell goes over a line's end.
    #[error("{}, line {line}: a cut would fall into a quoted cell", path.display())]
    CutInQuotes {
        /// The file.
        path: PathBuf,
        /// The line behind which the cut would be.
        line: u64,
    },
    /// There are fewer rows than shards.
    #[error("{name} has {rows} rows to train on, too few for --shards {wanted}")]
    TooManyShards {
        /// The file.
        name: String,
        /// Its rows, without those held out.
        rows: usize,
        /// How many shards were asked for.
        wanted: usize,
    },
    /// A row is wrong.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Files differ in how many columns they have.
    #[error("{place}: {width} features a row, and {first_file} has {first_width}")]
    Widths {
        /// Where a file's features end.
        place: Place,
        /// How many it has.
        width: usize,
        /// The first file.
        first_file: String,
        /// Its features.
        first_width: usize,
    },
    /// Files differ in how their columns are called.
    #[error("{place}: the feature is called `{found}`, and in {first_file} `{expected}`")]
    Names {
        /// Where.
        place: Box<Place>,
        /// What it is called there.
        found: String,
        /// The first file.
        first_file: String,
        /// What it is called there.
        expected: String,
    },
    /// All rows have one label.
    #[error("{place}: `{label}` is the label of every row: there is nothing to learn")]
    OneLabel {
        /// Where it first stands.
        place: Place,
        /// The label.
        label: String,
    },
    /// No two rows have the same label.
    #[error("{place}: each of {rows} rows has a label of its own, such as `{label}`: there are no classes to learn")]
    NoClasses {
        /// Where the first label stands.
        place: Place,
        /// How many rows there are.
        rows: usize,
        /// The first label.
        label: String,
    },
}

impl DataError {
    /// The next step to take.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::NoShards { .. } => {
                "DATA is one file, or a directory with files such as train_1.txt and validate_1.txt".to_owned()
            }
            Self::NoFiles { .. } => "each file of a directory is a shard; hidden ones are not looked at".to_owned(),
            Self::NotCut { .. } => "cut it yourself, and name the directory of the parts".to_owned(),
            Self::CutInQuotes { .. } => {
                "cut it between records, such as with `split`, and name the directory of the parts".to_owned()
            }
            Self::NoValidation { .. } => "name a file of labelled rows, whatever it is called".to_owned(),
            Self::NoSuchSet { .. } => {
                format!("the built-in sets: {}; a file of such a name is ./@…", BUILT_IN.join(", "))
            }
            Self::ShardsExist { .. } => "leave --shards out, or name one file to cut".to_owned(),
            Self::TooManyShards { rows, .. } => format!("a shard needs a row: --shards {rows} at most"),
            Self::Row(error) => row_hint(error),
            Self::Widths { .. } | Self::Names { .. } => {
                "the files of one data set need the same columns in the same order; --drop leaves one out".to_owned()
            }
            Self::NoClasses { .. } => {
                "if they are numbers to predict, say so with --task regression; --label COLUMN says which column is the label, \
                 --delimiter what stands between cells"
                    .to_owned()
            }
            Self::OneLabel { .. } => "--label COLUMN says which column is the label".to_owned(),
        }
    }
}

/// What to do about a row that cannot be read.
pub fn row_hint(error: &RowError) -> String {
    use RowError::*;
    match error {
        NoFeatures { delimiter: Some(delimiter), .. }
        | Width { delimiter: Some(delimiter), .. }
        | NotANumber { delimiter: Some(delimiter), .. } => other_delimiter(*delimiter),
        Format { format, .. } => other_format(format),
        NotANumber { place, cell, .. } => not_a_number(place, cell),
        EmptyCell { place } => {
            format!("fill it, leave the row out, or leave the column out with --drop {}", place.column)
        }
        RepeatedName { place, .. } => {
            format!("give each column a name of its own, or leave one out by its number: --drop {}", place.column)
        }
        Width { width, .. } => format!("a row has the model's {width} features, and may have a label as well"),
        error => fixed_hint(error).to_owned(),
    }
}

fn fixed_hint(error: &RowError) -> &'static str {
    use RowError::*;
    match error {
        Read { .. } => "check the path and its permissions",
        LineTooLong { .. } => "a sample is one line of at most 1 MiB, ended by a newline",
        NotText { byte, .. } if byte.is_ascii() => {
            "rows are text, a line each, ended by LF or CRLF: this is something else"
        }
        NotText { .. } => "rows are UTF-8 text; `iconv -f LATIN1 -t UTF-8` converts what older programs wrote",
        UnclosedQuote { .. } => "close the quote on its line; a quote within quotes is written twice",
        TextBehindQuote { .. } => "behind a closing quote comes the delimiter; a quote within quotes is written twice",
        UnknownColumn { .. } => {
            "name one of these, or give a number from 1; --delimiter says what stands between cells"
        }
        LabelDropped { .. } => "take it out of --drop, or name another column with --label",
        AllDropped { .. } => "drop less: a label and at least one feature have to be left",
        FeatureName { .. } => {
            "the features have to be the model's, in its order; --drop leaves a column out, --label says which is the label"
        }
        Ragged { .. } => {
            "all rows need the columns of the first; a cell with the delimiter in it has to stand in quotes"
        }
        NotFinite { .. } => "replace the value, or leave the row out",
        EmptyLabel { .. } => "each row needs a label; --label COLUMN says which column it is",
        LabelTooLong { .. } => "labels are names of classes; --label COLUMN says which column is the label",
        TooManyLabels { .. } => {
            "if they are numbers to predict, say so with --task regression; --label COLUMN says which column is the label"
        }
        UnknownLabel { .. } => "what is measured can only have labels that were there in training",
        _ => "a row is numbers and a label, parted by commas, one sample a line",
    }
}

fn other_delimiter(delimiter: char) -> String {
    let name = match delimiter {
        '\t' => "tab".to_owned(),
        ' ' => "space".to_owned(),
        other => format!("'{other}'"),
    };
    format!("if something else stands between the cells, say so: --delimiter {name}")
}

fn other_format(format: &str) -> String {
    match format {
        "UTF-16 text" => "save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8".to_owned(),
        "a zip file" => "unpack it; a spreadsheet has to be saved as CSV".to_owned(),
        "a Parquet file" => "export it as CSV".to_owned(),
        _ => "unpack it".to_owned(),
    }
}

fn not_a_number(place: &Place, cell: &str) -> String {
    if cell.replace(',', ".").parse::<f32>().is_ok() {
        return "decimals are written with a point".to_owned();
    }
    if place.name.is_none() && place.line == 1 {
        return "features are numbers, and a row with any number in it is no header".to_owned();
    }
    let column = place.column;
    format!("features are numbers: --drop {column} leaves the column out, --label {column} makes it the label")
}
