//! What may be said about divisible work: what runs, on what, and what becomes of tasks that fail.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use convoke_wire::core::{FAN_IN_MAX, RETRIES_MAX};

use super::durations::parse_limit;
use super::needs::NeedsArgs;
use super::serve::parse_size;
use super::train::RunArgs;
use crate::input::Array;

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  convoke run -- hostname                                          once, somewhere
  convoke run --array 1-100 --retries 2 -- ./simulate --seed {}    a hundred times, {} being 1 to 100
  convoke run --each-line ids.txt --with score.py -- python3 score.py {} > scores.txt
  convoke run --array 1-8 --with train.py --out models/ -- python3 train.py   files in $CONVOKE_OUT come back
  convoke run --each-line urls.txt --shell -- 'curl -s {} | wc -c'

A command runs in a directory of its own, with PATH, HOME, LANG and LD_LIBRARY_PATH and what --env gives; the item is {} in
its arguments and $CONVOKE_ITEM. It may run again where a worker is lost: make it safe to repeat."
)]
pub struct RunCommandArgs {
    /// Run the command once for each line of a file (- is stdin): {} in its arguments is the line
    #[arg(long, value_name = "FILE", conflicts_with = "array")]
    pub each_line: Option<PathBuf>,
    /// Run the command once for each integer from A to B, or each STEP-th: {} in its arguments is the integer
    #[arg(long, value_name = "A-B[:STEP]", allow_hyphen_values = true)]
    pub array: Option<Array>,
    #[command(flatten, next_help_heading = "Command")]
    pub command: CommandArgs,
    /// Take the words after -- for one line of a shell
    #[arg(long, help_heading = "Command")]
    pub shell: bool,
    /// Where the tasks' outputs go, in the order of the input [default: stdout]
    #[arg(short, long = "results", value_name = "FILE", help_heading = "Output")]
    pub output_file: Option<PathBuf>,
    /// Where the files go that commands leave in $CONVOKE_OUT: DIR/TASK/FILE
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Tasks")]
    pub tasks: TaskArgs,
    #[command(flatten, next_help_heading = "Cluster")]
    pub run: RunArgs,
    /// The command: a program and its arguments, run without a shell
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub argv: Vec<String>,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, group = ArgGroup::new("program").args(["line", "wasm"]).required(true),
          after_help = "Examples:
  convoke map --command 'tr a-z A-Z' book.txt --chunk-bytes 4MiB -o BOOK.txt
  convoke map --wasm count.wasm --reduce sum.wasm book.txt --chunk-lines 10000 -o counts.txt
  convoke map --command 'python3 clean.py' --with clean.py big.csv --csv --chunk-bytes 8MiB -o clean.csv
  convoke map --command 'file -' photos/                                   a task for each file

Each task reads its chunk on stdin; what it writes to stdout is its result. A reduction reads results: a command end to end,
a WebAssembly program each after its length, a little-endian u64.")]
pub struct MapArgs {
    /// The input: a file, a directory whose files are the chunks, or - for stdin
    pub input: PathBuf,
    /// Run a command on each chunk: its words, quoted as for a shell, which is not asked
    #[arg(long = "command", value_name = "LINE")]
    pub line: Option<String>,
    /// Run a WebAssembly program (WASI) on each chunk, in a sandbox
    #[arg(long, value_name = "FILE")]
    pub wasm: Option<PathBuf>,
    /// Make one result of all: a command's words, or a .wasm file
    #[arg(long, value_name = "LINE|FILE.wasm")]
    pub reduce: Option<String>,
    /// How many results a task of the reduction reads at most
    #[arg(long, value_name = "N", default_value_t = 32, requires = "reduce",
          value_parser = clap::value_parser!(u32).range(2..=i64::from(FAN_IN_MAX)))]
    pub fan_in: u32,
    /// Take command lines for those of a shell
    #[arg(long, help_heading = "Command")]
    pub shell: bool,
    /// So many lines, or CSV records, make a chunk
    #[arg(long, value_name = "N", conflicts_with = "chunk_bytes", value_parser = parse_lines, help_heading = "Input")]
    pub chunk_lines: Option<NonZeroU64>,
    /// As many whole lines, or CSV records, as fit in so much make a chunk [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Input")]
    pub chunk_bytes: Option<u64>,
    /// Cut between the records of a CSV file, whose header stands before each chunk
    #[arg(long, help_heading = "Input")]
    pub csv: bool,
    #[command(flatten, next_help_heading = "Command")]
    pub command: CommandArgs,
    /// The most memory of a WebAssembly program [default: what the worker allows]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "WebAssembly")]
    pub wasm_memory: Option<u64>,
    /// Let a WebAssembly program tell the time
    #[arg(long, help_heading = "WebAssembly")]
    pub wasm_clock: bool,
    /// Where the results go, in the order of the input [default: stdout]
    #[arg(short, long = "results", value_name = "FILE", help_heading = "Output")]
    pub output_file: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Tasks")]
    pub tasks: TaskArgs,
    #[command(flatten, next_help_heading = "Cluster")]
    pub run: RunArgs,
}

