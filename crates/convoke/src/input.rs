//! Divisible input on its way into a job: it is cut into items, one for each task, and consecutive small items are packed
//! into pieces. It is read as a stream: at most a piece and an item of it are in memory.
//!
//! Everything that can be wrong with an input is found here; what a task makes of its item, and how pieces reach a
//! coordinator, it does not know.

mod array;
mod content;
mod error;
mod files;
mod records;
mod rows;
mod text;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::path::Path;

use convoke_wire::core::TASKS_MAX;
use convoke_wire::items::{PIECE_BYTES_MAX, PIECE_ITEMS_MAX};
use convoke_wire::program::{self, Entry, MANIFEST_BYTES_MAX, Manifest, Message, Piece, Unit};

pub use array::Array;
pub use content::Content;
pub use error::InputError;
use files::Files;
pub use rows::Rows;
use text::Text;

/// The most bytes of an item that is cut from a text: it is in memory while it is packed.
pub const ITEM_BYTES_MAX: usize = 1 << 30;

/// What a digest adds to an entry, and the entry to its manifest.
const ENTRY_FRAME_BYTES: usize = 40;

/// How an input is cut into items.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Each line is an item, without its end: LF, CRLF, or none at the end of the input. An empty line is an empty item.
    EachLine,
    /// Whole lines, their ends included: all items end to end are the input.
    Lines(Chunk),
    /// Whole records of a CSV file, whose quoted cells may hold line ends: the header, if there is one, and all items end to
    /// end are the input. An empty line is a record.
    Records {
        /// How many an item has.
        chunk: Chunk,
        /// What stands between cells.
        delimiter: u8,
        /// Whether the first record is a header, which stands before every item.
        header: bool,
    },
    /// The files of a directory that the shell's `DIR/*` names, 2 before 10, each an item.
    Files,
}

/// How much an item holds.
#[derive(Clone, Copy, Debug)]
pub enum Chunk {
    /// So many lines or records; the last item may have fewer.
    Count(NonZeroU64),
    /// As many whole lines or records as fit in so many bytes. One that is larger is an item by itself.
    Bytes(NonZeroU64),
}

/// An entry of the manifest, and what is to be stored for it.
#[derive(Debug)]
pub struct Part {
    /// The entry, but for its digest.
    pub entry: Entry,
    /// The entry's blob.
    pub content: Content,
}

/// An input that is being cut: an iterator of its parts. It blocks, for what it reads may be a pipe.
pub struct Input {
    items: Items,
    /// What people call the input.
    name: String,
    unit: Unit,
    per_item: u64,
    header: Vec<u8>,
    /// An item that was read and is in no part yet: its bytes, and what else is known of it.
    bytes: Vec<u8>,
    waiting: Option<Item>,
    items_taken: u32,
    /// How many bytes the manifest will have.
    manifest_bytes: usize,
    ended: bool,
}

/// Where items come from.
enum Items {
    Text(Text),
    Files(Files),
    Rows(Box<Rows>),
}

/// What is known of an item besides its bytes.
struct Item {
    /// The number of its first line or record, from 1, or of its first byte, from 0.
    first: u64,
    /// How many lines, records or files it is.
    units: u64,
    /// What it is called, where it has a name.
    name: Option<String>,
    /// The file that it is, where it is too large to be read.
    file: Option<Content>,
}

impl Input {
    /// Opens a file, `-` for standard input, or, for [`Cut::Files`], a directory. A header is read at once.
    pub fn open(path: &Path, cut: Cut) -> Result<Self, InputError> {
        if let Cut::Files = cut {
            let files = Files::of(path)?;
            let name = path.display().to_string();
            return Ok(Self::new(Items::Files(files), name, Unit::Files, 0));
        }
        let (name, reader) = text::open(path)?;
        Self::of_text(name, reader, cut)
    }

    /// The same for a text that is read from anywhere.
    fn of_text(name: String, reader: text::Reader, cut: Cut) -> Result<Self, InputError> {
        let (unit, per_item) = match cut {
            Cut::EachLine => (Unit::Lines, 1),
            Cut::Lines(Chunk::Count(count)) => (Unit::Lines, count.get()),
            Cut::Records { chunk: Chunk::Count(count), .. } => (Unit::Records, count.get()),
            Cut::Lines(Chunk::Bytes(_)) | Cut::Records { chunk: Chunk::Bytes(_), .. } => (Unit::Bytes, 0),
            Cut::Files => (Unit::Files, 0),
        };
        let mut text = Text::new(name.clone(), reader, cut);
        let header = text.header()?;
        Ok(Self { header, ..Self::new(Items::Text(text), name, unit, per_item) })
    }

