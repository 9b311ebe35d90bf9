//! The multi-layer perceptron: dense layers with ReLU between them and softmax cross-entropy at
//! the end.
//! All parameters lie in one row, layer by layer, weights `[in, out]` row-major before biases
//! `[out]`;
//! so a gradient, a delta or an update is a loop over one slice.
//! It does not know how it is trained or stored.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;
use rand_pcg::Pcg64;

use crate::tensor_file::TensorFileError;

/// The most layers of a model; a bound for files from elsewhere.
pub(crate) const LAYERS_MAX: usize = 64;

/// The most parameters of a model: one GiB of them.
pub(crate) const PARAMETERS_MAX: usize = 1 << 28;

/// The most bytes that all labels together may have.
pub(crate) const LABEL_BYTES_MAX: usize = 1 << 18;

/// Why a model cannot be made, or a model file cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Not a safetensors file of the expected tensors.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// A metadata entry is missing.
    #[error("metadata has no `{key}`")]
    MetadataMissing {
        /// The entry's key.
        key: &'static str,
    },
    /// A metadata entry has a value that cannot be used.
    #[error("metadata `{key}` is `{found}`, expected {expected}")]
    Metadata {
        /// The entry's key.
        key: &'static str,
        /// Its value, cut short.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Fewer than two sizes, or more than 64 layers.
    #[error("{found} layer sizes, expected 2 to {}", LAYERS_MAX + 1)]
    Layers {
        /// How many sizes were given.
        found: usize,
    },
    /// A layer without units.
    #[error("layer size {position} is 0")]
    EmptyLayer {
        /// Which size, from 0: the inputs.
        position: usize,
    },
    /// More than 2^28 parameters.
    #[error("the layers have more than {PARAMETERS_MAX} parameters")]
    TooLarge,
    /// Not one label for each output.
    #[error("{labels} labels for {outputs} outputs")]
    LabelCount {
        /// How many labels were given.
        labels: usize,
        /// How many outputs the last layer has.
        outputs: usize,
    },
    /// The labels are too long together.
    #[error("the labels have {found} bytes, more than {LABEL_BYTES_MAX}")]
    LabelBytes {
        /// Their bytes.
        found: usize,
    },
    /// Two outputs have the same label.
    #[error("label `{label}` stands twice")]
    DuplicateLabel {
        /// The label, cut short.
        label: String,
    },
}

/// A multi-layer perceptron with its label names. No hidden layer at all is softmax regression.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    sizes: Vec<usize>,
    parameters: Vec<f32>,
    labels: Vec<String>,
    metadata: BTreeMap<String, String>,
}

/// One dense layer's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer<'a> {
    /// Units before it.
    pub inputs: usize,
    /// Its units.
    pub outputs: usize,
    /// `[inputs, outputs]`, row-major.
    pub weight: &'a [f32],
    /// `[outputs]`
    pub bias: &'a [f32],
}

impl Mlp {
    /// A model with all parameters zero. `sizes` are the units from the inputs to the
    /// outputs, `labels` (`[outputs]`) the classes' names.
    pub fn zeros(sizes: &[usize], labels: Vec<String>) -> Result<Mlp, ModelError> {
        let count = parameter_count(sizes)?;
        check_labels(&labels, sizes[sizes.len() - 1])?;
        Ok(Mlp { sizes: sizes.to_vec(), parameters: vec![0.0; count], labels, metadata: BTreeMap::new() })
    }

    /// The reference job's start: every weight and bias uniform in [-0.01, 0.01), from
    /// PCG-64 (O'Neill 2014) seeded with `seed`.
    ///
    /// The same seed gives the same bits on every platform: 24 random bits are scaled by
    /// one exact multiplication.
    pub fn uniform_start(sizes: &[usize], labels: Vec<String>, seed: u64) -> Result<Mlp, ModelError> {
        const HALF: i64 = 1 << 23;
        let mut model = Mlp::zeros(sizes, labels)?;
        let mut generator = Pcg64::new(spread(seed), 0xa02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96);
        for parameter in &mut model.parameters {
            let bits = (generator.next_u64() >> 40) as i64;
            *parameter = (bits - HALF) as f32 * (0.01 / HALF as f32);
        }
        Ok(model)
    }

