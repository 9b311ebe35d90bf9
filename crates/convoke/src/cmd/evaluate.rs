//! `convoke evaluate`: measure a model on labelled rows, here.
//!
//! Nothing is distributed: one model, one pass.

use std::process::ExitCode;

use convoke_ml::{Counts, LabelSet};
use serde::Serialize;

use crate::args::{EvaluateArgs, Format, Global};
use crate::failure::Failure;
use crate::model::Usable;
use crate::{data, model, output};

#[derive(Serialize)]
struct Printed {
    samples: u64,
    wrong: u64,
    validation_error: f64,
    validation_loss: f64,
}

/// Runs the command.
pub fn run(args: &EvaluateArgs, global: &Global) -> Result<ExitCode, Failure> {
    let Usable { model, layout, inputs } = model::read(&args.model)?;
    let labels = LabelSet::from_names(model.labels());
    let datasets = data::read_labelled(&args.data, &args.layout.or(layout), &inputs, &labels)
        .map_err(|error| Failure::bad_input(&error).hint(error.hint()))?;
    let counts = datasets.iter().map(|dataset| convoke_ml::evaluate(&model, dataset));
    let counts: Counts = counts.sum::<Result<_, _>>().map_err(Failure::bad_input)?;
    let (samples, wrong, loss) = (counts.samples, counts.wrong, counts.loss / counts.samples as f64);
    match global.output {
        Format::Json => {
            output::json(&Printed { samples, wrong, validation_error: counts.error(), validation_loss: loss })?;
        }
        Format::Text => {
            output::print(&format!("error {:.4} ({wrong} of {samples} wrong), loss {loss:.4}", counts.error()))?
        }
    }
    Ok(ExitCode::SUCCESS)
}
