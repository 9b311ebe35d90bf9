//! A larger model through a cluster: two workers, each with half of the rows, a training epoch a round.
//!
//! It sees the rounds as a follower does, and the parts of a task by its worker's clock. What learning alone costs,
//! `kernels` says.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use convoke_ml::{Architecture, Mlp, Start};
use convoke_node::executor::TRAIN;
use convoke_wire::core::event::{Event, Outcome, Timing};
use convoke_wire::core::{
    Ability, Attempts, Digest, JobId, JobSpec, Needs, Payload, Plan, Position, Rounds, Split, Work,
};
use convoke_wire::program::{self, Combine, Descent, Entry, Manifest, Mean, Merge, Schedule, Sgd, Train};
use convoke_wire::{Client, Followed};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio_stream::StreamExt;

use crate::cluster::Cluster;
use crate::figures::{Span, Table};
use crate::works;

const SIZES: [usize; 3] = [784, 256, 10];
const BATCH: u32 = 128;
const WORKERS: usize = 2;
/// Rounds that are not counted: the shards travel to the workers, which settle.
const WARM_UP: usize = 1;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many rounds are counted
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Rows of each of the two shards
    #[arg(long, default_value_t = 30_000)]
    rows: usize,
    /// The folder whose disk is used [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured, in seconds.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// From one version to the next.
    round: Span,
    /// The first round, in which the shards travel: from its opening to its version.
    first_round: f64,
    /// A task's parts, by its worker's clock, after the first round; both workers go through them at a time.
    fetch: Span,
    compute: Span,
    report: Span,
    /// What a round takes beyond its slowest task's parts: merging, and telling one another.
    beyond: Span,
}

/// A round as it went by.
struct Seen {
    timings: Vec<Timing>,
    opened: Instant,
    combined: Instant,
}

impl Seen {
    /// All parts of the task that took longest.
    fn slowest(&self) -> Duration {
        let parts = |timing: &Timing| timing.fetch_us + timing.compute_us + timing.report_us;
        Duration::from_micros(self.timings.iter().map(parts).max().unwrap_or_default())
    }
}

/// Runs one job on a cluster.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    ensure!(arguments.rounds > 0, "a round has to be counted at least");
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    let workers = (1..=WORKERS).map(|number| cluster.worker(&format!("w{number}"), true));
    let _workers = workers.collect::<anyhow::Result<Vec<_>>>()?;
    let mut client = cluster.client().await?;
    let count = WARM_UP + arguments.rounds;
    let spec = spec(&mut client, arguments.rows, u32::try_from(count)?).await?;
    let job = JobId::from_bits(1);
    client.submit(job, &spec, "bench").await?;
    let seen = follow(&mut client, job).await?;
    ensure!(seen.len() == count, "{} of {count} rounds were seen", seen.len());
    let rounds: Vec<_> = seen.windows(2).map(|pair| (pair[1].combined - pair[0].combined).as_secs_f64()).collect();
    let beyond = rounds.iter().zip(&seen[WARM_UP..]).map(|(round, seen)| round - seen.slowest().as_secs_f64());
    let beyond = Span::of(beyond.collect());
    let timings = || seen[WARM_UP..].iter().flat_map(|round| &round.timings);
    let part = |micros: fn(&Timing) -> u64| {
        Span::of(timings().map(|timing| Duration::from_micros(micros(timing)).as_secs_f64()).collect())
    };
    Ok(Figures {
        round: Span::of(rounds),
        first_round: (seen[0].combined - seen[0].opened).as_secs_f64(),
        fetch: part(|timing| timing.fetch_us),
        compute: part(|timing| timing.compute_us),
        report: part(|timing| timing.report_us),
        beyond,
    })
}

