//! A text, read line by line or record by record, and these gathered into items.
//!
//! How items are stored it does not know.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroU64;
use std::path::Path;

use convoke_wire::items::HEADER_BYTES_MAX;

use super::records::Records;
use super::{Chunk, Cut, ITEM_BYTES_MAX, InputError, Item};

/// What a text is read from; it may travel to another thread.
pub(super) type Reader = Box<dyn BufRead + Send>;

const READ_BYTES: usize = 256 * 1024;

/// A text that is being cut.
pub(super) struct Text {
    file: String,
    reader: Reader,
    scan: Scan,
    chunk: Chunk,
    /// Whether lines lose their ends.
    is_bare: bool,
    has_header: bool,
    /// A line or record that was read and belongs to the next item.
    ahead: Option<Vec<u8>>,
    /// The most bytes of an item; a test makes it smaller.
    item_bytes_max: usize,
    /// How many line ends were read.
    lines: u64,
    /// How many lines or records, and how many bytes, are in items.
    units_taken: u64,
    bytes_taken: u64,
}

/// Finds the end of a line or of a record.
enum Scan {
    Lines,
    Records(Records),
}

/// Opens a file, or standard input; says what errors call it.
pub(super) fn open(path: &Path) -> Result<(String, Reader), InputError> {
    if path == Path::new("-") {
        return Ok(("stdin".to_owned(), Box::new(BufReader::with_capacity(READ_BYTES, io::stdin()))));
    }
    if path.is_dir() {
        return Err(InputError::Directory { path: path.to_owned() });
    }
    let file = File::open(path).map_err(|source| InputError::Open { path: path.to_owned(), source })?;
    Ok((path.display().to_string(), Box::new(BufReader::with_capacity(READ_BYTES, file))))
}

impl Text {
    pub(super) fn new(file: String, reader: Reader, cut: Cut) -> Self {
        let one = Chunk::Count(NonZeroU64::MIN);
        let (scan, chunk, has_header) = match cut {
            Cut::Records { chunk, delimiter, header } => (Scan::Records(Records::new(delimiter)), chunk, header),
            Cut::Lines(chunk) => (Scan::Lines, chunk, false),
            Cut::EachLine | Cut::Files => (Scan::Lines, one, false),
        };
        Self {
            file,
            reader,
            scan,
            chunk,
            is_bare: matches!(cut, Cut::EachLine),
            has_header,
            ahead: None,
            item_bytes_max: ITEM_BYTES_MAX,
            lines: 0,
            units_taken: 0,
            bytes_taken: 0,
        }
    }

    /// With smaller items than memory allows.
    #[cfg(test)]
    pub(super) fn at_most(self, item_bytes_max: usize) -> Self {
        Self { item_bytes_max, ..self }
    }

    /// The header, if there is to be one; empty in an empty text.
    pub(super) fn header(&mut self) -> Result<Vec<u8>, InputError> {
        let mut header = Vec::new();
        if self.has_header {
            self.item_bytes_max = HEADER_BYTES_MAX;
            self.unit(&mut header).map_err(|error| match error {
                InputError::ItemTooLong { file, line, .. } => InputError::HeaderTooLong { file, line },
                error => error,
            })?;
            self.item_bytes_max = ITEM_BYTES_MAX;
            // The header always ends its line: items stand right behind it.
            self.bytes_taken = header.len() as u64;
        }
        Ok(header)
    }

    /// Reads an item onto the end of `item`, which is empty; `None` at the end of the text.
    pub(super) fn item(&mut self, item: &mut Vec<u8>) -> Result<Option<Item>, InputError> {
        let (units_max, bytes_max) = match self.chunk {
            Chunk::Count(count) => (count.get(), usize::MAX),
            Chunk::Bytes(size) => {
                (u64::MAX, usize::try_from(size.get()).unwrap_or(usize::MAX).min(self.item_bytes_max))
            }
        };
        let mut units = 0;
        while units < units_max {
            let before = item.len();
            match self.ahead.take() {
                Some(ahead) => item.extend_from_slice(&ahead),
                None if self.unit(item)? => {}
                None => break,
            }
            if units > 0 && item.len() > bytes_max {
                self.ahead = Some(item.split_off(before));
                break;
            }
            if item.len() > self.item_bytes_max {
                return Err(self.too_long(self.lines));
            }
            units += 1;
        }
        if units == 0 {
            return Ok(None);
        }
        let first = match self.chunk {
            Chunk::Count(_) => self.units_taken + 1,
            Chunk::Bytes(_) => self.bytes_taken,
        };
        self.units_taken += units;
        self.bytes_taken += item.len() as u64;
        if self.is_bare {
            item.pop_if(|byte| *byte == b'\n');
            item.pop_if(|byte| *byte == b'\r');
        }
        Ok(Some(Item { first, units, name: None, file: None }))
    }

    /// Reads a line or record, its end included, onto the end of an item; false at the end of the text.
    fn unit(&mut self, item: &mut Vec<u8>) -> Result<bool, InputError> {
        let (line, start) = (self.lines + 1, item.len());
        loop {
            let read = match self.reader.fill_buf() {
                Ok(read) => read,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(InputError::Read { file: self.file.clone(), line: self.lines + 1, source }),
            };
            if read.is_empty() {
                if let Scan::Records(records) = &mut self.scan
                    && !records.ends_here()
                {
                    return Err(InputError::UnclosedQuote { file: self.file.clone(), line });
                }
                return Ok(item.len() > start);
            }
            let end = match &mut self.scan {
                Scan::Lines => memchr::memchr(b'\n', read).map(|at| at + 1),
                Scan::Records(records) => records.end(read),
            };
            let taken = &read[..end.unwrap_or(read.len())];
            if item.len() - start + taken.len() > self.item_bytes_max {
                return Err(self.too_long(line));
            }
            item.extend_from_slice(taken);
            self.lines += match self.scan {
                Scan::Lines => u64::from(end.is_some()),
                Scan::Records(_) => memchr::memchr_iter(b'\n', taken).count() as u64,
            };
            let taken = taken.len();
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn too_long(&self, line: u64) -> InputError {
        InputError::ItemTooLong { file: self.file.clone(), line, bytes_max: self.item_bytes_max }
    }
}
