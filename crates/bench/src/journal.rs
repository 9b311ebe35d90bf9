//! The journal's cost: tasks that do nothing, through a coordinator whose journal is on disk and one whose is in memory.
//!
//! The coordinator is the product's, in this process, with its default options and its lines going to a file; so is the
//! protocol, over loopback. The workers are this program's (see `noop`), a thread each, and share the machine with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use convoke_node::coordinator::{Coordinator, Options, SNAPSHOT_EVERY_BYTES};
use convoke_store::journal::{Journal, MemoryJournal, StoreError};
use convoke_wire::core::event::Outcome;
use convoke_wire::core::{
    Ability, Attempts, JobId, JobSpec, Needs, Payload, Plan, Policy, Role, Rounds, Split, TokenId, Work,
};
use convoke_wire::program::{self, Combine, Count};
use convoke_wire::tls::JoinToken;
use convoke_wire::tls::token::Secret;
use convoke_wire::{Client, TokenTerms};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::cluster::folder_in;
use crate::counting::{Appended, Counting, Totals};
use crate::figures::{Table, percentile};
use crate::noop::{self, Progress};

/// How long a run may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many runs there are with each journal, by turns
    #[arg(long, default_value_t = 11)]
    runs: u32,
    /// How many rounds a run counts, after one that warms up
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How many tasks each has
    #[arg(long, default_value_t = 10_000)]
    tasks: u32,
    /// How many workers there are
    #[arg(long, default_value_t = 4)]
    workers: u64,
    /// How many slots each has
    #[arg(long, default_value_t = 256)]
    slots: u32,
    /// The folder whose disk is measured [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    on_disk: Measured,
    in_memory: Measured,
    /// The share of the tasks a second that goes with the disk, by the medians.
    cost_percent: f64,
    /// The median of the pairs: what else the machine does weighs on both runs of one.
    median_cost_percent: f64,
    /// The same of each pair of runs.
    costs_percent: Vec<f64>,
}

/// All runs with one journal.
#[derive(Debug, Serialize)]
struct Measured {
    tasks_a_second: f64,
    /// Of each run.
    each: Vec<f64>,
    frames_a_second: f64,
    tasks_a_frame: f64,
    frame_bytes_a_task: f64,
    /// The share of the time in which a frame is being appended.
    append_percent: f64,
    /// What the processor does for a task: coordinator, workers and kernel.
    cpu_us_a_task: f64,
}

/// What a run came to.
struct Run {
    tasks_a_second: f64,
    appended: Totals,
    tasks: f64,
    took: Duration,
    cpu: Duration,
}

/// Runs with both journals by turns.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let folder = folder_in(arguments.dir.as_deref())?;
    log_to(&folder.path().join("lines"))?;
    let (mut on_disk, mut in_memory) = (Vec::new(), Vec::new());
    for number in 0..arguments.runs {
        let state = |name: &str| folder.path().join(format!("{name}-{number}"));
        // Neither is always the first of a pair.
        if number % 2 == 0 {
            on_disk.push(run(arguments, &state("disk"), false).await?);
            in_memory.push(run(arguments, &state("memory"), true).await?);
        } else {
            in_memory.push(run(arguments, &state("memory"), true).await?);
            on_disk.push(run(arguments, &state("disk"), false).await?);
        }
    }
    let cost = |disk: f64, memory: f64| 100.0 * (1.0 - disk / memory);
    let pairs = on_disk.iter().zip(&in_memory);
    let costs_percent: Vec<_> = pairs.map(|(disk, memory)| cost(disk.tasks_a_second, memory.tasks_a_second)).collect();
    let (on_disk, in_memory) = (Measured::of(&on_disk), Measured::of(&in_memory));
    let cost_percent = cost(on_disk.tasks_a_second, in_memory.tasks_a_second);
    let median_cost_percent = percentile(costs_percent.clone(), 0.5);
    Ok(Figures { on_disk, in_memory, cost_percent, median_cost_percent, costs_percent })
}

