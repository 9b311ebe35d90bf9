//! `@letters`: 20,000 drawings of capital letters as rows of sixteen numbers, made from a seed.
//! It stands in for the UCI Letter Recognition set (D. J. Slate, 1991) where that one is not at hand:
//! the same features of letters in eighteen hands of our own, as many rows, about as hard to learn.
//! A seed gives the same rows on every machine.
//! It does not know files; a part has a name and a text.

mod alphabet;
mod hands;
mod raster;
mod drawing;
mod features;
#[cfg(test)]
mod tests;

use alphabet::LETTERS;
use drawing::Draws;
use hands::HANDS;

pub use features::{FEATURE_MAX, FEATURES, features};
pub use raster::{Bitmap, SIZE};

/// Parts to train on.
pub const SHARDS: usize = 11;

/// Rows of a part to train on.
pub const SHARD_ROWS: usize = 1500;

/// Rows to validate with.
pub const VALIDATION_ROWS: usize = 3500;

/// The whole set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    /// What to train on: [`SHARDS`] parts of [`SHARD_ROWS`] rows.
    pub shards: Vec<Part>,
    /// What to validate with: [`VALIDATION_ROWS`] rows.
    pub validation: Part,
}

/// Some of the rows, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What its file is called, without the ending: `train_letters1` and so on, `validate_letters`.
    pub name: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// One letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What is measured of its picture, each from 0 to [`FEATURE_MAX`].
    pub features: [u8; FEATURES],
    /// Its place in the alphabet, 0 for A to 25 for Z.
    pub label: u8,
}

/// One letter's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// Its place in the alphabet, 0 for A to 25 for Z.
    pub label: u8,
    /// The name of the hand that wrote it.
    pub hand: &'static str,
    /// Its picture; at least one pixel is on.
    pub picture: Bitmap,
}

/// Makes the set. The same seed gives the same rows on every platform.
pub fn generate(seed: u64) -> Letters {
    let mut rows = drawings(seed).map(|drawing| Row { features: features(&drawing.picture), label: drawing.label });
    let mut part = |name, count| Part { name, rows: rows.by_ref().take(count).collect() };
    Letters {
        shards: (1..=SHARDS).map(|shard| part(format!("train_letters{shard}"), SHARD_ROWS)).collect(),
        validation: part("validate_letters".to_owned(), VALIDATION_ROWS),
    }
}

/// Draws letters without end, each letter and each hand as likely as the others.
pub fn drawings(seed: u64) -> impl Iterator<Item = Drawing> {
    let alphabets = HANDS.map(|hand| hand.alphabet());
    let mut draws = Draws::new(seed);
    std::iter::repeat_with(move || {
        let label = draws.choice(LETTERS);
        let hand = draws.choice(HANDS.len());
        let picture = drawing::draw(&alphabets[hand][label], &HANDS[hand], &mut draws);
        Drawing { label: label as u8, hand: HANDS[hand].name, picture }
    })
}

impl Letters {
    /// All parts, those to train on first.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.shards.iter().chain([&self.validation])
    }
}

impl Part {
    /// A line for each row: the features and the label, separated by commas.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for feature in row.features {
                text += &feature.to_string();
                text.push(',');
            }
            text += &row.label.to_string();
            text.push('\n');
        }
        text
    }
}
