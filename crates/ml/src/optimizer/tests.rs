//! The optimizers against numbers that a few lines of Python computed in double precision from the papers' formulas: four
//! parameters, of which the last two are biases, three gradients that are halved, and a weight decay of 1/4.

use super::*;
use crate::architecture::Architecture;

const GRADIENTS: [[f32; 4]; 3] = [[0.5, -1.0, 2.0, 0.0], [-0.25, 3.0, 0.125, 1.0], [1.0, 0.75, -0.5, -2.0]];

fn check(optimizer: Optimizer, learning_rate: f32, expected: [f64; 4]) {
    let mut model = Mlp::zeros(Architecture::classifier(&[1, 2], vec!["a".into(), "b".into()])).unwrap();
    model.parameters_mut().copy_from_slice(&[1.0, -2.0, 0.5, 0.25]);
    let mut stepper = Stepper::new(optimizer, &model);
    for gradient in GRADIENTS {
        stepper.step(model.parameters_mut(), &gradient, Step { learning_rate, factor: 0.5, weight_decay: 0.25 });
    }
    for (found, expected) in model.parameters().iter().zip(expected) {
        let found = f64::from(*found);
        assert!((found - expected).abs() <= 1e-6, "{optimizer:?}: {found} and {expected}");
    }
}

fn adam(decoupled: bool) -> Optimizer {
    Optimizer::Adam { beta1: 0.75, beta2: 0.875, epsilon: 1.0 / 1024.0, decoupled }
}

#[test]
fn sgd_steps_down_the_gradient() {
    check(Optimizer::Sgd { momentum: 0.0 }, 0.5, [0.378_906_25, -1.992_187_5, 0.093_75, 0.5]);
}

#[test]
fn momentum_keeps_what_came_before() {
    check(Optimizer::Sgd { momentum: 0.75 }, 0.5, [0.050_781_25, -1.804_687_5, -0.585_937_5, 0.312_5]);
}

#[test]
fn adam_scales_each_parameter() {
    check(adam(false), 0.125, [0.668_291_525_2, -1.902_395_406_6, 0.255_919_419_1, 0.202_110_285_2]);
}

#[test]
fn decoupled_decay_shrinks_weights_alone() {
    check(adam(true), 0.125, [0.684_254_512_2, -1.839_504_191_8, 0.255_919_419_1, 0.202_110_285_2]);
}

#[test]
fn what_is_remembered_does_not_end_among_subnormal_numbers() {
    let mut model = Mlp::zeros(Architecture::classifier(&[1, 1], vec!["only".into()])).unwrap();
    for optimizer in [adam(true), Optimizer::Sgd { momentum: 0.5 }] {
        let mut stepper = Stepper::new(optimizer, &model);
        for step in 0..2_000 {
            let gradient = [if step == 0 { 1.0 } else { 0.0 }; 2];
            let step = Step { learning_rate: 0.1, factor: 1.0, weight_decay: 0.0 };
            stepper.step(model.parameters_mut(), &gradient, step);
        }
        assert!(stepper.first.iter().chain(&stepper.second).all(|value| *value == 0.0));
    }
}
