//! A round of a large model: four workers fetch it, hand it on as it came but for a few numbers, and their deltas are
//! merged. What it takes is moving, comparing and adding bytes.
//!
//! It sees the rounds as a follower does, and what the processes take as the system counts it. Nothing is trained.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use convoke_wire::core::event::{Event, Outcome, Timing};
use convoke_wire::core::{JobId, Position};
use convoke_wire::{Client, Followed};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio_stream::StreamExt;

use crate::binary::Running;
use crate::cluster::Cluster;
use crate::figures::{Table, milliseconds, percentile};
use crate::processes::{Sampler, Taken, taken};

/// Tensors that the model has.
const TENSORS: usize = 4;
/// What each shard holds: as many bytes of numbers as a step changes.
const SHARD_BYTES: usize = 4000;
/// Rounds that are not counted: the workers settle.
const WARM_UP: usize = 1;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How large the model is, in 10^6 bytes
    #[arg(long, default_value_t = 100)]
    megabytes: usize,
    /// How many rounds are counted
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many workers there are, each with a shard
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Steps change nothing: then every cache holds the base, and all deltas are one blob
    #[arg(long)]
    unchanged: bool,
    /// The folder whose disk is used [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured: medians over the rounds, in seconds, and most memory, in 10^6 bytes.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// From one version to the next.
    round: f64,
    each: Vec<f64>,
    /// From the last delta to the version.
    merge: f64,
    /// A task's parts, by its worker's clock; all workers go through them at a time.
    fetch: f64,
    compute: f64,
    report: f64,
    /// Processor time a round, and how much of it is the system's.
    coordinator: Taken,
    /// All workers together.
    workers: Taken,
    /// The step's own processes.
    steps: Taken,
    /// The most anonymous memory.
    coordinator_megabytes: f64,
    worker_megabytes: f64,
}

/// A round as it went by.
#[derive(Default)]
struct Seen {
    timings: Vec<Timing>,
    closed: Option<Instant>,
    combined: Option<Instant>,
}

/// Runs one job on a cluster.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    let init = cluster.folder().join("init.safetensors");
    write_model(&init, arguments.megabytes * 1_000_000 / 4).context("cannot write the model")?;
    write_shards(&cluster.data(), arguments.workers).context("cannot write the shards")?;
    // A few versions: what goes makes room for what comes, as in a long job.
    let cache = (arguments.megabytes * 3).to_string();
    let workers = (1..=arguments.workers)
        .map(|number| {
            cluster.worker_with(&format!("w{number}"), &["--quiet", "--allow-command", "--cache-mib", &cache])
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let count = WARM_UP + arguments.rounds;
    let init = init.to_str().context("a folder whose name is not UTF-8")?;
    let rounds = count.to_string();
    let job = ["--shell", "--step", step(arguments.unchanged), "--init", init, "--rounds", &rounds];
    let job = cluster.submit(&job.map(str::to_owned))?;
    let ids = Ids { coordinator: cluster.coordinator_id(), workers: workers.iter().map(Running::id).collect() };
    let sampler = Sampler::start(std::iter::once(ids.coordinator).chain(ids.workers.iter().copied()));
    let (seen, before, after) = follow(&mut cluster.client().await?, job, &ids).await?;
    let most = sampler.stop();
    let megabytes = |id: &u32| most.get(id).map_or(f64::NAN, |bytes| *bytes as f64 / 1e6);

    let combined: Vec<Instant> = seen.iter().filter_map(|round| round.combined).collect();
    ensure!(combined.len() == count, "{} of {count} rounds were seen", combined.len());
    let each: Vec<f64> = combined.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let merges = seen.iter().filter_map(|round| Some((round.combined? - round.closed?).as_secs_f64()));
    let timings = || seen[WARM_UP..].iter().flat_map(|round| &round.timings);
    let median =
        |micros: fn(&Timing) -> u64| percentile(timings().map(|timing| micros(timing) as f64 / 1e6).collect(), 0.5);
    let a_round = |taken: fn(&Spent) -> Taken| (taken(&after) - taken(&before)) / arguments.rounds as f64;
    Ok(Figures {
        round: percentile(each.clone(), 0.5),
        each,
        merge: percentile(merges.skip(WARM_UP).collect(), 0.5),
        fetch: median(|timing| timing.fetch_us),
        compute: median(|timing| timing.compute_us),
        report: median(|timing| timing.report_us),
        coordinator: a_round(|spent| spent.coordinator),
        workers: a_round(|spent| spent.workers),
        steps: a_round(|spent| spent.steps),
        coordinator_megabytes: megabytes(&ids.coordinator),
        worker_megabytes: ids.workers.iter().map(megabytes).fold(0.0, f64::max),
    })
}

/// Whose time is counted.
struct Ids {
    coordinator: u32,
    workers: Vec<u32>,
}

/// What they have taken so far.
struct Spent {
    coordinator: Taken,
    workers: Taken,
    steps: Taken,
}

impl Ids {
    fn spent(&self) -> anyhow::Result<Spent> {
        let all = self.workers.iter().map(|id| taken(*id)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Spent {
            coordinator: taken(self.coordinator)?.0,
            workers: all.iter().map(|(own, _)| *own).sum(),
            steps: all.iter().map(|(_, children)| *children).sum(),
        })
    }
}

/// All rounds, and what was spent when those that count began and when they ended.
async fn follow(client: &mut Client, job: JobId, ids: &Ids) -> anyhow::Result<(Vec<Seen>, Spent, Spent)> {
    let mut events = Box::pin(client.follow(job, Position(0), true).await?);
    let (mut rounds, mut seen) = (Vec::new(), Seen::default());
    let (mut before, mut after) = (None, None);
    loop {
        let followed = events.next().await.context("the coordinator is gone")??;
        let Followed::Recorded { event, .. } = followed else { continue };
        match event {
            Event::TaskDone { record, .. } => seen.timings.push(record.completion.timing),
            Event::StageClosed { .. } => seen.closed = Some(Instant::now()),
            Event::StageCombined { .. } => {
                seen.combined = Some(Instant::now());
                rounds.push(std::mem::take(&mut seen));
                if rounds.len() == WARM_UP {
                    before = Some(ids.spent()?);
                }
                after = Some(ids.spent()?);
            }
            Event::JobFinished { outcome: Outcome::Succeeded, .. } => break,
            Event::JobFinished { outcome, .. } => bail!("the job {outcome}"),
            _ => {}
        }
    }
    Ok((rounds, before.context("no round ended")?, after.context("no round ended")?))
}

/// Copies the base, and puts the shard's numbers where those of the round are.
fn step(unchanged: bool) -> &'static str {
    if unchanged {
        "cp $CONVOKE_BASE $CONVOKE_RESULT"
    } else {
        "cp $CONVOKE_BASE $CONVOKE_RESULT && \
         dd if=$CONVOKE_SHARD of=$CONVOKE_RESULT bs=4000 seek=$CONVOKE_ROUND conv=notrunc status=none"
    }
}

