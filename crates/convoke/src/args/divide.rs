//! What may be said about divisible work: what runs, on what, and what becomes of tasks that fail.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use convoke_wire::core::{FAN_IN_MAX, RETRIES_MAX};

use super::needs::NeedsArgs;
use super::serve::parse_size;
use super::train::RunArgs;
use crate::input::Array;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke run -- hostname                                          once, somewhere
  convoke run --array 1-100 --retries 2 -- ./simulate --seed {}    a hundred times, {} being 1 to 100
  convoke run --each-line ids.txt --with score.py -- python3 score.py {} > scores.txt
  convoke run --array 1-8 --with train.py --out models/ -- python3 train.py   files in $CONVOKE_OUT come back
  convoke run --each-line urls.txt --shell -- 'curl -s {} | wc -c'

A command runs in a directory of its own, with PATH, HOME, LANG and LD_LIBRARY_PATH and what --env gives; the item is {} in
its arguments and $CONVOKE_ITEM. It may run again where a worker is lost: make it safe to repeat.")]
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
#[command(after_help = "Examples:
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
    #[arg(long = "command", value_name = "LINE", conflicts_with = "wasm", required_unless_present = "wasm")]
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
    #[arg(long, value_name = "N", conflicts_with = "chunk_bytes", help_heading = "Input")]
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
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "wasm", help_heading = "WebAssembly")]
    pub wasm_memory: Option<u64>,
    /// Let a WebAssembly program tell the time
    #[arg(long, requires = "wasm", help_heading = "WebAssembly")]
    pub wasm_clock: bool,
    /// Where the results go, in the order of the input [default: stdout]
    #[arg(short, long = "results", value_name = "FILE", help_heading = "Output")]
    pub output_file: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Tasks")]
    pub tasks: TaskArgs,
    #[command(flatten, next_help_heading = "Cluster")]
    pub run: RunArgs,
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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Fail the job if it is not done by then
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
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
