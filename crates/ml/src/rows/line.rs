//! Lines of bounded length, and their cells.
//! One buffer is used for all lines, and it never holds more than the limit.
//! It does not know which cells are features and which is the label.

use std::io::{BufRead, Read};
use std::ops::Range;

use super::cells::{QuoteError, column_of, split};
use super::{Place, RowError};
use crate::excerpt::excerpt;

/// The longest line in bytes, its end included.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How files begin that hold no rows, however they are called.
const OTHER_FORMATS: [(&[u8], &str); 8] = [
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PAR1", "a Parquet file"),
];

/// What is usual between cells, the likeliest first.
const DELIMITERS: [char; 5] = [';', '\t', '|', ',', ' '];

/// The lines of an input.
pub(super) struct Lines<I> {
    file: String,
    input: I,
    delimiter: u8,
    number: u64,
    bytes: Vec<u8>,
    cells: Vec<Range<u32>>,
    /// The header's names, once there is a header; errors name them.
    pub(super) names: Vec<String>,
}

/// A line that is not blank.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    file: &'a str,
    /// From 1.
    pub(super) number: u64,
    bytes: &'a [u8],
    cells: &'a [Range<u32>],
    names: &'a [String],
}

impl<I: BufRead> Lines<I> {
    pub(super) fn new(file: &str, input: I, delimiter: u8) -> Lines<I> {
        Lines {
            file: file.to_string(),
            input,
            delimiter,
            number: 0,
            bytes: Vec::new(),
            cells: Vec::new(),
            names: Vec::new(),
        }
    }

    /// What errors call the input.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The next line that is not blank.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, RowError> {
        while self.read_line()? {
            // A tab that delimits makes an empty cell, which is worth a complaint.
            let blank = |byte: &u8| *byte == b' ' || (*byte == b'\t' && self.delimiter != b'\t') || *byte == b'\r';
            if self.bytes.iter().all(blank) {
                continue;
            }
            self.check_text()?;
            let quotes = split(&mut self.bytes, self.delimiter, &mut self.cells);
            let Lines { file, number, bytes, cells, names, .. } = &*self;
            let line = Line { file, number: *number, bytes, cells, names };
            return match quotes {
                Ok(()) => Ok(Some(line)),
                Err(QuoteError::Unclosed { column }) => Err(RowError::UnclosedQuote { place: line.place(column) }),
                Err(QuoteError::TextBehind { column }) => Err(RowError::TextBehindQuote { place: line.place(column) }),
            };
        }
        Ok(None)
    }

    /// Reads a line into the buffer, without its end; false at the end of the input.
    fn read_line(&mut self) -> Result<bool, RowError> {
        self.number += 1;
        self.bytes.clear();
        let mut bounded = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        if let Err(source) = bounded.read_until(b'\n', &mut self.bytes) {
            return Err(RowError::Read { file: self.file.clone(), line: self.number, source });
        }
        if self.number == 1 {
            self.check_format()?;
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

    /// Recognises at its first bytes a file that holds something else.
    fn check_format(&self) -> Result<(), RowError> {
        let known = OTHER_FORMATS.iter().find(|(start, _)| self.bytes.starts_with(start));
        // Without its mark, UTF-16 shows in every other byte of plain text being zero.
        let bare = matches!(self.bytes[..], [first, 0, ..] | [0, first, ..] if first != 0);
        let found = known.map(|(_, format)| *format).or(bare.then_some("UTF-16 text"));
        found.map_or(Ok(()), |format| Err(RowError::Format { place: self.place_of_byte(0), format }))
    }

    /// The line has to be UTF-8 without control characters, tabs apart.
    fn check_text(&self) -> Result<(), RowError> {
        let valid = std::str::from_utf8(&self.bytes);
        let text_bytes = valid.map_or_else(|error| error.valid_up_to(), str::len);
        let control = self.bytes[..text_bytes].iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
        match (control, valid) {
            (None, Ok(_)) => Ok(()),
            (at, _) => {
                let at = at.unwrap_or(text_bytes);
                Err(RowError::NotText { place: self.place_of_byte(at), byte: self.bytes[at] })
            }
        }
    }

    fn place_of_byte(&self, at: usize) -> Place {
        Place::new(&self.file, self.number, column_of(&self.bytes, at, self.delimiter), &self.names)
    }
}

impl<'a> Line<'a> {
    pub(super) fn cell_count(&self) -> usize {
        self.cells.len()
    }

    /// A cell, from 0; empty where there is none.
    pub(super) fn cell(&self, at: usize) -> &'a str {
        let range = self.cells.get(at).cloned().unwrap_or_default();
        let bytes = &self.bytes[range.start as usize..range.end as usize];
        std::str::from_utf8(bytes).expect("a line is text, and is cut at ASCII characters").trim()
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &'a str> {
        let line = *self;
        (0..self.cells.len()).map(move |at| line.cell(at))
    }

    /// The file in which it stands.
    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// The place of a cell, from 1.
    pub(super) fn place(&self, column: usize) -> Place {
        Place::new(self.file, self.number, column, self.names)
    }

    pub(super) fn expect_cells(&self, expected: usize) -> Result<(), RowError> {
        let found = self.cell_count();
        if found == expected {
            return Ok(());
        }
        Err(RowError::Ragged { place: self.place(found.min(expected + 1)), found, expected })
    }

    /// Appends the cells of these columns, from 0, which must be finite numbers.
    pub(super) fn numbers(&self, columns: &[usize], numbers: &mut Vec<f32>) -> Result<(), RowError> {
        for column in columns {
            match self.cell(*column).parse::<f32>() {
                Ok(number) if number.is_finite() => numbers.push(number),
                parsed => return Err(self.not_a_number(*column, parsed.is_ok())),
            }
        }
        Ok(())
    }

    fn not_a_number(&self, column: usize, parsed: bool) -> RowError {
        let (place, text) = (self.place(column + 1), self.cell(column));
        match (text.is_empty(), parsed) {
            (true, _) => RowError::EmptyCell { place },
            (false, true) => RowError::NotFinite { place, cell: excerpt(text) },
            (false, false) => {
                RowError::NotANumber { place, cell: excerpt(text), delimiter: delimiter_between_numbers(text) }
            }
        }
    }

    /// What may be the delimiter where a line came out as a single cell.
    pub(super) fn other_delimiter(&self) -> Option<char> {
        let text = self.cell(0);
        let count = |delimiter: char| text.matches(delimiter).count();
        let most = DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter));
        most.filter(|delimiter| self.cells.len() == 1 && count(*delimiter) > 0)
    }
}

/// What may delimit, where a cell is several numbers.
fn delimiter_between_numbers(cell: &str) -> Option<char> {
    let numbers = |delimiter: &char| {
        let parts = cell.split(*delimiter);
        parts.clone().count() > 1 && parts.clone().any(|part| part.trim().parse::<f32>().is_ok())
    };
    // A single comma between digits is more likely a decimal one.
    let decimal = cell.replacen(',', ".", 1).parse::<f32>().is_ok();
    DELIMITERS.into_iter().find(numbers).filter(|_| !decimal)
}
