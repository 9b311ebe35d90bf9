//! Data for a user's own training: files as they are, and one text file cut between its lines.
//!
//! Nothing of a file is held: what a shard is made of is read again when it is stored. What is in a file it does not know,
//! but for the header of a CSV file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use convoke_ml::merge::SAMPLES_MAX;
use convoke_ml::rows::RowError;
use convoke_ml::split;

use super::DataError;
use super::sources::{self, Source};
use crate::input::Content;

/// The most bytes of a first line that may be a header.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// How much is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Shards and validation data.
pub struct Raw {
    /// What to train on; files of a directory in natural order of their names.
    pub shards: Vec<RawShard>,
    /// What to measure on; may be empty.
    pub validation: Vec<RawShard>,
}

/// A piece of data, ready to be stored.
pub struct RawShard {
    /// Its file's name: programs may tell by its ending what it is.
    pub name: String,
    /// The lines of a text, without a header; [`SAMPLES_MAX`] where nobody knows.
    pub samples: u64,
    /// What it is made of.
    pub content: Content,
}

/// How data is to be read.
pub struct RawReading<'a> {
    /// What to validate on, if it was said.
    pub validate: Option<&'a Path>,
    /// Into how many shards one text file is cut, if it was said.
    pub shards: Option<usize>,
    /// What stands between the cells of a CSV file.
    pub delimiter: u8,
}

/// The lines of a text file.
struct Lines {
    /// How many, without a header.
    count: u64,
    /// The header, its line end included; empty where there is none.
    header: Bytes,
}

/// Finds what to train on: a directory's `train_*` files or else all of them, one file, or a built-in set.
pub fn read_raw(path: &Path, reading: &RawReading<'_>) -> Result<Raw, DataError> {
    let found = sources::find_raw(path)?;
    let validation = match reading.validate {
        Some(file) => vec![Source::File(file.to_owned())],
        None => found.validate,
    };
    let validation = whole(&validation, reading.delimiter)?;
    let shards = match (&found.train[..], found.whole) {
        ([Source::File(file)], true) if is_text(file) => cut(file, reading)?,
        (_, true) if reading.shards.is_some_and(|shards| shards > 1) => {
            return Err(DataError::NotCut { path: path.to_owned(), wanted: reading.shards.unwrap_or(1) });
        }
        (found, false) if reading.shards.is_some() => {
            let (wanted, found) = (reading.shards.unwrap_or(1), found.len());
            return Err(DataError::ShardsExist { path: path.to_owned(), wanted, found });
        }
        (found, _) => whole(found, reading.delimiter)?,
    };
    Ok(Raw { shards, validation })
}

/// Files as they are.
fn whole(sources: &[Source], delimiter: u8) -> Result<Vec<RawShard>, DataError> {
    let one = |source: &Source| {
        let name = source.file_name();
        Ok(match source {
            Source::File(path) => {
                let bytes = size(path)?;
                let samples = if is_text(path) { lines(path, delimiter)?.count } else { SAMPLES_MAX };
                RawShard { name, samples, content: Content::File { path: path.clone(), bytes } }
            }
            Source::Text { bytes, .. } => {
                let samples = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
                RawShard { name, samples, content: Content::Bytes(bytes.clone().into()) }
            }
            Source::Stdin => unreachable!("a file may be called -, and stdin is not asked for"),
        })
    };
    sources.iter().map(one).collect()
}

/// One text file, cut between lines, as evenly as their number allows; the header stands before each piece.
fn cut(path: &Path, reading: &RawReading<'_>) -> Result<Vec<RawShard>, DataError> {
    let Lines { count, header } = lines(path, reading.delimiter)?;
    let file = path.display().to_string();
    if count == 0 {
        let empty = if header.is_empty() { RowError::Empty { file } } else { RowError::HeaderOnly { file, line: 1 } };
        return Err(empty.into());
    }
    let shards = reading.shards.unwrap_or_else(|| split::shards_for(usize::try_from(count).unwrap_or(usize::MAX)));
    if shards as u64 > count {
        let rows = usize::try_from(count).unwrap_or(usize::MAX);
        return Err(DataError::TooManyShards { name: file, rows, wanted: shards });
    }
    let first_lines: Vec<u64> = (0..=shards as u64).map(|shard| shard * count / shards as u64).collect();
    let begins = line_begins(path, header.len() as u64, &first_lines)?;
    let source = Source::File(path.to_owned());
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let piece = |(number, (lines, begins)): (usize, (&[u64], &[u64]))| RawShard {
        name: format!("{}-{number}.{ending}", source.stem()),
        samples: lines[1] - lines[0],
        content: Content::Part {
            path: path.to_owned(),
            header: header.clone(),
            first: begins[0],
            bytes: begins[1] - begins[0],
        },
    };
    Ok((1..).zip(first_lines.windows(2).zip(begins.windows(2))).map(piece).collect())
}

