//! `convoke run`: a command on workers, once or for each line of a file or integer of a range.
//!
//! What becomes of the job is `divide`'s.

use std::process::ExitCode;

use convoke_wire::program::Feed;

use super::divide::divide;
use super::wanted::Wanted;
use crate::args::{Global, RunCommandArgs};
use crate::divisible::{Divisible, Program, Source, shell_words};
use crate::failure::Failure;
use crate::input::{Cut, Input};
use crate::output;

/// Runs the command.
pub async fn run(args: RunCommandArgs, global: &Global) -> Result<ExitCode, Failure> {
    let argv = if args.shell { shell_words(&args.argv.join(" ")) } else { args.argv.clone() };
    let (source, feed) = match (&args.each_line, args.array) {
        (Some(file), _) => (Source::Input(Box::new(Input::open(file, Cut::EachLine)?)), Feed::Argument),
        (None, Some(array)) => (Source::Array(array), Feed::Argument),
        (None, None) => (Source::Once, Feed::Nothing),
    };
    if feed == Feed::Argument && !args.shell && !argv.iter().any(|word| word.contains("{}")) {
        output::note("no {} in the command: its item is in $CONVOKE_ITEM alone");
    }
    let name = args.argv.join(" ");
    let program = Program::Command { argv, args: args.command.clone(), feed };
    let job = Divisible { name, program, source, reduce: None, tasks: &args.tasks, run: &args.run };
    divide(job, &Wanted { results: args.output_file.as_deref(), raw: None, files: args.out.as_deref() }, global).await
}
