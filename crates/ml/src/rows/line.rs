//! Lines of bounded length, and their cells.
//! One buffer is used for all lines, and it never holds more than the limit.
//! It does not know which cells are features and which is the label.

use std::io::{BufRead, Read};

use super::{LABEL_BYTES_MAX, Place, RowError};
use crate::excerpt::excerpt;

/// The longest line in bytes, its end included.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of an input.
pub(super) struct Lines<'a, I> {
    file: &'a str,
    input: I,
    number: u64,
    bytes: Vec<u8>,
}

/// A line that is not blank.
pub(super) struct Line<'a> {
    file: &'a str,
    /// From 1.
    pub(super) number: u64,
    text: &'a str,
}

impl<'a, I: BufRead> Lines<'a, I> {
    pub(super) fn new(file: &'a str, input: I) -> Lines<'a, I> {
        Lines { file, input, number: 0, bytes: Vec::new() }
    }

    /// The next line that is not blank.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, RowError> {
        while self.read_line()? {
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(Some(Line { file: self.file, number: self.number, text: self.text()? }));
            }
        }
        Ok(None)
    }

    /// Reads a line into the buffer, without its end; false at the end of the input.
    fn read_line(&mut self) -> Result<bool, RowError> {
        self.number += 1;
        self.bytes.clear();
        let mut bounded = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        if let Err(source) = bounded.read_until(b'\n', &mut self.bytes) {
            return Err(RowError::Read { file: self.file.to_string(), line: self.number, source });
        }
        if self.bytes.len() > LINE_BYTES_MAX {
            return Err(RowError::LineTooLong { place: self.place_of_byte(LINE_BYTES_MAX) });
        }
        if self.bytes.is_empty() {
            return Ok(false);
        }
        if self.number == 1 && self.bytes.starts_with(BYTE_ORDER_MARK) {
            self.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        for end in [b'\n', b'\r'] {
            self.bytes.pop_if(|byte| *byte == end);
        }
        Ok(true)
    }

    /// The line as text: UTF-8 without control characters, tabs apart.
    fn text(&self) -> Result<&str, RowError> {
        let valid = std::str::from_utf8(&self.bytes);
        let text_bytes = valid.map_or_else(|error| error.valid_up_to(), str::len);
        let control = self.bytes[..text_bytes].iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
        match (control, valid) {
            (None, Ok(text)) => Ok(text),
            (at, _) => {
                let at = at.unwrap_or(text_bytes);
                Err(RowError::NotText { place: self.place_of_byte(at), byte: self.bytes[at] })
            }
        }
    }

    fn place_of_byte(&self, at: usize) -> Place {
        let commas = self.bytes[..at].iter().filter(|byte| **byte == b',').count() as u64;
        Place { file: self.file.to_string(), line: self.number, column: commas + 1 }
    }
}

impl<'a> Line<'a> {
    pub(super) fn cell_count(&self) -> usize {
        self.text.bytes().filter(|byte| *byte == b',').count() + 1
    }

    fn cells(&self) -> impl Iterator<Item = &'a str> {
        self.text.split(',').map(str::trim)
    }

    /// The place of a cell, from 1.
    pub(super) fn place(&self, column: usize) -> Place {
        Place { file: self.file.to_string(), line: self.number, column: column as u64 }
    }

    pub(super) fn expect_cells(&self, expected: usize) -> Result<(), RowError> {
        let found = self.cell_count();
        if found == expected {
            return Ok(());
        }
        Err(RowError::Ragged { place: self.place(found.min(expected + 1)), found, expected })
    }

    /// Appends the first `count` cells, which must be finite numbers.
    pub(super) fn numbers(&self, count: usize, numbers: &mut Vec<f32>) -> Result<(), RowError> {
        for (position, cell) in self.cells().take(count).enumerate() {
            let problem = || (self.place(position + 1), excerpt(cell));
            match cell.parse::<f32>() {
                Ok(number) if number.is_finite() => numbers.push(number),
                Ok(_) => {
                    let (place, cell) = problem();
                    return Err(RowError::NotFinite { place, cell });
                }
                Err(_) => {
                    let (place, cell) = problem();
                    return Err(RowError::NotANumber { place, cell });
                }
            }
        }
        Ok(())
    }

    /// The label in the cell `column`, from 1.
    pub(super) fn label(&self, column: usize) -> Result<&'a str, RowError> {
        let label = self.cells().nth(column - 1).unwrap_or_default();
        match label.len() {
            0 => Err(RowError::EmptyLabel { place: self.place(column) }),
            1..=LABEL_BYTES_MAX => Ok(label),
            label_bytes => Err(RowError::LabelTooLong { place: self.place(column), label_bytes }),
        }
    }
}