/// Sends the lines that `convoke coordinator` says by default to a file, as whoever runs a service does.
fn log_to(path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let targets = Targets::new().with_target("convoke_node", LevelFilter::INFO).with_default(LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer().with_writer(Arc::new(file)).with_target(false).with_ansi(false);
    Ok(tracing_subscriber::registry().with(targets).with(lines).try_init()?)
}

/// Takes one job through a coordinator of its own.
async fn run(arguments: &Arguments, state: &Path, in_memory: bool) -> anyhow::Result<Run> {
    let appended = Arc::new(Appended::default());
    let counting = appended.clone();
    let options = Options {
        state: state.to_owned(),
        bind: Some(([127, 0, 0, 1], 0).into()),
        nodes: Vec::new(),
        policy: Policy::default(),
        patience: None,
        snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
        state_max: None,
    };
    let journal = |state: &convoke_store::StateDir| -> Result<Box<dyn Journal>, StoreError> {
        Ok(match in_memory {
            true => Box::new(Counting { journal: MemoryJournal::new(), appended: counting }),
            false => Box::new(Counting { journal: state.journal()?, appended: counting }),
        })
    };
    let coordinator = Coordinator::start_on(options, journal).await?;
    let address = coordinator.address().context("it listens")?.to_string();
    let mut client = Client::connect(&coordinator.target()).await?;
    let token = JoinToken { id: TokenId::from_bits(1), secret: Secret([7; 16]), authority: coordinator.authority() };
    let terms = TokenTerms { role: Role::Worker, commands: false, name: None, expires_ms: None, uses: None };
    client.create_token(&token, terms).await?;
    let warm_up = u64::from(arguments.tasks);
    let progress = Arc::new(Progress::new(warm_up..warm_up * u64::from(arguments.rounds + 1)));
    let mut workers = Vec::new();
    for number in 1..=arguments.workers {
        let target = noop::join(&address, &token, number).await?;
        let (progress, slots, (stop, stopped)) = (progress.clone(), arguments.slots, oneshot::channel());
        let work = std::thread::spawn(move || noop::work(&target, number, slots, &progress, stopped));
        workers.push((stop, work));
    }
    let job = JobId::from_bits(1);
    client.submit(job, &spec(arguments)?, "bench").await?;
    let submitted = Instant::now();
    let (mut began, mut summary) = (None, None);
    while summary.is_none() {
        ensure!(submitted.elapsed() < RUN_TIMEOUT, "the job is not done after {RUN_TIMEOUT:?}");
        ensure!(!workers.iter().any(|(_, worker)| worker.is_finished()), "a worker ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
        if progress.began.get().is_some() && began.is_none() {
            began = Some((appended.totals(), cpu()?));
        }
        if progress.ended.get().is_some() {
            summary = client.jobs().await?.into_iter().find_map(|job| job.outcome);
        }
    }
    let (ended, cpu_ended) = (appended.totals(), cpu()?);
    for (stop, worker) in workers {
        drop(stop);
        worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
    }
    coordinator.stop().await;
    let (Some(first), Some(last), Some((began, cpu_began))) = (progress.began.get(), progress.ended.get(), began)
    else {
        bail!("the job ended before its tasks")
    };
    ensure!(summary == Some(Outcome::Succeeded), "the job did not succeed: {summary:?}");
    let (tasks, took) = ((progress.counted.end - progress.counted.start) as f64, *last - *first);
    Ok(Run {
        tasks_a_second: tasks / took.as_secs_f64(),
        appended: ended.since(began),
        tasks,
        took,
        cpu: cpu_ended - cpu_began,
    })
}

/// How long the processor was at work for this process.
fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let microseconds = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Ok(Duration::from_micros(microseconds.iter().sum::<i64>().cast_unsigned()))
}

fn spec(arguments: &Arguments) -> anyhow::Result<JobSpec> {
    let count = program::inline(&Combine { kind: Some(program::v1::combine::Kind::Count(Default::default())) });
    let (ability, nothing) = (Ability::new(noop::ABILITY)?, || Payload::inline(b"nothing"));
    let train = Work {
        ability,
        program: nothing()?,
        // A manifest that lists nothing.
        input: Payload::inline(b"")?,
        split: Split::Entries,
        count: arguments.tasks,
        combine: count,
        needs: Needs::default(),
    };
    let base = program::inline(&Count::default());
    let plan = Plan::Rounds(Rounds { rounds: arguments.rounds + 1, base, prepare: None, train, evaluate: None });
    Ok(JobSpec {
        name: "noop".to_owned(),
        plan,
        policy: None,
        seed: 1,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: 0,
    })
}

impl Measured {
    fn of(runs: &[Run]) -> Self {
        let median = |figure: fn(&Run) -> f64| percentile(runs.iter().map(figure).collect(), 0.5);
        Self {
            tasks_a_second: median(|run| run.tasks_a_second),
            each: runs.iter().map(|run| run.tasks_a_second).collect(),
            frames_a_second: median(|run| run.appended.frames as f64 / run.took.as_secs_f64()),
            tasks_a_frame: median(|run| run.tasks / run.appended.frames as f64),
            frame_bytes_a_task: median(|run| run.appended.bytes as f64 / run.tasks),
            append_percent: median(|run| run.appended.nanoseconds as f64 / run.took.as_nanos() as f64 * 100.0),
            cpu_us_a_task: median(|run| run.cpu.as_secs_f64() * 1e6 / run.tasks),
        }
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let lines = |name: &str, measured: &Measured| {
            let Measured { tasks_a_second, each, frames_a_second, tasks_a_frame, .. } = measured;
            let Measured { frame_bytes_a_task, append_percent, cpu_us_a_task, .. } = measured;
            let each: Vec<_> = each.iter().map(|rate| format!("{rate:.0}")).collect();
            format!(
                "{name}\n  tasks a second   {tasks_a_second:.0} ({})\n  frames a second  {frames_a_second:.0}, of \
                 {tasks_a_frame:.0} tasks and {frame_bytes_a_task:.0} bytes a task\n  appending        \
                 {append_percent:.1} % of the time\n  processor        {cpu_us_a_task:.1} us a task, workers included",
                each.join(", ")
            )
        };
        let costs: Vec<_> = self.costs_percent.iter().map(|cost| format!("{cost:.1}")).collect();
        [
            lines("on disk", &self.on_disk),
            lines("in memory", &self.in_memory),
            format!(
                "cost of the disk   {:.1} % of the tasks a second by the medians, {:.1} % by the median pair ({})",
                self.cost_percent,
                self.median_cost_percent,
                costs.join(", ")
            ),
        ]
        .join("\n")
    }
}
