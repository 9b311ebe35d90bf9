//! The multi-layer perceptron: dense layers with an activation between them, which predict classes or a value.
//! All parameters lie in one row, layer by layer, weights `[in, out]` row-major before biases `[out]`; so a gradient, a
//! delta or an update is a loop over one slice. What features are standardised by is part of the model, but no parameter.
//! It does not know how it is trained or stored.

use std::collections::BTreeMap;

use crate::architecture::{Activation, Architecture, Head, LABEL_BYTES_MAX, LAYERS_MAX, PARAMETERS_MAX};
use crate::moments::MomentsError;
use crate::tensor_file::TensorFileError;

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
    /// A value is one output.
    #[error("a model of a value has {found} outputs, expected 1")]
    ValueOutputs {
        /// How many outputs the last layer has.
        found: usize,
    },
    /// Moments that features cannot be standardised by.
    #[error(transparent)]
    Moments(#[from] MomentsError),
    /// Nothing can be divided by it.
    #[error("tensor `{tensor}` holds {scale} at {position}, expected more than 0")]
    Scale {
        /// The tensor's name.
        tensor: &'static str,
        /// Where, counted in elements.
        position: usize,
        /// What.
        scale: f32,
    },
}

/// A multi-layer perceptron with what its outputs mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    architecture: Architecture,
    parameters: Vec<f32>,
    features: Option<Standardization>,
    target: Option<(f32, f32)>,
    metadata: BTreeMap<String, String>,
}

/// What is done to features before the first layer: x' = (x − mean) · (1 / scale).
#[derive(Debug, Clone, PartialEq)]
pub struct Standardization {
    /// `[d]`
    pub mean: Vec<f32>,
    /// `[d]`, more than 0; 1 where nothing varies.
    pub scale: Vec<f32>,
}

/// The tensors of a [`Standardization`] and of a target, as files call them.
pub(crate) const FEATURES_MEAN: &str = "features.mean";
pub(crate) const FEATURES_SCALE: &str = "features.scale";
pub(crate) const TARGET_MEAN: &str = "target.mean";
pub(crate) const TARGET_SCALE: &str = "target.scale";

/// Whether a tensor of a model's file is of its standardisation, which no training changes.
pub(crate) fn is_standardization(tensor: &str) -> bool {
    [FEATURES_MEAN, FEATURES_SCALE, TARGET_MEAN, TARGET_SCALE].contains(&tensor)
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
    /// A model with all parameters zero, which takes features as they are.
    pub fn zeros(architecture: Architecture) -> Result<Mlp, ModelError> {
        let count = architecture.parameter_count()?;
        let parameters = vec![0.0; count];
        Ok(Mlp { architecture, parameters, features: None, target: None, metadata: BTreeMap::new() })
    }

    /// What the model is made of.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Units of each layer, from the inputs to the outputs.
    pub fn sizes(&self) -> &[usize] {
        &self.architecture.sizes
    }

    /// Features of a sample.
    pub fn inputs(&self) -> usize {
        self.architecture.sizes[0]
    }

    /// Classes, or 1 where a value is predicted.
    pub fn outputs(&self) -> usize {
        self.sizes()[self.sizes().len() - 1]
    }

    /// What stands between dense layers.
    pub fn activation(&self) -> Activation {
        self.architecture.activation
    }

    /// What the outputs are.
    pub fn head(&self) -> &Head {
        &self.architecture.head
    }

    /// How many classes are told apart; `None` where a value is predicted.
    pub fn classes(&self) -> Option<usize> {
        match self.head() {
            Head::Classes(_) => Some(self.outputs()),
            Head::Value(_) => None,
        }
    }

    /// The classes' names, in the order of the outputs; none where a value is predicted.
    pub fn labels(&self) -> &[String] {
        match self.head() {
            Head::Classes(labels) => labels,
            Head::Value(_) => &[],
        }
    }

    /// What features are standardised by, where they are.
    pub fn features(&self) -> Option<&Standardization> {
        self.features.as_ref()
    }

    /// The mean and the scale of the value that is predicted: y = output · scale + mean, where they are known.
    pub fn target(&self) -> Option<(f32, f32)> {
        self.target
    }

    /// Sets both. The lengths have to be right, a target is that of a value, and scales have to be more than 0.
    pub(crate) fn set_standardization(
        &mut self,
        features: Option<Standardization>,
        target: Option<(f32, f32)>,
    ) -> Result<(), ModelError> {
        let scales = features.as_ref().map_or(&[][..], |features| &features.scale);
        check_scales(FEATURES_SCALE, scales)?;
        check_scales(TARGET_SCALE, target.as_ref().map_or(&[], |(_, scale)| std::slice::from_ref(scale)))?;
        (self.features, self.target) = (features, target);
        Ok(())
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
        self.architecture.sizes.windows(2).map(move |pair| {
            let (weight, after) = rest.split_at(pair[0] * pair[1]);
            let (bias, after) = after.split_at(pair[1]);
            rest = after;
            Layer { inputs: pair[0], outputs: pair[1], weight, bias }
        })
    }
}

fn check_scales(tensor: &'static str, scales: &[f32]) -> Result<(), ModelError> {
    let usable = |scale: &f32| scale.is_normal() && *scale > 0.0;
    match scales.iter().position(|scale| !usable(scale)) {
        Some(position) => Err(ModelError::Scale { tensor, position, scale: scales[position] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_cut_the_parameters_in_order() {
        let mut model = Mlp::zeros(Architecture::classifier(&[2, 3, 1], vec!["only".into()])).unwrap();
        for (position, parameter) in model.parameters_mut().iter_mut().enumerate() {
            *parameter = position as f32;
        }
        let layers: Vec<_> = model.layers().collect();
        assert_eq!(layers[0].weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(layers[0].bias, [6.0, 7.0, 8.0]);
        assert_eq!(layers[1].weight, [9.0, 10.0, 11.0]);
        assert_eq!(layers[1].bias, [12.0]);
    }
}
