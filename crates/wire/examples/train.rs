//! Trains a small network on a cluster, each round on four shards, and writes it to `quadrants.safetensors`.
//!
//! Start `convoke coordinator` and `convoke worker`, then:
//!
//!     cargo run -p convoke-wire --example train

mod cluster;

use std::error::Error;

use convoke_ml::{Dataset, Mlp};
use convoke_wire::core::event::Outcome;
use convoke_wire::core::{Attempts, JobSpec, Plan, Rounds};
use convoke_wire::job::{self, EVALUATE, Program, TRAIN};
use convoke_wire::program::{self, Count, FullBatch, Train};

const MODEL: &str = "quadrants.safetensors";
const MODEL_BYTES_MAX: u64 = 1 << 30;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut client = cluster::connect().await?;
    let shards = (1..=4).map(|shard| points(200, shard)).collect::<Result<Vec<_>, _>>()?;
    let shards = client.store_shards(shards.iter().map(|shard| (shard.to_safetensors().into(), 200))).await?;
    let validation = client.store_shards([(points(400, 5)?.to_safetensors().into(), 400)]).await?;
    let labels = ["same signs", "different signs"].map(str::to_owned).to_vec();
    let base = Mlp::uniform_start(&[2, 12, 2], labels, 1)?;
    let base = client.blobs().put(base.to_safetensors().into(), true).await?;

    let full_batch = FullBatch { training_epochs: 100, eta: 0.005, early_stop: None };
    let train = Train { kind: Some(program::v1::train::Kind::FullBatch(full_batch)) };
    let plan = Rounds {
        rounds: 10,
        base: convoke_wire::core::Payload::blob(base),
        prepare: None,
        train: job::work(Program::new(TRAIN, program::inline(&train)), shards, &job::merge()),
        evaluate: Some(job::work(
            Program::new(EVALUATE, program::inline(&Count::default())),
            validation,
            &job::count(),
        )),
    };
    // Training changes nothing elsewhere: it may be tried again, and twice at a time.
    let spec = JobSpec { attempts: Attempts::default(), ..job::spec("quadrants", Plan::Rounds(plan)) };
    let id = cluster::new_job()?;
    client.submit(id, &spec, "an example").await?;

    let history = client.wait(id).await?;
    for row in &history.rounds {
        println!("round {}: error {:.3}", row.round, row.validation_error.unwrap_or(f64::NAN));
    }
    match (history.outcome, history.versions.last_key_value()) {
        (Some(Outcome::Succeeded), Some((_, version))) => {
            std::fs::write(MODEL, client.bytes_of(version, MODEL_BYTES_MAX).await?)?;
            println!("{MODEL}");
            Ok(())
        }
        (outcome, _) => Err(format!("job {id} ended without a model: {outcome:?}").into()),
    }
}

/// Points of the square around the origin, and whether their coordinates have different signs.
fn points(count: u32, seed: u32) -> Result<Dataset, convoke_ml::DatasetError> {
    // Steps by irrational numbers fall evenly.
    let at = |index: u32, step: f64| ((f64::from(index) + f64::from(seed) * 0.37) * step).fract() as f32 * 2.0 - 1.0;
    let points: Vec<[f32; 2]> = (0..count).map(|index| [at(index, 0.754_877_7), at(index, 0.569_840_3)]).collect();
    let labels = points.iter().map(|[x, y]| u32::from(x * y < 0.0)).collect();
    Dataset::new(points.into_flattened(), labels, 2)
}
