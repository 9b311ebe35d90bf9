//! `convoke worker`: join a coordinator, or wait to be dialled by one, and execute its tasks until told to end or drained.

use std::net::SocketAddr;
use std::process::ExitCode;

use convoke_node::devices::{Devices, VISIBLE};
use convoke_node::executor::WasmLimits;
use convoke_node::link::{LinkError, Way};
use convoke_node::listen::Listener;
use convoke_node::membership::Membership;
use convoke_node::worker::{End, Options, Worker, WorkerError};
use convoke_wire::channel::{ConnectError, Target};
use convoke_wire::core::worker::Load;

use super::signals::asked_to_end;
use super::{enrol, standing};
use crate::args::{LoadArgs, WorkerArgs, resources};
use crate::failure::Failure;
use crate::{output, place};

/// Runs the command.
pub async fn run(args: WorkerArgs) -> Result<ExitCode, Failure> {
    let name = args.name.clone().unwrap_or_else(place::host_name);
    convoke_wire::core::check_name("worker", &name).map_err(|error| explain(error.into()))?;
    let devices = devices(&args)?;
    let (way, membership, name) = join(&args, &name).await?;
    let options = Options {
        way,
        name,
        slots: args.slots.unwrap_or_else(place::cores),
        devices,
        load: load(&args.load)?,
        cache_bytes: args.cache_mib.saturating_mul(1 << 20),
        commands: args.allow_command.then(place::scratch),
        wasm: WasmLimits::default(),
        membership: Some(membership),
    };
    if options.commands.is_some() {
        place::guard_commands();
    }
    place::adopt_orphans();
    let worker = Worker::new(options).map_err(explain)?;
    let (asked, leave) = tokio::sync::oneshot::channel::<()>();
    let listening = tokio::spawn(async move {
        let told = asked_to_end().await;
        // Dropped, it tells the worker to leave.
        drop(asked);
        told
    });
    // As a task of its own: to wake the runtime's first takes a call to the system each time.
    let end = tokio::spawn(worker.run(async move { drop(leave.await) })).await;
    place::end_commands();
    let end = end.map_err(Failure::failed)?.map_err(explain)?;
    if end == End::Told {
        listening.await.map_err(Failure::failed)??;
    }
    Ok(ExitCode::SUCCESS)
}

/// What it counts beside slots.
fn devices(args: &WorkerArgs) -> Result<Devices, Failure> {
    let counted = resources(&args.resource, args.memory.or_else(place::memory_bytes))?;
    let visible = std::env::var(VISIBLE).ok();
    Devices::new(counted, visible.as_deref())
        .map_err(|error| Failure::bad_input(error).hint(format!("count fewer with --resource gpu=N, or set {VISIBLE}")))
}

/// How it comes by its coordinator, what it shows there, and what that says it is called.
async fn join(args: &WorkerArgs, name: &str) -> Result<(Way, Membership, String), Failure> {
    let token = args.token.as_deref().map(enrol::parse).transpose()?;
    match args.listen {
        Some(address) => {
            let listener = listen(address).await?;
            let kept = standing::when_dialled(&listener, token.as_ref(), name).await?;
            let trust = kept.trust.clone();
            Ok((Way::Listen { listener, trust }, kept.membership, kept.name))
        }
        None => {
            let address = place::address(args.coordinator.as_deref())?;
            let kept = standing::at(&address, token.as_ref(), name, args.wait).await?;
            let target = Target::Address { address, trust: kept.trust.clone() };
            Ok((Way::Dial { target, wait: args.wait }, kept.membership, kept.name))
        }
    }
}

/// Listens. A worker that does heeds no variable: who dials and belongs to its cluster is its coordinator.
async fn listen(address: SocketAddr) -> Result<Listener, Failure> {
    let listener = Listener::bind(address).await.map_err(|error| {
        Failure::bad_input(error).hint("another process may have the port: name another with --listen 127.0.0.1:PORT")
    })?;
    let address = listener.address();
    output::say(format!("listening on {address}"));
    output::note(format!(
        "A coordinator dials it with:   convoke coordinator --nodes FILE, with the line {},{}",
        address.ip(),
        address.port()
    ));
    Ok(listener)
}

/// The load that was asked for; its seed is drawn where none was given, and said, so that it can be had again.
pub fn load(args: &LoadArgs) -> Result<Load, Failure> {
    let seed = args.load_seed.map_or_else(getrandom::u64, Ok).map_err(Failure::failed)?;
    let delay_ms = u64::try_from(args.load_delay.as_millis()).unwrap_or(u64::MAX);
    if args.load_probability > 0.0 {
        output::note(format!("load seed {seed}"));
    }
    Ok(Load { probability: args.load_probability, delay_ms, seed })
}

fn explain(error: WorkerError) -> Failure {
    match error {
        WorkerError::Link(LinkError::Connect(error @ ConnectError::Unreachable { .. })) => {
            let failure = Failure::from(error);
            failure.hint("start one with `convoke coordinator`, or wait for it with --wait 1m")
        }
        WorkerError::Link(LinkError::Connect(error)) => error.into(),
        WorkerError::Link(LinkError::Call(error)) => error.into(),
        WorkerError::Link(LinkError::Ended | LinkError::Silent) => {
            Failure::no_coordinator(error).hint("check the address: a coordinator says where it listens when it starts")
        }
        WorkerError::Name(_) => Failure::bad_input(error).hint("name it with --name NAME"),
        WorkerError::Random(_) | WorkerError::Thread(_) => Failure::failed(error),
        WorkerError::Commands(_) => {
            Failure::bad_input(error).hint("name another place for their directories with TMPDIR")
        }
    }
}
