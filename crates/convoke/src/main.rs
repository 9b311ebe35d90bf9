//! The `convoke` binary: parse the command line, run one command, print what came of it.
//!
//! Data goes to stdout, everything else to stderr. What a command does is in `cmd`, one file each.

mod args;
mod failure;
mod place;
mod access;
mod nodes;
mod logging;
mod output;
mod natural;
mod data;
mod input;
mod upload;
mod whole_file;
mod ordered_output;
mod model;
mod picked;
mod settings;
mod continued;
mod training_job;
mod step_job;
mod job_file;
mod report;
mod progress;
mod source;
mod learned;
mod confusion;
mod certificate;
mod divisible;
mod cmd;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use args::{Cli, ClientAction, ClientCommand, Command, WorkerAction, WorkerCommand};
use failure::Failure;

/// Without arguments, help is the answer.
const HELP_INSTEAD: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(Ok(cli)) => cli,
        Ok(Err(failure)) => return failure.report(),
        // Help and the version are asked for by the same way as errors come.
        Err(error) if error.use_stderr() && error.kind() != HELP_INSTEAD => {
            return Failure::usage(&error, std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
                .report();
        }
        Err(error) => error.exit(),
    };
    if cli.global.quiet {
        output::be_quiet();
    }
    logging::start(&cli.global, &cli.command);
    // A worker talks little, and its numeric work has threads of its own: on one thread, a task's way in and out wakes no
    // other.
    let mut builder = match cli.command {
        Command::Worker(_) | Command::Guard(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(),
    };
    let result = runtime.block_on(run(cli));
    // What still runs in the background has nobody to report to.
    runtime.shutdown_background();
    match result {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}

/// Reads the command line, and the job file that it names, if it does.
fn parse() -> Result<Result<Cli, Failure>, clap::Error> {
    let matches = match Cli::command().try_get_matches() {
        // What a flag needs beside it may be in the job file.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let matches = Cli::command().ignore_errors(true).try_get_matches();
            matches.ok().filter(|matches| job_file_of(matches).is_some()).ok_or(error)?
        }
        matches => matches?,
    };
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Command::Train(args), Some((path, said))) = (&mut cli.command, job_file_of(&matches)) {
        match job_file::complete(path, said) {
            Ok(completed) => **args = completed,
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Ok(cli))
}

/// The job file that is named, and what is said beside it.
fn job_file_of(matches: &ArgMatches) -> Option<(&PathBuf, &ArgMatches)> {
    let said = matches.subcommand_matches("train")?;
    let path = said.try_get_one::<PathBuf>("data").ok().flatten()?;
    job_file::is_job_file(path).then_some((path, said))
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Train(args) => cmd::train::run(*args, &global).await,
        Command::Run(args) => cmd::run::run(*args, &global).await,
        Command::Map(args) => cmd::map::run(*args, &global).await,
        Command::Coordinator(args) => cmd::coordinator::run(args).await,
        Command::Worker(WorkerCommand { remove: Some(WorkerAction::Remove(args)), .. }) => {
            cmd::remove::worker(&args, &global).await
        }
        Command::Worker(WorkerCommand { join, .. }) => cmd::worker::run(join).await,
        Command::Token(command) => cmd::token::run(&command, &global).await,
        Command::Client(ClientCommand { action: ClientAction::Remove(args) }) => {
            cmd::remove::client(&args, &global).await
        }
        Command::Login(args) => cmd::login::run(&args, &global).await,
        Command::Evaluate(args) => cmd::evaluate::run(&args, &global),
        Command::Predict(args) => cmd::predict::run(*args, &global).await,
        Command::Data(args) => cmd::data::run(&args, &global),
        Command::Workers(args) => cmd::workers::run(&args, &global).await,
        Command::Jobs(args) => cmd::jobs::run(&args, &global).await,
        Command::Job(args) => cmd::job::run(&args, &global).await,
        Command::Result(args) => cmd::result::run(&args, &global).await,
        Command::Drain(args) => cmd::drain::run(&args, &global).await,
        Command::Cancel(args) => cmd::cancel::run(&args, &global).await,
        Command::Resume(args) => cmd::resume::run(args, &global).await,
        Command::Completions(args) => cmd::completions::run(&args),
        Command::Man(args) => cmd::man::run(&args),
        Command::Guard(args) => Ok(cmd::guard::run(&args)),
    }
}
