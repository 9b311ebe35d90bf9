//! What distributed training must equal, and what training promises to whoever runs it.
//! It does not know the kernels, only the public interface.

use std::cell::Cell;

use convoke_ml::{
    ComputeError, Contribution, Counts, Dataset, FullBatch, MergeRule, Mlp, delta, evaluate, merge, predict, train,
};

const STEP: FullBatch = FullBatch { training_epochs: 1, eta: 0.01, early_stop: None };

/// `samples` samples of three features that fall into four classes by a rule that can be learned.
fn data(from: usize, samples: usize) -> Dataset {
    let feature = |i: usize| ((i * 29 + i / 3) % 17) as f32 / 8.0 - 1.0;
    let features: Vec<f32> = (from * 3..(from + samples) * 3).map(feature).collect();
    let class = |row: &[f32]| u32::from(row[0] > row[1]) + 2 * u32::from(row[2] > 0.0);
    let labels = features.chunks(3).map(class).collect();
    Dataset::new(features, labels, 3).unwrap()
}

fn model() -> Mlp {
    let mut model = Mlp::uniform_start(&[3, 9, 4], ["a", "b", "c", "d"].map(String::from).to_vec(), 5).unwrap();
    model.parameters_mut().iter_mut().for_each(|value| *value *= 40.0);
    model
}

fn round(base: &Mlp, shards: &[Dataset], settings: &FullBatch) -> Mlp {
    let deltas: Vec<_> = shards
        .iter()
        .map(|shard| {
            let mut trained = base.clone();
            train(&mut trained, shard, settings, &|| true).unwrap();
            (delta(&trained, base), shard.samples() as u64)
        })
        .collect();
    let contributions: Vec<_> =
        deltas.iter().map(|(delta, samples)| Contribution { delta, samples: *samples }).collect();
    let mut version = Vec::new();
    merge(MergeRule::Mean, &base.to_safetensors(), &contributions, &mut version).unwrap();
    Mlp::from_safetensors(&version).unwrap()
}

/// Each shard's step is eta times its summed gradient, and the merge weighs it by n_k / Σn. So
/// shards of equal size n with a step of eta equal one step of eta / N over the union.
#[test]
fn one_training_epoch_over_shards_is_one_over_the_union() {
    let shards: Vec<Dataset> = (0..5).map(|k| data(k * 70, 70)).collect();
    let merged = round(&model(), &shards, &STEP);
    let mut central = model();
    train(&mut central, &data(0, 350), &FullBatch { eta: STEP.eta / 5.0, ..STEP }, &|| true).unwrap();
    assert_ne!(central, model());
    for (merged, central) in merged.parameters().iter().zip(central.parameters()) {
        assert!((merged - central).abs() <= 1e-6, "{merged} and {central}");
    }
}

/// With shards of unequal size the same holds for the gradient of the mean: a step of eta / n_k
/// on each shard.
#[test]
fn unequal_shards_are_weighted_by_their_samples() {
    let sizes = [10, 70, 33, 5];
    let (base, mut start, mut deltas) = (model(), 0, Vec::new());
    for samples in sizes {
        let mut trained = base.clone();
        let settings = FullBatch { eta: 0.5 / samples as f32, ..STEP };
        train(&mut trained, &data(start, samples), &settings, &|| true).unwrap();
        deltas.push(delta(&trained, &base));
        start += samples;
    }
    let contributions: Vec<_> =
        deltas.iter().zip(sizes).map(|(delta, samples)| Contribution { delta, samples: samples as u64 }).collect();
    let mut version = Vec::new();
    merge(MergeRule::Mean, &base.to_safetensors(), &contributions, &mut version).unwrap();
    let merged = Mlp::from_safetensors(&version).unwrap();
    let mut central = base;
    train(&mut central, &data(0, start), &FullBatch { eta: 0.5 / start as f32, ..STEP }, &|| true).unwrap();
    for (merged, central) in merged.parameters().iter().zip(central.parameters()) {
        assert!((merged - central).abs() <= 1e-6, "{merged} and {central}");
    }
}

