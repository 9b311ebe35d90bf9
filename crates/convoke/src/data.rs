//! Data on its way into a job: files become shards, with rows held out to validate on, and shards become blobs.
//!
//! Everything that can be wrong with data is found here, before anything is submitted; what a row looks like is for
//! `convoke-ml`.

mod error;
mod facts;
mod labels;
mod raw;
mod sources;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use convoke_ml::rows::{self, Inputs, Layout, Rows};
use convoke_ml::split::{self, Split};
use convoke_ml::{Dataset, LabelSet, Targets};
use convoke_wire::core::Digest;
use convoke_wire::program::{self, Entry, Manifest};

use crate::args::{Task, Validate};
pub use error::{DataError, row_hint};
pub use facts::{Facts, Guess, Guessed, Range};
pub use labels::Labels;
use labels::{choose, classes_of, joined, targets, whole};
pub use raw::{RawReading, RawShard, read_raw};
use sources::{Source, Sources};

/// The share of the rows that is held out where nothing else is said.
const HELD_OUT: f64 = 0.2;

/// As many rows should have some labels in common.
const CLASSES_ROWS: usize = 20;

/// The most held-out rows that are measured as one piece.
const PIECE_ROWS: usize = 6_000;

/// How data is to be read.
pub struct Reading {
    /// How rows lie in the files.
    pub layout: Layout,
    /// What to validate on, if it was said.
    pub validate: Option<Validate>,
    /// Into how many shards one file is cut, if it was said.
    pub shards: Option<usize>,
    /// Where the split comes from.
    pub seed: u64,
    /// What labels are, if it was said.
    pub task: Option<Task>,
    /// The model that is gone on from: the data has its features, and no other labels.
    pub model: Option<Wanted>,
}

/// What a model wants data to be.
pub struct Wanted {
    /// Its features.
    pub inputs: Inputs,
    /// Its labels.
    pub labels: Labels,
}

/// Shards, validation data and labels, as read and checked.
pub struct Data {
    /// What to train on; files of a directory in natural order of their names.
    pub shards: Vec<Shard>,
    /// What to measure on; may be empty.
    pub validation: Vec<Shard>,
    /// The union of the shards' labels, or the number that they are.
    pub labels: Labels,
    /// Whether labels were taken for numbers by what stands in them.
    pub taken_for_numbers: bool,
    /// How many features a row has.
    pub width: usize,
    /// Their names, or none where no file has a header.
    pub feature_names: Vec<String>,
    /// The rows that were held out to validate on, if any were to be.
    pub held_out: Option<HeldOut>,
    /// What is known of the data.
    pub facts: Facts,
}

/// Rows that are kept from training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// Their share as it was wanted.
    pub share: f64,
    /// How many they are.
    pub rows: usize,
}

impl fmt::Display for HeldOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A share such as 0.07 is no exact binary number: its percentage is rounded to what a person wrote.
        let percent = (self.share * 1e8).round() / 1e6;
        match (self.rows, self.share > 0.0) {
            (_, false) => write!(formatter, "no rows are held out: nothing is validated on"),
            (0, true) => write!(formatter, "too few rows to hold {percent} % out: nothing is validated on"),
            (rows, true) => write!(formatter, "held out {percent} % of the rows, {rows}, to validate on"),
        }
    }
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

