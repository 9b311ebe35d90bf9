//! What learning alone costs: works of learning in this process, on one thread and on two, beside what the processor can do.
//!
//! There is no network and no disk in it; what a round costs beyond is for the other measurements.

use std::time::Instant;

use anyhow::ensure;
use convoke_ml::{instructions, multiply_and_add};
use serde::Serialize;

use crate::figures::{Span, Table};
use crate::works::{self, Work};

/// How many threads there may be.
const THREADS: [usize; 2] = [1, 2];
/// How often the peak is measured: the best counts.
const PEAK_TIMES: u32 = 7;
/// How long a measurement of the peak takes at least.
const PEAK_SECONDS: f64 = 0.02;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How often each work is done, after once to warm up
    #[arg(long, default_value_t = 5)]
    times: u32,
    /// Only works in whose names this is
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    instructions: &'static str,
    /// 10^9 operations a second at most, on one thread and on two.
    peak_gflops: [f64; THREADS.len()],
    works: Vec<Measured>,
}

/// A work on some threads.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    work: &'static str,
    threads: usize,
    seconds: Span,
    /// By the median, counted as six operations for each weight and row.
    gflops: f64,
    /// Of the operations that are needed: the gradient of the features is not.
    share_of_peak_percent: f64,
}

/// Does each work on one thread and on two, by turns.
pub fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let works: Vec<_> = works::all().into_iter().filter(|work| work.name.contains(&arguments.only)).collect();
    ensure!(!works.is_empty() && arguments.times > 0, "nothing is to be measured");
    let peak_gflops = THREADS.map(peak);
    let measured = works.iter().map(|work| measure_one(work, arguments.times, &peak_gflops));
    let works = measured.collect::<anyhow::Result<Vec<_>>>()?.concat();
    Ok(Figures { instructions: instructions(), peak_gflops, works })
}

fn measure_one(work: &Work, times: u32, peaks: &[f64]) -> anyhow::Result<Vec<Measured>> {
    let prepared = THREADS.map(|threads| work.prepare(threads));
    let prepared = prepared.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut seconds = [const { Vec::new() }; THREADS.len()];
    for time in 0..=times {
        for (prepared, seconds) in prepared.iter().zip(&mut seconds) {
            let began = Instant::now();
            prepared.run()?;
            if time > 0 {
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
    }
    let measured = seconds.into_iter().zip(THREADS).zip(peaks).map(|((seconds, threads), peak)| {
        let seconds = Span::of(seconds);
        let [gflops, needed] = [work.operations(), work.operations_needed()].map(|count| count / seconds.median / 1e9);
        Measured { work: work.name, threads, seconds, gflops, share_of_peak_percent: needed / peak * 100.0 }
    });
    Ok(measured.collect())
}

/// The most operations a second of so many threads at once, in 10^9.
fn peak(threads: usize) -> f64 {
    let run = |rounds| {
        let began = Instant::now();
        let operations: u64 = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(move || multiply_and_add(rounds))).collect();
            let own = multiply_and_add(rounds);
            own + others.into_iter().filter_map(|other| other.join().ok()).sum::<u64>()
        });
        (began.elapsed().as_secs_f64(), operations as f64)
    };
    let mut rounds = 1_000;
    while run(rounds).0 < PEAK_SECONDS {
        rounds *= 2;
    }
    let rates = (0..PEAK_TIMES).map(|_| run(rounds)).map(|(seconds, operations)| operations / seconds / 1e9);
    rates.fold(0.0, f64::max)
}

impl Table for Figures {
    fn table(&self) -> String {
        let Self { instructions, peak_gflops: [one, two], works } = self;
        let mut lines = vec![
            format!("{instructions}; at most {one:.0} GFLOP/s on one thread, {two:.0} on two"),
            "work                          threads  median ms     least      most  GFLOP/s  of the peak".to_owned(),
        ];
        lines.extend(works.iter().map(|measured| {
            let Measured { work, threads, seconds, gflops, share_of_peak_percent } = measured;
            let [median, least, most] = [seconds.median, seconds.least, seconds.most].map(|seconds| seconds * 1e3);
            format!(
                "{work:<28}  {threads:>7}  {median:>9.2}  {least:>8.2}  {most:>8.2}  {gflops:>7.1}  \
                 {share_of_peak_percent:>9.0} %"
            )
        }));
        lines.push("GFLOP/s count six operations for each weight and row; the share, those that are needed".to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_is_measured_on_one_thread_and_on_two() {
        let figures = measure(&Arguments { times: 1, only: "32-32-10".to_owned() }).unwrap();
        assert!(figures.peak_gflops.iter().all(|gflops| *gflops > 0.0), "{figures:?}");
        let threads: Vec<_> = figures.works.iter().map(|measured| measured.threads).collect();
        assert_eq!(threads, THREADS);
        assert!(figures.works.iter().all(|measured| measured.gflops.is_finite()), "{figures:?}");
        assert!(measure(&Arguments { times: 1, only: "no such work".to_owned() }).is_err());
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let seconds = Span { median: 0.0123, least: 0.012, most: 0.02 };
        let measured = |threads| Measured { work: "w", threads, seconds, gflops: 12.34, share_of_peak_percent: 56.7 };
        let works = vec![measured(1), measured(2)];
        let table = Figures { instructions: "AVX2", peak_gflops: [100.0, 200.0], works }.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], "AVX2; at most 100 GFLOP/s on one thread, 200 on two");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>().join(" "), "w 1 12.30 12.00 20.00 12.3 57 %");
        assert_eq!(lines[2].len(), lines[1].len());
    }
}
