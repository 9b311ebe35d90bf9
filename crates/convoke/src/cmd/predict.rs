//! `convoke predict`: a line for each row, in input order, here or on a coordinator's workers.
//!
//! Both read the same rows in the same pieces and make the same text of them. How pieces reach workers is `divide`'s.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Seek, Write};
use std::process::ExitCode;

use convoke_ml::Mlp;

use super::divide::divide;
use super::signals::Unsubmitted;
use super::wanted::{Wanted, check_file};
use crate::args::{At, Format, Global, PredictArgs, RunArgs, TaskArgs};
use crate::divisible::{Divisible, Program, Source};
use crate::failure::Failure;
use crate::input::{Input, Rows};
use crate::model::{self, Usable};
use crate::output;
use crate::progress::Progress;
use crate::whole_file::Unpublished;

/// How often a task that failed is tried again: predicting changes nothing.
const RETRIES: u32 = 2;

/// What a line holds.
#[derive(Clone, Copy)]
enum Lines {
    /// A label.
    Labels,
    /// The number that is predicted.
    Numbers,
    /// The probabilities of all labels.
    Probabilities,
}

impl Lines {
    fn of(args: &PredictArgs, model: &Mlp) -> Self {
        match model.classes() {
            Some(_) if args.probabilities => Self::Probabilities,
            Some(_) => Self::Labels,
            None => Self::Numbers,
        }
    }
}

/// Runs the command.
pub async fn run(args: PredictArgs, global: &Global) -> Result<ExitCode, Failure> {
    let unsubmitted = Unsubmitted::begin(&Progress::none())?;
    args.output_file.as_deref().map_or(Ok(()), |path| check_file(path, "-o FILE"))?;
    let Usable { model, layout, inputs } = model::read(&args.model)?;
    let rows = Rows::open(&args.data, &args.layout.or(layout), &inputs, args.skip_bad)?;
    if let Some(column) = rows.labels_ignored() {
        output::note(format!("column {column} is taken for labels and ignored"));
    }
    if args.probabilities && model.classes().is_none() {
        let error = format!("--probabilities are of classes, and the model {} predicts a number", args.model.display());
        return Err(Failure::bad_input(error).hint("leave them out: each line is a number"));
    }
    if args.probabilities {
        output::note(format!("probabilities of: {}", output::line(&model.labels().join(", "))));
    }
    let skipped = rows.skipped();
    let lines = Lines::of(&args, &model);
    let status = match &args.coordinator {
        None => here(&args, &model, rows, lines, global),
        Some(_) => {
            drop((model, unsubmitted));
            on_workers(&args, rows, lines, global).await
        }
    };
    let status = status?;
    skipped.report();
    Ok(status)
}

/// All of it is predicted before anything is written: what is wrong with the data is found first.
fn here(args: &PredictArgs, model: &Mlp, mut rows: Rows, lines: Lines, global: &Global) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    loop {
        let features = rows.features()?;
        if features.is_empty() {
            break;
        }
        text += &convoke_ml::prediction_lines(model, &features, args.probabilities).map_err(Failure::bad_input)?;
    }
    deliver(args, lines, global, text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn on_workers(args: &PredictArgs, rows: Rows, lines: Lines, global: &Global) -> Result<ExitCode, Failure> {
    let at = At { coordinator: args.coordinator.clone(), wait: args.wait };
    let run = RunArgs { at, ..RunArgs::default() };
    let tasks = TaskArgs { slots: 1, retries: RETRIES, ..TaskArgs::default() };
    let job = Divisible {
        name: format!("predict {}", args.data.display()),
        program: Program::Predict { model: args.model.clone(), probabilities: args.probabilities },
        source: Source::Input(Box::new(Input::of_rows(rows))),
        reduce: None,
        tasks: &tasks,
        run: &run,
    };
    let results = args.output_file.as_deref();
    if global.output == Format::Text {
        return divide(job, &Wanted { results, raw: None, files: None }, global).await;
    }
    // As JSON, it is made of the text, once that is complete.
    let mut raw = tempfile::tempfile().map_err(cannot_keep)?;
    let text = Global { output: Format::Text, ..global.clone() };
    let status = divide(job, &Wanted { results: None, raw: Some(&raw), files: None }, &text).await?;
    if status == ExitCode::SUCCESS {
        raw.rewind().map_err(cannot_keep)?;
        deliver(args, lines, global, BufReader::new(raw))?;
    }
    Ok(status)
}

/// Writes what was predicted to where it is wanted, in the format that is.
fn deliver(args: &PredictArgs, lines: Lines, global: &Global, text: impl BufRead) -> Result<(), Failure> {
    let Some(path) = &args.output_file else {
        return match write(lines, global, text, io::stdout().lock()) {
            // A reader that has gone is no error of ours.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        };
    };
    let written = Unpublished::create(path).and_then(|mut file| {
        write(lines, global, text, &mut file)?;
        file.publish()
    });
    written.map_err(|error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
            .hint("check the space and the rights there")
    })
}

fn write(lines: Lines, global: &Global, mut text: impl BufRead, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    match global.output {
        Format::Text => drop(io::copy(&mut text, &mut to)?),
        Format::Json => write_json(text, &mut to, lines)?,
    }
    to.flush()
}

/// The lines as one JSON list: of labels, of numbers, or of lists of probabilities.
fn write_json(text: impl BufRead, to: &mut impl Write, lines: Lines) -> io::Result<()> {
    for (place, line) in text.lines().enumerate() {
        let line = line?;
        to.write_all(if place == 0 { b"[" } else { b"," })?;
        match lines {
            Lines::Labels => serde_json::to_writer(&mut *to, &line)?,
            Lines::Numbers => serde_json::to_writer(&mut *to, &line.parse::<f64>().map_err(io::Error::other)?)?,
            Lines::Probabilities => {
                let numbers: Result<Vec<f32>, _> = line.split(' ').map(str::parse).collect();
                serde_json::to_writer(&mut *to, &numbers.map_err(io::Error::other)?)?;
            }
        }
    }
    to.write_all(b"]\n")
}

fn cannot_keep(error: io::Error) -> Failure {
    let folder = std::env::temp_dir();
    Failure::failed(format!("cannot keep the predictions in {}: {error}", folder.display()))
        .hint("make room there, or name another folder with TMPDIR")
}