/// Reads what to train on: a directory of shards, one file, or a built-in set.
pub fn read(path: &Path, reading: &Reading) -> Result<Data, DataError> {
    let mut sources = sources::find(path)?;
    if let (Some(wanted), false) = (reading.shards, sources.whole) {
        return Err(DataError::ShardsExist { path: path.to_owned(), wanted, found: sources.train.len() });
    }
    let share = match &reading.validate {
        Some(Validate::File(file)) => {
            sources.validate = vec![sources::one(file)];
            None
        }
        Some(Validate::Share(share)) => {
            sources.validate.clear();
            Some(*share)
        }
        None => Some(HELD_OUT).filter(|_| sources.validate.is_empty()),
    };
    let task::Read { train, validation, labels, taken_for_numbers } = task::read(&sources, reading)?;
    let feature_names = check_columns(train.iter().chain(&validation))?;
    match (&labels, &reading.model) {
        (Labels::Classes(labels), None) => check_labels(&train, labels)?,
        (Labels::Value(_), None) => check_values(&train)?,
        (_, Some(_)) => {}
    }
    let width = train[0].width();
    let mut facts = Facts::new(called(&train[0], &feature_names), labels.names().len());
    let targets = train.iter().map(|rows| targets(rows, &labels)).collect::<Result<Vec<_>, _>>()?;
    // Numbers are dealt and held out as if they were of one class.
    let classes: Vec<_> = targets.iter().map(classes_of).collect();
    let split = split::hold_out(&classes, share.unwrap_or(0.0), reading.seed);
    let mut pieces = encode(validation, &sources.validate, &labels, &mut facts)?;
    pieces.extend(held_out(&train, &targets, &split, &mut facts));
    let shards = if sources.whole {
        let dealt = deal(&sources.train[0], &classes[0], &split.kept[0], reading)?;
        let one = |(number, chosen): (usize, Vec<u32>)| {
            let dataset = choose(&train[0], &chosen, &targets[0]);
            facts.add_training(&dataset);
            shard(format!("{}-{number}", sources.train[0].stem()), &dataset)
        };
        (1..).zip(dealt).map(one).collect()
    } else {
        drop(classes);
        keep(train, &sources, &labels, targets, &split, &mut facts)?
    };
    let held_out = share.map(|share| HeldOut { share, rows: split.held_out.iter().map(Vec::len).sum() });
    Ok(Data { shards, validation: pieces, labels, taken_for_numbers, width, feature_names, held_out, facts })
}

/// Reads labelled rows for a model: a file, `-` for standard input, or a directory's `validate_*` files.
pub fn read_labelled(path: &Path, layout: &Layout, model: &Inputs, labels: &Labels) -> Result<Vec<Dataset>, DataError> {
    let read = |source: Source| {
        let (name, opened) = (source.name(), source.open()?);
        Ok(match labels {
            Labels::Classes(labels) => rows::read_for(&name, opened, layout, model)?.encode(labels)?,
            Labels::Value(_) => rows::read_values_for(&name, opened, layout, model)?.encode_values()?,
        })
    };
    sources::find_labelled(path)?.into_iter().map(read).collect()
}

/// Checks that files agree in how many features they have, and in their names where they have names. Returns these.
fn check_columns<'a>(files: impl Iterator<Item = &'a Rows> + Clone) -> Result<Vec<String>, DataError> {
    let first = files.clone().next().expect("there is something to train on");
    let (first_file, first_width) = (first.source_name().to_owned(), first.width());
    if let Some(other) = files.clone().find(|rows| rows.width() != first_width) {
        let (place, width) = (other.feature_place(other.width() - 1), other.width());
        return Err(DataError::Widths { place, width, first_file, first_width });
    }
    let mut named = files.filter(|rows| !rows.feature_names().is_empty());
    let Some(first) = named.next() else { return Ok(Vec::new()) };
    let names = first.feature_names();
    for other in named {
        if let Some(feature) = (0..names.len()).find(|feature| names[*feature] != other.feature_names()[*feature]) {
            return Err(DataError::Names {
                place: Box::new(other.feature_place(feature)),
                found: other.feature_names()[feature].clone(),
                first_file: first.source_name().to_owned(),
                expected: names[feature].clone(),
            });
        }
    }
    Ok(names.to_vec())
}

/// Checks that labels are classes.
fn check_labels(train: &[Rows], labels: &LabelSet) -> Result<(), DataError> {
    let place = |label: &str| train.iter().find_map(|rows| rows.place_of(label)).expect("it is some row's").clone();
    if let [label] = labels.names() {
        return Err(DataError::OneLabel { place: place(label), label: label.clone() });
    }
    // A measurement taken for the label, or two columns for one because of a decimal comma: every row has its own.
    let rows = train.iter().map(Rows::samples).sum();
    if rows >= CLASSES_ROWS && rows == labels.names().len() {
        let label = train[0].labels().next().expect("there is a row").to_owned();
        return Err(DataError::NoClasses { place: place(&label), rows, label });
    }
    Ok(())
}

