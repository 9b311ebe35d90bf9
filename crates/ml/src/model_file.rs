//! A model as a safetensors file: tensors `layers.0.weight`, `layers.0.bias`, …, where features are standardised
//! `features.mean` and `features.scale`, and where the value that is predicted is, `target.mean` and `target.scale`.
//! Metadata says how to use them: `format`, `layers` (sizes), `activation`, and `labels` (a JSON list) of classes, or
//! `task` = `regression` with the `target`'s name; other entries are free.
//! It does not know where the bytes come from, and trusts none of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{Activation, Architecture, Head, LAYERS_MAX, parameter_count};
use crate::excerpt::excerpt;
use crate::model::{FEATURES_MEAN, FEATURES_SCALE, Layer, Mlp, ModelError, Standardization, TARGET_MEAN, TARGET_SCALE};
use crate::tensor_file::{self, Dtype, TensorFile, TensorFileError, TensorPlace};

/// The metadata entry `format` of a model file.
pub const MODEL_FORMAT: &str = "convoke-mlp-1";

/// The metadata keys that the format defines.
const KEYS: [&str; 6] = ["format", "layers", "activation", "task", "labels", "target"];

/// The names of [`Activation`]s.
const ACTIVATIONS: [(&str, Activation); 2] = [("relu", Activation::Relu), ("tanh", Activation::Tanh)];

/// What `task` may be; the first where it is absent.
const CLASSIFICATION: &str = "classification";
const REGRESSION: &str = "regression";

/// A tensor's name, and where it lies.
type Place<'a> = (String, &'a TensorPlace);

impl Mlp {
    /// The model as a safetensors file. Equal models give equal bytes.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut metadata = self.metadata().clone();
        metadata.retain(|key, _| !KEYS.contains(&key.as_str()));
        let mut define = |key: &str, value: String| drop(metadata.insert(key.to_owned(), value));
        let sizes: Vec<String> = self.sizes().iter().map(usize::to_string).collect();
        let activation = ACTIVATIONS.iter().find(|(_, activation)| *activation == self.activation());
        define("format", MODEL_FORMAT.into());
        define("layers", sizes.join(","));
        define("activation", activation.map_or("", |(name, _)| name).into());
        match self.head() {
            Head::Classes(labels) => define("labels", serde_json::json!(labels).to_string()),
            Head::Value(name) => {
                define("task", REGRESSION.into());
                define("target", name.clone());
            }
        }
        let bytes = |values: &[f32]| tensor_file::f32_bytes(values.iter().copied());
        let mut tensors = layer_tensors(self.layers(), bytes);
        tensors.extend(standardization_tensors(self, bytes));
        tensor_file::write(&metadata, &tensors)
    }

    /// Reads a model from a safetensors file that [`Mlp::to_safetensors`] could have written.
    ///
    /// Allocates in proportion to `bytes`, whatever they claim.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Mlp, ModelError> {
        let file = TensorFile::from_bytes(bytes)?;
        let architecture = architecture(&file.metadata)?;
        let layers = layer_places(&file, &architecture.sizes)?;
        let features = pair(&file, [FEATURES_MEAN, FEATURES_SCALE], architecture.sizes[0])?;
        let target = match architecture.head {
            Head::Classes(_) => None,
            Head::Value(_) => pair(&file, [TARGET_MEAN, TARGET_SCALE], 1)?,
        };
        let places = layers.iter().chain(features.iter().flatten()).chain(target.iter().flatten());
        let expected: BTreeSet<&str> = places.map(|(name, _)| name.as_str()).collect();
        file.expect_only(|name| expected.contains(name))?;

        let read =
            |(name, place): &Place| tensor_file::finite_values(name, &bytes[place.start as usize..place.end as usize]);
        let mut model = Mlp::zeros(architecture)?;
        let mut rest = model.parameters_mut();
        for place in &layers {
            let values = read(place)?;
            let (target, after) = rest.split_at_mut(values.len());
            target.copy_from_slice(&values);
            rest = after;
        }
        let features = features
            .map(|[mean, scale]| Ok::<_, ModelError>(Standardization { mean: read(&mean)?, scale: read(&scale)? }));
        let target = target.map(|[mean, scale]| Ok::<_, ModelError>((read(&mean)?[0], read(&scale)?[0])));
        let (features, target) = (features.transpose()?, target.transpose()?);
        model.set_standardization(features, target)?;
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

/// The tensors of what features and the target are standardised by, where they are.
pub(crate) fn standardization_tensors(
    model: &Mlp,
    bytes: impl Fn(&[f32]) -> Vec<u8>,
) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let tensor = |name: &str, values: &[f32]| (name.to_owned(), Dtype::F32, vec![values.len()], bytes(values));
    let features = model
        .features()
        .into_iter()
        .flat_map(|Standardization { mean, scale }| [tensor(FEATURES_MEAN, mean), tensor(FEATURES_SCALE, scale)]);
    let target = model
        .target()
        .into_iter()
        .flat_map(|(mean, scale)| [tensor(TARGET_MEAN, &[mean]), tensor(TARGET_SCALE, &[scale])]);
    features.chain(target).collect()
}

fn names(layer: usize) -> [String; 2] {
    [format!("layers.{layer}.weight"), format!("layers.{layer}.bias")]
}

/// Where the tensors of layers of these sizes lie, in the order of the parameters.
fn layer_places<'a>(file: &'a TensorFile, sizes: &[usize]) -> Result<Vec<Place<'a>>, TensorFileError> {
    let mut places = Vec::new();
    for (l, pair) in sizes.windows(2).enumerate() {
        let [weight, bias] = names(l);
        let weight_place = file.expect(&weight, Dtype::F32, pair)?;
        let bias_place = file.expect(&bias, Dtype::F32, &pair[1..])?;
        places.extend([(weight, weight_place), (bias, bias_place)]);
    }
    Ok(places)
}

/// Where two tensors of `length` values lie: both of them, or neither.
fn pair<'a>(file: &'a TensorFile, names: [&str; 2], length: usize) -> Result<Option<[Place<'a>; 2]>, TensorFileError> {
    if !names.iter().any(|name| file.tensors.contains_key(*name)) {
        return Ok(None);
    }
    let [mean, scale] = names.map(|name| Ok((name.to_owned(), file.expect(name, Dtype::F32, &[length])?)));
    Ok(Some([mean?, scale?]))
}

fn architecture(metadata: &BTreeMap<String, String>) -> Result<Architecture, ModelError> {
    let entry = |key| metadata.get(key).map(String::as_str);
    let required = |key| entry(key).ok_or(ModelError::MetadataMissing { key });
    let wrong = |key, found, expected| ModelError::Metadata { key, found: excerpt(found), expected };
    let format = required("format")?;
    if format != MODEL_FORMAT {
        return Err(wrong("format", format, MODEL_FORMAT));
    }
    let activation = entry("activation").unwrap_or(ACTIVATIONS[0].0);
    let known = ACTIVATIONS.iter().find(|(name, _)| *name == activation);
    let (_, activation) = known.ok_or_else(|| wrong("activation", activation, "relu or tanh"))?;
    let sizes = parse_sizes(required("layers")?)?;
    let head = match entry("task").unwrap_or(CLASSIFICATION) {
        CLASSIFICATION => Head::Classes(parse_labels(required("labels")?)?),
        REGRESSION => Head::Value(entry("target").unwrap_or_default().to_owned()),
        task => return Err(wrong("task", task, "classification or regression")),
    };
    Ok(Architecture { sizes, activation: *activation, head })
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