    /// Rows' features, some thousand rows an item.
    pub fn of_rows(rows: Rows) -> Self {
        let (name, per_item) = (rows.name.clone(), rows.per_item() as u64);
        Self::new(Items::Rows(Box::new(rows)), name, Unit::Records, per_item)
    }

    fn new(items: Items, name: String, unit: Unit, per_item: u64) -> Self {
        Self {
            items,
            name,
            unit,
            per_item,
            header: Vec::new(),
            bytes: Vec::new(),
            waiting: None,
            items_taken: 0,
            manifest_bytes: 0,
            ended: false,
        }
    }

    /// How many things in the directory are no items: hidden files, folders, devices.
    pub fn left_out(&self) -> usize {
        match &self.items {
            Items::Text(_) | Items::Rows(_) => 0,
            Items::Files(files) => files.left_out,
        }
    }

    /// The manifest of the parts' entries, once these have their digests.
    pub fn manifest(&self, entries: Vec<Entry>) -> Manifest {
        Manifest {
            entries,
            header: self.header.clone(),
            unit: self.unit.into(),
            per_item: self.per_item,
            source: self.name.clone(),
        }
    }

    /// The next part; `None` at the end. An input without items is an error.
    fn part(&mut self) -> Result<Option<Part>, InputError> {
        let mut piece = Packing::default();
        while self.look()? {
            if !piece.has_room(self.bytes.len()) {
                break;
            }
            let Some(mut item) = self.waiting.take() else { break };
            let is_large = item.file.is_some() || self.bytes.len() > PIECE_BYTES_MAX;
            if is_large && !piece.sizes.is_empty() {
                self.waiting = Some(item);
                break;
            }
            self.items_taken += 1;
            piece.entry.first = if piece.sizes.is_empty() { item.first } else { piece.entry.first };
            piece.entry.samples += item.units;
            piece.entry.names.extend(item.name.take());
            if is_large {
                let bytes = std::mem::take(&mut self.bytes);
                let content = item.file.unwrap_or_else(|| Content::Bytes(bytes.into()));
                return self.listed(piece.entry, content).map(Some);
            }
            piece.add(&self.bytes);
        }
        if piece.sizes.is_empty() {
            return if self.items_taken > 0 { Ok(None) } else { Err(self.nothing()) };
        }
        let (entry, content) = piece.close();
        self.listed(entry, content).map(Some)
    }

    /// Whether there is another item, which waits from now on.
    fn look(&mut self) -> Result<bool, InputError> {
        if self.waiting.is_none() {
            self.bytes.clear();
            self.waiting = match &mut self.items {
                Items::Text(text) => text.item(&mut self.bytes)?,
                Items::Files(files) => files.item(&mut self.bytes)?,
                Items::Rows(rows) => rows.item(&mut self.bytes)?,
            };
            if self.waiting.is_some() && self.items_taken == TASKS_MAX {
                return Err(InputError::TooManyItems { file: self.name.clone() });
            }
        }
        Ok(self.waiting.is_some())
    }

    /// A part, if the manifest has room for its entry.
    fn listed(&mut self, entry: Entry, content: Content) -> Result<Part, InputError> {
        self.manifest_bytes += entry.encoded_len() + ENTRY_FRAME_BYTES;
        if (self.manifest_bytes + self.header.len() + self.name.len() + ENTRY_FRAME_BYTES) as u64 > MANIFEST_BYTES_MAX {
            return Err(InputError::ManifestTooLarge { file: self.name.clone() });
        }
        Ok(Part { entry, content })
    }

    fn nothing(&self) -> InputError {
        let file = self.name.clone();
        if self.header.is_empty() { InputError::Empty { file } } else { InputError::HeaderOnly { file } }
    }
}

impl Iterator for Input {
    type Item = Result<Part, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let part = self.part().transpose();
        self.ended = !matches!(part, Some(Ok(_)));
        part
    }
}

/// A piece that is being filled.
#[derive(Default)]
struct Packing {
    entry: Entry,
    sizes: Vec<u32>,
    data: Vec<u8>,
}

impl Packing {
    fn has_room(&self, bytes: usize) -> bool {
        let is_full = self.sizes.len() >= PIECE_ITEMS_MAX as usize || self.data.len() + bytes > PIECE_BYTES_MAX;
        self.sizes.is_empty() || !is_full
    }

    fn add(&mut self, item: &[u8]) {
        self.sizes.push(u32::try_from(item.len()).expect("an item in a piece is no larger than a piece"));
        self.data.extend_from_slice(item);
    }

    fn close(self) -> (Entry, Content) {
        let items = u32::try_from(self.sizes.len()).expect("a piece holds few items");
        let piece = Piece { sizes: self.sizes, data: self.data.into() };
        (Entry { items, ..self.entry }, Content::Bytes(program::encode(&piece).into()))
    }
}
