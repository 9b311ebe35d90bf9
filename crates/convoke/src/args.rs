//! The command line: what may be said, with its defaults, help and examples.
//!
//! Values are parsed into what they mean; nothing here acts on them.

mod access;
mod data;
mod divide;
mod durations;
mod learning;
mod needs;
mod serve;
mod step;
mod train;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke_wire::core::JobId;

use durations::parse_duration;

pub use access::{
    ClientAction, ClientCommand, CreateTokenArgs, LoginArgs, RemoveClientArgs, RemoveWorkerArgs, RevokeTokenArgs,
    TokenAction, TokenCommand, WorkerAction, WorkerCommand,
};
pub use data::{EvaluateArgs, LayoutArgs, PredictArgs, SplitArgs, Validate};
pub use divide::{CommandArgs, MapArgs, RunCommandArgs, TaskArgs, is_module};
#[cfg(test)]
pub use learning::Layers;
pub use learning::{
    Activation, Batch, DescentArgs, LearningArgs, NetworkArgs, Optimizer, Preset, Schedule, Start, Task,
};
pub use needs::resources;
pub use serve::{CoordinatorArgs, LoadArgs, WorkerArgs};
pub use step::StepArgs;
pub use train::{Keep, ModelArgs, RunArgs, TrainArgs};

/// Train one model on many machines.
#[derive(Debug, Parser)]
#[command(name = "convoke", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How results are printed on stdout: text or json
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT",
          hide_possible_values = true, help_heading = "Global options")]
    pub output: Format,
    /// More on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Only warnings and errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// How lines on stderr look: text or json
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT",
          hide_possible_values = true, help_heading = "Global options")]
    pub log: Format,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model in rounds, on this machine or on a cluster
    Train(Box<TrainArgs>),
    /// Run a command on workers, once or for each of many items
    Run(Box<RunCommandArgs>),
    /// Run a command or a WebAssembly program on the chunks of an input
    Map(Box<MapArgs>),
    /// Hold the plan and the record: workers join it, clients submit to it
    Coordinator(CoordinatorArgs),
    /// Join a coordinator and execute its tasks
    Worker(WorkerCommand),
    /// Make, list and revoke the tokens that others join by
    Token(TokenCommand),
    /// Take clients' credentials out of service
    Client(ClientCommand),
    /// Join a coordinator on another machine as a client, with a token
    Login(LoginArgs),
    /// Measure a model on data
    Evaluate(EvaluateArgs),
    /// Print a model's label for each row
    Predict(Box<PredictArgs>),
    /// Write a generated data set
    Data(DataArgs),
    /// List a coordinator's workers
    Workers(WorkersArgs),
    /// List the jobs on record: this machine's, or a coordinator's
    Jobs(JobsArgs),
    /// Show what happened in a job
    Job(JobArgs),
    /// Save what a job brought: a version of its model, or its results
    Result(ResultArgs),
    /// End a job; its last committed version is kept
    Cancel(CancelArgs),
    /// Take a worker out of service: what it runs it brings to an end, and leaves
    Drain(DrainArgs),
    /// Go on with an embedded job that was interrupted
    Resume(ResumeArgs),
    /// Print a script that makes a shell complete command lines
    Completions(CompletionsArgs),
    /// Print the manual
    Man(ManArgs),
    /// End the commands of a worker that was killed; started by the worker
    #[command(hide = true)]
    Guard(GuardArgs),
}

/// Which coordinator.
#[derive(Clone, Debug, Default, Args)]
pub struct At {
    /// The coordinator's address, host:port [env: CONVOKE_COORDINATOR]
    #[arg(long, value_name = "ADDR")]
    pub coordinator: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    pub wait: Duration,
}

#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  convoke data letters letters/ && convoke train letters/"
)]
pub struct DataArgs {
    /// Which one
    #[command(subcommand)]
    pub set: DataSet,
}

