//! Where rows come from: the files of a directory, one file, standard input, or a text in memory.
//!
//! It finds and opens; what a row looks like it does not know.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use convoke_ml::letters::{self, Part};

use super::DataError;
use crate::natural::natural;

/// The sets that need no files.
pub const BUILT_IN: [&str; 1] = ["@letters"];

/// What rows are read from.
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A text that was made here, under a name such as a file would have.
    Text { name: String, bytes: Vec<u8> },
}

/// What to train and to validate on, before anything is read.
pub struct Sources {
    /// What to train on; at least one.
    pub train: Vec<Source>,
    /// What to validate on, if anything is meant for that.
    pub validate: Vec<Source>,
    /// Whether `train` is one file that is to be cut into shards, rather than the shards themselves.
    pub whole: bool,
}

impl Source {
    /// What errors call it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "stdin".to_owned(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    /// What shards of it are called: its name without folders and ending.
    pub fn stem(&self) -> String {
        let stem = |path: &Path| path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        match self {
            Self::File(path) => stem(path),
            Self::Stdin => self.name(),
            Self::Text { name, .. } => stem(Path::new(name)),
        }
    }

    /// Its name without folders.
    pub fn file_name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Stdin | Self::Text { .. } => self.name(),
        }
    }

    /// Opens it for reading rows.
    pub fn open(&self) -> Result<Box<dyn BufRead + '_>, DataError> {
        Ok(match self {
            Self::File(path) => {
                let file = File::open(path).map_err(|source| DataError::Read { path: path.clone(), source })?;
                Box::new(BufReader::with_capacity(1 << 16, file))
            }
            Self::Stdin => Box::new(io::stdin().lock()),
            Self::Text { bytes, .. } => Box::new(&bytes[..]),
        })
    }
}

/// Finds what to train on: a built-in set, a directory with `train_*` and perhaps `validate_*` files, or one file.
pub fn find(path: &Path) -> Result<Sources, DataError> {
    if let Some(name) = path.to_str().filter(|name| name.starts_with('@')) {
        return built_in(name).ok_or_else(|| DataError::NoSuchSet { name: name.to_owned() });
    }
    if !path.is_dir() {
        return Ok(Sources { train: vec![Source::File(path.to_owned())], validate: Vec::new(), whole: true });
    }
    let train = rows(path, "train_")?;
    if train.is_empty() {
        return Err(DataError::NoShards { path: path.to_owned() });
    }
    Ok(Sources { train, validate: rows(path, "validate_")?, whole: false })
}

/// The same for what is no rows: a directory's `train_*` files, whatever their endings, or where it has none all that are
/// not `validate_*`; hidden ones are none.
pub fn find_raw(path: &Path) -> Result<Sources, DataError> {
    if !path.is_dir() {
        return find(path);
    }
    let named = |prefix: &'static str| files(path, move |name| name.starts_with(prefix));
    let (mut train, validate) = (named("train_")?, named("validate_")?);
    if train.is_empty() {
        train = files(path, |name| !name.starts_with("validate_") && !name.starts_with('.'))?;
    }
    if train.is_empty() {
        return Err(DataError::NoFiles { path: path.to_owned() });
    }
    Ok(Sources { train, validate, whole: false })
}

/// Finds what to measure on: a directory's `validate_*` files, one file, or `-` for standard input.
pub fn find_labelled(path: &Path) -> Result<Vec<Source>, DataError> {
    if !path.is_dir() {
        return Ok(vec![one(path)]);
    }
    let found = rows(path, "validate_")?;
    if found.is_empty() { Err(DataError::NoValidation { path: path.to_owned() }) } else { Ok(found) }
}

/// One file, or `-` for standard input.
pub fn one(path: &Path) -> Source {
    if path == Path::new("-") { Source::Stdin } else { Source::File(path.to_owned()) }
}

/// The set of this name, made here.
fn built_in(name: &str) -> Option<Sources> {
    if name != "@letters" {
        return None;
    }
    let text = |part: &Part| Source::Text { name: format!("{}.txt", part.name), bytes: part.text().into_bytes() };
    let letters = letters::generate(0);
    let (train, validate) = (letters.shards.iter().map(text).collect(), vec![text(&letters.validation)]);
    Some(Sources { train, validate, whole: false })
}

/// The files of rows in a directory that begin with a prefix.
fn rows(directory: &Path, prefix: &str) -> Result<Vec<Source>, DataError> {
    files(directory, |name| name.starts_with(prefix) && (name.ends_with(".txt") || name.ends_with(".csv")))
}

/// The files of a directory with names that are wanted, 2 before 10.
fn files(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Source>, DataError> {
    let fail = |source| DataError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if wanted(&path.file_name().unwrap_or_default().to_string_lossy()) && path.is_file() {
            files.push(path);
        }
    }
    // Names that count alike, such as 1 and 01, still have an order.
    files.sort_by_cached_key(|path| (natural(&path.to_string_lossy()), path.clone()));
    Ok(files.into_iter().map(Source::File).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_like_a_file() {
        let text = Source::Text { name: "train_letters1.txt".to_owned(), bytes: b"1,a\n".to_vec() };
        assert_eq!((text.stem(), text.open().unwrap().lines().count()), ("train_letters1".to_owned(), 1));
    }

    #[test]
    fn a_directory_without_shards_and_an_unknown_set_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = find(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("holds no shards"), "{refused}");
        let refused = find(Path::new("@leters")).err().unwrap().to_string();
        assert_eq!(refused, "there is no built-in data set `@leters`");
    }
}
