//! Arguments of the processes that stay: a coordinator, a worker, and how busy workers are with other things.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use convoke_wire::channel::PORT;
use convoke_wire::core::Policy;

use super::durations::parse_duration;
use super::needs::{Resource, parse_resource};

/// How busy workers are with other things.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LoadArgs {
    /// How likely a task is delayed and, with load balancing, as likely rejected: from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_negative_numbers = true,
          value_parser = parse_probability)]
    pub load_probability: f64,
    /// How long a delayed task waits
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = parse_duration)]
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
  convoke worker --allow-command              also runs commands, of clients that may
  convoke worker --resource gpu=2 --memory 64GiB
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
    /// What its tasks may take together beside slots, such as gpu=2: counted, for tasks that ask for it; several times
    #[arg(long, value_name = "NAME=COUNT", value_parser = parse_resource)]
    pub resource: Vec<Resource>,
    /// How much memory tasks that ask for some may take together [default: the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Run the commands of clients that may have them run: as this user, with what this user can reach
    #[arg(long)]
    pub allow_command: bool,
    /// What people call it [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// For how long to wait for a coordinator that is not there yet
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
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

fn parse_probability(text: &str) -> Result<f64, String> {
    let probability = text.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| "a probability is a number from 0 to 1".to_owned())
}

/// Bytes, with a unit or none: 500000000, 500MB, 20GiB.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
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
    match unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit)) {
        Some(0) => Err("a size is more than nothing, such as 500MB or 20GiB".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("a size is a number with a unit, such as 500MB or 20GiB".to_owned()),
    }
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
