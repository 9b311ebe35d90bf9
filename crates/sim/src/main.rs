//! `convoke-sim`: runs seeds, and says which one breaks what.
//!
//! It knows nothing of clusters: a seed goes in, a report comes out.

use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use convoke_sim::{Coverage, Violation, run};

/// Runs simulated clusters, each from a seed, and checks what has to hold.
#[derive(Parser)]
struct Arguments {
    /// Replays one seed and prints what happens.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs these seeds, such as 0..1000.
    #[arg(long, default_value = "0..1000")]
    seeds: Seeds,
    /// How many threads; all processors where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on after a seed that fails, and says how many there were.
    #[arg(long)]
    all: bool,
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
        Some(seed) => replay(seed),
        None => run_all(&arguments),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
