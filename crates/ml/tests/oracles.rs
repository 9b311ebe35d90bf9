//! What distributed training must equal, and what training promises to whoever runs it.
//! It does not know the kernels, only the public interface.

use std::cell::Cell;

use convoke_ml::{
    Activation, Architecture, ComputeError, Contribution, Counts, Dataset, Descent, FullBatch, Head, MergeRule, Mlp,
    Moments, Optimizer, Place, Schedule, Start, Trained, Training, delta, evaluate, merge, predict, predict_values,
    prediction_lines, probabilities,
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

fn train(
    model: &mut Mlp,
    data: &Dataset,
    settings: &FullBatch,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ComputeError> {
    convoke_ml::train(model, data, &Training::FullBatch(*settings), Place::default(), keep_going)
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
    assert_eq!((first.error(), first.wrong, first.samples), (before.error(), before.wrong, before.samples));
    assert!((first.log_loss() - before.log_loss()).abs() <= 1e-6 * before.log_loss());
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
    assert_eq!(parts.confusion, whole.confusion);
    assert!((parts.loss - whole.loss).abs() <= 1e-9 * whole.loss);
    let classes = predict(&model, data(0, 200).features()).unwrap();
    let wrong = classes.iter().zip(data(0, 200).labels()).filter(|(class, label)| class != label).count();
    assert_eq!(wrong as u64, whole.wrong);
    let mut confusion = vec![0; 16];
    for (class, label) in classes.iter().zip(data(0, 200).labels()) {
        confusion[(4 * label + class) as usize] += 1;
    }
    assert_eq!(whole.confusion, Some(confusion));
    let shares = probabilities(&model, data(0, 200).features()).unwrap();
    let likelihood = |(row, label): (&[f32], &u32)| f64::from(row[*label as usize]);
    let loss = -shares.chunks(4).zip(data(0, 200).labels()).map(likelihood).map(f64::ln).sum::<f64>();
    assert!((loss - whole.loss).abs() <= 1e-5 * loss, "{loss} and {}", whole.loss);
}

fn head_of_a_value() -> Head {
    Head::Value("height".into())
}

/// The same samples with a value that depends on the features, far from zero.
fn values(from: usize, samples: usize) -> Dataset {
    let data = data(from, samples);
    let value = |row: &[f32]| 500.0 + 40.0 * row[0] - 25.0 * row[1] * row[2];
    Dataset::of_values(data.features().to_vec(), data.features().chunks(3).map(value).collect(), 3).unwrap()
}

#[test]
fn values_are_predicted_and_measured_in_their_own_units() {
    let architecture = Architecture { sizes: vec![3, 12, 1], activation: Activation::Tanh, head: head_of_a_value() };
    let mut model = Mlp::start(&architecture, Start::Xavier, 3).unwrap();
    let (train, test) = (values(0, 300), values(300, 100));
    model.standardize(&Moments::of(&train)).unwrap();
    let before = evaluate(&model, &test).unwrap();
    let settings = Training::Descent(adam(100));
    let trained = convoke_ml::train(&mut model, &train, &settings, Place { round: 1, seed: 4 }, &|| true).unwrap();
    let after = evaluate(&model, &test).unwrap();
    assert!(after.r2().unwrap() > 0.99 && after.error() < 0.1 * before.error(), "{before:?}, {after:?}");
    assert!((trained.error() - evaluate(&model, &train).unwrap().error()).abs() < 1.0, "{trained:?}");

    let predicted = predict_values(&model, test.features()).unwrap();
    let targets: Vec<f32> =
        test.features().chunks(3).map(|row| 500.0 + 40.0 * row[0] - 25.0 * row[1] * row[2]).collect();
    let squares = predicted.iter().zip(&targets).map(|(found, value)| f64::from(found - value).powi(2));
    let rmse = (squares.sum::<f64>() / 100.0).sqrt();
    assert!((rmse - after.rmse().unwrap()).abs() <= 1e-4 * rmse, "{rmse} and {after:?}");
    let lines = prediction_lines(&model, test.features(), false).unwrap();
    assert_eq!(lines.lines().map(|line| line.parse::<f32>().unwrap()).collect::<Vec<_>>(), predicted);

    let parts: Counts =
        [(300, 10), (310, 1), (311, 89)].map(|(k, n)| evaluate(&model, &values(k, n)).unwrap()).into_iter().sum();
    let [parts, whole] = [parts, after]
        .map(|counts| counts.residuals.map(|r| (r.squared_error, r.target_mean, r.target_squares)).unwrap());
    for (part, whole) in [(parts.0, whole.0), (parts.1, whole.1), (parts.2, whole.2)] {
        assert!((part - whole).abs() <= 1e-12 * whole, "{part} and {whole}");
    }
}

fn adam(training_epochs: u32) -> Descent {
    Descent {
        training_epochs,
        batch: 20,
        learning_rate: 0.01,
        optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: false },
        weight_decay: 0.0,
        clip_norm: None,
        schedule: Schedule::Cosine,
        rounds: 1,
    }
}

/// Features of other units and offsets end in the same model once they are standardised.
#[test]
fn standardised_training_does_not_depend_on_units() {
    let plain = data(0, 200);
    let scaled = |(i, x): (usize, &f32)| match i % 3 {
        0 => x * 1024.0,
        1 => x / 4096.0,
        _ => x + 4096.0,
    };
    let features = plain.features().iter().enumerate().map(scaled).collect();
    let scaled = Dataset::new(features, plain.labels().to_vec(), 3).unwrap();
    let error = |data: &Dataset| {
        let mut model = model();
        model.standardize(&Moments::of(data)).unwrap();
        convoke_ml::train(&mut model, data, &Training::Descent(adam(80)), Place { round: 1, seed: 4 }, &|| true)
            .unwrap();
        evaluate(&model, data).unwrap()
    };
    let (plain, scaled) = (error(&plain), error(&scaled));
    assert!(plain.error() < 0.05, "{plain:?}");
    assert!((plain.error() - scaled.error()).abs() <= 0.01, "{plain:?}, {scaled:?}");
    assert!((plain.loss - scaled.loss).abs() <= 0.02 * plain.loss, "{plain:?}, {scaled:?}");
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
    let architecture = Architecture { sizes: vec![3, 1], activation: Activation::Relu, head: head_of_a_value() };
    let of_a_value = Mlp::zeros(architecture).unwrap();
    let error = evaluate(&of_a_value, &data(0, 2)).unwrap_err();
    assert_eq!(error.to_string(), "the data set holds labels, and the model predicts a value");
    let error = evaluate(&model(), &values(0, 2)).unwrap_err();
    assert_eq!(error.to_string(), "the data set holds values to predict, and the model predicts classes");
    let error = prediction_lines(&of_a_value, &[], true).unwrap_err();
    assert_eq!(error.to_string(), "the model predicts a value, not classes");
    assert_eq!(predict_values(&model(), &[]), Err(ComputeError::PredictsClasses));
}
