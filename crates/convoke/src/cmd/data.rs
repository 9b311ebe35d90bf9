//! `convoke data`: write a generated data set as the files that `convoke train` reads.
//!
//! What is in them is for `convoke-ml`. Nothing that is there already is changed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use convoke_ml::letters;
use serde::Serialize;

use crate::args::{DataArgs, DataSet, Format, Global, LettersArgs};
use crate::failure::Failure;
use crate::{output, whole_file};

/// What `--output json` prints.
#[derive(Serialize)]
struct Printed {
    directory: String,
    rows: usize,
    shards: usize,
}

/// A file to write.
struct Planned {
    path: PathBuf,
    text: String,
}

/// Runs the command.
pub fn run(args: &DataArgs, global: &Global) -> Result<ExitCode, Failure> {
    match &args.set {
        DataSet::Letters(args) => letters(args, global),
    }
}

fn letters(args: &LettersArgs, global: &Global) -> Result<ExitCode, Failure> {
    let directory = &args.directory;
    let files = letters::generate(args.seed);
    let planned = files.parts().map(|part| {
        let path = directory.join(format!("{}.txt", part.name));
        Planned { path, text: part.text() }
    });
    write_all(directory, &planned.collect::<Vec<_>>())?;
    output::note(format!(
        "wrote the letters of seed {}: {} shards of {} rows, and {} rows to validate",
        args.seed,
        letters::SHARDS,
        letters::SHARD_ROWS,
        letters::VALIDATION_ROWS
    ));
    output::note(format!("next: convoke train {}", directory.display()));
    let rows = files.parts().map(|part| part.rows.len()).sum();
    match global.output {
        Format::Json => {
            output::json(&Printed { directory: directory.display().to_string(), rows, shards: letters::SHARDS })?
        }
        Format::Text => output::print(&directory.display().to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files, each whole, into a directory that holds no other data.
fn write_all(directory: &Path, files: &[Planned]) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| cannot("make the directory", directory, &error))?;
    let there = data_files(directory).map_err(|error| cannot("read", directory, &error))?;
    let mut missing = Vec::new();
    for file in files {
        if !there.contains(&file.path) {
            missing.push(file);
        } else if fs::read(&file.path).map_err(|error| cannot("read", &file.path, &error))? != file.text.as_bytes() {
            return Err(in_the_way(&file.path));
        }
    }
    if let Some(other) = there.iter().find(|path| files.iter().all(|file| file.path != **path)) {
        return Err(in_the_way(other));
    }
    whole_file::remove_leftovers(&missing.iter().map(|file| &file.path).collect::<Vec<_>>());
    for Planned { path, text } in missing {
        whole_file::write(path, text.as_bytes()).map_err(|error| cannot("write", path, &error))?;
    }
    Ok(())
}

/// What `convoke train` would take for a part of the data.
fn data_files(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("train_") || name.starts_with("validate_");
        if ours && (name.ends_with(".txt") || name.ends_with(".csv")) {
            files.insert(entry.path());
        }
    }
    Ok(files)
}

fn in_the_way(path: &Path) -> Failure {
    Failure::bad_input(format!("{} is there already, with other data", path.display()))
        .hint("name another directory; nothing was written")
}

/// A full disk is no fault of the command line; any other place that cannot be used is bad input.
fn cannot(act: &str, path: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot {act} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::failed(text).hint("make room there; the same command goes on where it stopped")
        }
        _ => Failure::bad_input(text).hint("name a directory that you may write to"),
    }
}