/// Stores the data, and makes the job of it.
async fn spec(client: &mut Client, rows: usize, rounds: u32) -> anyhow::Result<JobSpec> {
    let architecture = Architecture::classifier(&SIZES, (0..SIZES[2]).map(|label| label.to_string()).collect());
    let mut rng = Pcg64Mcg::new(0x5eed);
    let mut entries = Vec::new();
    for worker in 1..=WORKERS {
        let shard = works::random(&mut rng, rows, SIZES[0], &architecture.head)?;
        let digest = put(client, shard.to_safetensors()).await?;
        let (name, samples) = (format!("part {worker}"), rows as u64);
        entries.push(Entry { name, digest: digest.0.to_vec(), samples, ..Default::default() });
    }
    let manifest = Manifest { entries, ..Default::default() };
    let input = Payload::blob(put(client, program::encode(&manifest)).await?);
    let base = Mlp::start(&architecture, Start::He, 1)?.to_safetensors();
    let base = Payload::blob(put(client, base).await?);
    let descent = Descent {
        training_epochs: 1,
        batch: BATCH,
        learning_rate: 0.01,
        optimizer: Some(program::v1::descent::Optimizer::Sgd(Sgd { momentum: 0.0 })),
        weight_decay: 0.0,
        clip_norm: None,
        schedule: Schedule::Constant.into(),
        rounds,
    };
    let merge = Merge { rule: Some(program::v1::merge::Rule::Mean(Mean {})) };
    let train = Work {
        ability: Ability::new(TRAIN)?,
        program: program::inline(&Train { kind: Some(program::v1::train::Kind::Descent(descent)) }),
        input,
        split: Split::Entries,
        count: WORKERS as u32,
        combine: program::inline(&Combine { kind: Some(program::v1::combine::Kind::Merge(merge)) }),
        needs: Needs::default(),
    };
    Ok(JobSpec {
        name: "large".to_owned(),
        plan: Plan::Rounds(Rounds { rounds, base, prepare: None, train, evaluate: None }),
        policy: None,
        seed: 1,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: 0,
    })
}

async fn put(client: &mut Client, bytes: Vec<u8>) -> anyhow::Result<Digest> {
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    client.blobs().put_as(digest, Bytes::from(bytes), true).await?;
    Ok(digest)
}

/// All rounds of a job.
async fn follow(client: &mut Client, job: JobId) -> anyhow::Result<Vec<Seen>> {
    let mut events = Box::pin(client.follow(job, Position(0), true).await?);
    let (mut rounds, mut timings, mut opened) = (Vec::new(), Vec::new(), None);
    loop {
        let followed = events.next().await.context("the coordinator is gone")??;
        let Followed::Recorded { event, .. } = followed else { continue };
        match event {
            Event::StageOpened { .. } => opened = Some(Instant::now()),
            Event::TaskDone { record, .. } => timings.push(record.completion.timing),
            Event::StageCombined { .. } => {
                let opened = opened.take().context("a version of no round")?;
                rounds.push(Seen { timings: std::mem::take(&mut timings), opened, combined: Instant::now() });
            }
            Event::JobFinished { outcome: Outcome::Succeeded, .. } => return Ok(rounds),
            Event::JobFinished { outcome, .. } => bail!("the job {outcome}"),
            _ => {}
        }
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let Self { round, first_round, fetch, compute, report, beyond } = self;
        let line = |name: &str, span: &Span| {
            let [median, least, most] = [span.median, span.least, span.most].map(|seconds| seconds * 1e3);
            format!("{name:<12}  {median:.1} ms ({least:.1} to {most:.1})")
        };
        [
            line("round", round),
            format!("{:<12}  {:.1} ms, with the shards' way to the workers", "first round", first_round * 1e3),
            line("fetch", fetch),
            line("compute", compute),
            line("report", report),
            format!("{}, of a round beyond its slowest task", line("the rest", beyond)),
        ]
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_milliseconds() {
        let span = Span { median: 0.25, least: 0.2, most: 0.3 };
        let figures = Figures { round: span, first_round: 1.5, fetch: span, compute: span, report: span, beyond: span };
        let lines = figures.table();
        assert!(lines.starts_with("round         250.0 ms (200.0 to 300.0)\nfirst round   1500.0 ms, with"), "{lines}");
    }
}
