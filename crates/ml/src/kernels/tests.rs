//! The kernels against a slow, obvious model in f64, the f64 model against finite differences,
//! and the bits against a pin.

use super::*;
use crate::architecture::{Architecture, Head};
use crate::moments::Moments;
use crate::start::Start;

/// Both activations, with both heads.
const KINDS: [(Activation, bool); 4] =
    [(Activation::Relu, false), (Activation::Relu, true), (Activation::Tanh, false), (Activation::Tanh, true)];

/// Samples and a model with round, lively numbers in it, different for each shape. One that predicts a value has a single
/// output, whatever the last size is.
fn example((activation, is_value): (Activation, bool), sizes: &[usize], samples: usize) -> (Mlp, Dataset) {
    let mut sizes = sizes.to_vec();
    let last = sizes.len() - 1;
    let seed = sizes.iter().sum::<usize>() as u64;
    let head = match is_value {
        true => Head::Value(String::new()),
        false => Head::Classes((0..sizes[last]).map(|label| label.to_string()).collect()),
    };
    sizes[last] = if is_value { 1 } else { sizes[last] };
    let features = (0..samples * sizes[0]).map(|i| ((i * 37 + 11) % 23) as f32 / 8.0 - 1.25).collect();
    let targets = (0..samples).map(|i| i * 7 + 3);
    let data = match is_value {
        true => Dataset::of_values(features, targets.map(|i| (i % 31) as f32 / 16.0 - 1.0).collect(), sizes[0]),
        false => Dataset::new(features, targets.map(|i| (i % sizes[last]) as u32).collect(), sizes[0]),
    };
    let mut model = Mlp::start(&Architecture { sizes, activation, head }, Start::Uniform, seed).unwrap();
    model.parameters_mut().iter_mut().for_each(|value| *value *= 60.0);
    (model, data.unwrap())
}

/// The summed loss, the number of wrong predictions and the gradient, in f64 and the most
/// literal way.
fn reference(model: &Mlp, parameters: &[f64], data: &Dataset) -> (f64, u64, Vec<f64>) {
    let sizes = model.sizes();
    let (mut loss, mut wrong, mut gradient) = (0.0, 0, vec![0.0; parameters.len()]);
    let starts: Vec<usize> = sizes
        .windows(2)
        .scan(0, |start, pair| {
            let this = *start;
            *start += pair[0] * pair[1] + pair[1];
            Some(this)
        })
        .collect();
    for (s, sample) in data.features().chunks(sizes[0]).enumerate() {
        let mut activations: Vec<Vec<f64>> = vec![sample.iter().map(|value| f64::from(*value)).collect()];
        for (l, start) in starts.iter().enumerate() {
            let (inputs, outputs) = (sizes[l], sizes[l + 1]);
            let before = &activations[l];
            let unit = |o: usize| {
                let weighted = (0..inputs).map(|i| before[i] * parameters[start + i * outputs + o]);
                let sum = weighted.sum::<f64>() + parameters[start + inputs * outputs + o];
                match model.activation() {
                    _ if l + 1 == starts.len() => sum,
                    Activation::Relu => sum.max(0.0),
                    Activation::Tanh => sum.tanh(),
                }
            };
            activations.push((0..outputs).map(unit).collect());
        }
        let outputs = &activations[starts.len()];
        let mut signal: Vec<f64> = match data.targets() {
            Targets::Classes(classes) => {
                let label = classes[s] as usize;
                let sum: f64 = outputs.iter().map(|value| value.exp()).sum();
                loss += sum.ln() - outputs[label];
                let largest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                wrong += u64::from(outputs.iter().position(|value| *value == largest) != Some(label));
                let onehot = |o| if o == label { 1.0 } else { 0.0 };
                outputs.iter().enumerate().map(|(o, value)| value.exp() / sum - onehot(o)).collect()
            }
            Targets::Values(values) => {
                let error = outputs[0] - f64::from(values[s]);
                loss += error * error;
                vec![2.0 * error]
            }
        };
        for (l, start) in starts.iter().enumerate().rev() {
            let (inputs, outputs) = (sizes[l], sizes[l + 1]);
            let mut before = vec![0.0; inputs];
            for o in 0..outputs {
                gradient[start + inputs * outputs + o] += signal[o];
                for i in 0..inputs {
                    gradient[start + i * outputs + o] += activations[l][i] * signal[o];
                    before[i] += parameters[start + i * outputs + o] * signal[o];
                }
            }
            for (before, activation) in before.iter_mut().zip(&activations[l]) {
                *before *= match model.activation() {
                    Activation::Relu => f64::from(u8::from(*activation > 0.0)),
                    Activation::Tanh => 1.0 - activation * activation,
                };
            }
            signal = before;
        }
    }
    (loss, wrong, gradient)
}

