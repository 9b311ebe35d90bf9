//! The shape of a model: units of each layer, what stands between layers, and what the outputs mean.
//! Everything about a shape is checked here, before anything is allocated for it.
//! It does not know parameters, nor how they are trained.

use std::collections::BTreeSet;

use crate::excerpt::excerpt;
use crate::model::ModelError;

/// The most layers of a model; a bound for files from elsewhere.
pub(crate) const LAYERS_MAX: usize = 64;

/// The most parameters of a model: one GiB of them.
pub(crate) const PARAMETERS_MAX: usize = 1 << 28;

/// The most bytes that all labels together may have, or a target's name.
pub(crate) const LABEL_BYTES_MAX: usize = 1 << 18;

/// What a model is made of, but for its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Units of each layer, from the inputs to the outputs. Without a hidden layer, it is softmax or linear regression.
    pub sizes: Vec<usize>,
    /// What stands between dense layers.
    pub activation: Activation,
    /// What the outputs are.
    pub head: Head,
}

/// The function between two dense layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// max(0, x)
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// What the outputs of a model are, and so what it is trained to make small.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// One output for each class, with these names: softmax cross-entropy.
    Classes(Vec<String>),
    /// One output, an estimate of a number: mean squared error. The number's name, empty where it has none.
    Value(String),
}

impl Architecture {
    /// A classifier with ReLU: the reference job's.
    pub fn classifier(sizes: &[usize], labels: Vec<String>) -> Architecture {
        Architecture { sizes: sizes.to_vec(), activation: Activation::Relu, head: Head::Classes(labels) }
    }

    /// How many parameters such a model has; checks everything about the shape.
    pub(crate) fn parameter_count(&self) -> Result<usize, ModelError> {
        let count = parameter_count(&self.sizes)?;
        let outputs = self.sizes[self.sizes.len() - 1];
        match &self.head {
            Head::Classes(labels) => check_labels(labels, outputs)?,
            Head::Value(_) if outputs != 1 => return Err(ModelError::ValueOutputs { found: outputs }),
            Head::Value(name) if name.len() > LABEL_BYTES_MAX => {
                return Err(ModelError::LabelBytes { found: name.len() });
            }
            Head::Value(_) => {}
        }
        Ok(count)
    }
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
        Some(label) => Err(ModelError::DuplicateLabel { label: excerpt(label) }),
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
    fn impossible_shapes_are_refused() {
        let error = |sizes: &[usize], head| {
            let architecture = Architecture { sizes: sizes.to_vec(), activation: Activation::Relu, head };
            architecture.parameter_count().unwrap_err().to_string()
        };
        let classes = |count| Head::Classes(labels(count));
        assert_eq!(error(&[4], classes(0)), "1 layer sizes, expected 2 to 65");
        assert_eq!(error(&[4, 0, 2], classes(2)), "layer size 1 is 0");
        assert_eq!(error(&[usize::MAX, usize::MAX], classes(0)), "the layers have more than 268435456 parameters");
        assert_eq!(error(&[4, 2], classes(3)), "3 labels for 2 outputs");
        assert_eq!(error(&[4, 2], Head::Classes(vec!["a".into(), "a".into()])), "label `a` stands twice");
        let long = "a".repeat(300_000);
        let said = "the labels have 300000 bytes, more than 262144";
        assert_eq!(error(&[4, 1], Head::Classes(vec![long.clone()])), said);
        assert_eq!(error(&[4, 1], Head::Value(long)), said);
        assert_eq!(error(&[4, 2], Head::Value("y".into())), "a model of a value has 2 outputs, expected 1");
    }
}
