//! Descent against full batches, against numbers computed by hand, and against its own promises.

use std::cell::Cell;

use super::*;
use crate::architecture::{Activation, Architecture, Head};
use crate::evaluation::evaluate;
use crate::start::Start;
use crate::training::{FullBatch, Training, train};

const PLAIN: Optimizer = Optimizer::Sgd { momentum: 0.0 };
const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: false };
const FIRST: Place = Place { round: 1, seed: 9 };

fn descent(batch: u32, learning_rate: f32, optimizer: Optimizer) -> Descent {
    Descent {
        training_epochs: 1,
        batch,
        learning_rate,
        optimizer,
        weight_decay: 0.0,
        clip_norm: None,
        schedule: Schedule::Constant,
        rounds: 1,
    }
}

/// `samples` samples of three features, and a class or a value that can be learned of them.
fn data(is_value: bool, samples: usize) -> Dataset {
    let features: Vec<f32> = (0..samples * 3).map(|i| ((i * 29 + i / 3) % 17) as f32 / 8.0 - 1.0).collect();
    if is_value {
        let values = features.chunks(3).map(|row| 2.0 * row[0] - row[1] * row[2]).collect();
        return Dataset::of_values(features, values, 3).unwrap();
    }
    let labels = features.chunks(3).map(|row| u32::from(row[0] > row[1]) + 2 * u32::from(row[2] > 0.0)).collect();
    Dataset::new(features, labels, 3).unwrap()
}

fn model(activation: Activation, is_value: bool) -> Mlp {
    let (sizes, head) = match is_value {
        true => (vec![3, 9, 1], Head::Value("y".into())),
        false => (vec![3, 9, 4], Head::Classes(["a", "b", "c", "d"].map(String::from).to_vec())),
    };
    let start = if activation == Activation::Relu { Start::He } else { Start::Xavier };
    Mlp::start(&Architecture { sizes, activation, head }, start, 5).unwrap()
}

fn trained(model: &Mlp, data: &Dataset, settings: Descent, place: Place) -> (Mlp, Trained) {
    let mut model = model.clone();
    let trained = train(&mut model, data, &Training::Descent(settings), place, &|| true).unwrap();
    (model, trained)
}

#[test]
fn plain_descent_on_the_whole_shard_is_full_batch() {
    for is_value in [false, true] {
        let (data, start) = (data(is_value, 70), model(Activation::Tanh, is_value));
        for batch in [0, 70, 1_000] {
            let settings = Descent { training_epochs: 5, ..descent(batch, 0.1, PLAIN) };
            let (descended, report) = trained(&start, &data, settings, FIRST);
            let mut expected = start.clone();
            let full_batch = FullBatch { training_epochs: 5, eta: 0.1 / 70.0, early_stop: None };
            let full = train(&mut expected, &data, &Training::FullBatch(full_batch), FIRST, &|| true).unwrap();
            assert!((report.loss - full.loss).abs() <= 1e-5 * full.loss, "{report:?} and {full:?}");
            assert_eq!((report.wrong, report.training_epochs), (full.wrong, 5));
            for (found, expected) in descended.parameters().iter().zip(expected.parameters()) {
                assert!((found - expected).abs() <= 1e-6, "{found} and {expected}");
            }
        }
    }
}

/// Linear regression on three points, three steps of momentum 1/2 in the last of two rounds: the gradient is shortened to
/// 3/4 in the first two, weights decay by 1/2, and the learning rate falls along a cosine. A few lines of Python in double
/// precision gave the numbers.
#[test]
fn clipping_decay_momentum_and_cosine_work_together() {
    let architecture =
        Architecture { sizes: vec![1, 1], activation: Activation::Relu, head: Head::Value(String::new()) };
    let mut start = Mlp::zeros(architecture).unwrap();
    start.parameters_mut().copy_from_slice(&[0.5, -0.25]);
    let points = Dataset::of_values(vec![1.0, 2.0, 4.0], vec![1.0, 0.0, 3.0], 1).unwrap();
    let settings = Descent {
        training_epochs: 3,
        weight_decay: 0.5,
        clip_norm: Some(0.75),
        schedule: Schedule::Cosine,
        rounds: 2,
        ..descent(0, 0.5, Optimizer::Sgd { momentum: 0.5 })
    };
    let cases = [
        (2, [0.687_532_989_9, -0.171_183_681_8], 1.873_864_588),
        (1, [0.410_476_493_2, -0.211_097_301], 4.295_365_826_3),
    ];
    for (round, parameters, loss) in cases {
        let (model, report) = trained(&start, &points, settings, Place { round, seed: 1 });
        for (found, expected) in model.parameters().iter().zip(parameters) {
            assert!((f64::from(*found) - expected).abs() <= 1e-6, "{found} and {expected}");
        }
        assert!((report.loss - loss).abs() <= 1e-5, "{} and {loss}", report.loss);
        assert_eq!(report.error(), (report.loss / 3.0).sqrt());
    }
}

