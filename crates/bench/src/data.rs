//! Data to measure with: rows like those of the letters, from a seed.
//!
//! What is learnt from them is of no interest, only what it costs.

use std::fs;
use std::path::Path;

use anyhow::Context;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// How many shards there are, as in the reference's example.
pub const SHARDS: usize = 11;
const FEATURES: usize = 16;
const CLASSES: usize = 26;

/// Writes shards of so many rows each, and validation data if asked to.
pub fn write(folder: &Path, rows: usize, validates: bool) -> anyhow::Result<()> {
    let mut rng = Pcg64Mcg::new(0x5eed);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut write = |name: String, first: usize| {
        let rows = (first..first + rows).fold(String::new(), |text, place| text + &row(&mut rng, place % CLASSES));
        fs::write(folder.join(&name), rows).with_context(|| format!("cannot write {name}"))
    };
    // The labels go on from shard to shard, so that a few rows in each bring all of them.
    (0..SHARDS).try_for_each(|shard| write(format!("train_{}.txt", shard + 1), shard * rows))?;
    if validates { write("validate_1.txt".to_owned(), 0) } else { Ok(()) }
}

fn row(rng: &mut Pcg64Mcg, label: usize) -> String {
    let cells = (0..FEATURES).map(|feature| {
        let centre = (label * (2 * feature + 3)) % 13;
        (centre as u64 + rng.next_u64() % 4).to_string() + ","
    });
    cells.collect::<String>() + &label.to_string() + "\n"
}
