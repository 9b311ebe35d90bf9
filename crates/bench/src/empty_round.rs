//! The empty round: eleven shards of three rows, one training epoch, two workers. What it takes is coordination.
//!
//! It measures from outside, as a follower; where inside a round the time goes it does not know. On ext4, creating a
//! file is dear for some minutes after thousands were deleted: leave five between two measurements.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::data;
use crate::figures::{Spread, Table, milliseconds};
use crate::rounds::Rounds;

/// Three rows a shard bring all 26 labels.
const ROWS: usize = 3;
/// Rounds that are not counted: the workers join, fetch and settle.
const WARM_UP: u32 = 10;
/// What a frame of the journal may hold in such a round.
const FRAME_BYTES: usize = 200;
const SYNCS: usize = 200;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many rounds are counted
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// How many workers there are
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// The folder whose disk is measured [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    with_evaluation: Measured,
    without_evaluation: Measured,
}

/// One job.
#[derive(Debug, Serialize)]
struct Measured {
    /// From one version to the next.
    round: Spread,
    /// All rounds, divided by their number.
    mean_ms: f64,
    /// The journal's frames, each a commit.
    frames_a_round: f64,
    /// Writing 200 bytes and syncing them, on the same disk, just before and after.
    sync: Spread,
}

/// Runs both jobs, on a cluster each.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    // Both folders stay until the end: see above.
    let with = Cluster::start(arguments.dir.as_deref())?;
    let without = Cluster::start(arguments.dir.as_deref())?;
    let with_evaluation = measure_one(arguments, &with, true).await?;
    let without_evaluation = measure_one(arguments, &without, false).await?;
    Ok(Figures { with_evaluation, without_evaluation })
}

async fn measure_one(arguments: &Arguments, cluster: &Cluster, validates: bool) -> anyhow::Result<Measured> {
    data::write(&cluster.data(), ROWS, validates)?;
    let rounds = (arguments.rounds + WARM_UP + 1).to_string();
    let job = cluster.submit(&["--preset=reference", "--epochs=1", "--rounds", &rounds].map(str::to_owned))?;
    let mut followed = Rounds::follow(&mut cluster.client().await?, job).await?;
    // The follower is there first, so that it sees every round as it goes by.
    followed.next().await?.context("no round opened")?;
    let mut syncs = sync_times(cluster.folder())?;
    let workers = (1..=arguments.workers).map(|number| cluster.worker(&format!("w{number}"), true));
    let _workers = workers.collect::<anyhow::Result<Vec<_>>>()?;
    let mut versions = Vec::new();
    while let Some(step) = followed.next().await? {
        versions.extend(Some(step).filter(|step| !step.opened && step.round > WARM_UP));
    }
    syncs.extend(sync_times(cluster.folder())?);
    let (first, last) = versions.first().zip(versions.last()).context("no rounds")?;
    let count = f64::from(last.round - first.round);
    let rounds: Vec<Duration> = versions.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    Ok(Measured {
        round: Spread::of(&rounds),
        mean_ms: milliseconds(last.at - first.at) / count,
        frames_a_round: (last.position.0 - first.position.0) as f64 / count,
        sync: Spread::of(&syncs),
    })
}

/// How long it takes to append a small frame to a file and to sync it.
fn sync_times(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let path = folder.join("synced");
    let mut file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let sync = |_| {
        let began = Instant::now();
        file.write_all(&[7; FRAME_BYTES])?;
        file.sync_all()?;
        Ok(began.elapsed())
    };
    (0..SYNCS).map(sync).collect::<std::io::Result<_>>().context("cannot sync")
}

impl Table for Figures {
    fn table(&self) -> String {
        let lines = |name: &str, measured: &Measured| {
            let Measured { round, mean_ms, frames_a_round, sync } = measured;
            format!(
                "{name}\n  round           {round}; mean {mean_ms:.2} ms\n  frames a round  {frames_a_round:.1}\n  \
                 write and sync  {sync}"
            )
        };
        let with = lines("with evaluation", &self.with_evaluation);
        with + "\n" + &lines("without evaluation", &self.without_evaluation)
    }
}