#[test]
fn every_optimizer_learns_every_kind() {
    let optimizers = [
        (PLAIN, 0.05),
        (Optimizer::Sgd { momentum: 0.9 }, 0.01),
        (ADAM, 0.01),
        (Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: true }, 0.01),
    ];
    for activation in [Activation::Relu, Activation::Tanh] {
        for is_value in [false, true] {
            let (data, start) = (data(is_value, 200), model(activation, is_value));
            let before = evaluate(&start, &data).unwrap();
            for (optimizer, learning_rate) in optimizers {
                let settings = Descent {
                    training_epochs: 60,
                    weight_decay: 1e-4,
                    schedule: Schedule::Cosine,
                    ..descent(32, learning_rate, optimizer)
                };
                let (model, report) = trained(&start, &data, settings, FIRST);
                let after = evaluate(&model, &data).unwrap();
                let what = (activation, is_value, optimizer);
                assert!(after.error() < 0.3 * before.error(), "{what:?}: {before:?}, {after:?}");
                assert!((report.loss - after.loss).abs() <= 0.2 * after.loss + 0.5, "{what:?}: {report:?}, {after:?}");
            }
        }
    }
}

#[test]
fn each_training_epoch_takes_every_row_once_in_an_order_of_its_own() {
    let order = |seed, epoch| {
        let mut order = vec![7; 3];
        draw_order(&mut order, 100, seed, epoch);
        order
    };
    let mut sorted = order(1, 0);
    assert_ne!(sorted, (0..100).collect::<Vec<_>>());
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert_eq!(order(1, 5), order(1, 5));
    assert_ne!(order(1, 5), order(1, 6));
    assert_ne!(order(1, 5), order(2, 5));
}

#[test]
fn the_place_alone_draws_the_batches() {
    let (data, start) = (data(false, 50), model(Activation::Relu, false));
    let settings = Descent { training_epochs: 2, ..descent(8, 0.1, ADAM) };
    let parameters = |place| trained(&start, &data, settings, place).0;
    assert_eq!(parameters(FIRST), parameters(FIRST));
    assert_ne!(parameters(FIRST), parameters(Place { seed: 10, ..FIRST }));
    assert_ne!(parameters(FIRST), parameters(Place { round: 2, ..FIRST }));
}

#[test]
fn a_long_training_epoch_can_be_stopped() {
    let asked = Cell::new(0);
    let keep_going = || {
        asked.set(asked.get() + 1);
        asked.get() <= 5
    };
    let mut model = model(Activation::Relu, false);
    let settings = Training::Descent(Descent { training_epochs: 9, ..descent(1, 0.01, PLAIN) });
    let stopped = train(&mut model, &data(false, 20_000), &settings, FIRST, &keep_going);
    assert_eq!(stopped, Err(ComputeError::Stopped { training_epochs: 1 }));
}

#[test]
fn what_diverges_holds_no_numbers() {
    for optimizer in [PLAIN, ADAM] {
        let (data, start) = (data(true, 50), model(Activation::Relu, true));
        let settings = Descent { training_epochs: 100, ..descent(10, 1e30, optimizer) };
        let (model, report) = trained(&start, &data, settings, FIRST);
        assert!(report.training_epochs < 100 && !report.loss.is_finite(), "{report:?}");
        assert!(model.parameters().iter().all(|value| value.is_nan()));
    }
}
