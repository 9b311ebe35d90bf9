//! The embedded cluster: a coordinator and one-slot workers in this process, over streams in memory.
//!
//! They are the same shells as those of a cluster; only the distance differs.

use std::time::Duration;

use convoke_node::coordinator::{Coordinator, Options, SNAPSHOT_EVERY_BYTES};
use convoke_node::devices::Devices;
use convoke_node::executor::WasmLimits;
use convoke_node::link::Way;
use convoke_node::worker::{self, Worker};
use convoke_wire::Client;
use convoke_wire::channel::Target;
use convoke_wire::core::worker::Load;
use convoke_wire::core::{JobId, Policy};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::records;
use crate::args::resources;
use crate::failure::Failure;
use crate::place;

/// What a worker of an embedded cluster caches at most. They share a machine.
const CACHE_BYTES: u64 = 256 << 20;
/// How long it waits for a disk that is full. Whoever watches then makes room, and resumes.
const DISK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the start waits for the first worker to join; without one, whoever follows the job is told so.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long the end waits for old records to be removed; what is left is removed by a later run.
const TIDY_TIMEOUT: Duration = Duration::from_millis(500);

/// A cluster in this process. It ends when it is stopped, or dropped.
pub struct Cluster {
    job: JobId,
    coordinator: Coordinator,
    workers: JoinSet<()>,
    /// Dropped, it tells the workers to leave.
    stay: watch::Sender<()>,
    /// Removes old records meanwhile.
    tidying: JoinHandle<()>,
}

impl Cluster {
    /// Starts a coordinator that keeps the job's record, and workers.
    pub async fn start(job: JobId, workers: u32, load: Load) -> Result<Self, Failure> {
        let options = Options {
            state: place::embedded_state(job)?,
            bind: None,
            nodes: Vec::new(),
            policy: Policy::default(),
            patience: Some(DISK_PATIENCE),
            snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
            state_max: None,
        };
        // What cannot be tidied now is tidied by a later run.
        let tidying = tokio::task::spawn_blocking(records::tidy);
        let state = options.state.clone();
        let coordinator = Coordinator::start(options).await.map_err(|error| {
            Failure::failed(error).hint(format!("the job's record is to be kept in {}: check it", state.display()))
        })?;
        if workers > 0 {
            place::guard_commands();
        }
        place::adopt_orphans();
        let (stay, leave) = watch::channel(());
        let mut running = JoinSet::new();
        for number in 1..=workers {
            let options = worker::Options {
                way: Way::Dial { target: coordinator.target(), wait: Duration::ZERO },
                name: format!("worker-{number}"),
                slots: 1,
                devices: memory(workers)?,
                load: Load { seed: load.seed.wrapping_add(u64::from(number)), ..load },
                cache_bytes: CACHE_BYTES,
                // It is the user's own machine, and the user's own process.
                commands: Some(place::scratch()),
                wasm: WasmLimits::default(),
                membership: None,
            };
            let worker = Worker::new(options).map_err(Failure::failed)?;
            let mut leave = leave.clone();
            running.spawn(async move {
                let leave = async move { while leave.changed().await.is_ok() {} };
                if let Err(error) = worker.run(leave).await {
                    tracing::error!("worker-{number} ended: {error}");
                }
            });
        }
        if workers > 0 {
            drop(tokio::time::timeout(JOIN_TIMEOUT, is_joined(&coordinator.target())).await);
        }
        Ok(Self { job, coordinator, workers: running, stay, tidying })
    }

    /// How to reach it.
    pub fn target(&self) -> Target {
        self.coordinator.target()
    }

    /// Does work on it, then ends it. A coordinator that has ended explains more than what is missing without it.
    pub async fn until<T>(mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let result = tokio::select! {
            biased;
            failure = self.failed() => Err(failure),
            result = work => result,
        };
        self.stop().await;
        result
    }

    /// Returns when it cannot go on, with the reason; otherwise never.
    async fn failed(&mut self) -> Failure {
        let error = self.coordinator.failed().await;
        let state = self.coordinator.state().display();
        let job = self.job;
        Failure::failed(error)
            .hint(format!("check the space and the rights in {state}; then `convoke resume {job}` goes on"))
    }

    /// Ends it: the workers leave first, so that nobody is missed. What was decided is on disk.
    async fn stop(mut self) {
        drop(self.stay);
        while self.workers.join_next().await.is_some() {}
        drop(tokio::task::spawn_blocking(place::end_commands).await);
        self.coordinator.stop().await;
        drop(tokio::time::timeout(TIDY_TIMEOUT, self.tidying).await);
    }
}

/// Ready once a worker has joined: who follows a job sooner is told that there is none. What goes wrong here does so again
/// for whoever works on the cluster.
async fn is_joined(target: &Target) {
    let Ok(mut client) = Client::connect(target).await else { return };
    while client.workers().await.is_ok_and(|workers| !workers.iter().any(|worker| worker.connected)) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A worker's share of the machine's memory.
fn memory(workers: u32) -> Result<Devices, Failure> {
    let counted = resources(&[], place::memory_bytes().map(|bytes| bytes / u64::from(workers)))?;
    Devices::new(counted, None).map_err(Failure::failed)
}
