//! Models on disk: read for measuring and predicting, written whole or not at all.
//!
//! What is in one is for `convoke-ml`.

use std::fs;
use std::path::Path;

use convoke_ml::rows::{Inputs, Layout};
use convoke_ml::tensor_file::TensorFile;
use convoke_ml::{Mlp, ModelError, TensorFileError};

use crate::failure::Failure;
use crate::whole_file;

/// The most bytes of a model.
pub const MODEL_BYTES_MAX: u64 = 16 << 30;

/// Where models come from.
const HINT: &str = "`convoke train` writes models, and prints where";

/// A model, and how rows for it lie unless flags say otherwise.
pub struct Usable {
    /// The model.
    pub model: Mlp,
    /// The layout of what it was trained on.
    pub layout: Layout,
    /// Its features.
    pub inputs: Inputs,
}

/// Reads a model.
pub fn read(path: &Path) -> Result<Usable, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::bad_input(format!("cannot read the model {}: {error}", path.display())).hint(HINT))?;
    usable(&bytes).map_err(|error| {
        Failure::bad_input(format!("{} is not a model that can be used: {error}", path.display())).hint(HINT)
    })
}

fn usable(bytes: &[u8]) -> Result<Usable, ModelError> {
    let model = Mlp::from_safetensors(bytes)?;
    let layout = Layout::of_model(model.metadata())?;
    let inputs = Inputs::of_model(model.inputs(), model.metadata())?;
    Ok(Usable { model, layout, inputs })
}

/// Writes a model, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    whole_file::write(path, bytes).map_err(|error| {
        Failure::failed(format!("cannot write the model {}: {error}", path.display()))
            .hint("check the space and the rights there")
    })
}

/// Names the parameters alone, of any safetensors file: equal for equal tensors in the same order, whatever job made them.
pub fn parameters_digest(bytes: &[u8]) -> Result<String, TensorFileError> {
    let before = TensorFile::from_bytes(bytes)?.header.len();
    Ok(blake3::hash(&bytes[before..]).to_string())
}
