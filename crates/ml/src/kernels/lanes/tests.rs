//! Every operation of every way that this processor has, against the portable one, bit for bit; and how exact the functions
//! made of them are.

use super::super::functions::{exp, ln, tanh};
use super::*;

/// All operations on three vectors, one after the other.
struct Operations<'a>(&'a [Block; 3]);

impl Work for Operations<'_> {
    type Output = Vec<(&'static str, Vec<f32>)>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let [a, b, c] = [lanes.load(&self.0[0]), lanes.load(&self.0[1]), lanes.load(&self.0[2])];
        let size = lanes.fma(a, a, lanes.splat(1.0));
        let (exponent, fraction) = lanes.split(size);
        let vectors = [
            ("splat", lanes.splat(self.0[0][3])),
            ("add", lanes.add(a, b)),
            ("sub", lanes.sub(a, b)),
            ("mul", lanes.mul(a, b)),
            ("div", lanes.div(a, b)),
            ("fma", lanes.fma(a, b, c)),
            ("if_greater", lanes.if_greater(a, b, c, a)),
            ("if_equal", lanes.if_equal(a, b, c, a)),
            ("power_of_two", lanes.power_of_two(lanes.splat(12_582_912.0 + 7.0))),
            ("exponent", exponent),
            ("fraction", fraction),
            ("exp", exp(lanes, lanes.sub(lanes.splat(0.0), size))),
            ("ln", ln(lanes, size)),
            ("tanh", tanh(lanes, a)),
        ];
        let mut results: Vec<_> = Vec::new();
        for (name, vector) in vectors {
            let mut block = [0.0; LANES];
            lanes.store(vector, &mut block);
            results.push((name, block.to_vec()));
        }
        let mut parts = [[lanes.zero(); SUMS]; 2];
        for (part, sums) in parts.iter_mut().enumerate().take(L::REGISTERS) {
            for (s, sum) in sums.iter_mut().enumerate() {
                let [a, b] = [&self.0[s % 3], &self.0[(s + 1) % 3]].map(|block| lanes.register(block, part));
                *sum = lanes.fma_register(a, b, *sum);
            }
        }
        results.push(("sums", lanes.sums(&parts).to_vec()));
        results
    }
}

/// Numbers of many sizes, and some that are special.
fn numbers(seed: u64) -> Block {
    const SPECIAL: [f32; 8] = [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e38];
    let mut state = seed;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = state >> 33;
        match bits % 31 {
            special @ 0..8 => SPECIAL[special as usize],
            _ => (bits as f32 / (1_u64 << 30) as f32 - 1.0) * [1e-3, 1.0, 30.0][bits as usize % 3],
        }
    })
}

/// NaN is NaN, whatever its bits.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { f32::NAN } else { *value }.to_bits()).collect()
}

#[test]
fn all_ways_have_the_same_bits() {
    for seed in 0..2_000 {
        let given = [numbers(seed), numbers(seed + 10_000), numbers(seed + 20_000)];
        let expected = Way::Portable(Portable).run(Operations(&given));
        for way in Way::all() {
            for ((name, found), (_, expected)) in way.run(Operations(&given)).iter().zip(&expected) {
                assert_eq!(bits(found), bits(expected), "{name} by {way:?} of {given:?}");
            }
        }
    }
}

/// A function of sixteen numbers.
struct Function(&'static str, Block);

impl Work for Function {
    type Output = Block;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Block {
        let x = lanes.load(&self.1);
        let value = match self.0 {
            "exp" => exp(lanes, x),
            "ln" => ln(lanes, x),
            _ => tanh(lanes, x),
        };
        let mut block = [0.0; LANES];
        lanes.store(value, &mut block);
        block
    }
}

/// The largest error of a function over a range, as a share of the larger of its value and `scale`.
fn error(name: &'static str, exact: fn(f64) -> f64, from: f32, to: f32, scale: f64) -> f64 {
    const POINTS: u32 = 400_000;
    let point = |n: u32| from + (to - from) * (n as f32 / POINTS as f32);
    let blocks = (0..=POINTS).step_by(LANES).map(|n| std::array::from_fn(|l| point((n + l as u32).min(POINTS))));
    let errors = blocks.flat_map(|points: Block| {
        let values = Way::fastest().run(Function(name, points));
        std::array::from_fn::<_, LANES, _>(|l| {
            let expected = exact(f64::from(points[l]));
            (f64::from(values[l]) - expected).abs() / expected.abs().max(scale)
        })
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn functions_are_exact_where_they_are_used() {
    assert!(error("exp", f64::exp, -87.0, 0.3, 0.0) <= 2e-7);
    assert!(error("ln", f64::ln, 1.0, 4.0, 0.5) <= 1.2e-7);
    assert!(error("ln", f64::ln, 4.0, 70_000.0, 0.0) <= 1.2e-7);
    assert!(error("tanh", f64::tanh, -1.0, 1.0, 1e-9) <= 2e-7);
    assert!(error("tanh", f64::tanh, -100.0, 100.0, 0.0) <= 2e-7);
}

#[test]
fn functions_of_the_extremes() {
    let at = |name, x| Way::fastest().run(Function(name, [x; LANES]))[0];
    assert_eq!(at("exp", 0.0), 1.0);
    assert_eq!(at("exp", f32::NEG_INFINITY), at("exp", -87.0));
    assert!(at("exp", -87.0) > 0.0 && at("exp", -87.0) < 2e-38);
    assert!(at("exp", f32::NAN).is_nan() && at("ln", f32::NAN).is_nan() && at("tanh", f32::NAN).is_nan());
    assert_eq!((at("ln", 1.0), at("tanh", 0.0)), (0.0, 0.0));
    assert_eq!((at("tanh", f32::INFINITY), at("tanh", f32::NEG_INFINITY)), (1.0, -1.0));
}
