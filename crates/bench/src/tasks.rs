//! Tasks: how many a second a cluster of two one-slot workers takes through, and how long one alone takes, by a client's clock.
//!
//! Each task has its lease, its retry and its record, as any other; the journal is on disk and TLS on. Beside the commands
//! it runs the limit of the machine, a program that is given, by turns.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use convoke_wire::core::event::{Event, Outcome};
use convoke_wire::core::{Ability, Attempts, JobId, JobSpec, MapReduce, Needs, Payload, Plan, Position, Split, Work};
use convoke_wire::program::{self, Collect, Combine, Feed, Range, Wasm};
use convoke_wire::{Client, Followed};
use serde::Serialize;
use tokio_stream::StreamExt;

use crate::cluster::Cluster;
use crate::figures::{Spread, Table, percentile};

/// `(module (memory (export "memory") 1) (func (export "_start")))`: a program that ends at once.
const NOOP: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\x07\x13\x02\x06memory\x02\0\x06_start\0\0\
    \x0a\x04\x01\x02\0\x0b";
/// Tasks that are not counted: the workers join, fetch and settle.
const WARM_UP: u32 = 1_000;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many tasks a job has
    #[arg(long, default_value_t = 10_000)]
    tasks: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// How many tasks run alone, one after the other
    #[arg(long, default_value_t = 200)]
    alone: u32,
    /// The C source of the limit for commands, run as `LIMIT N`: beside it commands are measured
    #[arg(long, value_name = "FILE.c")]
    spawn_limit: Option<PathBuf>,
    /// The folder whose disk is measured [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Empty WebAssembly programs.
    wasm: Rate,
    /// `/bin/true`.
    commands: Rate,
    /// `/bin/true` by the limit, if it was given.
    limit: Option<Rate>,
    /// The commands' rate by the limit's, in percent.
    share_of_limit_percent: Option<f64>,
    /// One empty WebAssembly program, from its submission to its result.
    alone: Spread,
}

/// Tasks a second, from the submission to the last result.
#[derive(Debug, Serialize)]
struct Rate {
    median: f64,
    each: Vec<f64>,
}

/// Measures on one cluster.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    let limit = arguments.spawn_limit.as_deref().map(|source| build(source, cluster.folder())).transpose()?;
    let workers = ["w1", "w2"].map(|name| cluster.worker_with(name, &["--quiet", "--allow-command"]));
    let _workers = workers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut client = cluster.client().await?;
    let module = client.blobs().put(NOOP.into(), true).await?;
    let guest = |count| spec("wasm", &Wasm { module: module.0.to_vec(), ..Wasm::default() }, count);
    let argv = vec!["/bin/true".to_owned()];
    let command = program::Command { argv, feed: Feed::Nothing.into(), ..program::Command::default() };
    run(&mut client, &guest(WARM_UP)?).await?;
    run(&mut client, &spec("command", &command, WARM_UP)?).await?;
    let (mut wasm, mut commands, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        let count = arguments.tasks;
        let rate = |took: Duration| f64::from(count) / took.as_secs_f64();
        wasm.push(rate(run(&mut client, &guest(count)?).await?));
        commands.push(rate(run(&mut client, &spec("command", &command, count)?).await?));
        if let Some(limit) = &limit {
            let began = Instant::now();
            ensure!(Command::new(limit).arg(count.to_string()).status()?.success(), "the limit failed");
            limits.push(rate(began.elapsed()));
        }
    }
    let mut alone = Vec::new();
    for _ in 0..arguments.alone {
        alone.push(run(&mut client, &guest(1)?).await?);
    }
    let (wasm, commands) = (Rate::of(wasm), Rate::of(commands));
    let limit = limit.map(|_| Rate::of(limits));
    let share_of_limit_percent = limit.as_ref().map(|limit| commands.median / limit.median * 100.0);
    Ok(Figures { wasm, commands, limit, share_of_limit_percent, alone: Spread::of(&alone) })
}

fn build(source: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("limit");
    let built = Command::new("cc").args(["-O2", "-pthread"]).arg(source).arg("-o").arg(&program).status();
    ensure!(built.context("cannot run cc")?.success(), "cannot build {}", source.display());
    Ok(program)
}

fn spec(ability: &str, program: &impl program::Message, count: u32) -> anyhow::Result<JobSpec> {
    let collect = Combine { kind: Some(program::v1::combine::Kind::Collect(Collect {})) };
    let map = Work {
        ability: Ability::new(ability)?,
        program: program::inline(program),
        input: program::inline(&Range { first: 0, step: 1 }),
        split: Split::Range,
        count,
        combine: program::inline(&collect),
        needs: Needs::default(),
    };
    Ok(JobSpec {
        name: format!("no-op {ability}"),
        plan: Plan::MapReduce(MapReduce { base: Payload::default(), map, reduce: None, keep_going: false }),
        policy: None,
        seed: 0,
        attempts: Attempts { retries: 0, ..Attempts::default() },
        deadline_ms: None,
        priority: 0,
    })
}

/// Submits a job, and says how long it took until its last result was told.
async fn run(client: &mut Client, spec: &JobSpec) -> anyhow::Result<Duration> {
    let Plan::MapReduce(plan) = &spec.plan else { bail!("a map-reduce plan") };
    let job = JobId::from_bits(rand_bits());
    let began = Instant::now();
    client.submit(job, spec, "bench").await?;
    let mut events = client.follow(job, Position(0), true).await?;
    let (mut done, mut took) = (0, None);
    while let Some(followed) = events.next().await {
        let Followed::Recorded { event, .. } = followed? else { continue };
        match event {
            Event::TaskDone { .. } => {
                done += 1;
                if done == plan.map.count {
                    took = Some(began.elapsed());
                }
            }
            Event::JobFinished { outcome: Outcome::Succeeded, .. } => break,
            Event::JobFinished { outcome, .. } => bail!("the job {outcome}"),
            _ => {}
        }
    }
    took.context("the job ended before its last result")
}

fn rand_bits() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

impl Rate {
    fn of(each: Vec<f64>) -> Self {
        Self { median: percentile(each.clone(), 0.5), each }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each: Vec<_> = self.each.iter().map(|rate| format!("{rate:.0}")).collect();
        write!(f, "{:.0} a second ({})", self.median, each.join(", "))
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let mut lines =
            vec![format!("empty WebAssembly   {}", self.wasm), format!("/bin/true           {}", self.commands)];
        lines.extend(self.limit.as_ref().map(|limit| format!("the limit           {limit}")));
        lines.extend(self.share_of_limit_percent.map(|share| format!("share of the limit  {share:.0} %")));
        lines.push(format!("one alone           {}", self.alone));
        lines.join("\n")
    }
}
