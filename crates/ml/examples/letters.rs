//! The reference job without any distribution: `letters ROUNDS EPOCHS HIDDEN SEED [DIRECTORY]`
//! prints seconds and errors.
//! It trains every shard one after the other and merges their deltas, as a round does.
//! It does not know about workers.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use convoke_ml::rows::{self, Layout};
use convoke_ml::{
    Contribution, Dataset, FullBatch, LabelSet, MergeRule, Mlp, Place, Training, delta, evaluate, merge, train,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize, default: u64| arguments.get(position).map_or(Ok(default), |text| text.parse());
    let (rounds, epochs, hidden, seed) = (number(0, 3)?, number(1, 75)?, number(2, 24)?, number(3, 1)?);
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/letters");
    let directory = arguments.get(4).map_or(built_in, String::as_str);

    let read = |name: String| -> Result<rows::Rows, Box<dyn Error>> {
        Ok(rows::read(&name, BufReader::new(File::open(format!("{directory}/{name}"))?), &Layout::default())?)
    };
    let shards: Vec<_> = (1..=11).map(|k| read(format!("train_letters{k}.txt"))).collect::<Result<_, _>>()?;
    let labels = LabelSet::union(&shards);
    let validation = read("validate_letters.txt".into())?.encode(&labels)?;
    let shards: Vec<Dataset> = shards.into_iter().map(|rows| rows.encode(&labels)).collect::<Result<_, _>>()?;

    let sizes = [validation.width(), hidden as usize, labels.names().len()];
    let mut model = Mlp::uniform_start(&sizes, labels.names().to_vec(), seed)?;
    let settings = Training::FullBatch(FullBatch { training_epochs: epochs as u32, eta: 1e-4, early_stop: None });
    let start = Instant::now();
    for _ in 0..rounds {
        let mut deltas = Vec::new();
        for shard in &shards {
            let mut trained = model.clone();
            train(&mut trained, shard, &settings, Place::default(), &|| true)?;
            deltas.push((delta(&trained, &model), shard.samples() as u64));
        }
        let contributions: Vec<_> =
            deltas.iter().map(|(delta, samples)| Contribution { delta, samples: *samples }).collect();
        let mut version = Vec::new();
        merge(MergeRule::Mean, &model.to_safetensors(), &contributions, &mut version)?;
        model = Mlp::from_safetensors(&version)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let error = evaluate(&model, &validation)?.error();
    println!("{rounds} x {epochs}, hidden {hidden}, seed {seed}: {seconds:.3} s, validation error {error:.4}");
    Ok(())
}
