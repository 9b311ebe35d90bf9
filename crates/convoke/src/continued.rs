//! A model that training goes on from: what it wants the data to be.
//!
//! It keeps its architecture and what features are standardised by; how training goes on is for others.

use std::path::Path;

use convoke_ml::Mlp;
use convoke_ml::rows::{Inputs, Layout, RowError};

use crate::args::Task;
use crate::data::{DataError, Labels, Wanted};
use crate::failure::Failure;
use crate::model::{self, Usable};

/// A model to go on from.
pub struct Continued {
    /// The model.
    pub model: Mlp,
    /// How rows for it lie unless flags say otherwise.
    pub layout: Layout,
    inputs: Inputs,
}

impl Continued {
    /// Reads it. What was said of the task has to be so.
    pub fn read(path: &Path, task: Option<Task>) -> Result<Self, Failure> {
        let Usable { model, layout, inputs } = model::read(path)?;
        let (is, other) = match Labels::of(model.head()).task() {
            Task::Classification => ("classes", Task::Regression),
            Task::Regression => ("numbers", Task::Classification),
        };
        if task == Some(other) {
            let other = if other == Task::Regression { "regression" } else { "classification" };
            let error = format!("--task {other}: the model {} predicts {is}", path.display());
            return Err(Failure::bad_input(error).hint("leave out --task, or begin anew without --init"));
        }
        Ok(Self { model, layout, inputs })
    }

    /// What data it wants.
    pub fn wanted(&self) -> Wanted {
        Wanted { inputs: self.inputs.clone(), labels: Labels::of(self.model.head()) }
    }

    /// What to do about data that it does not take.
    pub fn hint(error: &DataError) -> Option<String> {
        match error {
            DataError::Row(RowError::UnknownLabel { .. }) => {
                Some("a model goes on with its own labels: begin anew without --init to tell others apart".to_owned())
            }
            _ => None,
        }
    }
}
