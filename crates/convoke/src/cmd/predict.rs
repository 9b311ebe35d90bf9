//! `convoke predict`: a label for each row, in input order, here.
//!
//! Nothing is distributed: one model, one pass.

use std::process::ExitCode;

use crate::args::{Format, Global, PredictArgs};
use crate::failure::Failure;
use crate::model::Usable;
use crate::{data, model, output};

/// Runs the command.
pub fn run(args: &PredictArgs, global: &Global) -> Result<ExitCode, Failure> {
    let Usable { model, layout, inputs } = model::read(&args.model)?;
    let rows = data::read_unlabelled(&args.data, &args.layout.or(layout), &inputs)
        .map_err(|error| Failure::bad_input(&error).hint(error.hint()))?;
    if let Some(column) = rows.labels_ignored {
        output::note(format!("column {column} is taken for labels and ignored"));
    }
    let classes = convoke_ml::predict(&model, &rows.features).map_err(Failure::bad_input)?;
    let label = |class: u32| model.labels().get(class as usize).map_or("", String::as_str);
    let labels: Vec<&str> = classes.into_iter().map(label).collect();
    match global.output {
        Format::Json => output::json(&labels)?,
        Format::Text => output::print(&labels.join("\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
