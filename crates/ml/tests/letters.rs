//! The reference job on the UCI letters: eleven shards, three rounds of 75 training epochs, 24
//! hidden units.
//! What comes out is known from the reference system's arithmetic in double precision
//! (ALGORITHMS.md).
//! It does not know about workers; a round is a loop.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use convoke_ml::rows::{self, Layout};
use convoke_ml::{
    Contribution, Dataset, FullBatch, LabelSet, MergeRule, Mlp, Place, Training, delta, evaluate, merge, train,
};

#[test]
fn the_reference_job_reaches_its_validation_error() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/letters");
    if !directory.is_dir() {
        println!("skipped: no letters in {}", directory.display());
        return;
    }
    let read = |name: &str| {
        rows::read(name, BufReader::new(File::open(directory.join(name)).unwrap()), &Layout::default()).unwrap()
    };
    let shards: Vec<_> = (1..=11).map(|k| read(&format!("train_letters{k}.txt"))).collect();
    let labels = LabelSet::union(&shards);
    assert_eq!(labels.names().len(), 26);
    let validation = read("validate_letters.txt").encode(&labels).unwrap();
    let shards: Vec<Dataset> = shards.into_iter().map(|rows| rows.encode(&labels).unwrap()).collect();

    let mut model = Mlp::uniform_start(&[16, 24, 26], labels.names().to_vec(), 1).unwrap();
    let settings = Training::FullBatch(FullBatch { training_epochs: 75, eta: 1e-4, early_stop: None });
    for _ in 0..3 {
        let deltas: Vec<_> = shards
            .iter()
            .map(|shard| {
                let mut trained = model.clone();
                train(&mut trained, shard, &settings, Place::default(), &|| true).unwrap();
                delta(&trained, &model)
            })
            .collect();
        let contributions: Vec<_> = deltas.iter().map(|delta| Contribution { delta, samples: 1500 }).collect();
        let mut version = Vec::new();
        merge(MergeRule::Mean, &model.to_safetensors(), &contributions, &mut version).unwrap();
        model = Mlp::from_safetensors(&version).unwrap();
    }
    let error = evaluate(&model, &validation).unwrap().error();
    assert!((0.35..0.45).contains(&error), "validation error {error}");
}