    /// Units of each layer, from the inputs to the outputs.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.sizes[0]
    }

    /// Classes.
    pub fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// The classes' names, in the order of the outputs.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// All parameters, layer by layer, weights before biases.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// All parameters, to change them.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// Free metadata that travels in the model's file, such as the job it came from.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Free metadata, to change it. The keys that the format defines are overwritten when
    /// the model is stored.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// The layers in order.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let mut rest = &self.parameters[..];
        self.sizes.windows(2).map(move |pair| {
            let (weight, after) = rest.split_at(pair[0] * pair[1]);
            let (bias, after) = after.split_at(pair[1]);
            rest = after;
            Layer { inputs: pair[0], outputs: pair[1], weight, bias }
        })
    }
}

/// Mixes all bits of a seed (splitmix64's finish, Steele 2014), so that neighbouring seeds give
/// unrelated starts.
pub(crate) fn spread(seed: u64) -> u128 {
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let high = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let low = mix(seed.wrapping_add(0x3c6e_f372_fe94_f82a));
    u128::from(high) << 64 | u128::from(low)
}

/// How many parameters layers of these sizes have; checks everything about the sizes.
pub(crate) fn parameter_count(sizes: &[usize]) -> Result<usize, ModelError> {
    if !(2..=LAYERS_MAX + 1).contains(&sizes.len()) {
        return Err(ModelError::Layers { found: sizes.len() });
    }
    if let Some(position) = sizes.iter().position(|size| *size == 0) {
        return Err(ModelError::EmptyLayer { position });
    }
    let layer = |pair: &[usize]| pair[0].checked_mul(pair[1])?.checked_add(pair[1]);
    sizes
        .windows(2)
        .try_fold(0usize, |total, pair| total.checked_add(layer(pair)?))
        .filter(|total| *total <= PARAMETERS_MAX)
        .ok_or(ModelError::TooLarge)
}

fn check_labels(labels: &[String], outputs: usize) -> Result<(), ModelError> {
    if labels.len() != outputs {
        return Err(ModelError::LabelCount { labels: labels.len(), outputs });
    }
    let found = labels.iter().map(String::len).sum();
    if found > LABEL_BYTES_MAX {
        return Err(ModelError::LabelBytes { found });
    }
    let mut seen = BTreeSet::new();
    match labels.iter().find(|label| !seen.insert(label.as_str())) {
        Some(label) => Err(ModelError::DuplicateLabel { label: crate::excerpt::excerpt(label) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|label| label.to_string()).collect()
    }

    #[test]
    fn the_uniform_start_is_pinned() {
        let model = Mlp::uniform_start(&[16, 24, 26], labels(26), 7).unwrap();
        assert_eq!(model.parameters().len(), 16 * 24 + 24 + 24 * 26 + 26);
        assert!(model.parameters().iter().all(|value| value.abs() <= 0.01));
        let mean = model.parameters().iter().sum::<f32>() / 1058.0;
        assert!(mean.abs() < 0.001, "mean {mean}");
        assert_eq!(model.parameters()[..3], [-0.005_085_835_2, 0.008_043_17, 0.004_976_947_3]);
    }

    #[test]
    fn layers_cut_the_parameters_in_order() {
        let mut model = Mlp::zeros(&[2, 3, 1], labels(1)).unwrap();
        for (position, parameter) in model.parameters_mut().iter_mut().enumerate() {
            *parameter = position as f32;
        }
        let layers: Vec<_> = model.layers().collect();
        assert_eq!(layers[0].weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(layers[0].bias, [6.0, 7.0, 8.0]);
        assert_eq!(layers[1].weight, [9.0, 10.0, 11.0]);
        assert_eq!(layers[1].bias, [12.0]);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let error = |sizes: &[usize], labels| Mlp::zeros(sizes, labels).unwrap_err().to_string();
        assert_eq!(error(&[4], vec![]), "1 layer sizes, expected 2 to 65");
        assert_eq!(error(&[4, 0, 2], labels(2)), "layer size 1 is 0");
        assert_eq!(error(&[usize::MAX, usize::MAX], vec![]), "the layers have more than 268435456 parameters");
        assert_eq!(error(&[4, 2], labels(3)), "3 labels for 2 outputs");
        assert_eq!(error(&[4, 2], vec!["a".into(), "a".into()]), "label `a` stands twice");
        assert_eq!(error(&[4, 1], vec!["a".repeat(300_000)]), "the labels have 300000 bytes, more than 262144");
    }
}