#[test]
fn training_learns_and_reports_its_last_pass() {
    let data = data(0, 200);
    let mut trained = model();
    let before = evaluate(&trained, &data).unwrap();
    let settings = FullBatch { training_epochs: 300, ..STEP };
    let report = train(&mut trained, &data, &settings, &|| true).unwrap();
    let after = evaluate(&trained, &data).unwrap();
    assert!(after.error() < 0.1 && after.error() < before.error(), "{after:?}");
    assert_eq!((report.training_epochs, report.samples), (300, 200));
    assert!(report.loss >= after.loss && report.loss < before.loss);
    let first = train(&mut model(), &data, &STEP, &|| true).unwrap();
    assert_eq!(first.counts(), before);
}

#[test]
fn a_task_stops_when_asked() {
    let asked = Cell::new(0);
    let keep_going = || {
        asked.set(asked.get() + 1);
        asked.get() <= 7
    };
    let settings = FullBatch { training_epochs: 100, ..STEP };
    let stopped = train(&mut model(), &data(0, 20), &settings, &keep_going);
    assert_eq!(stopped, Err(ComputeError::Stopped { training_epochs: 7 }));
}

#[test]
fn a_settled_loss_stops_early() {
    let settings = FullBatch { training_epochs: 100, early_stop: Some(f64::INFINITY), ..STEP };
    assert_eq!(train(&mut model(), &data(0, 20), &settings, &|| true).unwrap().training_epochs, 2);
    let settings = FullBatch { early_stop: Some(0.0), ..settings };
    assert_eq!(train(&mut model(), &data(0, 20), &settings, &|| true).unwrap().training_epochs, 100);
}

#[test]
fn divergence_ends_in_a_delta_that_merging_refuses() {
    let base = model();
    let mut trained = base.clone();
    let settings = FullBatch { training_epochs: 100, eta: 1e30, early_stop: None };
    let report = train(&mut trained, &data(0, 50), &settings, &|| true).unwrap();
    assert!(report.training_epochs < 100 && !report.loss.is_finite(), "{report:?}");
    let delta = delta(&trained, &base);
    let contributions = [Contribution { delta: &delta, samples: 50 }];
    let refused = merge(MergeRule::Mean, &base.to_safetensors(), &contributions, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().starts_with("all 1 deltas were refused, number 0 because: tensor `"), "{refused}");
}

#[test]
fn parts_add_up_to_the_whole() {
    let model = model();
    let whole = evaluate(&model, &data(0, 200)).unwrap();
    let parts: Counts = (0..4).map(|k| evaluate(&model, &data(k * 50, 50)).unwrap()).sum();
    assert_eq!((parts.samples, parts.wrong), (whole.samples, whole.wrong));
    assert!((parts.loss - whole.loss).abs() <= 1e-9 * whole.loss);
    let classes = predict(&model, data(0, 200).features()).unwrap();
    let wrong = classes.iter().zip(data(0, 200).labels()).filter(|(class, label)| class != label).count();
    assert_eq!(wrong as u64, whole.wrong);
}

#[test]
fn data_that_does_not_fit_is_an_error() {
    let two_wide = Dataset::new(vec![0.0; 4], vec![0; 2], 2).unwrap();
    let error = evaluate(&model(), &two_wide).unwrap_err();
    assert_eq!(error.to_string(), "samples of 2 features for a model of 3 inputs");
    let fifth_class = Dataset::new(vec![0.0; 6], vec![3, 4], 3).unwrap();
    let error = train(&mut model(), &fifth_class, &STEP, &|| true).unwrap_err();
    assert_eq!(error.to_string(), "sample 1 has label 4, expected less than 4");
    let error = predict(&model(), &[0.0; 4]).unwrap_err();
    assert_eq!(error.to_string(), "4 values are not a whole number of samples with 3 features");
    assert!(predict(&model(), &[]).unwrap().is_empty());
}
