//! `convoke map`: a command or a WebAssembly program on the chunks of an input, and perhaps a reduction of the results.
//!
//! What becomes of the job is `divide`'s.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use convoke_wire::program::Feed;

use super::divide::divide;
use super::wanted::Wanted;
use crate::args::{Global, MapArgs, is_module};
use crate::divisible::{Divisible, Program, Source, words};
use crate::failure::Failure;
use crate::input::{Chunk, Cut, Input};
use crate::output;

/// How much a chunk holds where nothing is said.
const CHUNK_BYTES: NonZeroU64 = NonZeroU64::new(4 << 20).unwrap();

/// Runs the command.
pub async fn run(args: MapArgs, global: &Global) -> Result<ExitCode, Failure> {
    if let Some((flag, what)) = args.idle_flag() {
        let error = format!("{flag} is for {what}, and there is none");
        let hint =
            if what == "commands" { "--command LINE or --reduce LINE" } else { "--wasm FILE or --reduce FILE.wasm" };
        return Err(Failure::bad_input(error).hint(format!("name one with {hint}, or leave out {flag}")));
    }
    let wasm = |module: PathBuf| Program::Wasm { module, memory_bytes_max: args.wasm_memory, clock: args.wasm_clock };
    let command = |line: &str| {
        let argv = words(line, args.shell)?;
        Ok::<_, Failure>(Program::Command { argv, args: args.command.clone(), feed: Feed::Stdin })
    };
    let (program, what) = match (&args.wasm, &args.line) {
        (Some(module), _) => (wasm(module.clone()), module.display().to_string()),
        (None, Some(line)) => (command(line)?, line.clone()),
        (None, None) => return Err(Failure::bad_input("there is nothing to run").hint("name a --command or a --wasm")),
    };
    let reduce = match args.reduce.as_deref() {
        None => None,
        Some(file) if is_module(file) => Some((wasm(file.into()), args.fan_in)),
        Some(line) => Some((command(line)?, args.fan_in)),
    };
    let input = Input::open(&args.input, cut(&args)?)?;
    if let Some(said) = said_of_left_out(input.left_out()) {
        output::note(format!("{}: {said}", args.input.display()));
    }
    let name = format!("{what} < {}", args.input.display());
    let source = Source::Input(Box::new(input));
    let job = Divisible { name, program, source, reduce, tasks: &args.tasks, run: &args.run };
    divide(job, &Wanted { results: args.output_file.as_deref(), raw: None, files: None }, global).await
}

fn cut(args: &MapArgs) -> Result<Cut, Failure> {
    let bytes = args.chunk_bytes.and_then(NonZeroU64::new);
    if args.input.is_dir() {
        if args.csv || args.chunk_lines.is_some() || bytes.is_some() {
            let error = format!("{} is a directory: each of its files is a chunk", args.input.display());
            return Err(Failure::bad_input(error).hint("leave out --csv, --chunk-lines and --chunk-bytes"));
        }
        return Ok(Cut::Files);
    }
    let chunk = match (args.chunk_lines, bytes) {
        (Some(count), _) => Chunk::Count(count),
        (None, bytes) => Chunk::Bytes(bytes.unwrap_or(CHUNK_BYTES)),
    };
    Ok(match args.csv {
        true => Cut::Records { chunk, delimiter: b',', header: true },
        false => Cut::Lines(chunk),
    })
}

/// What a person is told of entries of a directory that are no items.
fn said_of_left_out(entries: usize) -> Option<String> {
    match entries {
        0 => None,
        1 => Some("1 entry left out: hidden, or no file".to_owned()),
        entries => Some(format!("{entries} entries left out: hidden, or no files")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let said = [0, 1, 2].map(|entries| said_of_left_out(entries).unwrap_or_default());
        assert_eq!(said, ["", "1 entry left out: hidden, or no file", "2 entries left out: hidden, or no files"]);
    }
}
