//! What is to be predicted, classes or a number, and rows with it as data sets.
//!
//! Which of both it is, others find out.

use convoke_ml::rows::{RowError, Rows};
use convoke_ml::{Dataset, Head, LabelSet, Targets};

use crate::args::Task;

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// One of these classes.
    Classes(LabelSet),
    /// A number with this name, which may be empty.
    Value(String),
}

impl Labels {
    /// Of a model.
    pub fn of(head: &Head) -> Self {
        match head {
            Head::Classes(names) => Self::Classes(LabelSet::from_names(names.iter().map(String::as_str))),
            Head::Value(name) => Self::Value(name.clone()),
        }
    }

    /// As a model has them.
    pub fn head(&self) -> Head {
        match self {
            Self::Classes(labels) => Head::Classes(labels.names().to_vec()),
            Self::Value(name) => Head::Value(name.clone()),
        }
    }

    /// What they are.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes(_) => Task::Classification,
            Self::Value(_) => Task::Regression,
        }
    }

    /// The classes' names; none of a value.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Classes(labels) => labels.names(),
            Self::Value(_) => &[],
        }
    }
}

/// What is to be predicted of rows.
pub fn targets(rows: &Rows, labels: &Labels) -> Result<Targets, RowError> {
    Ok(match labels {
        Labels::Classes(labels) => Targets::Classes(rows.classes(labels)?),
        Labels::Value(_) => Targets::Values(rows.values()?),
    })
}

/// Each row's class. Numbers are dealt and held out as if they were of one.
pub fn classes_of(targets: &Targets) -> Vec<u32> {
    match targets {
        Targets::Classes(classes) => classes.clone(),
        Targets::Values(values) => vec![0; values.len()],
    }
}

/// Some of the rows.
pub fn choose(rows: &Rows, chosen: &[u32], targets: &Targets) -> Dataset {
    match targets {
        Targets::Classes(classes) => rows.choose(chosen, classes),
        Targets::Values(values) => rows.choose_values(chosen, values),
    }
}

/// All of the rows.
pub fn whole(rows: Rows, labels: &Labels) -> Result<Dataset, RowError> {
    match labels {
        Labels::Classes(labels) => rows.encode(labels),
        Labels::Value(_) => rows.encode_values(),
    }
}

/// Data sets of the same kind as one; none if there are none.
pub fn joined(parts: &[Dataset]) -> Option<Dataset> {
    let width = parts.first()?.width();
    let features = parts.iter().flat_map(Dataset::features).copied().collect();
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    for part in parts {
        match part.targets() {
            Targets::Classes(part) => classes.extend_from_slice(part),
            Targets::Values(part) => values.extend_from_slice(part),
        }
    }
    let joined = match parts[0].targets() {
        Targets::Classes(_) => Dataset::new(features, classes, width),
        Targets::Values(_) => Dataset::of_values(features, values, width),
    };
    Some(joined.expect("each part is a data set of the same width"))
}
