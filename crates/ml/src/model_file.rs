//! A model as a safetensors file: tensors `layers.0.weight`, `layers.0.bias`, …, and metadata
//! that says how to use them.
//! `format`, `layers` (sizes), `activation` and `labels` (a JSON list) are the format's; other
//! entries are free.
//! It does not know where the bytes come from, and trusts none of them.

use std::collections::BTreeMap;

use crate::excerpt::excerpt;
use crate::model::{LAYERS_MAX, Layer, Mlp, ModelError, parameter_count};
use crate::tensor_file::{self, Dtype, TensorFile, TensorPlace};

/// The metadata entry `format` of a model file.
pub const MODEL_FORMAT: &str = "convoke-mlp-1";

const ACTIVATION: &str = "relu";

/// The metadata keys that the format defines.
const KEYS: [&str; 4] = ["format", "layers", "activation", "labels"];

impl Mlp {
    /// The model as a safetensors file. Equal models give equal bytes.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let sizes: Vec<String> = self.sizes().iter().map(usize::to_string).collect();
        let labels = serde_json::json!(self.labels()).to_string();
        let mut metadata = self.metadata().clone();
        for (key, value) in KEYS.iter().zip([MODEL_FORMAT.into(), sizes.join(","), ACTIVATION.into(), labels]) {
            metadata.insert((*key).to_string(), value);
        }
        tensor_file::write(
            &metadata,
            &layer_tensors(self.layers(), |values| tensor_file::f32_bytes(values.iter().copied())),
        )
    }

    /// Reads a model from a safetensors file that [`Mlp::to_safetensors`] could have written.
    ///
    /// Allocates in proportion to `bytes`, whatever they claim.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Mlp, ModelError> {
        let file = TensorFile::from_bytes(bytes)?;
        let entry = |key| file.metadata.get(key).map(String::as_str).ok_or(ModelError::MetadataMissing { key });
        exactly("format", entry("format")?, MODEL_FORMAT)?;
        exactly("activation", entry("activation")?, ACTIVATION)?;
        let sizes = parse_sizes(entry("layers")?)?;
        let labels = parse_labels(entry("labels")?)?;
        let places = layer_places(&file, &sizes)?;

        let mut model = Mlp::zeros(&sizes, labels)?;
        let mut rest = model.parameters_mut();
        for (name, place) in places {
            let values = tensor_file::finite_values(&name, &bytes[place.start as usize..place.end as usize])?;
            let (target, after) = rest.split_at_mut(values.len());
            target.copy_from_slice(&values);
            rest = after;
        }
        *model.metadata_mut() = file.metadata.into_iter().filter(|(key, _)| !KEYS.contains(&key.as_str())).collect();
        Ok(model)
    }
}

/// The tensors of some layers, in the order of the parameters.
pub(crate) fn layer_tensors<'a>(
    layers: impl Iterator<Item = Layer<'a>>,
    mut bytes: impl FnMut(&'a [f32]) -> Vec<u8>,
) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let mut tensors = Vec::new();
    for (l, layer) in layers.enumerate() {
        let [weight, bias] = names(l);
        tensors.push((weight, Dtype::F32, vec![layer.inputs, layer.outputs], bytes(layer.weight)));
        tensors.push((bias, Dtype::F32, vec![layer.outputs], bytes(layer.bias)));
    }
    tensors
}

fn names(layer: usize) -> [String; 2] {
    [format!("layers.{layer}.weight"), format!("layers.{layer}.bias")]
}

/// Where the tensors of layers of these sizes lie, in the order of the parameters: all of them,
/// and nothing else in the file.
fn layer_places<'a>(file: &'a TensorFile, sizes: &[usize]) -> Result<Vec<(String, &'a TensorPlace)>, ModelError> {
    let mut places = Vec::new();
    for (l, pair) in sizes.windows(2).enumerate() {
        let [weight, bias] = names(l);
        let weight_place = file.expect(&weight, Dtype::F32, pair)?;
        let bias_place = file.expect(&bias, Dtype::F32, &pair[1..])?;
        places.extend([(weight, weight_place), (bias, bias_place)]);
    }
    let expected: BTreeMap<_, _> = places.iter().map(|(name, place)| (name.as_str(), place)).collect();
    file.expect_only(|name| expected.contains_key(name))?;
    Ok(places)
}

fn exactly(key: &'static str, found: &str, expected: &'static str) -> Result<(), ModelError> {
    if found == expected {
        return Ok(());
    }
    Err(ModelError::Metadata { key, found: excerpt(found), expected })
}

fn parse_sizes(text: &str) -> Result<Vec<usize>, ModelError> {
    let sizes: Result<Vec<usize>, _> = text.split(',').take(LAYERS_MAX + 2).map(str::parse).collect();
    let expected = "layer sizes such as `16,24,26`";
    let sizes = sizes.map_err(|_| ModelError::Metadata { key: "layers", found: excerpt(text), expected })?;
    parameter_count(&sizes)?;
    Ok(sizes)
}

fn parse_labels(text: &str) -> Result<Vec<String>, ModelError> {
    let expected = "a JSON list of texts";
    serde_json::from_str(text).map_err(|_| ModelError::Metadata { key: "labels", found: excerpt(text), expected })
}
