//! `convoke-sim`: runs seeds, and says which one breaks what.
//!
//! It knows nothing of clusters: a seed goes in, a report comes out.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use convoke_sim::{Coverage, JournalCheck, Size, Violation, measure, run};

/// Runs simulated clusters, each from a seed, and checks what has to hold.
#[derive(Parser)]
struct Arguments {
    /// Replays one seed and prints what happens.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs these seeds, such as 0..1000.
    #[arg(long, default_value = "0..1000")]
    seeds: Seeds,
    /// Runs the coordinator's machine alone, with so many workers, jobs, and tasks a job; without a value, with
    /// 10,000 workers and 1,000,000 tasks, and with a tenth of both.
    #[arg(long, value_name = "WORKERS,JOBS,TASKS", conflicts_with_all = ["seed", "seeds"])]
    size: Option<Option<Sizes>>,
    /// Checks the journal in a coordinator's state directory, which may be in use.
    #[arg(long, value_name = "STATE_DIR", conflicts_with_all = ["seed", "seeds", "size"])]
    journal: Option<PathBuf>,
    /// How many threads; all processors where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on after a seed that fails, and says how many there were.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sizes(Size);

impl FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(',');
        let mut number = || numbers.next().context("expected three numbers, such as 1000,10,10000");
        Ok(Self(Size { workers: number()?.parse()?, jobs: number()?.parse()?, tasks: number()?.parse()? }))
    }
}

#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, end) = text.split_once("..").context("expected two numbers, such as 0..1000")?;
        Ok(Self(first.parse()?..end.parse()?))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let failed = match arguments.seed {
        _ if arguments.journal.is_some() => arguments.journal.is_some_and(|state| check_journal(&state)),
        _ if arguments.size.is_some() => measure_sizes(arguments.size.flatten()),
        Some(seed) => replay(seed),
        None => run_all(&arguments),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Without a size, each in a process of its own: what one takes stays with its process.
fn measure_sizes(size: Option<Sizes>) -> bool {
    let measured = match size {
        Some(Sizes(size)) => measure(size).map(|measured| println!("{measured}")),
        None => ["1000,10,10000", "10000,10,100000"].into_iter().try_for_each(|size| {
            let myself = std::env::current_exe()?;
            let status = std::process::Command::new(myself).args(["--size", size]).status()?;
            ensure!(status.success(), "{size} could not be measured");
            Ok(())
        }),
    };
    if let Err(error) = &measured {
        eprintln!("{error:#}");
    }
    measured.is_err()
}

fn check_journal(state: &Path) -> bool {
    match JournalCheck::of(state).read_on() {
        Ok(checked) => println!("{checked}: every invariant held"),
        Err(violation) => {
            eprintln!("{violation}");
            return true;
        }
    }
    false
}

fn replay(seed: u64) -> bool {
    let report = run(seed, true);
    print!("{}", report.trace);
    eprintln!("\n{}", report.coverage);
    match report.outcome {
        Ok(()) => eprintln!("seed {seed}: every invariant held for {} virtual seconds", report.took_ms / 1_000),
        Err(violation) => {
            eprintln!("seed {seed}: {violation}");
            return true;
        }
    }
    false
}

fn run_all(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(arguments.seeds.0.start);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors).max(1);
    let batches: Vec<Batch> = std::thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| run_some(&next, arguments.seeds.0.end, arguments.all));
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_default()).collect()
    });
    let mut total = Batch::default();
    for batch in batches {
        total.seeds += batch.seeds;
        total.virtual_ms += batch.virtual_ms;
        total.coverage.add(&batch.coverage);
        total.failures.extend(batch.failures);
    }
    total.failures.sort_by_key(|(seed, _)| *seed);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s: {:.0} seeds a second, {:.0} virtual hours",
        total.seeds,
        total.seeds as f64 / seconds,
        total.virtual_ms as f64 / 3_600_000.0
    );
    println!("\n{}", total.coverage);
    for (seed, violation) in total.failures.iter().take(10) {
        println!("seed {seed}: {violation}\n  replay it with: cargo run -p convoke-sim -- --seed {seed}");
    }
    if !total.failures.is_empty() {
        println!("{} seeds failed", total.failures.len());
    }
    !total.failures.is_empty()
}

#[derive(Default)]
struct Batch {
    seeds: u64,
    virtual_ms: u64,
    coverage: Coverage,
    failures: Vec<(u64, Violation)>,
}

fn run_some(next: &AtomicU64, end: u64, all: bool) -> Batch {
    let mut batch = Batch::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return batch;
        }
        let report = match std::panic::catch_unwind(|| run(seed, false)) {
            Ok(report) => report,
            Err(_) => {
                let why = "(0) it panicked; the message is above".to_owned();
                batch.failures.push((seed, Violation { at: 0, why }));
                batch.seeds += 1;
                if !all {
                    next.store(end, Ordering::Relaxed);
                }
                continue;
            }
        };
        batch.seeds += 1;
        batch.virtual_ms += report.took_ms;
        batch.coverage.add(&report.coverage);
        if let Err(violation) = report.outcome {
            batch.failures.push((seed, violation));
            if !all {
                next.store(end, Ordering::Relaxed);
            }
        }
    }
}
