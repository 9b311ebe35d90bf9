//! Works of learning, as a cluster would do them: shards, rounds, the real merge rule; but in one process.
//!
//! Each is done on any number of threads, which take the shards of a round as workers take tasks. How long that takes it
//! does not know.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use convoke_ml::{
    Activation, Architecture, Contribution, Dataset, Descent, FullBatch, Head, MergeRule, Mlp, Optimizer, Place,
    Schedule, Start, Training, delta, letters, merge, train,
};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// The reference job's letters.
pub const LETTERS: &str = "letters 16-24-26, full batch";
/// A small model on batches.
pub const SMALL: &str = "64-64-10, batch 64";
/// A model of handwritten digits' size.
pub const DIGITS: &str = "784-256-10, batch 128";

/// Something to learn.
pub struct Work {
    pub name: &'static str,
    architecture: Architecture,
    /// Of all shards together.
    rows: usize,
    /// In a round, of one thread's shard; or in all rounds, where threads divide the rows.
    training: Training,
    /// Shards and rounds, where it is a job of its own. Else each thread has its part of the rows, and parameters are
    /// averaged after each training epoch.
    job: Option<(usize, u32)>,
}

/// A work with its data, for some threads.
pub struct Prepared {
    shards: Vec<Dataset>,
    base: Mlp,
    rounds: u32,
    training: Training,
    threads: usize,
}

/// All works.
pub fn all() -> Vec<Work> {
    let sgd = |batch, training_epochs| descent(batch, training_epochs, Optimizer::Sgd { momentum: 0.0 });
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: false };
    let full_batch = Training::FullBatch(FullBatch { training_epochs: 75, eta: 1e-4, early_stop: None });
    let parts = |name, architecture, rows, training| Work { name, architecture, rows, training, job: None };
    let tanh = Architecture { activation: Activation::Tanh, ..classifier(&[64, 64, 10]) };
    let value =
        Architecture { sizes: vec![64, 64, 1], activation: Activation::Relu, head: Head::Value("y".to_owned()) };
    let letters = Work {
        job: Some((letters::SHARDS, 3)),
        ..parts(LETTERS, classifier(&[16, 24, 26]), letters::SHARDS * letters::SHARD_ROWS, full_batch)
    };
    vec![
        letters,
        parts(SMALL, classifier(&[64, 64, 10]), 1_500, sgd(64, 20)),
        parts(DIGITS, classifier(&[784, 256, 10]), 60_000, sgd(128, 1)),
        parts("32-32-10, batch 32", classifier(&[32, 32, 10]), 10_000, sgd(32, 5)),
        parts("64-64-10 with tanh, batch 64", tanh, 10_000, sgd(64, 3)),
        parts("64-64-10 by Adam, batch 64", classifier(&[64, 64, 10]), 10_000, descent(64, 3, adam)),
        parts("64-64-1 of a value, batch 64", value, 10_000, sgd(64, 3)),
    ]
}

fn classifier(sizes: &[usize]) -> Architecture {
    let classes = sizes.last().copied().unwrap_or_default();
    Architecture::classifier(sizes, (0..classes).map(|label| label.to_string()).collect())
}

fn descent(batch: u32, training_epochs: u32, optimizer: Optimizer) -> Training {
    Training::Descent(Descent {
        training_epochs,
        batch,
        learning_rate: 0.01,
        optimizer,
        weight_decay: 0.0,
        clip_norm: None,
        schedule: Schedule::Constant,
        rounds: 1,
    })
}

impl Work {
    /// Operations of all training: six for each weight and row, as is usual. Of the first layer only four are needed,
    /// since nobody asks for the gradient of the features.
    pub fn operations(&self) -> f64 {
        self.operations_a_row(6, 6)
    }

    /// Operations that are needed.
    pub fn operations_needed(&self) -> f64 {
        self.operations_a_row(4, 6)
    }

    fn operations_a_row(&self, of_first: usize, of_others: usize) -> f64 {
        let weights = self.architecture.sizes.windows(2).map(|pair| pair[0] * pair[1]).enumerate();
        let a_row: usize = weights.map(|(l, weights)| weights * if l == 0 { of_first } else { of_others }).sum();
        let rounds = self.job.map_or(1, |(_, rounds)| rounds);
        a_row as f64 * self.rows as f64 * f64::from(rounds) * f64::from(self.training_epochs())
    }

    fn training_epochs(&self) -> u32 {
        match self.training {
            Training::FullBatch(full_batch) => full_batch.training_epochs,
            Training::Descent(descent) => descent.training_epochs,
        }
    }

    /// Makes the data.
    pub fn prepare(&self, threads: usize) -> anyhow::Result<Prepared> {
        let (shards, rounds, training) = match (self.job, self.training) {
            (Some((shards, rounds)), training) => (shards, rounds, training),
            (None, Training::Descent(descent)) if threads > 1 => {
                let rounds = descent.training_epochs;
                (threads, rounds, Training::Descent(Descent { training_epochs: 1, rounds, ..descent }))
            }
            (None, training) => (1, 1, training),
        };
        let start = if self.name == LETTERS { Start::Uniform } else { Start::He };
        let base = Mlp::start(&self.architecture, start, 1)?;
        let shards = if self.name == LETTERS { letters_shards()? } else { self.random_shards(shards)? };
        Ok(Prepared { shards, base, rounds, training, threads })
    }