fn in_f64(model: &Mlp) -> Vec<f64> {
    model.parameters().iter().map(|value| f64::from(*value)).collect()
}

/// A kernel with all of the data in it.
fn loaded(model: &Mlp, data: &Dataset) -> Kernel {
    let mut kernel = Kernel::new(model);
    kernel.load(model, data, None);
    kernel
}

/// Shapes that leave tiles part empty in every way: [layer sizes], samples.
const SHAPES: [(&[usize], usize); 10] = [
    (&[16, 24, 26], 150),
    (&[1, 1, 2], 1),
    (&[1, 1], 3),
    (&[3, 2], 5),
    (&[8, 8], 64),
    (&[9, 17, 5], 65),
    (&[7, 1, 3], 4),
    (&[5, 6, 7, 8, 9], 67),
    (&[33, 12, 3, 12, 10], 130),
    (&[2, 40, 1], 66),
];

/// Every kind with every shape.
fn examples() -> impl Iterator<Item = (Mlp, Dataset)> {
    KINDS.into_iter().flat_map(|kind| SHAPES.map(|(sizes, samples)| example(kind, sizes, samples)))
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    for (model, data) in examples() {
        let mut parameters = in_f64(&model);
        let (_, _, gradient) = reference(&model, &parameters, &data);
        for p in 0..parameters.len() {
            let step = 1e-6;
            let middle = parameters[p];
            let mut loss_at = |value| {
                parameters[p] = value;
                reference(&model, &parameters, &data).0
            };
            let slope = (loss_at(middle + step) - loss_at(middle - step)) / (2.0 * step);
            parameters[p] = middle;
            let allowed = 1e-5 * data.samples() as f64 + 1e-5 * slope.abs();
            let shape = (model.activation(), model.sizes());
            assert!((slope - gradient[p]).abs() <= allowed, "{shape:?}, parameter {p}: {slope} and {}", gradient[p]);
        }
    }
}

#[test]
fn the_kernel_agrees_with_the_reference() {
    for (model, data) in examples() {
        let mut gradient = vec![f32::NAN; model.parameters().len()];
        let pass = loaded(&model, &data).loss_and_gradient(&model, &mut gradient);
        let (loss, wrong, expected) = reference(&model, &in_f64(&model), &data);
        let shape = (model.activation(), model.sizes());
        assert!(
            (pass.loss - loss).abs() <= 1e-6 * loss.abs() + 1e-6 * data.samples() as f64,
            "{shape:?}: {} and {loss}",
            pass.loss
        );
        assert_eq!(pass.wrong, wrong, "{shape:?}");
        let scale = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        for (p, (found, expected)) in gradient.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= 2e-6 * scale + 1e-6, "{shape:?}, parameter {p}: {found} and {expected}");
        }
    }
}

#[test]
fn all_passes_agree_and_a_kernel_can_be_used_again() {
    for (model, data) in examples() {
        let mut kernel = loaded(&model, &data);
        let mut gradient = vec![0.0; model.parameters().len()];
        let first = kernel.loss_and_gradient(&model, &mut gradient);
        let loss = kernel.loss(&model);
        let mut outputs = vec![7.0];
        kernel.outputs(&model, data.features(), &mut outputs);
        let mut again = vec![1.0; gradient.len()];
        assert_eq!(kernel.loss_and_gradient(&model, &mut again), first);
        assert_eq!(again, gradient);
        assert_eq!(loss, first);
        assert_eq!((outputs.len() - 1, outputs[0]), (data.samples() * model.outputs(), 7.0));
        if let Targets::Values(values) = data.targets() {
            let errors = outputs[1..].iter().zip(values).map(|(output, value)| f64::from(output - value));
            assert_eq!(errors.map(|error| error * error).sum::<f64>(), first.loss);
        }
    }
}

