//! Churn: workers are killed at random moments, one a round, and each is replaced at once.
//!
//! What a death costs is what its round took beyond an undisturbed one, less the killed attempt's own time, which is
//! lost whatever anybody does. It does not know how tasks are placed anew.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::binary::Running;
use crate::cluster::Cluster;
use crate::data;
use crate::figures::{Spread, Table, milliseconds, percentile};
use crate::rounds::{Rounds, Step};

/// Rounds that are not counted.
const WARM_UP: u32 = 3;
/// A round may be over before the moment that was drawn for it; then the next one has its turn.
const ATTEMPTS_PER_KILL: u32 = 3;

/// How to measure it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many workers are killed
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// How many rounds go undisturbed before
    #[arg(long, default_value_t = 10)]
    undisturbed: u32,
    /// How many one-slot workers there are
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Rows of each of the eleven shards
    #[arg(long, default_value_t = 1_500)]
    rows: usize,
    /// Training epochs a round: enough for a round of a second or so
    #[arg(long, default_value_t = 400)]
    epochs: u32,
    /// Where the moments and the victims come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder for the state [default: this program's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    undisturbed: Spread,
    kills: Vec<Kill>,
    /// What the rounds took beyond the undisturbed median.
    longer: Spread,
    /// The same, less the lost work.
    beyond_lost_work: Spread,
}

/// A killed worker and its round.
#[derive(Debug, Serialize)]
struct Kill {
    round: u32,
    /// When it was killed, from the round's opening.
    at_ms: f64,
    /// For how long the attempt had computed that ended with it.
    lost_ms: f64,
    round_ms: f64,
    beyond_lost_work_ms: f64,
}

/// The workers, each under a name of its own.
#[derive(Default)]
struct Fleet {
    workers: Vec<Running>,
    started: usize,
}

/// Runs the job, and kills.
pub async fn measure(arguments: &Arguments) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(arguments.dir.as_deref())?;
    data::write(&cluster.data(), arguments.rows, false)?;
    let rounds = WARM_UP + arguments.undisturbed + arguments.kills * ATTEMPTS_PER_KILL;
    let options = [format!("--rounds={rounds}"), format!("--epochs={}", arguments.epochs)];
    let job = cluster.submit(&[&["--preset=reference".to_owned()], &options[..]].concat())?;
    let mut rounds = Rounds::follow(&mut cluster.client().await?, job).await?;
    let mut fleet = Fleet::default();
    for _ in 0..arguments.workers {
        let worker = fleet.start(&cluster)?;
        fleet.workers.push(worker);
    }
    let undisturbed = watch(&mut rounds, WARM_UP + arguments.undisturbed).await?;
    let undisturbed = &undisturbed[WARM_UP as usize..];
    let usual_ms = percentile(undisturbed.to_vec(), 0.5);
    let mut rng = Pcg64Mcg::new(u128::from(arguments.seed) << 1 | 1);
    let mut kills = Vec::new();
    while kills.len() < arguments.kills as usize {
        kills.extend(disturb(&mut rounds, &mut fleet, &cluster, &mut rng, usual_ms).await?);
    }
    let longer = Spread::of_ms(kills.iter().map(|kill| kill.round_ms - usual_ms).collect());
    let beyond_lost_work = Spread::of_ms(kills.iter().map(|kill| kill.beyond_lost_work_ms).collect());
    Ok(Figures { undisturbed: Spread::of_ms(undisturbed.to_vec()), kills, longer, beyond_lost_work })
}

/// How long each of the next rounds takes, in milliseconds.
async fn watch(rounds: &mut Rounds, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..count {
        let opened = next_step(rounds).await?;
        let over = next_step(rounds).await?;
        ensure!(opened.opened && over.round == opened.round, "rounds {} and {} overlap", opened.round, over.round);
        took.push(milliseconds(over.at - opened.at));
    }
    Ok(took)
}

/// Kills a worker somewhere in the round that is open; none if that was over before.
async fn disturb(
    rounds: &mut Rounds,
    fleet: &mut Fleet,
    cluster: &Cluster,
    rng: &mut Pcg64Mcg,
    usual_ms: f64,
) -> anyhow::Result<Option<Kill>> {
    let opened = next_step(rounds).await?;
    ensure!(opened.opened, "round {} is over before it opened", opened.round);
    let share = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let victim = (rng.next_u64() % fleet.workers.len() as u64) as usize;
    let moment = opened.at + Duration::from_secs_f64(share * usual_ms / 1e3);
    tokio::select! {
        over = next_step(rounds) => return over.map(|_| None),
        () = tokio::time::sleep_until(moment.into()) => {}
    }
    let (killed_at, lost) = fleet.replace(victim, cluster)?;
    let over = next_step(rounds).await?;
    let (at_ms, lost_ms) = (milliseconds(killed_at - opened.at), milliseconds(lost));
    let round_ms = milliseconds(over.at - opened.at);
    let beyond_lost_work_ms = round_ms - usual_ms - lost_ms;
    Ok(Some(Kill { round: opened.round, at_ms, lost_ms, round_ms, beyond_lost_work_ms }))
}

async fn next_step(rounds: &mut Rounds) -> anyhow::Result<Step> {
    rounds.next().await?.context("the job has ended: it needs more rounds")
}

impl Fleet {
    fn start(&mut self, cluster: &Cluster) -> anyhow::Result<Running> {
        self.started += 1;
        cluster.worker(&format!("w{}", self.started), false)
    }

    /// Kills a worker and starts another. Says when that was, and for how long its attempt had run.
    fn replace(&mut self, place: usize, cluster: &Cluster) -> anyhow::Result<(Instant, Duration)> {
        self.workers[place].kill()?;
        let killed_at = Instant::now();
        let heir = self.start(cluster)?;
        let victim = std::mem::replace(&mut self.workers[place], heir);
        let began = victim.said().fold(None, |began, (at, line)| match line {
            line if line.contains("train begins") => Some(at),
            line if line.contains("train done") => None,
            _ => began,
        });
        Ok((killed_at, began.map_or(Duration::ZERO, |began| killed_at.saturating_duration_since(began))))
    }
}

impl Table for Figures {
    fn table(&self) -> String {
        let mut lines = vec!["round  killed at ms  lost ms  round ms  beyond lost work ms".to_owned()];
        lines.extend(self.kills.iter().map(|kill| {
            let Kill { round, at_ms, lost_ms, round_ms, beyond_lost_work_ms } = kill;
            format!("{round:>5}  {at_ms:>12.0}  {lost_ms:>7.0}  {round_ms:>8.0}  {beyond_lost_work_ms:>19.0}")
        }));
        lines.push(format!("undisturbed round       {}", self.undisturbed));
        lines.push(format!("longer with a death     {}", self.longer));
        lines.push(format!("beyond the lost work    {}", self.beyond_lost_work));
        lines.join("\n")
    }
}