/// Checks that there is something to learn about numbers.
fn check_values(train: &[Rows]) -> Result<(), DataError> {
    let first = train[0].values()?[0];
    for rows in train {
        if rows.values()?.iter().any(|value| *value != first) {
            return Ok(());
        }
    }
    let place = train[0].label_place();
    Err(DataError::OneLabel { place, label: first.to_string() })
}

/// What people call the features: by their names, or else by their columns.
fn called(rows: &Rows, names: &[String]) -> Vec<String> {
    let column = |feature| format!("column {}", rows.feature_place(feature).column);
    (0..rows.width())
        .map(|feature| names.get(feature).map_or_else(|| column(feature), |name| format!("`{name}`")))
        .collect()
}

/// Validation data of its own.
fn encode(rows: Vec<Rows>, sources: &[Source], labels: &Labels, facts: &mut Facts) -> Result<Vec<Shard>, DataError> {
    let one = |(rows, source): (Rows, &Source)| {
        let dataset = whole(rows, labels)?;
        facts.add_validation(&dataset);
        Ok(shard(source.stem(), &dataset))
    };
    rows.into_iter().zip(sources).map(one).collect()
}

/// What was held out, in pieces that several workers can measure at a time.
fn held_out(train: &[Rows], targets: &[Targets], split: &Split, facts: &mut Facts) -> Vec<Shard> {
    let mut pieces = Vec::new();
    let mut piece = |parts: &mut Vec<Dataset>| {
        let parts = std::mem::take(parts);
        if let Some(dataset) = joined(&parts) {
            facts.add_validation(&dataset);
            pieces.push(shard(format!("held-out-{}", pieces.len() + 1), &dataset));
        }
    };
    let mut parts: Vec<Dataset> = Vec::new();
    for ((rows, targets), chosen) in train.iter().zip(targets).zip(&split.held_out) {
        for chosen in chosen.chunks(PIECE_ROWS) {
            if parts.iter().map(Dataset::samples).sum::<usize>() + chosen.len() > PIECE_ROWS {
                piece(&mut parts);
            }
            parts.push(choose(rows, chosen, targets));
        }
    }
    piece(&mut parts);
    pieces
}

/// One file's rows, dealt into shards.
fn deal(source: &Source, classes: &[u32], kept: &[u32], reading: &Reading) -> Result<Vec<Vec<u32>>, DataError> {
    let count = reading.shards.unwrap_or_else(|| split::shards_for(kept.len()));
    if count > kept.len() {
        return Err(DataError::TooManyShards { name: source.name(), rows: kept.len(), wanted: count });
    }
    Ok(split::deal(classes, kept, count, reading.seed))
}

/// Files that are shards, without the rows that were held out. Each file's rows go as soon as its blob is made.
fn keep(
    train: Vec<Rows>,
    sources: &Sources,
    labels: &Labels,
    targets: Vec<Targets>,
    split: &Split,
    facts: &mut Facts,
) -> Result<Vec<Shard>, DataError> {
    let mut shards = Vec::with_capacity(train.len());
    for (((rows, source), targets), kept) in train.into_iter().zip(&sources.train).zip(targets).zip(&split.kept) {
        // A file of which nothing is held out is not copied.
        let dataset = if kept.len() == rows.samples() {
            drop(targets);
            whole(rows, labels)?
        } else {
            let chosen = choose(&rows, kept, &targets);
            drop(rows);
            chosen
        };
        facts.add_training(&dataset);
        shards.push(shard(source.stem(), &dataset));
    }
    Ok(shards)
}

fn shard(name: String, dataset: &Dataset) -> Shard {
    let blob = Bytes::from(dataset.to_safetensors());
    Shard { name, samples: dataset.samples() as u64, digest: digest_of(&blob), blob }
}

/// The list of shards that a stage's input is.
pub fn manifest(shards: &[Shard]) -> (Digest, Bytes) {
    let entry = |shard: &Shard| Entry {
        name: shard.name.clone(),
        digest: shard.digest.0.to_vec(),
        samples: shard.samples,
        ..Default::default()
    };
    let manifest = Manifest { entries: shards.iter().map(entry).collect(), ..Default::default() };
    let bytes = Bytes::from(program::encode(&manifest));
    (digest_of(&bytes), bytes)
}

/// The name of a blob.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