impl MapArgs {
    /// A flag that has nothing to act on, and what it is for: commands, or WebAssembly programs. Either may be the map or
    /// its reduction.
    pub fn idle_flag(&self) -> Option<(&'static str, &'static str)> {
        let reduces_by_wasm = self.reduce.as_deref().map(is_module);
        let is_command = self.line.is_some() || reduces_by_wasm == Some(false);
        let is_wasm = self.wasm.is_some() || reduces_by_wasm == Some(true);
        let flags = [
            ("--shell", self.shell, is_command, "commands"),
            ("--with", !self.command.with.is_empty(), is_command, "commands"),
            ("--env", !self.command.env.is_empty(), is_command, "commands"),
            ("--wasm-memory", self.wasm_memory.is_some(), is_wasm, "WebAssembly programs"),
            ("--wasm-clock", self.wasm_clock, is_wasm, "WebAssembly programs"),
        ];
        let idle = flags.into_iter().find(|(_, is_given, has_use, _)| *is_given && !has_use);
        idle.map(|(flag, .., what)| (flag, what))
    }
}

/// Whether a reduction is a module, and no command.
pub fn is_module(reduce: &str) -> bool {
    reduce.ends_with(".wasm")
}

/// What a command finds.
#[derive(Clone, Debug, Default, Args)]
pub struct CommandArgs {
    /// Send a file, or a directory, along: it lies in the command's directory; several times
    #[arg(long, value_name = "PATH")]
    pub with: Vec<PathBuf>,
    /// Set a variable for the command, or pass on yours; several times
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
}

/// What tasks need, and what becomes of those that fail.
#[derive(Clone, Debug, Default, Args)]
pub struct TaskArgs {
    /// Slots that a task takes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub slots: u32,
    #[command(flatten)]
    pub needs: NeedsArgs,
    /// Try a task that failed so many times again
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(RETRIES_MAX)))]
    pub retries: u32,
    /// End a task that runs longer
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub timeout: Option<Duration>,
    /// Fail the job if it is not done by then
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub deadline: Option<Duration>,
    /// Finish the rest when a task fails for good, and list what failed
    #[arg(long)]
    pub keep_going: bool,
    /// The command may run twice at a time: slow tasks get a second attempt, lost ones at once
    #[arg(long)]
    pub idempotent: bool,
    /// Where all randomness comes from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

fn parse_lines(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "a chunk holds a whole number of lines, from 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn map(words: &[&str]) -> Result<MapArgs, String> {
        match Cli::try_parse_from([&["convoke", "map", "book.txt"], words].concat()).map(|cli| cli.command) {
            Ok(Command::Map(args)) => Ok(*args),
            Ok(other) => panic!("a map: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_flag_that_acts_on_nothing_is_found() {
        let idle = |words: &[&str]| map(words).unwrap().idle_flag();
        for flag in [&["--shell"][..], &["--with", "f"], &["--env", "A=1"]] {
            assert_eq!(idle(&[&["--wasm", "x.wasm"], flag].concat()), Some((flag[0], "commands")));
            assert_eq!(idle(&[&["--wasm", "x.wasm", "--reduce", "sort -m"], flag].concat()), None);
            assert_eq!(idle(&[&["--command", "sort"], flag].concat()), None);
        }
        for flag in [&["--wasm-clock"][..], &["--wasm-memory", "1MiB"]] {
            assert_eq!(idle(&[&["--command", "sort"], flag].concat()), Some((flag[0], "WebAssembly programs")));
            assert_eq!(idle(&[&["--command", "sort", "--reduce", "sum.wasm"], flag].concat()), None);
            assert_eq!(idle(&[&["--wasm", "x.wasm"], flag].concat()), None);
        }
    }

    #[test]
    fn what_is_wrong_names_the_flag_the_value_and_what_is_expected() {
        let command = ["--command", "sort"];
        for (words, said) in [
            (["--chunk-lines", "0"], ["'0' for '--chunk-lines <N>'", "from 1"]),
            (["--chunk-bytes", "0"], ["'0' for '--chunk-bytes <SIZE>'", "more than nothing"]),
            (["--timeout", "abc"], ["'abc' for '--timeout <DURATION>'", "a number with a unit"]),
            (["--timeout", "0s"], ["'0s' for '--timeout <DURATION>'", "a millisecond at least"]),
            (["--deadline", "0s"], ["'0s' for '--deadline <DURATION>'", "a millisecond at least"]),
            (["--retries", "-1"], ["'-1' for '--retries <N>'", "0..="]),
            (["--slots", "-1"], ["'-1' for '--slots <N>'", "1..="]),
        ] {
            let error = map(&[&command, &words[..]].concat()).unwrap_err();
            assert!(said.iter().all(|part| error.contains(part)), "{words:?}: {error}");
        }
        let error = map(&[]).unwrap_err();
        assert!(error.contains("--command <LINE>|--wasm <FILE>"), "{error}");
        let error = map(&["--command", "sort", "--wasm", "x.wasm"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
