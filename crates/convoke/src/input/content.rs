//! What a blob is made of, before it is stored: bytes, a file, or a part of one.
//!
//! Files are opened when they are read; that they may change until then is found out by whoever knows their digests.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// What a blob is made of.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// A file as it is: it may be too large for memory.
    File {
        /// The file.
        path: PathBuf,
        /// How many bytes it has.
        bytes: u64,
    },
    /// A part of a file, behind a header.
    Part {
        /// The file.
        path: PathBuf,
        /// What stands before the part.
        header: Bytes,
        /// Where the part begins in the file.
        first: u64,
        /// How many bytes it has.
        bytes: u64,
    },
}

impl Content {
    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
            Self::Part { header, bytes, .. } => header.len() as u64 + bytes,
        }
    }

    /// Opens it for reading.
    pub fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::File { path, .. } => Box::new(File::open(path)?),
            Self::Part { path, header, first, bytes } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*first))?;
                Box::new(io::Cursor::new(header.clone()).chain(file.take(*bytes)))
            }
        })
    }

    /// The file that it is read from.
    pub fn path(&self) -> &Path {
        match self {
            Self::Bytes(_) => Path::new(""),
            Self::File { path, .. } | Self::Part { path, .. } => path,
        }
    }
}
