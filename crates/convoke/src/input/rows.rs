//! Rows for a model: read one at a time, and gathered into items of some thousand rows' features.
//!
//! What is predicted of them, and where, it does not know.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use convoke_ml::rows::{Inputs, Layout, UnlabelledRows};

use super::text::{self, Reader};
use super::{InputError, Item};
use crate::output;

/// The most rows of an item.
const ITEM_ROWS_MAX: usize = 8_192;
/// The most bytes of an item's features, if a row has not more.
const ITEM_BYTES_MAX: usize = 1024 * 1024;
/// How many bad rows are named.
const NAMED_MAX: usize = 20;

/// The rows of an input, for a model.
pub struct Rows {
    pub(super) name: String,
    reader: UnlabelledRows<Reader>,
    width: usize,
    /// Whether bad rows are left out, and which were.
    skips: bool,
    skipped: Arc<Skipped>,
    taken: u64,
}

/// Rows that were left out.
#[derive(Default)]
pub struct Skipped(Mutex<SkippedRows>);

#[derive(Default)]
struct SkippedRows {
    /// Why, of the first few.
    named: Vec<String>,
    count: u64,
}

impl Rows {
    /// Opens a file, or `-` for standard input, and reads its first row, which says what columns there are.
    pub fn open(path: &Path, layout: &Layout, model: &Inputs, skip_bad: bool) -> Result<Self, InputError> {
        let (name, reader) = text::open(path)?;
        let reader = UnlabelledRows::open(&name, reader, layout, model)?;
        Ok(Self { name, reader, width: model.width, skips: skip_bad, skipped: Arc::default(), taken: 0 })
    }

    /// The column that is taken for labels and skipped, from 1.
    pub fn labels_ignored(&self) -> Option<usize> {
        self.reader.labels_ignored()
    }

    /// What is left out, now and later.
    pub fn skipped(&self) -> Arc<Skipped> {
        self.skipped.clone()
    }

    /// How many rows an item has, but for the last.
    pub(super) fn per_item(&self) -> usize {
        (ITEM_BYTES_MAX / (size_of::<f32>() * self.width.max(1))).clamp(1, ITEM_ROWS_MAX)
    }

    /// The features of the rows of the next item; empty at the end. An input without good rows is an error.
    pub fn features(&mut self) -> Result<Vec<f32>, InputError> {
        let mut features = Vec::new();
        let values = self.per_item() * self.width;
        while features.len() < values {
            match self.reader.next_row(&mut features) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if self.skips && error.is_of_one_row() => self.skipped.add(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        if features.is_empty() && self.taken == 0 {
            return Err(match self.skipped.first() {
                Some((first, rows)) => InputError::AllBad { file: self.name.clone(), rows, first },
                None => self.reader.header_only().into(),
            });
        }
        self.taken += (features.len() / self.width.max(1)) as u64;
        Ok(features)
    }

    /// The next item, onto the end of `item`, which is empty; `None` at the end.
    pub(super) fn item(&mut self, item: &mut Vec<u8>) -> Result<Option<Item>, InputError> {
        let first = self.taken + 1;
        for value in self.features()? {
            item.extend_from_slice(&value.to_le_bytes());
        }
        let units = self.taken + 1 - first;
        Ok((units > 0).then_some(Item { first, units, name: None, file: None }))
    }
}

impl Skipped {
    fn add(&self, why: String) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.count += 1;
        if rows.named.len() < NAMED_MAX {
            rows.named.push(why);
        }
    }

    fn first(&self) -> Option<(String, u64)> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.named.first().map(|first| (first.clone(), rows.count))
    }

    /// Says which rows were left out, and how many.
    pub fn report(&self) {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for why in &rows.named {
            output::say(format!("skipped: {}", output::line(why)));
        }
        let more = rows.count - rows.named.len() as u64;
        if more > 0 {
            output::say(format!("skipped: {more} more"));
        }
        if rows.count > 0 {
            output::say(format!("warning: rows that could not be read and were left out: {}", rows.count));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::input::{Content, Input};

    const MODEL: Inputs = Inputs { width: 2, names: Vec::new() };

    fn open(text: &str, skip_bad: bool) -> Result<Rows, InputError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        fs::write(&path, text).unwrap();
        Rows::open(&path, &Layout::default(), &MODEL, skip_bad)
    }

    #[test]
    fn rows_become_pieces_of_features() {
        let text: String = (0..20_000).map(|row| format!("{row},{}\n", row * 2)).collect();
        let parts: Vec<_> = Input::of_rows(open(&text, false).unwrap()).collect::<Result<_, _>>().unwrap();
        let [part] = &parts[..] else { panic!("{} parts", parts.len()) };
        assert_eq!((part.entry.items, part.entry.samples, part.entry.first), (3, 20_000, 1));
        assert!(matches!(part.content, Content::Bytes(_)));
    }

    #[test]
    fn bad_rows_end_it_or_are_left_out_and_told() {
        let text = "1,2\n3,x\n5,6\n7\n";
        let refused = open(text, false).unwrap().features().unwrap_err();
        assert!(refused.to_string().contains("line 2, column 2"), "{refused}");
        let mut rows = open(text, true).unwrap();
        assert_eq!(rows.features().unwrap(), [1.0, 2.0, 5.0, 6.0]);
        assert!(rows.features().unwrap().is_empty());
        assert_eq!(rows.skipped().first().unwrap().1, 2);
        let refused = open("1,x\n2,x\n", true).unwrap().features().unwrap_err();
        assert!(refused.to_string().contains("none of its 2 rows can be read; the first: "), "{refused}");
        assert!(open("a,b\n", true).unwrap().features().is_err(), "a header is no row");
    }
}
