//! The ordered set of a job's labels: what stands in the data on one side, class indices on the
//! other.
//! Labels that are all integers are ordered by value, others as text, so that shards in any
//! order give the same set.
//! It does not know the rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::Rows;

/// Labels and their class indices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSet {
    names: Vec<String>,
    classes: BTreeMap<String, u32>,
}

impl LabelSet {
    /// The union of the labels of some shards, in order.
    pub fn union<'a>(shards: impl IntoIterator<Item = &'a Rows>) -> LabelSet {
        let labels: BTreeSet<&str> = shards.into_iter().flat_map(Rows::label_names).collect();
        let mut labels: Vec<&str> = labels.into_iter().collect();
        let numbers: Option<Vec<i128>> = labels.iter().map(|label| label.parse().ok()).collect();
        if numbers.is_some() {
            // A stable sort: 7 and 07 are different labels and stay in text order.
            labels.sort_by_key(|label| label.parse::<i128>().unwrap_or_default());
        }
        LabelSet::from_names(labels)
    }

    /// These labels in this order, such as a model's. A name that stands twice keeps its
    /// first index.
    pub fn from_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> LabelSet {
        let mut set = LabelSet::default();
        for name in names {
            let (name, class) = (name.into(), set.names.len() as u32);
            if !set.classes.contains_key(&name) {
                set.classes.insert(name.clone(), class);
                set.names.push(name);
            }
        }
        set
    }

    /// The labels by class index.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A label's class index.
    pub fn index(&self, label: &str) -> Option<u32> {
        self.classes.get(label).copied()
    }
}
