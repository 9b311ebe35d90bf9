//! What a training task returns: trained parameters minus the round's base, as a safetensors file.
//! Its tensors have the model's names, types and shapes.
//! It does not know how many samples it stands for, nor how it will be merged.

use std::collections::BTreeMap;

use crate::model::Mlp;
use crate::model_file::layer_tensors;
use crate::tensor_file;

/// The metadata entry `format` of a delta file.
pub const DELTA_FORMAT: &str = "convoke-delta-1";

/// `trained − base`, each parameter rounded to f32. Equal inputs give equal bytes.
///
/// # Panics
///
/// Where the shapes differ: `trained` is what training made of `base`.
pub fn delta(trained: &Mlp, base: &Mlp) -> Vec<u8> {
    assert_eq!(trained.sizes(), base.sizes(), "a delta is taken from the base that was trained");
    let mut base_values = base.parameters().iter();
    let tensors = layer_tensors(trained.layers(), |values| {
        tensor_file::f32_bytes(values.iter().zip(base_values.by_ref()).map(|(trained, base)| trained - base))
    });
    let metadata = BTreeMap::from([("format".to_string(), DELTA_FORMAT.to_string())]);
    tensor_file::write(&metadata, &tensors)
}
