//! `convoke coordinator`: serve until told to end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use convoke_node::coordinator::{
    BlobError, Coordinator, DecideError, HistoryError, Options, ReadError, SNAPSHOT_EVERY_BYTES, StartError,
    StateError, StoreError,
};
use convoke_node::listen::ListenError;
use convoke_wire::channel;

use super::signals::asked_to_end;
use crate::args::CoordinatorArgs;
use crate::failure::Failure;
use crate::{access, nodes, output, place};

/// Runs the command.
pub async fn run(args: CoordinatorArgs) -> Result<ExitCode, Failure> {
    let state = args.state.map_or_else(place::coordinator_state, Ok)?;
    let advertised = args.advertise.as_deref().map(channel::parse).transpose()?;
    let nodes = args.nodes.as_deref().map_or_else(|| Ok(Vec::new()), nodes::read)?;
    let (dialled, directory) = (nodes.len(), state.clone());
    let options = Options {
        state,
        bind: Some(args.bind),
        nodes,
        policy: args.policy,
        patience: None,
        snapshot_every_bytes: args.snapshot_every_bytes.unwrap_or(SNAPSHOT_EVERY_BYTES),
        state_max: args.state_max,
    };
    let mut coordinator = Coordinator::start(options).await.map_err(|error| explain(error, &directory))?;
    let address = coordinator.address().unwrap_or(args.bind);
    let reached = access::reached_at(address, advertised.as_deref());
    // Whoever follows the lines below finds its credentials there.
    access::admit_user(&coordinator, &reached)?;
    output::say(format!("coordinator on {address}, state in {}", coordinator.state().display()));
    for line in ways_in(&coordinator, &reached, advertised.is_some()).await? {
        output::note(line);
    }
    if let Some(file) = args.nodes {
        output::note(format!("Workers that are dialled:   {dialled}, named in {}", file.display()));
    }
    tokio::select! {
        asked = asked_to_end() => asked?,
        failed = coordinator.failed() => {
            let state = coordinator.state().display();
            return Err(Failure::failed(failed)
                .hint(format!("check the space and the rights in {state}; started again, it goes on where it stood")));
        }
    }
    coordinator.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// How workers and clients come in. This user needs no token on this machine; whoever comes by an address that was
/// advertised is somebody else.
async fn ways_in(coordinator: &Coordinator, reached: &[String], is_advertised: bool) -> Result<Vec<String>, Failure> {
    let (address, here) = (reached.first().map_or("", String::as_str), reached.last().map_or("", String::as_str));
    let is_loopback = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    let is_local = is_loopback && !is_advertised;
    let token =
        if is_local { String::new() } else { format!(" --token {}", access::printed_token(coordinator).await?) };
    let mut lines = vec![
        format!("Workers join with:   convoke worker {address}{token}"),
        format!("Jobs are submitted with:   convoke train DATA --coordinator {address}"),
    ];
    if !is_local {
        lines
            .push(format!("Clients elsewhere need a token:   convoke token create --role client --coordinator {here}"));
    }
    Ok(lines)
}

fn explain(error: StartError, state: &Path) -> Failure {
    let newer = "use that version of convoke, or begin anew with another --state DIR";
    let hint = match &error {
        StartError::Decide(DecideError::Read(damaged)) if damaged.is_damage() => {
            let hint = format!(
                "restore a copy of {}, or begin anew with another --state DIR; it is left as it is",
                state.display()
            );
            return Failure::bad_input(&error).hint(hint);
        }
        StartError::Decide(DecideError::Read(HistoryError::Read(ReadError::NewerFormat { .. })))
        | StartError::Journal(StoreError::NewerLayout { .. })
        | StartError::Blobs(BlobError::Store(StoreError::NewerLayout { .. })) => newer,
        StartError::Decide(DecideError::Append(_)) => {
            "make room there, or see to the rights; or name another directory with --state DIR"
        }
        StartError::Listen(ListenError::Bind { .. }) => {
            "another process may have the port: name another with --bind 127.0.0.1:PORT"
        }
        StartError::State(StateError::InUse { .. }) => {
            "end the other coordinator, or name another directory with --state DIR"
        }
        StartError::State(StateError::Open { .. }) => {
            "keep what is in it to yourself, or name another with --state DIR"
        }
        StartError::State(StateError::Disk(_)) => "check the path and its rights, or name another with --state DIR",
        StartError::Journal(_) | StartError::Blobs(_) => {
            "check the directory's owner and free space, or name another with --state DIR"
        }
        StartError::Decide(_) => "the state is as it was; keep it, and start with another --state DIR meanwhile",
        StartError::Authority(_) => "put the file back from a copy, with mode 600; without it, this is another cluster",
        StartError::Thread(_) => "check the limits on processes",
    };
    match &error {
        StartError::Thread(_) => Failure::failed(&error).hint(hint),
        _ => Failure::bad_input(&error).hint(hint),
    }
}
