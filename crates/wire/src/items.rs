//! Items: which blob of a manifest holds the `i`-th of them, where in it, and what people call it.
//!
//! Manifests and pieces come from peers: whatever does not add up is an error here. How an input is cut it does not know.

use bytes::Bytes;
use convoke_core::{Digest, TASKS_MAX};
use prost::Message;

use crate::program::{Entry, Manifest, Piece, ProgramError, Range, Unit};

/// The most items of a piece.
pub const PIECE_ITEMS_MAX: u32 = 4_096;
/// The most bytes of a piece's items. A larger item is a blob of its own.
pub const PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most bytes of the blob that a piece is: its items, five bytes for the size of each, and what is around them.
pub const PIECE_BLOB_BYTES_MAX: u64 = PIECE_BYTES_MAX as u64 + 5 * PIECE_ITEMS_MAX as u64 + 64;
/// The most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// A manifest whose items can be found by their index.
#[derive(Clone, Debug)]
pub struct Items {
    manifest: Manifest,
    /// How many items the entries hold up to and with each.
    ends: Vec<u32>,
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its entry's place in the manifest.
    pub entry: u32,
    /// The entry's blob.
    pub digest: Digest,
    /// Its place in the piece that the blob is; `None` where the blob is the item itself.
    pub within: Option<Within>,
}

/// A place in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// The place, from 0.
    pub place: u32,
    /// How many items the piece has to hold.
    pub items: u32,
}

impl Items {
    /// Counts a manifest's items: an entry is one itself, or a piece with `items` of them.
    pub fn new(manifest: Manifest) -> Result<Self, ProgramError> {
        let mut end = 0;
        let mut ends = Vec::with_capacity(manifest.entries.len());
        for (index, entry) in (0..).zip(&manifest.entries) {
            if entry.items > PIECE_ITEMS_MAX {
                return Err(ProgramError::PieceItems { index, items: entry.items });
            }
            // Both are small: the sum is far from the end of a u32.
            end += entry.items.max(1);
            if end > TASKS_MAX {
                return Err(ProgramError::TooManyItems);
            }
            ends.push(end);
        }
        Ok(Self { manifest, ends })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How many items there are, at most [`TASKS_MAX`].
    pub fn count(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Where the `index`-th item is, from 0.
    pub fn locate(&self, index: u32) -> Result<Located, ProgramError> {
        let (place, within) = self.place(index).ok_or(ProgramError::NoItem { index, items: self.count() })?;
        let items = self.manifest.entries[place].items;
        let within = (items > 0).then_some(Within { place: within, items });
        let entry = place as u32;
        Ok(Located { entry, digest: self.manifest.blob(entry)?, within })
    }

    /// What people call the `index`-th item, such as `lines 10001-20000 of book.txt`. Some of it may be a peer's words: it
    /// is to be escaped where it is shown.
    pub fn label(&self, index: u32) -> String {
        let Some((place, within)) = self.place(index) else { return format!("item {}", u64::from(index) + 1) };
        let (entry, manifest) = (&self.manifest.entries[place], &self.manifest);
        let source = if manifest.source.is_empty() { &entry.name } else { &manifest.source };
        match manifest.unit() {
            Unit::Lines => numbered("line", entry, within, manifest.per_item, source),
            Unit::Records => numbered("record", entry, within, manifest.per_item, source),
            // Items are not of one size: of those in a piece, only the first one's place is written down.
            Unit::Bytes if within == 0 => format!("bytes from {} of {source}", entry.first),
            Unit::Bytes => format!("chunk {} from byte {} of {source}", within + 1, entry.first),
            Unit::Files => match entry.names.get(within as usize) {
                Some(name) if manifest.source.is_empty() => name.clone(),
                Some(name) => format!("{}/{name}", manifest.source.trim_end_matches('/')),
                None => format!("file {} of {source}", u64::from(index) + 1),
            },
            Unit::Unspecified if entry.name.is_empty() || entry.items > 0 => format!("item {}", u64::from(index) + 1),
            Unit::Unspecified => entry.name.clone(),
        }
    }

    /// The place of the entry that holds an item, and the item's among those that the entry holds.
    fn place(&self, index: u32) -> Option<(usize, u32)> {
        let place = self.ends.partition_point(|end| *end <= index);
        let before = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        (place < self.ends.len()).then(|| (place, index - before))
    }
}

/// `line 18 of ids.txt`, `lines 10001-20000 of book.txt`. The last item may hold fewer than the others.
fn numbered(noun: &str, entry: &Entry, within: u32, per_item: u64, source: &str) -> String {
    let first = entry.first.saturating_add(per_item.saturating_mul(within.into()));
    let piece_last = entry.first.saturating_add(entry.samples).saturating_sub(1);
    let last = first.saturating_add(per_item).saturating_sub(1).min(piece_last);
    if last > first { format!("{noun}s {first}-{last} of {source}") } else { format!("{noun} {first} of {source}") }
}

impl Located {
    /// The most bytes that the entry's blob may have, `bytes_max` where it is the item itself.
    pub fn blob_bytes_max(&self, bytes_max: u64) -> u64 {
        if self.within.is_some() { PIECE_BLOB_BYTES_MAX } else { bytes_max }
    }

    /// The item, out of its entry's blob, whose memory it shares.
    pub fn item(&self, blob: Bytes) -> Result<Bytes, ProgramError> {
        match self.within {
            Some(within) => Piece::item(blob, within),
            None => Ok(blob),
        }
    }
}

impl Piece {
    /// An item out of a piece's bytes, whose memory it shares.
    pub fn item(bytes: Bytes, within: Within) -> Result<Bytes, ProgramError> {
        if bytes.len() as u64 > PIECE_BLOB_BYTES_MAX {
            return Err(ProgramError::PieceTooLarge { bytes: bytes.len() });
        }
        let piece = Self::decode(bytes).map_err(|source| ProgramError::Malformed { what: "piece", source })?;
        if within.place >= within.items {
            return Err(ProgramError::NoItem { index: within.place, items: within.items });
        }
        if piece.sizes.len() != within.items as usize {
            return Err(ProgramError::PieceCount { found: piece.sizes.len(), expected: within.items });
        }
        let sum = |sizes: &[u32]| sizes.iter().map(|size| u64::from(*size)).sum::<u64>();
        if sum(&piece.sizes) != piece.data.len() as u64 {
            return Err(ProgramError::PieceSizes { sum: sum(&piece.sizes), bytes: piece.data.len() });
        }
        // All sizes add up to the data, so that a part of them fits in memory.
        let (before, size) = (&piece.sizes[..within.place as usize], piece.sizes[within.place as usize]);
        let start = sum(before) as usize;
        Ok(piece.data.slice(start..start + size as usize))
    }
}

impl Range {
    /// The `index`-th integer.
    pub fn number(&self, index: u32) -> Result<i64, ProgramError> {
        let number = i128::from(self.first) + i128::from(self.step) * i128::from(index);
        i64::try_from(number).map_err(|_| ProgramError::RangeEnds { index })
    }
}

#[cfg(test)]
#[path = "items/tests.rs"]
mod tests;
