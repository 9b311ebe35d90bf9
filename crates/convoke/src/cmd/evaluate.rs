//! `convoke evaluate`: measure a model on labelled rows, here.
//!
//! Nothing is distributed: one model, one pass.

use std::process::ExitCode;

use convoke_ml::Counts;
use serde::Serialize;

use crate::args::{EvaluateArgs, Format, Global};
use crate::confusion::Confusion;
use crate::data::Labels;
use crate::failure::Failure;
use crate::model::Usable;
use crate::{data, model, output};

#[derive(Serialize)]
#[serde(untagged)]
enum Printed<'a> {
    Classes {
        samples: u64,
        wrong: u64,
        accuracy: Option<f64>,
        validation_error: f64,
        validation_loss: f64,
        confusion: Option<&'a Confusion>,
    },
    Values {
        samples: u64,
        validation_error: f64,
        validation_rmse: f64,
        /// None where all values are the same.
        validation_r2: Option<f64>,
        validation_loss: f64,
    },
}

/// Runs the command.
pub fn run(args: &EvaluateArgs, global: &Global) -> Result<ExitCode, Failure> {
    let Usable { model, layout, inputs } = model::read(&args.model)?;
    let labels = Labels::of(model.head());
    let datasets = data::read_labelled(&args.data, &args.layout.or(layout), &inputs, &labels)
        .map_err(|error| Failure::bad_input(&error).hint(error.hint()))?;
    let counts = datasets.iter().map(|dataset| convoke_ml::evaluate(&model, dataset));
    let counts: Counts = counts.sum::<Result<_, _>>().map_err(Failure::bad_input)?;
    let confusion = counts.confusion.as_ref().map(|counts| Confusion::new(model.labels(), counts));
    match global.output {
        Format::Json => output::json(&printed(&counts, confusion.as_ref()))?,
        Format::Text => output::print(&text(&counts, confusion.as_ref()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn printed<'a>(counts: &Counts, confusion: Option<&'a Confusion>) -> Printed<'a> {
    let (samples, validation_error, validation_loss) = (counts.samples, counts.error(), counts.log_loss());
    match counts.rmse() {
        Some(validation_rmse) => {
            Printed::Values { samples, validation_error, validation_rmse, validation_r2: counts.r2(), validation_loss }
        }
        None => Printed::Classes {
            samples,
            wrong: counts.wrong,
            accuracy: counts.accuracy(),
            validation_error,
            validation_loss,
            confusion,
        },
    }
}

fn text(counts: &Counts, confusion: Option<&Confusion>) -> String {
    let (samples, wrong, error, loss) = (counts.samples, counts.wrong, counts.error(), counts.log_loss());
    let Some(accuracy) = counts.accuracy() else {
        let r2 = counts.r2().map_or_else(|| "none: all values are the same".to_owned(), |r2| format!("{r2:.4}"));
        return format!("RMSE {error:.4}, R² {r2}, {samples} rows");
    };
    let measures = format!("error {error:.4} ({wrong} of {samples} wrong), accuracy {accuracy:.4}, log-loss {loss:.4}");
    match confusion {
        Some(confusion) => format!("{measures}\n\n{confusion}"),
        None => measures,
    }
}
