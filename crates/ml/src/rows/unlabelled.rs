//! Rows for a model, one at a time: an input may be larger than memory, and whoever reads may go on behind a bad row.
//! It does not know what is predicted, nor how many rows anybody wants.

use std::io::BufRead;

use super::RowError;
use super::columns::{Columns, Purpose};
use super::layout::{Inputs, Layout};
use super::line::Lines;

/// The rows of an input, for a model.
pub struct UnlabelledRows<I> {
    lines: Lines<I>,
    columns: Columns,
    /// The features of the first row, or why it has none; `None` once it was taken, and where it is a header.
    first: Option<Result<Vec<f32>, RowError>>,
}

impl<I: BufRead> UnlabelledRows<I> {
    /// Resolves the layout against the first row. Where that has a column more than the model has features, the label is
    /// skipped; columns that are to be dropped may be missing. `source_name` is what errors call the input.
    pub fn open(source_name: &str, input: I, layout: &Layout, model: &Inputs) -> Result<Self, RowError> {
        let mut lines = Lines::new(source_name, input, layout.delimiter);
        let Some(line) = lines.next_line()? else {
            return Err(RowError::Empty { file: source_name.to_string() });
        };
        let columns = Columns::resolve(layout, &line, Purpose::Predicting(model))?;
        let first = match &columns.names {
            Some(names) => {
                lines.names.clone_from(names);
                None
            }
            None => {
                let mut features = Vec::new();
                Some(line.numbers(&columns.features, &mut features).map(|()| features))
            }
        };
        Ok(Self { lines, columns, first })
    }

    /// Appends the next row's features; false at the end. After an error of one row ([`RowError::is_of_one_row`]) nothing
    /// was appended, and the row behind it is the next.
    pub fn next_row(&mut self, features: &mut Vec<f32>) -> Result<bool, RowError> {
        if let Some(first) = self.first.take() {
            features.extend(first?);
            return Ok(true);
        }
        let Some(line) = self.lines.next_line()? else { return Ok(false) };
        line.expect_cells(self.columns.count)?;
        let before = features.len();
        let read = line.numbers(&self.columns.features, features);
        if read.is_err() {
            features.truncate(before);
        }
        read.map(|()| true)
    }

    /// The column that is taken for labels and skipped, from 1.
    pub fn labels_ignored(&self) -> Option<usize> {
        self.columns.label.map(|column| column + 1)
    }

    /// That the input ended behind its header.
    pub fn header_only(&self) -> RowError {
        RowError::HeaderOnly { file: self.lines.file().to_string(), line: self.columns.line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Inputs = Inputs { width: 2, names: Vec::new() };

    /// What comes of each row: its features, or why it has none.
    fn read(text: &str) -> Vec<Result<Vec<f32>, String>> {
        let mut rows = UnlabelledRows::open("x.csv", text.as_bytes(), &Layout::default(), &MODEL).unwrap();
        let mut read = Vec::new();
        loop {
            let mut features = vec![9.0];
            let row = rows.next_row(&mut features);
            match row {
                Ok(false) => return read,
                Ok(true) => read.push(Ok(features.split_off(1))),
                Err(error) => {
                    assert!(error.is_of_one_row(), "{error}");
                    assert_eq!(features, [9.0], "nothing is left of a bad row");
                    read.push(Err(error.to_string()));
                }
            }
        }
    }

    #[test]
    fn reading_goes_on_behind_a_bad_row() {
        let cells = read("1,2\n3,x\n4\n\n\"5,6\n7,nan\n8,9\n");
        let (good, bad): (Vec<_>, Vec<_>) = cells.into_iter().partition(Result::is_ok);
        assert_eq!(good, [Ok(vec![1.0, 2.0]), Ok(vec![8.0, 9.0])]);
        for (said, place) in bad.iter().zip(["line 2, column 2", "line 3", "line 5, column 1", "line 6, column 2"]) {
            let said = said.as_ref().unwrap_err();
            assert!(said.starts_with(&format!("x.csv, {place}")), "{said}");
        }
        assert_eq!(bad.len(), 4);
    }

    #[test]
    fn the_first_row_may_be_bad_too() {
        let read = read("1,x,a\n3,4,b\n");
        assert_eq!(read[1], Ok(vec![3.0, 4.0]));
        assert!(read[0].as_ref().unwrap_err().starts_with("x.csv, line 1, column 2"), "{read:?}");
    }
}
