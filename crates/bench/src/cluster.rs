//! A cluster on this machine: a coordinator and workers, each a process, and a client in this one.
//!
//! Its state is on a real disk, so that syncing costs what it costs. What is measured on it it does not know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::JobId;
use convoke_wire::tls::Book;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{self, Running};

/// A coordinator with a folder of its own.
pub struct Cluster {
    binary: PathBuf,
    address: String,
    // Ends before its folder goes.
    coordinator: Running,
    folder: TempDir,
}

/// A folder on the disk that is measured: in `dir`, else beside this program, which is in the target directory. The
/// system's own folder for such things may be in memory.
pub fn folder_in(dir: Option<&Path>) -> anyhow::Result<TempDir> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let dir = dir.or(program.parent()).context("this program is in no folder")?;
    tempfile::tempdir_in(dir).with_context(|| format!("cannot create a folder in {}", dir.display()))
}

impl Cluster {
    /// Starts a coordinator whose state is in `dir`.
    pub fn start(dir: Option<&Path>) -> anyhow::Result<Self> {
        let (binary, folder) = (binary::find()?, folder_in(dir)?);
        let mut command = command(&binary, folder.path());
        command.args(["coordinator", "--quiet", "--bind", "127.0.0.1:0", "--state"]).arg(folder.path().join("state"));
        let coordinator = Running::start(command)?;
        let line = coordinator.says("coordinator on ")?;
        let address = line.trim_start_matches("coordinator on ").split(',').next().unwrap_or_default().to_owned();
        Ok(Self { binary, address, coordinator, folder })
    }

    /// Where data may be put.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder that holds the state.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a worker with one slot. Nobody has to read the lines of a quiet one.
    pub fn worker(&self, name: &str, quiet: bool) -> anyhow::Result<Running> {
        self.worker_with(name, if quiet { &["--quiet"] } else { &[] })
    }

    /// Starts a worker with one slot and these arguments.
    pub fn worker_with(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Running> {
        let mut command = command(&self.binary, self.folder.path());
        command.args(["worker", &self.address, "--slots", "1", "--name", name]).args(arguments);
        Running::start(command)
    }

    /// Starts a client that trains on some data and follows.
    pub fn train(&self, data: &Path, arguments: &[String]) -> anyhow::Result<Running> {
        let mut command = command(&self.binary, self.folder.path());
        command.arg("train").arg(data).args(["--preset", "reference"]).args(arguments).args([
            "--coordinator",
            &self.address,
            "--output",
            "json",
        ]);
        command.arg("--model").arg(self.folder.path().join("model.safetensors"));
        Running::start(command)
    }

    /// Submits a job on the data, and leaves it to the cluster.
    pub fn submit(&self, arguments: &[String]) -> anyhow::Result<JobId> {
        let mut command = command(&self.binary, self.folder.path());
        command.arg("train").arg(self.data()).args(arguments);
        command.args(["--coordinator", &self.address, "--detach", "--output", "json"]);
        let output = command.output().context("cannot run `convoke train`")?;
        ensure!(output.status.success(), "the job was refused: {}", String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).context("no JSON was printed")?;
        Ok(printed["job"].as_str().context("no job was printed")?.parse()?)
    }

    /// The coordinator's process.
    pub fn coordinator_id(&self) -> u32 {
        self.coordinator.id()
    }

    /// The binary as a client of this coordinator.
    pub fn client_command(&self) -> Command {
        let mut command = command(&self.binary, self.folder.path());
        command.env("CONVOKE_COORDINATOR", &self.address);
        command
    }

    /// A client.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&target(&self.address, self.folder.path())?).await?)
    }
}

/// The binary, with credentials in a folder of its own.
pub fn command(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env("XDG_CONFIG_HOME", folder.join("config")).env("XDG_STATE_HOME", folder.join("user-state"));
    command
}

/// A coordinator that was started so, as its user reaches it.
pub fn target(address: &str, folder: &Path) -> anyhow::Result<Target> {
    let trust = Book::new(&folder.join("config/convoke/clusters")).trust(address)?;
    Ok(Target::Address { address: address.to_owned(), trust: Arc::new(trust) })
}
