//! Models on disk: read for measuring and predicting, written whole or not at all.
//!
//! What is in one is for `convoke-ml`.

use std::fs;
use std::path::Path;

use convoke_ml::Mlp;

use crate::failure::Failure;

/// The most bytes of a model.
pub const MODEL_BYTES_MAX: u64 = 16 << 30;

/// Where models come from.
const HINT: &str = "`convoke train` writes models, and prints where";

/// Reads a model.
pub fn read(path: &Path) -> Result<Mlp, Failure> {
    let refuse = |error: &dyn std::fmt::Display| {
        Failure::bad_input(format!("{} is not a model that can be used: {error}", path.display())).hint(HINT)
    };
    let bytes = fs::read(path)
        .map_err(|error| Failure::bad_input(format!("cannot read the model {}: {error}", path.display())).hint(HINT))?;
    Mlp::from_safetensors(&bytes).map_err(|error| refuse(&error))
}

/// Writes a model beside its place, then moves it there: nobody finds half of one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error| Failure::failed(format!("cannot write the model {}: {error}", path.display()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let written = fs::write(beside, bytes).and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        // Nothing half-written is to stay; there may be nothing.
        drop(fs::remove_file(beside));
    }
    written.map_err(fail)
}

/// Names the parameters alone: equal for equal parameters, whatever job made them.
pub fn parameters_digest(model: &Mlp) -> String {
    let mut hasher = blake3::Hasher::new();
    for value in model.parameters() {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize().to_string()
}
