//! Arguments of who may come in: tokens, logging in, removing workers.

use std::time::Duration;

use clap::{Args, Subcommand};
use convoke_wire::core::{Role, TokenId};

use super::durations::parse_duration;
use super::{At, WorkerArgs};

/// `worker`, and what else begins with it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkerCommand {
    #[command(subcommand)]
    pub remove: Option<WorkerAction>,
    #[command(flatten)]
    pub join: WorkerArgs,
}

#[derive(Debug, Subcommand)]
pub enum WorkerAction {
    /// Take a worker's credentials out of service, now and for ever
    Remove(RemoveWorkerArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke worker remove gpu-box               its session ends; by a newer token, a machine of that name may join again")]
pub struct RemoveWorkerArgs {
    /// The worker's name
    #[arg(value_name = "NAME")]
    pub worker: String,
    #[command(flatten)]
    pub at: At,
}

/// `client`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ClientCommand {
    #[command(subcommand)]
    pub action: ClientAction,
}

#[derive(Debug, Subcommand)]
pub enum ClientAction {
    /// Take a client's credentials out of service, now and for ever
    Remove(RemoveClientArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke client remove ann                   what Ann submitted goes on; by a newer token, she may join again
  convoke client remove ann --role admin      the admin of that name")]
pub struct RemoveClientArgs {
    /// The client's name
    #[arg(value_name = "NAME")]
    pub client: String,
    /// Whether it is a client or an admin
    #[arg(long, default_value = "client", value_parser = ["client", "admin"])]
    pub role: String,
    #[command(flatten)]
    pub at: At,
}

/// `token`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct TokenCommand {
    #[command(subcommand)]
    pub action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token, and print it: this once, for the coordinator keeps only a hash
    Create(CreateTokenArgs),
    /// List the tokens
    List(At),
    /// Let nobody join by a token any more; who has joined stays
    Revoke(RevokeTokenArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke token create --role worker                     for any number of workers, for a day
  convoke token create --role client --name ann --uses 1 for one machine of Ann's: `convoke login ADDR --token …` there
  convoke token create --role client --allow-command      whoever joins by it may also run commands on workers
  convoke token create --role worker --ttl 30days --uses 40")]
pub struct CreateTokenArgs {
    /// What whoever joins by it may do: worker, client or admin
    #[arg(long)]
    pub role: Role,
    /// Let clients that join by it run commands on workers that allow them; an admin always may
    #[arg(long)]
    pub allow_command: bool,
    /// For how long somebody may join by it
    #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = parse_duration)]
    pub ttl: Duration,
    /// How many may join by it [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: Option<u32>,
    /// What whoever joins by it is called [default: what it asks for]
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke token revoke 7k3q9x2m               its id, as `convoke token list` shows it")]
pub struct RevokeTokenArgs {
    /// The token's id
    pub id: TokenId,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  convoke login 10.0.0.5:9095 --token cvk1…   from then on: convoke train DATA --coordinator 10.0.0.5:9095")]
pub struct LoginArgs {
    /// The coordinator's address, host:port
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// The token, from `convoke token create --role client` (or admin)
    #[arg(long, value_name = "TOKEN")]
    pub token: String,
    /// What you are called there, unless the token says [default: the user and the host]
    #[arg(long)]
    pub name: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    pub wait: Duration,
}
