//! The command line: what may be said, with its defaults, help and examples.
//!
//! Values are parsed into what they mean; nothing here acts on them.

mod access;
mod data;
mod train;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use convoke_wire::channel::PORT;
use convoke_wire::core::{JobId, Policy};

pub use access::{
    ClientAction, ClientCommand, CreateTokenArgs, LoginArgs, RemoveClientArgs, RemoveWorkerArgs, RevokeTokenArgs,
    TokenAction, TokenCommand, WorkerAction, WorkerCommand,
};
pub use data::{EvaluateArgs, LayoutArgs, PredictArgs, SplitArgs, Validate};
pub use train::{Keep, ModelArgs, TrainArgs};

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
    Predict(PredictArgs),
    /// Write a generated data set
    Data(DataArgs),
    /// List a coordinator's workers
    Workers(WorkersArgs),
    /// List the jobs on record: this machine's, or a coordinator's
    Jobs(JobsArgs),
    /// Show what happened in a job
    Job(JobArgs),
    /// Save a version of a job's model
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
}

/// Which coordinator.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// The coordinator's address, host:port [env: CONVOKE_COORDINATOR]
    #[arg(long, value_name = "ADDR")]
    pub coordinator: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// How busy workers are with other things.
#[derive(Clone, Copy, Debug, Args)]
pub struct LoadArgs {
    /// How likely a task is delayed and, with load balancing, as likely rejected: from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_negative_numbers = true,
          value_parser = parse_probability)]
    pub load_probability: f64,
    /// How long a delayed task waits
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub load_delay: Duration,
    /// Where the draws come from [default: drawn and printed]
    #[arg(long, value_name = "N")]
    pub load_seed: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke coordinator                         listens on 127.0.0.1:9095
  convoke coordinator --bind 0.0.0.0:9095     for other machines too; prints the line that their workers join by
  convoke coordinator --bind 127.0.0.1:0      on a port that the system chooses, printed at the start
  convoke coordinator --policy round-robin --state /var/lib/convoke
  convoke coordinator --nodes nodes.txt       dials listening workers too: a line for each, such as 127.0.0.1,7001")]
pub struct CoordinatorArgs {
    /// Where to listen: 0.0.0.0:9095 for all that reach this machine
    #[arg(long, default_value = "127.0.0.1:9095", value_name = "ADDR")]
    pub bind: SocketAddr,
    /// The address that others reach it by, where that is not the one it listens on: it is only printed
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Where its journal and blobs are kept [default: convoke/coordinator in the XDG state directory]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// A file of listening workers to dial, and to dial again whenever they are lost: lines of host,port
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// Take a snapshot of the journal after so many bytes of it: to try out what else takes long
    #[arg(long, value_name = "BYTES", hide = true)]
    pub snapshot_every_bytes: Option<u64>,
    /// How tasks are placed where a job does not say: random (1), round-robin or load-balancing (2)
    #[arg(long, default_value_t = Policy::LoadBalancing)]
    pub policy: Policy,
    /// The most that its blobs may take, such as 20GiB: then the oldest finished jobs are forgotten [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub state_max: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke worker                              joins 127.0.0.1:9095
  convoke worker 127.0.0.1:9095 --slots 1 --name left
  convoke worker 10.0.0.5:9095 --token cvk1…  joins a coordinator elsewhere, by a token that it prints
  convoke worker remove gpu-box               takes a worker's credentials out of service
  convoke worker --wait 1m                    may be started before its coordinator
  convoke worker --listen 127.0.0.1:7001      waits to be dialled, by a coordinator with --nodes
  convoke worker --load-probability 0.5       behaves as a machine that is busy half of the time")]
pub struct WorkerArgs {
    /// The coordinator's address, host:port [env: CONVOKE_COORDINATOR] [default: 127.0.0.1:9095]
    #[arg(value_name = "ADDR")]
    pub coordinator: Option<String>,
    /// How many tasks run at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub slots: Option<u32>,
    /// What people call it [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub wait: Duration,
    /// The token to join by: once; from then on the worker has credentials of its own
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Wait here for a coordinator with --nodes, instead of dialling one; port 9095 unless given
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["coordinator", "wait"], value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,
    /// The most mebibytes of blobs that it keeps in memory
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub cache_mib: u64,
    #[command(flatten)]
    pub load: LoadArgs,
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
  convoke job 7k3q9x2m --follow")]
pub struct JobArgs {
    /// The job's id
    pub id: JobId,
    /// Stay until it has ended
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke result 7k3q9x2m                                 to ./convoke-7k3q9x2m.safetensors
  convoke result 7k3q9x2m -o best.safetensors --round best
  convoke result 7k3q9x2m -o third.safetensors --round 3 --coordinator 10.0.0.5:9095")]
pub struct ResultArgs {
    /// The job's id
    pub id: JobId,
    /// Where the model goes [default: ./convoke-JOB.safetensors]
    #[arg(short = 'o', long = "model", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The round that made the version: a number, best (the smallest validation error) or last
    #[arg(long, default_value = "last", value_name = "ROUND", value_parser = parse_version)]
    pub round: Version,
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
  convoke resume 7k3q9x2m --workers 1 --model letters.safetensors")]
pub struct ResumeArgs {
    /// The job's id
    pub id: JobId,
    #[command(flatten)]
    pub model: ModelArgs,
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

fn parse_probability(text: &str) -> Result<f64, String> {
    let probability = text.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| "a probability is a number from 0 to 1".to_owned())
}

/// Bytes, with a unit or none: 500000000, 500MB, 20GiB.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        "t" | "tib" => Some(1 << 40),
        _ => None,
    };
    let bytes = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "a size is a number with a unit, such as 500MB or 20GiB".to_owned())
}

/// An address of this machine, with or without a port.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1{port}"));
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
    let address = text.parse().or_else(|_| bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT)));
    address.map_err(|_| format!("an address of this machine is expected, such as 127.0.0.1:{PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("500"), Ok(500));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert_eq!(parse_size("20 GiB"), Ok(20 << 30));
        assert_eq!(parse_size("1t"), Ok(1 << 40));
        for wrong in ["", "0", "GiB", "-1", "1.5GB", "1XB", "99999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_to_listen_on_are_read() {
        let parse = |text| parse_listen(text).map(|address| address.to_string()).ok();
        assert_eq!(parse("127.0.0.1").as_deref(), Some("127.0.0.1:9095"));
        assert_eq!(parse("127.0.0.1:0").as_deref(), Some("127.0.0.1:0"));
        assert_eq!(parse("localhost").as_deref(), Some("127.0.0.1:9095"));
        assert_eq!(parse("localhost:7001").as_deref(), Some("127.0.0.1:7001"));
        assert_eq!(parse("::1").as_deref(), Some("[::1]:9095"));
        assert_eq!(parse("[::1]").as_deref(), Some("[::1]:9095"));
        assert_eq!(parse("[::1]:7001").as_deref(), Some("[::1]:7001"));
        for wrong in ["", ":7001", "lab:7001", "localhosts", "127.0.0.1:70000", "127.0.0.1:"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
