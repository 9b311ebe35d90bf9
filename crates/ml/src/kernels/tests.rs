//! The kernels against a slow, obvious model in f64, the f64 model against finite differences,
//! and the bits against a pin.

use super::*;

/// Samples and a model with round, lively numbers in it, different for each shape.
fn example(sizes: &[usize], samples: usize) -> (Mlp, Vec<f32>, Vec<u32>) {
    let labels = (0..sizes[sizes.len() - 1]).map(|label| label.to_string()).collect();
    let mut model = Mlp::uniform_start(sizes, labels, sizes.iter().sum::<usize>() as u64).unwrap();
    model.parameters_mut().iter_mut().for_each(|value| *value *= 60.0);
    let features = (0..samples * sizes[0]).map(|i| ((i * 37 + 11) % 23) as f32 / 8.0 - 1.25).collect();
    let labels = (0..samples).map(|i| ((i * 7 + 3) % model.outputs()) as u32).collect();
    (model, features, labels)
}

/// The summed loss, the number of wrong predictions and the gradient, in f64 and the most
/// literal way.
fn reference(sizes: &[usize], parameters: &[f64], features: &[f32], labels: &[u32]) -> (f64, u64, Vec<f64>) {
    let (mut loss, mut wrong, mut gradient) = (0.0, 0, vec![0.0; parameters.len()]);
    let starts: Vec<usize> = sizes
        .windows(2)
        .scan(0, |start, pair| {
            let this = *start;
            *start += pair[0] * pair[1] + pair[1];
            Some(this)
        })
        .collect();
    for (sample, label) in features.chunks(sizes[0]).zip(labels) {
        let mut activations: Vec<Vec<f64>> = vec![sample.iter().map(|value| f64::from(*value)).collect()];
        for (l, start) in starts.iter().enumerate() {
            let (inputs, outputs) = (sizes[l], sizes[l + 1]);
            let before = &activations[l];
            let unit = |o: usize| {
                let weighted = (0..inputs).map(|i| before[i] * parameters[start + i * outputs + o]);
                let sum = weighted.sum::<f64>() + parameters[start + inputs * outputs + o];
                if l + 1 < starts.len() { sum.max(0.0) } else { sum }
            };
            activations.push((0..outputs).map(unit).collect());
        }
        let outputs = &activations[starts.len()];
        let sum: f64 = outputs.iter().map(|value| value.exp()).sum();
        loss += sum.ln() - outputs[*label as usize];
        let largest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        wrong += u64::from(outputs.iter().position(|value| *value == largest) != Some(*label as usize));

        let mut signal: Vec<f64> = outputs.iter().map(|value| value.exp() / sum).collect();
        signal[*label as usize] -= 1.0;
        for (l, start) in starts.iter().enumerate().rev() {
            let (inputs, outputs) = (sizes[l], sizes[l + 1]);
            let mut before = vec![0.0; inputs];
            for o in 0..outputs {
                gradient[start + inputs * outputs + o] += signal[o];
                for i in 0..inputs {
                    gradient[start + i * outputs + o] += activations[l][i] * signal[o];
                    if l == 0 || activations[l][i] > 0.0 {
                        before[i] += parameters[start + i * outputs + o] * signal[o];
                    }
                }
            }
            signal = before;
        }
    }
    (loss, wrong, gradient)
}

fn in_f64(model: &Mlp) -> Vec<f64> {
    model.parameters().iter().map(|value| f64::from(*value)).collect()
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

#[test]
fn the_reference_agrees_with_finite_differences() {
    for (sizes, samples) in SHAPES {
        let (model, features, labels) = example(sizes, samples);
        let mut parameters = in_f64(&model);
        let (_, _, gradient) = reference(sizes, &parameters, &features, &labels);
        for p in 0..parameters.len() {
            let step = 1e-6;
            let middle = parameters[p];
            let mut loss_at = |value| {
                parameters[p] = value;
                reference(sizes, &parameters, &features, &labels).0
            };
            let slope = (loss_at(middle + step) - loss_at(middle - step)) / (2.0 * step);
            parameters[p] = middle;
            let allowed = 1e-5 * samples as f64 + 1e-5 * slope.abs();
            assert!((slope - gradient[p]).abs() <= allowed, "{sizes:?}, parameter {p}: {slope} and {}", gradient[p]);
        }
    }
}

#[test]
fn the_kernel_agrees_with_the_reference() {
    for (sizes, samples) in SHAPES {
        let (model, features, labels) = example(sizes, samples);
        let mut gradient = vec![f32::NAN; model.parameters().len()];
        let pass = Kernel::new(&model).loss_and_gradient(&model, &features, &labels, &mut gradient);
        let (loss, wrong, expected) = reference(sizes, &in_f64(&model), &features, &labels);
        assert!(
            (pass.loss - loss).abs() <= 1e-6 * loss.abs() + 1e-6 * samples as f64,
            "{sizes:?}: {} and {loss}",
            pass.loss
        );
        assert_eq!(pass.wrong, wrong, "{sizes:?}");
        let scale = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        for (p, (found, expected)) in gradient.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= 2e-6 * scale + 1e-6, "{sizes:?}, parameter {p}: {found} and {expected}");
        }
    }
}

#[test]
fn all_passes_agree_and_a_kernel_can_be_used_again() {
    for (sizes, samples) in SHAPES {
        let (model, features, labels) = example(sizes, samples);
        let mut kernel = Kernel::new(&model);
        let mut gradient = vec![0.0; model.parameters().len()];
        let first = kernel.loss_and_gradient(&model, &features, &labels, &mut gradient);
        let loss = kernel.loss(&model, &features, &labels);
        let mut classes = Vec::new();
        kernel.predict(&model, &features, &mut classes);
        let mut again = vec![1.0; gradient.len()];
        assert_eq!(kernel.loss_and_gradient(&model, &features, &labels, &mut again), first);
        assert_eq!(again, gradient);
        assert_eq!(loss, first);
        let wrong = classes.iter().zip(&labels).filter(|(class, label)| class != label).count();
        assert_eq!((classes.len(), wrong as u64), (samples, loss.wrong));
    }
}

#[test]
fn a_model_that_diverged_shows_it() {
    let (mut model, features, labels) = example(&[4, 6, 3], 20);
    model.parameters_mut()[0] = f32::NAN;
    let mut gradient = vec![0.0; model.parameters().len()];
    let pass = Kernel::new(&model).loss_and_gradient(&model, &features, &labels, &mut gradient);
    assert!(pass.loss.is_nan());
    assert_eq!(pass.wrong, 20);
    assert!(gradient.iter().any(|value| value.is_nan()));
}

#[test]
fn large_outputs_do_not_overflow() {
    let (mut model, features, labels) = example(&[4, 3], 20);
    model.parameters_mut().iter_mut().for_each(|value| *value *= 1e4);
    let pass = Kernel::new(&model).loss(&model, &features, &labels);
    assert!(pass.loss.is_finite() && pass.loss > 1000.0, "{}", pass.loss);
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
    let (model, features, labels) = example(&[16, 24, 26], 150);
    let mut gradient = vec![0.0; model.parameters().len()];
    let pass = Kernel::new(&model).loss_and_gradient(&model, &features, &labels, &mut gradient);
    assert_eq!(
        (NUMERIC_PROFILE, pass.loss.to_bits(), hash(&gradient)),
        ("portable-1", 4_648_539_085_093_747_561, 1_626_980_667_295_521_121)
    );
}