/// A safetensors file of so many numbers.
fn write_model(path: &Path, numbers: usize) -> anyhow::Result<()> {
    let each = numbers.div_ceil(TENSORS);
    let tensors: BTreeMap<String, serde_json::Value> = (0..TENSORS)
        .map(|tensor| {
            let offsets = [tensor * each * 4, (tensor + 1) * each * 4];
            (format!("w{tensor}"), serde_json::json!({ "dtype": "F32", "shape": [each], "data_offsets": offsets }))
        })
        .collect();
    let mut header = serde_json::to_string(&tensors)?;
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    // The first round's numbers lie behind the header.
    ensure!(8 + header.len() <= SHARD_BYTES, "the header is too long");
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut rng = Pcg64Mcg::new(0x5eed);
    for _ in 0..each * TENSORS {
        file.write_all(&number(&mut rng).to_le_bytes())?;
    }
    Ok(file.flush()?)
}

fn write_shards(folder: &Path, count: usize) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut rng = Pcg64Mcg::new(0xda7a);
    for shard in 1..=count {
        let numbers: Vec<u8> = (0..SHARD_BYTES / 4).flat_map(|_| number(&mut rng).to_le_bytes()).collect();
        fs::write(folder.join(format!("train_{shard}.bin")), numbers)?;
    }
    Ok(())
}

/// Between -1 and 1.
fn number(rng: &mut Pcg64Mcg) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
}

impl Table for Figures {
    fn table(&self) -> String {
        let Self { round, each, merge, fetch, compute, report, coordinator, workers, steps, .. } = self;
        let each: Vec<String> = each.iter().map(|seconds| format!("{seconds:.2}")).collect();
        let ms = |seconds: &f64| milliseconds(Duration::try_from_secs_f64(*seconds).unwrap_or_default());
        format!(
            "round             {round:.2} s ({})\n\
             a task's parts    fetch {:.0} ms, compute {:.0} ms, report {:.0} ms\n\
             merge             {:.0} ms\n\
             processor time a round\n  coordinator     {coordinator}\n  workers         {workers}\n  steps           {steps}\n\
             most memory       coordinator {:.0} MB, a worker {:.0} MB",
            each.join(", "),
            ms(fetch),
            ms(compute),
            ms(report),
            ms(merge),
            self.coordinator_megabytes,
            self.worker_megabytes,
        )
    }
}
