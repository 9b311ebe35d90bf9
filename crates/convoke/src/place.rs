//! Where things are: the coordinator, the state directories, and what this machine is called.
//!
//! It looks places up; it creates nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_node::record::GONE;
use convoke_wire::channel::{self, ConnectError, PORT, Target};
use convoke_wire::core::JobId;
use convoke_wire::{Client, enrolment};
use etcetera::BaseStrategy;

use crate::args::At;
use crate::failure::Failure;
use crate::{access, output};

/// How long commands have to be gone once they are killed.
const COMMANDS_END_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// The variable that names the coordinator where no argument does.
pub const VARIABLE: &str = "CONVOKE_COORDINATOR";
/// How long to wait before a coordinator is looked for again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The coordinator that an argument or else the variable names. An empty variable names none.
pub fn named(coordinator: Option<&str>) -> Option<String> {
    let variable = || std::env::var(VARIABLE).ok().filter(|address| !address.is_empty());
    coordinator.map(str::to_owned).or_else(variable)
}

/// The flag that names the same coordinator to another command, after a space; empty where none was given.
pub fn flag(at: &At) -> String {
    at.coordinator.as_ref().map_or_else(String::new, |address| format!(" --coordinator {address}"))
}

/// The coordinator that was named, or the one on this machine.
pub async fn connect(at: &At) -> Result<Client, Failure> {
    Ok(reach_user(at.coordinator.as_deref(), at.wait).await?.1)
}

/// The same, and how it was reached. What the user may show there may come with the coordinator: it is looked up each time.
pub async fn reach_user(coordinator: Option<&str>, wait: Duration) -> Result<(Target, Client), Failure> {
    reach_by(|| target(coordinator), wait).await
}

/// A coordinator, once it is there: one that is not is looked for again for so long.
pub async fn reach(target: &Target, wait: Duration) -> Result<Client, Failure> {
    Ok(reach_by(|| Ok(target.clone()), wait).await?.1)
}

async fn reach_by(target: impl Fn() -> Result<Target, Failure>, wait: Duration) -> Result<(Target, Client), Failure> {
    let until = Instant::now().checked_add(wait);
    let mut is_first = true;
    loop {
        let target = target()?;
        let error = match Client::connect(&target).await {
            Err(error @ ConnectError::Unreachable { .. }) => error,
            connected => {
                let client = connected?;
                // What an ended certificate may not do, its successor may.
                let client = if renew(&target, &client).await { Client::connect(&target).await? } else { client };
                return Ok((target, client));
            }
        };
        // A wait too long for the clock has no end.
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(error.into());
        }
        if std::mem::take(&mut is_first) {
            output::note(format!("waiting for the coordinator at {target}"));
        }
        let left = until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(Instant::now()));
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
    }
}

/// Renews the user's credentials once half their time is over, and says whether there are new ones to show.
async fn renew(target: &Target, client: &Client) -> bool {
    let Target::Address { trust, .. } = target else { return false };
    let Ok(book) = access::book() else { return false };
    let renewed = enrolment::renew_if_due(client.channel(), trust, |authority| book.file(authority)).await;
    if let Err(error) = &renewed {
        output::note(format!("warning: the credentials cannot be renewed for now: {error}"));
    }
    renewed.unwrap_or(false)
}

/// The coordinator's address, where one was named; else this machine's.
pub fn address(coordinator: Option<&str>) -> Result<String, Failure> {
    let address = named(coordinator).unwrap_or_else(|| format!("127.0.0.1:{PORT}"));
    Ok(channel::parse(&address)?)
}

/// A coordinator's address, and what the user may show there.
pub fn target(coordinator: Option<&str>) -> Result<Target, Failure> {
    let address = address(coordinator)?;
    let trust = Arc::new(access::book()?.trust(&address)?);
    Ok(Target::Address { address, trust })
}

/// Where workers run commands: below a folder of the user's own, in memory where the system has such a place for temporary
/// files.
pub fn scratch() -> PathBuf {
    let user = nix::unistd::geteuid();
    std::env::temp_dir().join(format!("convoke-{user}"))
}

/// Makes this process the one where commands' descendants end up that left their group, so that they end with the task. A
/// system that has no such thing leaves them be.
pub fn adopt_orphans() {
    if let Err(error) = convoke_node::process::adopt_orphans() {
        tracing::debug!("what leaves a command's process group outlives its task: {error}");
    }
}

/// Starts the process that ends the commands of this one should this be killed. Where that cannot be, they go on.
pub fn guard_commands() {
    let folders = convoke_node::process::scratch::folders_of(&scratch(), std::process::id());
    let started = std::env::current_exe().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.arg("guard").arg("--").arg(folders);
        convoke_node::process::guard::start(command)
    });
    if let Err(error) = started {
        tracing::warn!("should this process be killed, its commands go on: no guard for them: {error}");
    }
}

/// Ends the commands that this process runs, before it ends itself: they would go on without it.
pub fn end_commands() {
    if !convoke_node::process::end_all(COMMANDS_END_MAX) {
        tracing::warn!("commands that were killed still run");
    }
}

/// Where a coordinator keeps its state.
pub fn coordinator_state() -> Result<PathBuf, Failure> {
    Ok(state()?.join("coordinator"))
}

/// Where the record of an embedded job is kept.
pub fn embedded_state(job: JobId) -> Result<PathBuf, Failure> {
    Ok(state()?.join("embedded").join(job.to_string()))
}

/// The embedded jobs on record, in no order.
pub fn embedded_jobs() -> Result<Vec<JobId>, Failure> {
    let folder = state()?.join("embedded");
    let fail = |error| {
        Failure::bad_input(format!("cannot list {}: {error}", folder.display())).hint("check its owner and its rights")
    };
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let names = entries.map_err(fail)?.map(|entry| entry.map(|entry| entry.file_name()).map_err(fail));
            let names: Vec<_> = names.collect::<Result<_, _>>()?;
            Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
        }
    }
}

/// Removes what is left of embedded records that were given up.
pub fn remove_what_is_gone() -> Result<(), Failure> {
    let folder = state()?.join("embedded");
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == GONE) {
            // What cannot be removed now is left to a later time.
            std::fs::remove_dir_all(&path).ok();
        }
    }
    Ok(())
}

/// Convoke's part of the user's state directory.
pub fn state() -> Result<PathBuf, Failure> {
    let no_home = |error| {
        Failure::bad_input(format!("there is no place for the state: {error}"))
            .hint("set HOME or XDG_STATE_HOME, or name a directory with --state")
    };
    let base = etcetera::choose_base_strategy().map_err(no_home)?;
    // Systems without a state directory of their own keep state among the data.
    Ok(base.state_dir().unwrap_or_else(|| base.data_dir()).join("convoke"))
}

/// Where a job's model goes unless told otherwise.
pub fn default_model(job: JobId) -> PathBuf {
    Path::new(".").join(format!("convoke-{job}.safetensors"))
}

/// What this machine is called, for people.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "worker".to_owned())
}

/// Who submits: the user at this machine.
pub fn submitter() -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "someone".to_owned());
    let clean: String = format!("{user}@{}", host_name()).chars().filter(|c| !c.is_control()).take(32).collect();
    clean
}

/// How many cores this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)).min(256)
}

/// How much memory this machine has, or its container, if that is known.
pub fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?.parse().ok()?;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|max| max.trim().parse().ok());
    Some(kib.checked_mul(1 << 10)?.min(container.unwrap_or(u64::MAX))).filter(|bytes| *bytes > 0)
}