/// Counts a text file's lines. The first one of a CSV file is its header, if no cell of it is a number.
fn lines(path: &Path, delimiter: u8) -> Result<Lines, DataError> {
    let mut reader = open(path)?;
    let (mut count, mut header, mut last) = (0, Bytes::new(), b'\n');
    if ending(path) == "csv" {
        let mut first = Vec::new();
        let read = (&mut reader).take(HEADER_BYTES_MAX).read_until(b'\n', &mut first);
        read.map_err(|source| cannot_read(path, source))?;
        last = first.last().copied().unwrap_or(last);
        if last == b'\n' && is_header(&first, delimiter) {
            header = first.into();
        } else {
            count += u64::from(last == b'\n' && !first.is_empty());
        }
    }
    loop {
        let read = reader.fill_buf().map_err(|source| cannot_read(path, source))?;
        let Some(end) = read.last() else { break };
        last = *end;
        count += memchr::memchr_iter(b'\n', read).count() as u64;
        let taken = read.len();
        reader.consume(taken);
    }
    // The last line may lack its end.
    Ok(Lines { count: count + u64::from(last != b'\n'), header })
}

/// Where lines begin, of some that are asked for in order: the first is 0, behind the header; one behind the last is the
/// file's end.
fn line_begins(path: &Path, header_bytes: u64, wanted: &[u64]) -> Result<Vec<u64>, DataError> {
    let mut reader = open(path)?;
    io::copy(&mut (&mut reader).take(header_bytes), &mut io::sink()).map_err(|source| cannot_read(path, source))?;
    let (mut begins, mut line, mut byte) = (Vec::new(), 0, header_bytes);
    let mut is_quoted = false;
    let is_csv = ending(path) == "csv";
    while begins.len() < wanted.len() && wanted[begins.len()] == 0 {
        begins.push(byte);
    }
    loop {
        let read = reader.fill_buf().map_err(|source| cannot_read(path, source))?;
        if read.is_empty() {
            break;
        }
        for at in memchr::memchr2_iter(b'\n', b'"', read) {
            if read[at] == b'"' {
                is_quoted = is_csv && !is_quoted;
                continue;
            }
            line += 1;
            if wanted.get(begins.len()) == Some(&line) {
                if is_quoted {
                    let line = line + u64::from(header_bytes > 0);
                    return Err(DataError::CutInQuotes { path: path.to_owned(), line });
                }
                begins.push(byte + at as u64 + 1);
            }
        }
        let taken = read.len();
        byte += taken as u64;
        reader.consume(taken);
    }
    begins.resize(wanted.len(), byte);
    Ok(begins)
}

/// As for rows that are read: a row with any number in it is no header.
fn is_header(line: &[u8], delimiter: u8) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let line = line.trim_start_matches('\u{feff}').trim();
    let is_number = |cell: &str| cell.trim().trim_matches('"').parse::<f32>().is_ok();
    !line.is_empty() && !line.split(char::from(delimiter)).any(is_number)
}

