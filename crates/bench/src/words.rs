//! Words: a word count over a large text by two one-slot workers, beside a counter that reads it once, by turns.
//!
//! The guests are the examples', built here; the text is generated, with few frequent words and many rare ones. Memory is
//! what is the process's own (anonymous), the most that was seen.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::figures::{Table, percentile};

/// How many words there are.
const WORDS: u64 = 100_000;
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How much text, in megabytes
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The folder that has the guests' sources
    #[arg(long, default_value = "examples/wasm")]
    examples: PathBuf,
    /// How `convoke map` cuts the text
    #[arg(long, default_value = "16MiB")]
    chunk_bytes: String,
    /// The folder whose disk is measured [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// `convoke map --wasm count.wasm --reduce sum.wasm`, upload included.
    convoke_seconds: Vec<f64>,
    convoke_median: f64,
    /// `mawk '{for(i=1;i<=NF;i++)c[$i]++} END{for(w in c)print w,c[w]}'`.
    mawk_seconds: Vec<f64>,
    mawk_median: f64,
    /// The most anonymous memory, in MiB.
    coordinator_mib: u64,
    client_mib: u64,
}

/// Measures on one cluster.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    let folder = cluster.folder();
    let [count, sum] = ["count", "sum"].map(|name| guest(&arguments.examples, name, folder));
    let (count, sum) = (count?, sum?);
    let text = folder.join("text");
    generate(&text, arguments.megabytes * 1_000_000)?;
    let workers = ["w1", "w2"].map(|name| cluster.worker(name, true));
    let _workers = workers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let coordinator = Watched::start(cluster.coordinator_id());
    let (mut convoke_seconds, mut mawk_seconds, mut client_mib) = (Vec::new(), Vec::new(), 0);
    let (counted, expected) = (folder.join("counted"), folder.join("expected"));
    for run in 0..arguments.runs {
        // Another text each time: what is stored already is not uploaded again.
        File::options().append(true).open(&text)?.write_all(format!("run{run}\n").as_bytes())?;
        let began = Instant::now();
        let mut client = cluster.client_command();
        client.arg("map").arg(&text).arg("--wasm").arg(&count).arg("--reduce").arg(&sum);
        client.args(["--chunk-bytes", &arguments.chunk_bytes, "-o"]).arg(&counted);
        let mut client = client.stderr(Stdio::inherit()).spawn().context("cannot run `convoke map`")?;
        let watched = Watched::start(client.id());
        ensure!(wait(&mut client)?, "`convoke map` failed");
        convoke_seconds.push(began.elapsed().as_secs_f64());
        client_mib = client_mib.max(watched.stop());
        let began = Instant::now();
        let program = "{for(i=1;i<=NF;i++)c[$i]++} END{for(w in c)print w,c[w]}";
        let mut mawk = Command::new("mawk");
        mawk.arg(program).arg(&text).stdout(File::create(&expected)?);
        ensure!(mawk.status().context("cannot run mawk")?.success(), "mawk failed");
        mawk_seconds.push(began.elapsed().as_secs_f64());
        ensure!(sorted(&counted)? == sorted(&expected)?, "both do not count alike");
    }
    let median = |seconds: &[f64]| percentile(seconds.to_vec(), 0.5);
    Ok(Figures {
        convoke_median: median(&convoke_seconds),
        mawk_median: median(&mawk_seconds),
        convoke_seconds,
        mawk_seconds,
        coordinator_mib: coordinator.stop(),
        client_mib,
    })
}

fn guest(examples: &Path, name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, guest) = (examples.join(name).with_extension("rs"), folder.join(name).with_extension("wasm"));
    let built = Command::new("rustc")
        .args(["--edition", "2024", "-O", "--target", "wasm32-wasip1"])
        .arg(&source)
        .arg("-o")
        .arg(&guest)
        .status();
    ensure!(built.context("cannot run rustc")?.success(), "cannot build {}", source.display());
    Ok(guest)
}

/// Lines of a dozen words; of two words, the one twice as far down the list is about half as frequent.
fn generate(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut text = BufWriter::new(File::create(path)?);
    let mut rng = Pcg64Mcg::new(1);
    let mut written = 0;
    while written < bytes {
        let line: Vec<String> = (0..12)
            .map(|_| {
                let share = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                let rank = ((WORDS as f64).powf(share) - 1.0) as u64;
                word(rank)
            })
            .collect();
        let line = line.join(" ") + "\n";
        text.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    Ok(text.into_inner()?.sync_all()?)
}

/// Syllables by a number's digits.
fn word(mut rank: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "to", "mi", "re", "su", "lon", "ver", "ti", "an", "do", "pe", "ra", "shi", "nu", "bel", "gor"];
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[(rank % 16) as usize]);
        rank /= 16;
        if rank == 0 {
            return word;
        }
    }
}

fn sorted(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines: Vec<String> = std::fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

fn wait(child: &mut Child) -> anyhow::Result<bool> {
    Ok(child.wait()?.success())
}

/// A process that is looked at for its anonymous memory.
struct Watched {
    most_kib: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Watched {
    fn start(process: u32) -> Self {
        let (most_kib, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let watched = Self { most_kib: most_kib.clone(), ended: ended.clone() };
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { return };
                let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
                most_kib.fetch_max(kib, Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        watched
    }

    fn stop(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.most_kib.load(Ordering::Relaxed) / 1024
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let each = |seconds: &[f64]| seconds.iter().map(|s| format!("{s:.2}")).collect::<Vec<_>>().join(", ");
        format!(
            "convoke      {:.2} s ({})\nmawk         {:.2} s ({})\ncoordinator  {} MiB at most\nclient       {} MiB at most",
            self.convoke_median,
            each(&self.convoke_seconds),
            self.mawk_median,
            each(&self.mawk_seconds),
            self.coordinator_mib,
            self.client_mib
        )
    }
}
