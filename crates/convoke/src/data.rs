//! Data on disk, on its way into a job: a directory of shards becomes blobs and manifests.
//!
//! It finds files and names them; what a row looks like is for `convoke-ml`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use convoke_ml::rows::{self, Layout, RowError, Rows};
use convoke_ml::{Dataset, LabelSet};
use convoke_wire::core::Digest;
use convoke_wire::program::{self, Entry, Manifest};

/// Shards, validation data and labels, as read and checked.
pub struct Data {
    /// What to train on, in natural order of the files' names.
    pub shards: Vec<Shard>,
    /// What to measure on; may be empty.
    pub validation: Vec<Shard>,
    /// The union of the shards' labels.
    pub labels: LabelSet,
    /// How many features a row has.
    pub width: usize,
}

/// A piece of data, ready to be uploaded.
pub struct Shard {
    /// Its file's name, without the ending.
    pub name: String,
    /// How many rows it has.
    pub samples: u64,
    /// The blob's name.
    pub digest: Digest,
    /// The blob: a safetensors file.
    pub blob: Bytes,
}

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
    /// The directory holds nothing to measure on.
    #[error("{} holds no validation data: files named validate_*.txt or validate_*.csv are expected", path.display())]
    NoValidation {
        /// The directory.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("{} is a file; a directory of shards is expected", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A row is wrong.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Files differ in their columns.
    #[error("{file} has {width} features a row, and {first_file} has {first_width}")]
    Widths {
        /// A file.
        file: String,
        /// Its features.
        width: usize,
        /// The first file.
        first_file: String,
        /// Its features.
        first_width: usize,
    },
}

/// Reads a directory of shards: `train_*` and, where there are any, `validate_*`, ending in `.txt` or `.csv`.
pub fn read_directory(path: &Path) -> Result<Data, DataError> {
    if path.is_file() {
        return Err(DataError::NotADirectory { path: path.to_owned() });
    }
    let train = read_all(&files(path, "train_")?)?;
    if train.is_empty() {
        return Err(DataError::NoShards { path: path.to_owned() });
    }
    let validation = read_all(&files(path, "validate_")?)?;
    let width = check_widths(train.iter().chain(&validation))?;
    let labels = LabelSet::union(&train);
    let shards = encode(train, &labels)?;
    let validation = encode(validation, &labels)?;
    Ok(Data { shards, validation, labels, width })
}

/// Reads labelled rows for a model: a file, or a directory's `validate_*` files.
pub fn read_labelled(path: &Path, labels: &LabelSet) -> Result<Vec<Dataset>, DataError> {
    let files = if path.is_dir() { files(path, "validate_")? } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(DataError::NoValidation { path: path.to_owned() });
    }
    let rows = read_all(&files)?;
    check_widths(&rows)?;
    rows.into_iter().map(|rows| Ok(rows.encode(labels)?)).collect()
}

/// The files of a directory that begin with a prefix, 2 before 10.
fn files(directory: &Path, prefix: &str) -> Result<Vec<PathBuf>, DataError> {
    let fail = |source| DataError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(prefix) && (name.ends_with(".txt") || name.ends_with(".csv")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|path| natural(&path.to_string_lossy()));
    Ok(files)
}

/// A name as text and numbers in turn, so that it sorts as people count.
fn natural(name: &str) -> Vec<(String, u128)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - text);
        let number = rest[text..text + digits].parse().unwrap_or(u128::MAX);
        parts.push((rest[..text].to_owned(), number));
        rest = &rest[text + digits..];
    }
    parts
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Rows>, DataError> {
    files.iter().map(|path| Ok(rows::read(&path.display().to_string(), open(path)?, &Layout::default())?)).collect()
}

/// Opens a file for reading rows.
pub fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

fn check_widths<'a>(rows: impl IntoIterator<Item = &'a Rows>) -> Result<usize, DataError> {
    let mut rows = rows.into_iter();
    let Some(first) = rows.next() else { return Ok(0) };
    match rows.find(|rows| rows.width() != first.width()) {
        None => Ok(first.width()),
        Some(other) => Err(DataError::Widths {
            file: other.source_name().to_owned(),
            width: other.width(),
            first_file: first.source_name().to_owned(),
            first_width: first.width(),
        }),
    }
}

fn encode(rows: Vec<Rows>, labels: &LabelSet) -> Result<Vec<Shard>, DataError> {
    rows.into_iter()
        .map(|rows| {
            let stem = Path::new(rows.source_name()).file_stem();
            let name = stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            let dataset = rows.encode(labels)?;
            let samples = dataset.samples() as u64;
            let blob = Bytes::from(dataset.to_safetensors());
            Ok(Shard { name, samples, digest: digest_of(&blob), blob })
        })
        .collect()
}

/// The list of shards that a stage's input is.
pub fn manifest(shards: &[Shard]) -> (Digest, Bytes) {
    let entry =
        |shard: &Shard| Entry { name: shard.name.clone(), digest: shard.digest.0.to_vec(), samples: shard.samples };
    let manifest = Manifest { entries: shards.iter().map(entry).collect() };
    let bytes = Bytes::from(program::encode(&manifest));
    (digest_of(&bytes), bytes)
}

/// The name of a blob.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["train_10", "train_9", "train_b", "train_1", "train_1b", "train_99999999999999999999"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["train_1", "train_1b", "train_9", "train_10", "train_99999999999999999999", "train_b"]);
    }

    #[test]
    fn a_directory_without_shards_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = read_directory(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("holds no shards"), "{refused}");
        let missing = folder.path().join("missing");
        let refused = read_directory(&missing).err().unwrap().to_string();
        assert!(refused.starts_with(&format!("cannot read {}", missing.display())), "{refused}");
    }
}