/// A data set that is generated.
#[derive(Debug, Subcommand)]
pub enum DataSet {
    /// Capital letters: eleven shards of 1,500 rows and 3,500 rows to validate
    Letters(LettersArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke data letters letters/               the letters that `@letters` names
  convoke data letters others/ --seed 1       other letters, as hard to learn
  convoke train $(convoke data letters letters/)")]
pub struct LettersArgs {
    /// Where the twelve files go; made if it is not there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What the letters are drawn from; the same seed gives the same files
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke workers
  convoke workers --coordinator 10.0.0.5:9095 --output json")]
pub struct WorkersArgs {
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke jobs
  convoke jobs --output json | jq '.[].job'")]
pub struct JobsArgs {
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke job 7k3q9x2m
  convoke job 7k3q9x2m --follow
  convoke job 7k3q9x2m --stderr 17        what task 17 wrote to stderr")]
pub struct JobArgs {
    /// The job's id
    pub id: JobId,
    /// Stay until it has ended
    #[arg(long)]
    pub follow: bool,
    /// Print the end of what a task wrote to stderr instead; tasks count from 0
    #[arg(long, value_name = "TASK", conflicts_with = "follow")]
    pub stderr: Option<u32>,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke result 7k3q9x2m                                 to ./convoke-7k3q9x2m.safetensors
  convoke result 7k3q9x2m -o best.safetensors --round best
  convoke result 7k3q9x2m -o third.safetensors --round 3 --coordinator 10.0.0.5:9095
  convoke result 4c8w2n6t -o results.txt --files models/   of a job of run or map: its results in order, and files
  convoke result 4c8w2n6t --task 17                        one task's result")]
pub struct ResultArgs {
    /// The job's id
    pub id: JobId,
    /// Where the model goes [default: ./convoke-JOB.safetensors], or the results of a map [default: stdout]
    #[arg(short = 'o', long = "model", visible_alias = "results", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The round that made the version: a number, best (the smallest validation error) or last
    #[arg(long, default_value = "last", value_name = "ROUND", value_parser = parse_version)]
    pub round: Version,
    /// Of a map: the result of this task alone; tasks count from 0
    #[arg(long, value_name = "TASK")]
    pub task: Option<u32>,
    /// Of a map: where the files go that tasks left: DIR/TASK/FILE
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    #[command(flatten)]
    pub at: At,
}

/// A version of a job's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The newest.
    Newest,
    /// The one with the smallest validation error.
    Best,
    /// The one that this round made.
    Round(u32),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke resume 7k3q9x2m                 from where Ctrl-C, a crash or a power cut left it
  convoke resume 7k3q9x2m --workers 1 --model letters.safetensors
  convoke resume 4c8w2n6t -o results.txt  a job of run or map")]
pub struct ResumeArgs {
    /// The job's id
    pub id: JobId,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Where the results of a map go [default: stdout]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Where the files go that the tasks of a map left: DIR/TASK/FILE
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Workers of the embedded cluster [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    #[command(flatten)]
    pub load: LoadArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke completions bash > ~/.local/share/bash-completion/completions/convoke
  convoke completions zsh > ~/.zfunc/_convoke
  convoke completions fish > ~/.config/fish/completions/convoke.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke man | man -l -
  convoke man ~/.local/share/man/man1      a page for each command, for `man convoke-train`")]
pub struct ManArgs {
    /// Where to write a page for each command [default: convoke's own page, to stdout]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct GuardArgs {
    /// What the paths of its folders begin with
    pub folders: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke cancel 7k3q9x2m")]
pub struct CancelArgs {
    /// The job's id
    pub id: JobId,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke drain left                          waits until it has left
  convoke drain left --detach                 does not wait; `convoke workers` shows how far it is")]
pub struct DrainArgs {
    /// The worker's name, as `convoke workers` shows it
    pub worker: String,
    /// Tell the worker and return
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub at: At,
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "last" => Some(Version::Newest),
        "best" => Some(Version::Best),
        _ => text.parse().ok().filter(|round| *round > 0).map(Version::Round),
    }
    .ok_or_else(|| "a round is a number from 1, `best` or `last`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
