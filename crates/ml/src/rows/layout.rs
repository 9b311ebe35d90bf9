//! How rows lie in a file, as a person says it: the delimiter, which column is the label, which are dropped.
//! A model keeps it in its metadata, so that data laid out in the same way need not be described again.
//! It does not know any file; `columns` makes places of names.

use std::collections::BTreeMap;

use crate::ModelError;
use crate::excerpt::excerpt;

/// The longest list of feature names that a model keeps, in bytes: its file's header has a limit.
const FEATURES_BYTES_MAX: usize = 1 << 20;

/// How rows lie in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What stands between cells: one ASCII character. A blank stands for one or several.
    pub delimiter: u8,
    /// Where the label is.
    pub label: LabelColumn,
    /// Columns to leave out, each by its name in the header, or by its number from 1.
    pub drop: Vec<String>,
}

/// Which column is the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelColumn {
    /// The first that is not dropped.
    First,
    /// The last that is not dropped.
    Last,
    /// By its name in the header, or by its number from 1.
    Named(String),
}

/// What a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// How many features.
    pub width: usize,
    /// Their names in order, or none where they are not known.
    pub names: Vec<String>,
}

impl Default for Layout {
    /// Commas, the label last, nothing dropped.
    fn default() -> Layout {
        Layout { delimiter: b',', label: LabelColumn::Last, drop: Vec::new() }
    }
}

impl LabelColumn {
    /// `first`, `last`, or a column.
    pub fn parse(text: &str) -> LabelColumn {
        match text {
            "first" => LabelColumn::First,
            "last" => LabelColumn::Last,
            name => LabelColumn::Named(name.to_string()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            LabelColumn::First => "first",
            LabelColumn::Last => "last",
            LabelColumn::Named(name) => name,
        }
    }
}

impl Layout {
    /// Writes the layout into a model's metadata, and the features' names where they are known.
    pub fn keep(&self, features: &[String], metadata: &mut BTreeMap<String, String>) {
        let mut keep = |key: &str, value: String| metadata.insert(key.to_string(), value);
        keep("label", self.label.as_str().to_string());
        keep("delimiter", char::from(self.delimiter).to_string());
        keep("drop", serde_json::json!(self.drop).to_string());
        let features = (!features.is_empty()).then(|| serde_json::json!(features).to_string());
        if let Some(features) = features.filter(|features| features.len() <= FEATURES_BYTES_MAX) {
            keep("features", features);
        }
    }

    /// The layout that a model was trained on. A model without one has the default.
    pub fn of_model(metadata: &BTreeMap<String, String>) -> Result<Layout, ModelError> {
        let mut layout = Layout::default();
        if let Some(label) = metadata.get("label") {
            layout.label = LabelColumn::parse(label);
        }
        if let Some(delimiter) = metadata.get("delimiter") {
            layout.delimiter = parse_delimiter(delimiter).ok_or_else(|| ModelError::Metadata {
                key: "delimiter",
                found: excerpt(delimiter),
                expected: "one ASCII character",
            })?;
        }
        layout.drop = list(metadata, "drop")?;
        Ok(layout)
    }
}

impl Inputs {
    /// What a model of `width` inputs with this metadata takes.
    pub fn of_model(width: usize, metadata: &BTreeMap<String, String>) -> Result<Inputs, ModelError> {
        let names = list(metadata, "features")?;
        if !names.is_empty() && names.len() != width {
            let found = format!("{} names", names.len());
            return Err(ModelError::Metadata { key: "features", found, expected: "a name for each input" });
        }
        Ok(Inputs { width, names })
    }
}

/// One ASCII character that cannot be part of a number or a quote; `tab`, `\t` and `space` by their names.
pub fn parse_delimiter(text: &str) -> Option<u8> {
    match text {
        "tab" | "\\t" => Some(b'\t'),
        "space" => Some(b' '),
        _ => match text.as_bytes() {
            [byte @ (b'\t' | b' ')] => Some(*byte),
            [byte] if byte.is_ascii_punctuation() && !b"\"+-.".contains(byte) => Some(*byte),
            _ => None,
        },
    }
}

fn list(metadata: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, ModelError> {
    let Some(text) = metadata.get(key) else { return Ok(Vec::new()) };
    let expected = "a JSON list of texts";
    serde_json::from_str(text).map_err(|_| ModelError::Metadata { key, found: excerpt(text), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_keeps_its_layout() {
        let drop = vec!["id".to_string(), "a,b".to_string()];
        let layout = Layout { delimiter: b'\t', label: LabelColumn::Named("kind".into()), drop };
        let mut metadata = BTreeMap::new();
        assert_eq!(Layout::of_model(&metadata), Ok(Layout::default()));
        layout.keep(&["x".to_string()], &mut metadata);
        assert_eq!(Layout::of_model(&metadata), Ok(layout));
        assert_eq!(Inputs::of_model(1, &metadata).unwrap().names, ["x"]);
        let error = Inputs::of_model(2, &metadata).unwrap_err().to_string();
        assert_eq!(error, "metadata `features` is `1 names`, expected a name for each input");
        metadata.insert("drop".into(), "7".into());
        let error = Layout::of_model(&metadata).unwrap_err().to_string();
        assert_eq!(error, "metadata `drop` is `7`, expected a JSON list of texts");
    }

    #[test]
    fn delimiters_are_characters_that_no_number_has() {
        for (text, byte) in [(",", b','), (";", b';'), ("tab", b'\t'), ("\\t", b'\t'), ("\t", b'\t'), ("space", b' ')] {
            assert_eq!(parse_delimiter(text), Some(byte), "{text}");
        }
        for wrong in ["", ",,", "5", "e", ".", "-", "\"", "é", "\n"] {
            assert_eq!(parse_delimiter(wrong), None, "{wrong:?}");
        }
    }
}
