//! `convoke-bench`: measures the release binary, as its users run it: real processes, real disk, loopback.
//!
//! Each measurement is a subcommand with a file of its own. What a figure should be is for the docs; this only measures.

mod binary;
mod cluster;
mod data;
mod figures;
mod processes;
mod rounds;
mod empty_round;
mod big_round;
mod churn;
mod letters;
mod kernels;
mod works;
mod large;
mod all;
mod compare;
mod peers;
mod others;
mod scenarios;
mod restart;
mod blobs;
mod noop;
mod counting;
mod journal;
mod tasks;
mod words;

use clap::{Parser, Subcommand};

/// Measures the release binary beside this one: build it first with `cargo build --release -p convoke`.
#[derive(Debug, Parser)]
#[command(name = "convoke-bench", version)]
struct Cli {
    /// One JSON value on stdout instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// What to measure; without one, a default set of them with short settings
    #[command(subcommand)]
    measurement: Option<Measurement>,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// How fast blobs travel over TLS, verified but not synced, beside a bare connection
    Blobs(blobs::Arguments),
    /// What a round costs that computes next to nothing: 11 shards, two workers, a journal on disk
    EmptyRound(empty_round::Arguments),
    /// What a round of a large model costs in which nothing is trained: four workers, 100 MB
    BigRound(big_round::Arguments),
    /// What a round costs beyond the lost work when a worker is killed in it
    Churn(churn::Arguments),
    /// The reference's example as whole processes, or the errors that several starts end with
    Letters(letters::Arguments),
    /// Ours beside others at the same works, by turns: `bench/compare.sh` installs them first
    Compare(compare::Arguments),
    /// What a round of a larger model costs, 784-256-10: two workers, TLS and a journal on disk
    Large(large::Arguments),
    /// What learning alone costs in one process, on one thread and on two, beside the processor's peak
    Kernels(kernels::Arguments),
    /// How long a coordinator takes to serve again after many finished tasks
    Restart(restart::Arguments),
    /// How many tasks a second a coordinator takes through, with its journal on disk beside one in memory
    Journal(journal::Arguments),
    /// How many tasks a second two one-slot workers do, and how long one alone takes
    Tasks(tasks::Arguments),
    /// A word count over a large text, beside mawk's
    Words(words::Arguments),
    /// The cases of the reference's report under each placement policy, and one with a slow worker
    Scenarios(scenarios::Arguments),
}

// As a client it only waits: on one thread, what it hears wakes no other.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let Some(measurement) = cli.measurement else { return all::run(cli.json) };
    match measurement {
        Measurement::Blobs(arguments) => figures::show(cli.json, &blobs::measure(&arguments).await?),
        Measurement::EmptyRound(arguments) => figures::show(cli.json, &empty_round::measure(&arguments).await?),
        Measurement::BigRound(arguments) => figures::show(cli.json, &big_round::measure(&arguments).await?),
        Measurement::Churn(arguments) => figures::show(cli.json, &churn::measure(&arguments).await?),
        Measurement::Letters(arguments) if arguments.starts => {
            figures::show(cli.json, &letters::measure_starts(&arguments)?)
        }
        Measurement::Letters(arguments) => figures::show(cli.json, &letters::measure_times(&arguments)?),
        Measurement::Large(arguments) => figures::show(cli.json, &large::measure(&arguments).await?),
        Measurement::Compare(arguments) => figures::show(cli.json, &compare::measure(&arguments)?),
        Measurement::Kernels(arguments) => figures::show(cli.json, &kernels::measure(&arguments)?),
        Measurement::Restart(arguments) => figures::show(cli.json, &restart::measure(&arguments).await?),
        Measurement::Journal(arguments) => figures::show(cli.json, &journal::measure(&arguments).await?),
        Measurement::Tasks(arguments) => figures::show(cli.json, &tasks::measure(&arguments).await?),
        Measurement::Words(arguments) => figures::show(cli.json, &words::measure(&arguments).await?),
        Measurement::Scenarios(arguments) => figures::show(cli.json, &scenarios::measure(&arguments)?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_measurement_has_defaults() {
        for measurement in Cli::command().get_subcommands() {
            let name = measurement.get_name();
            let needs = measurement.get_arguments().any(|argument| argument.is_required_set());
            assert!(needs || Cli::try_parse_from(["convoke-bench", name]).is_ok(), "{name}");
        }
    }
}