fn is_text(path: &Path) -> bool {
    matches!(ending(path).as_str(), "csv" | "txt")
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// A regular file's size. A pipe has none, and cannot be read twice.
fn size(path: &Path) -> Result<u64, DataError> {
    let metadata = path.metadata().map_err(|source| cannot_read(path, source))?;
    if !metadata.is_file() {
        return Err(cannot_read(path, io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    Ok(metadata.len())
}

fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    size(path)?;
    let file = File::open(path).map_err(|source| cannot_read(path, source))?;
    Ok(BufReader::with_capacity(READ_BYTES, file))
}

fn cannot_read(path: &Path, source: io::Error) -> DataError {
    DataError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(path: &Path, shards: Option<usize>) -> Result<Vec<(String, u64, String)>, String> {
        let reading = RawReading { validate: None, shards, delimiter: b',' };
        let raw = read_raw(path, &reading).map_err(|error| error.to_string())?;
        let text = |shard: &RawShard| io::read_to_string(shard.content.open().unwrap()).unwrap();
        Ok(raw.shards.iter().map(|shard| (shard.name.clone(), shard.samples, text(shard))).collect())
    }

    #[test]
    fn a_text_is_cut_between_lines_and_keeps_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        fs::write(&file, "word,kind\na,\"x\"\nb,y\nc,z").unwrap();
        let shards = read(&file, Some(2)).unwrap();
        let expected = [("rows-1.csv", 1, "word,kind\na,\"x\"\n"), ("rows-2.csv", 2, "word,kind\nb,y\nc,z")];
        assert_eq!(shards, expected.map(|(name, samples, text)| (name.to_owned(), samples, text.to_owned())));
        // A text that is no CSV has no header, nor has rows with a number.
        for (name, first) in [("poem.txt", "word,kind\n"), ("rows.csv", "word,1\n")] {
            let file = folder.path().join(name);
            fs::write(&file, format!("{first}a,b\n")).unwrap();
            let shards = read(&file, Some(2)).unwrap();
            assert_eq!((shards[0].1, shards[0].2.as_str(), shards[1].2.as_str()), (1, first, "a,b\n"));
        }
        assert_eq!(read(&file, None).unwrap().len(), 1);
        let refused = read(&file, Some(3)).unwrap_err();
        assert!(refused.ends_with("rows.csv has 2 rows to train on, too few for --shards 3"), "{refused}");
        fs::write(&file, "word,kind\n").unwrap();
        assert!(read(&file, None).unwrap_err().contains("rows.csv"), "a header is nothing to train on");
        let socket = folder.path().join("socket.csv");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(read(&socket, None).unwrap_err().contains("it is no regular file"), "it could not be read twice");
        fs::write(&file, "1,\"a\nb\"\n2,c\n").unwrap();
        let refused = read(&file, Some(3)).unwrap_err();
        assert!(refused.ends_with("rows.csv, line 1: a cut would fall into a quoted cell"), "{refused}");
    }

    #[test]
    fn a_large_text_is_cut_where_its_lines_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("long.txt");
        let text: String = (0..100_000).map(|line| format!("{line}\n")).collect();
        fs::write(&file, &text).unwrap();
        let shards = read(&file, Some(7)).unwrap();
        assert_eq!(shards.iter().map(|(.., text)| text.as_str()).collect::<String>(), text);
        assert!(shards.iter().all(|(_, samples, text)| text.lines().count() as u64 == *samples));
        assert!(shards.iter().all(|(_, samples, _)| (14_285..=14_286).contains(samples)));
    }

    #[test]
    fn a_directory_is_its_training_files_or_else_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "1\n2\n").unwrap();
        ["10.npz", "2.npz", "validate_1.npz", ".hidden"].into_iter().for_each(write);
        let names = || -> Vec<_> {
            let shards = read(folder.path(), None).unwrap();
            shards.into_iter().map(|(name, samples, _)| (name, samples)).collect()
        };
        assert_eq!(names(), [("2.npz".to_owned(), SAMPLES_MAX), ("10.npz".to_owned(), SAMPLES_MAX)]);
        ["train_2.txt", "train_1.parquet"].into_iter().for_each(write);
        assert_eq!(names(), [("train_1.parquet".to_owned(), SAMPLES_MAX), ("train_2.txt".to_owned(), 2)]);
        let refused = read(folder.path(), Some(2)).unwrap_err();
        assert!(refused.contains("--shards 2 is for one file"), "{refused}");
        let refused = read(&folder.path().join("2.npz"), Some(2)).unwrap_err();
        assert!(refused.contains("2.npz"), "{refused}");
    }
}