    fn random_shards(&self, count: usize) -> anyhow::Result<Vec<Dataset>> {
        let mut rng = Pcg64Mcg::new(0x5eed);
        let (width, rows) = (self.architecture.sizes[0], self.rows / count);
        (0..count).map(|_| random(&mut rng, rows, width, &self.architecture.head)).collect()
    }
}

/// Rows of nothing in particular: features with mean zero and variance one, and what is drawn as well for the head.
pub fn random(rng: &mut Pcg64Mcg, rows: usize, width: usize, head: &Head) -> anyhow::Result<Dataset> {
    // Uniform in ±√3.
    let mut number = || ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * 3.0_f32.sqrt();
    let features = (0..rows * width).map(|_| number()).collect();
    match head {
        Head::Value(_) => Ok(Dataset::of_values(features, (0..rows).map(|_| number()).collect(), width)?),
        Head::Classes(classes) => {
            let labels = (0..rows).map(|_| rng.next_u32() % classes.len() as u32).collect();
            Ok(Dataset::new(features, labels, width)?)
        }
    }
}

fn letters_shards() -> anyhow::Result<Vec<Dataset>> {
    let shard = |part: &letters::Part| {
        let features = part.rows.iter().flat_map(|row| row.features.map(f32::from)).collect();
        let labels = part.rows.iter().map(|row| u32::from(row.label)).collect();
        Ok(Dataset::new(features, labels, letters::FEATURES)?)
    };
    letters::generate(0).shards.iter().map(shard).collect()
}

impl Prepared {
    /// Does it all, and returns the learned model. The same work gives the same one each time.
    pub fn run(&self) -> anyhow::Result<Mlp> {
        let mut base = self.base.clone();
        for round in 1..=self.rounds {
            base = self.round(base, round)?;
        }
        ensure!(
            base.parameters().iter().all(|value| value.is_finite()),
            "training ended in numbers that are not finite"
        );
        Ok(base)
    }

    fn round(&self, base: Mlp, round: u32) -> anyhow::Result<Mlp> {
        let next = AtomicUsize::new(0);
        let trained: Vec<_> = self.shards.iter().map(|_| Mutex::new(None)).collect();
        let work = || -> anyhow::Result<()> {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(shard) = self.shards.get(place) else { return Ok(()) };
                let mut model = base.clone();
                let of_shard = Place { round, seed: place as u64 };
                train(&mut model, shard, &self.training, of_shard, &|| true)?;
                let set = trained[place].lock().map(|mut trained| *trained = Some(model));
                ensure!(set.is_ok(), "a thread panicked");
            }
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            work()?;
            others.into_iter().try_for_each(|other| other.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })?;
        let trained = trained.into_iter().map(|model| model.into_inner().ok().flatten().context("a shard is missing"));
        let mut trained = trained.collect::<anyhow::Result<Vec<Mlp>>>()?;
        // One part alone is no round.
        if self.shards.len() == 1 { trained.pop().context("no shard") } else { self.merge(&base, &trained) }
    }

    /// What a coordinator makes of what workers send.
    fn merge(&self, base: &Mlp, trained: &[Mlp]) -> anyhow::Result<Mlp> {
        let deltas: Vec<_> = trained.iter().map(|trained| delta(trained, base)).collect();
        let of_shards = deltas.iter().zip(&self.shards);
        let contributions: Vec<_> =
            of_shards.map(|(delta, shard)| Contribution { delta, samples: shard.samples() as u64 }).collect();
        let mut version = Vec::new();
        let merged = merge(MergeRule::Mean, &base.to_safetensors(), &contributions, &mut version)?;
        ensure!(merged.refused.is_empty(), "a delta was refused: {:?}", merged.refused);
        Ok(Mlp::from_safetensors(&version)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_no_part_in_what_a_job_learns() {
        let training = descent(0, 1, Optimizer::Sgd { momentum: 0.0 });
        let architecture = classifier(&[5, 4, 3]);
        let job = Work { name: "", architecture: architecture.clone(), rows: 60, training, job: Some((3, 2)) };
        let run = |threads| job.prepare(threads).unwrap().run().unwrap();
        assert_eq!(run(1).parameters(), run(2).parameters());
        // Whole shards of one size and full batches: the parts' mean is the whole.
        let parts = Work { name: "", architecture, rows: 60, training, job: None };
        let run = |threads| parts.prepare(threads).unwrap().run().unwrap();
        assert_eq!(run(1).sizes(), run(2).sizes());
        assert_eq!((job.operations(), job.operations_needed()), (2.0 * 60.0 * 6.0 * 32.0, 2.0 * 60.0 * 152.0));
    }

    #[test]
    fn works_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = all().iter().map(|work| work.name).collect();
        assert_eq!(names.len(), all().len());
        assert!([LETTERS, SMALL, DIGITS].iter().all(|name| names.contains(name)));
    }
}
