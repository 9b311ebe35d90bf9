//! A small data set in the reference's format: integer features, the label last, one file a shard.
//!
//! It is made from a formula, so that tests need no files; what is learnt from it is of no interest.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// How many shards there are.
pub const SHARDS: usize = 5;
/// How many rows a shard has.
pub const ROWS: usize = 300;
/// How many features a row has.
pub const FEATURES: usize = 8;
const CLASSES: u64 = 5;
const VALIDATION_ROWS: usize = 200;

/// Writes `train_1.txt` and so on, and `validate_1.txt`, the last line of which has no newline.
pub fn write(directory: &Path) {
    let mut numbers = Numbers(0x5eed);
    fs::create_dir_all(directory).expect("a folder for the data");
    for shard in 1..=SHARDS {
        let text = (0..ROWS).fold(String::new(), |text, _| text + &numbers.row() + "\n");
        fs::write(directory.join(format!("train_{shard}.txt")), text).expect("a shard");
    }
    let rows: Vec<_> = (0..VALIDATION_ROWS).map(|_| numbers.row()).collect();
    fs::write(directory.join("validate_1.txt"), rows.join("\n")).expect("validation data");
}

/// The UCI letters, where they lie beside the project.
pub fn letters() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/letters");
    path.is_dir().then_some(path)
}

/// SplitMix64 (Steele 2014).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Features about a centre that the label gives, with some noise.
    fn row(&mut self) -> String {
        let label = self.next() % CLASSES;
        let mut row = String::new();
        for feature in 0..FEATURES as u64 {
            let centre = (label * (2 * feature + 3)) % 13;
            write!(row, "{},", centre + self.next() % 4).expect("a string takes it");
        }
        row + &label.to_string()
    }
}
