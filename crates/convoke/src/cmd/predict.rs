//! `convoke predict`: a label for each row, in input order, here.
//!
//! Nothing is distributed: one model, one pass.

use std::io::stdin;
use std::path::Path;
use std::process::ExitCode;

use convoke_ml::rows::{self, Inputs, Layout};

use crate::args::{Format, Global, PredictArgs};
use crate::failure::Failure;
use crate::{data, model, output};

/// Runs the command.
pub fn run(args: &PredictArgs, global: &Global) -> Result<ExitCode, Failure> {
    let model = model::read(&args.model)?;
    let (layout, inputs) = (Layout::default(), Inputs { width: model.inputs(), names: Vec::new() });
    let rows = if args.data == Path::new("-") {
        rows::read_unlabelled("stdin", stdin().lock(), &layout, &inputs)
    } else {
        let file = data::open(&args.data).map_err(|error| Failure::bad_input(error).hint("check the path"))?;
        rows::read_unlabelled(&args.data.display().to_string(), file, &layout, &inputs)
    };
    let rows = rows.map_err(|error| {
        Failure::bad_input(error)
            .hint(format!("a row has the model's {} features, and may have a label behind them", model.inputs()))
    })?;
    if rows.labels_ignored.is_some() {
        eprintln!("the last column is taken for labels and ignored");
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