#[test]
fn rows_are_loaded_in_their_order() {
    for kind in KINDS {
        let (model, data) = example(kind, &[5, 4, 3], 70);
        let rows: Vec<u32> = (0..67).map(|i| (i * 29 + 3) % 70).collect();
        let choose = |row: &u32| data.features()[*row as usize * 5..][..5].to_vec();
        let features = rows.iter().flat_map(choose).collect();
        let chosen = match data.targets() {
            Targets::Classes(all) => Dataset::new(features, rows.iter().map(|row| all[*row as usize]).collect(), 5),
            Targets::Values(all) => {
                Dataset::of_values(features, rows.iter().map(|row| all[*row as usize]).collect(), 5)
            }
        };
        let [mut found, mut expected] = [(); 2].map(|()| vec![0.0; model.parameters().len()]);
        let mut kernel = loaded(&model, &data);
        kernel.load(&model, &data, Some(&rows));
        let pass = kernel.loss_and_gradient(&model, &mut found);
        assert_eq!(pass, loaded(&model, &chosen.unwrap()).loss_and_gradient(&model, &mut expected));
        assert_eq!(found, expected);
    }
}

/// A model that standardises computes what one that does not makes of standardised data, bit by bit.
#[test]
fn samples_are_standardised_by_the_model() {
    for kind in KINDS {
        let (plain, data) = example(kind, &[5, 4, 3], 70);
        let mut model = plain.clone();
        model.standardize(&Moments::of(&data)).unwrap();
        let Standardization { mean, scale } = model.features().unwrap();
        let standardized = |(i, x): (usize, &f32)| (x - mean[i % 5]) / scale[i % 5];
        let features: Vec<f32> = data.features().iter().enumerate().map(standardized).collect();
        let (target_mean, target_scale) = model.target().unwrap_or_default();
        let by_hand = match data.targets() {
            Targets::Classes(classes) => Dataset::new(features.clone(), classes.clone(), 5),
            Targets::Values(values) => {
                let values = values.iter().map(|value| (value - target_mean) / target_scale).collect();
                Dataset::of_values(features.clone(), values, 5)
            }
        };
        let [mut found, mut expected] = [(); 2].map(|()| vec![0.0; model.parameters().len()]);
        let pass = loaded(&model, &data).loss_and_gradient(&model, &mut found);
        assert_eq!(pass, loaded(&plain, &by_hand.unwrap()).loss_and_gradient(&plain, &mut expected));
        assert_eq!(found, expected);
        let [mut found, mut expected] = [(); 2].map(|()| Vec::new());
        Kernel::new(&model).outputs(&model, data.features(), &mut found);
        Kernel::new(&plain).outputs(&plain, &features, &mut expected);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_model_that_diverged_shows_it() {
    for kind in KINDS {
        let (mut model, data) = example(kind, &[4, 6, 3], 20);
        model.parameters_mut()[0] = f32::NAN;
        let mut gradient = vec![0.0; model.parameters().len()];
        let pass = loaded(&model, &data).loss_and_gradient(&model, &mut gradient);
        assert!(pass.loss.is_nan());
        assert_eq!(pass.wrong, if model.classes().is_some() { 20 } else { 0 });
        assert!(gradient.iter().any(|value| value.is_nan()));
    }
}

#[test]
fn large_outputs_do_not_overflow() {
    for kind in KINDS {
        let (mut model, data) = example(kind, &[4, 3], 20);
        model.parameters_mut().iter_mut().for_each(|value| *value *= 1e4);
        let pass = loaded(&model, &data).loss(&model);
        assert!(pass.loss.is_finite() && pass.loss > 1000.0, "{}", pass.loss);
    }
}

/// A hash of the bits (FNV-1a), for pins.
fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The numeric profile's promise. If this fails, the arithmetic has changed: rename
/// [`NUMERIC_PROFILE`], then change the pin.
#[test]
fn the_bits_of_this_profile_are_pinned() {
    let (model, data) = example(KINDS[0], &[16, 24, 26], 150);
    let mut gradient = vec![0.0; model.parameters().len()];
    let pass = loaded(&model, &data).loss_and_gradient(&model, &mut gradient);
    assert_eq!(
        (NUMERIC_PROFILE, pass.loss.to_bits(), hash(&gradient)),
        ("portable-1", 4_648_539_085_093_747_561, 1_626_980_667_295_521_121)
    );
}
