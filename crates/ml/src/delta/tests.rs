//! Deltas of any model: a delta merged alone gives back what was trained, and what does not fit is refused by its name.

use super::*;
use crate::merge::{Contribution, MergeRule, merge};
use crate::tensor_file::write;

type Tensor = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn file(tensors: &[Tensor]) -> Vec<u8> {
    with_metadata(&[("job", "seven")], tensors)
}

fn with_metadata(entries: &[(&str, &str)], tensors: &[Tensor]) -> Vec<u8> {
    let metadata = entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let tensors: Vec<_> =
        tensors.iter().cloned().map(|(name, d, shape, bytes)| (name.to_string(), d, shape, bytes)).collect();
    write(&metadata, &tensors)
}

/// A tensor of `values`, a list of numbers of one type.
macro_rules! tensor {
    ($name:literal, $dtype:ident, $values:expr) => {{
        let values = $values;
        ($name, Dtype::$dtype, vec![values.len()], values.into_iter().flat_map(|value| value.to_le_bytes()).collect())
    }};
}

/// One tensor of every type that means something to somebody; `step` moves those that can be trained.
fn any_model(step: i32) -> Vec<Tensor> {
    let half = |one: u16| [one + 5 * step as u16, one, 0];
    vec![
        tensor!("f64", F64, [1.0 + f64::from(step) / 3.0, -1e300]),
        tensor!("bf16", BF16, half(0x3f80)),
        tensor!("mask", BOOL, [1u8, 0, 1]),
        tensor!("f16", F16, half(0x3c00)),
        tensor!("i64", I64, [i64::MAX - 9 + i64::from(step), -3]),
        tensor!("u64", U64, [u64::MAX - 9 + step as u64]),
        tensor!("i16", I16, [-7 + step as i16]),
        tensor!("u32", U32, [7 + step as u32]),
        tensor!("f32", F32, [0.5 + step as f32, f32::NEG_INFINITY]),
        ("batches", Dtype::I64, vec![], i64::from(step).to_le_bytes().to_vec()),
        ("none", Dtype::F32, vec![0, 3], vec![]),
        tensor!("bytes", U8, [9u8, 8, 7]),
    ]
}

fn merged(base: &[u8], deltas: &[(&[u8], u64)]) -> Vec<u8> {
    let contributions: Vec<_> =
        deltas.iter().map(|(delta, samples)| Contribution { delta, samples: *samples }).collect();
    let mut version = Vec::new();
    let outcome = merge(MergeRule::Mean, &base, &contributions, &mut version).unwrap();
    assert_eq!(outcome.refused, []);
    version
}

#[test]
fn a_delta_of_any_model_merged_alone_is_what_was_trained() {
    let (base, mut trained) = (file(&any_model(0)), any_model(2));
    let expected = file(&trained);
    trained.reverse();
    let delta = delta_between(&base, &with_metadata(&[("format", "pt")], &trained)).unwrap();
    assert!(merged(&base, &[(&delta, 5)]) == expected, "the base's header and order, the trained values");
    let layout = TensorFile::from_bytes(&delta).unwrap();
    let types: Vec<_> = layout.in_file_order().into_iter().map(|(name, place)| (name, place.dtype)).collect();
    let (reals, integers) = (Dtype::F32, Dtype::I64);
    let rest = [("i64", integers), ("u64", integers), ("i16", integers), ("u32", integers)];
    let expected = [("f64", Dtype::F64), ("bf16", reals), ("f16", reals)].into_iter().chain(rest);
    assert_eq!(types, expected.chain([("f32", reals), ("batches", integers), ("none", reals)]).collect::<Vec<_>>());
}

#[test]
fn the_delta_of_two_models_is_the_delta_of_their_files() {
    let base = Mlp::uniform_start(&[70, 90, 2], vec!["no".into(), "yes".into()], 3).unwrap();
    let trained = Mlp::uniform_start(&[70, 90, 2], vec!["no".into(), "yes".into()], 4).unwrap();
    let files = delta_between(&base.to_safetensors(), &trained.to_safetensors()).unwrap();
    assert!(files == delta(&trained, &base));
}

#[test]
fn each_type_is_rounded_once_and_integers_to_the_nearest() {
    let base =
        file(&[tensor!("n", I64, [10i64, -10, 0, 5]), tensor!("h", F16, [0x3c00u16]), tensor!("u", U16, [3u16])]);
    let trained = |n: [i64; 4], h: u16, u: u16| {
        delta_between(&base, &file(&[tensor!("n", I64, n), tensor!("h", F16, [h]), tensor!("u", U16, [u])])).unwrap()
    };
    // Weights of a quarter and three quarters.
    let deltas = [trained([11, -12, 1, 5], 0x3c01, 9), trained([12, -10, 0, 6], 0x3c01, 9)];
    let version = merged(&base, &[(&deltas[0], 10), (&deltas[1], 30)]);
    // 10 + 1.75, -10 - 0.5 (away from zero), 0 + 0.25, 5 + 0.75
    let expected = [tensor!("n", I64, [12i64, -11, 0, 6]), tensor!("h", F16, [0x3c01u16]), tensor!("u", U16, [9u16])];
    assert!(version == file(&expected));
}

/// An honest delta leads to nothing that the type cannot hold; a made-up one must not make a job fail or wrap around.
#[test]
fn integers_end_where_their_type_ends() {
    let base = file(&[tensor!("i", I16, [0i16, 0]), tensor!("u", U64, [1u64, u64::MAX])]);
    let delta = file(&[tensor!("i", I64, [40_000, i64::MIN]), tensor!("u", I64, [-2, i64::MAX])]);
    let expected = file(&[tensor!("i", I16, [i16::MAX, i16::MIN]), tensor!("u", U64, [0, u64::MAX])]);
    assert!(merged(&base, &[(&delta, 1)]) == expected);
}

#[test]
fn a_sum_beyond_a_half_is_an_error() {
    let base = file(&[tensor!("h", F16, [0x7bffu16])]);
    let contributions = [Contribution { delta: &file(&[tensor!("h", F32, [16f32])]), samples: 1 }];
    let error = merge(MergeRule::Mean, &base, &contributions, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the merged version is not finite: tensor `h` holds inf at 0");
}

#[test]
fn deltas_of_other_types_are_refused() {
    let mask = || tensor!("mask", BOOL, [1u8, 0]);
    let base = file(&[tensor!("h", BF16, [0x3f80u16]), tensor!("n", U16, [3u16]), mask()]);
    let [h, n] = [tensor!("h", F32, [0.5f32]), tensor!("n", I64, [1i64])];
    let good = file(&[n.clone(), h.clone()]);
    let reason = |tensors: &[Tensor]| {
        let delta = file(tensors);
        let contributions = [Contribution { delta: &delta, samples: 1 }, Contribution { delta: &good, samples: 1 }];
        let merged = merge(MergeRule::Mean, &base, &contributions, &mut Vec::new()).unwrap();
        merged.refused[0].reason.to_string()
    };
    assert_eq!(reason(&[tensor!("h", BF16, [0u16]), n.clone()]), "tensor `h` holds BF16, expected F32");
    assert_eq!(reason(&[h.clone(), tensor!("n", U16, [1u16])]), "tensor `n` holds U16, expected I64");
    assert_eq!(reason(&[h, n, mask()]), "tensor `mask` is not expected");
}

#[test]
fn trained_parameters_that_do_not_fit_are_refused_by_name() {
    let w = |values: [f32; 2]| tensor!("w", F32, values);
    let n = |value: u64| tensor!("n", U64, [value]);
    let mask = |last: u8| tensor!("mask", BOOL, [1, 0, last]);
    let base = file(&[w([1.0, 2.0]), n(0), mask(1)]);
    let error = |trained: &[u8]| delta_between(&base, &trained).unwrap_err().to_string();
    let useless = |text: &str| format!("the trained parameters cannot be used: {text}");

    assert_eq!(error(&file(&[w([1.0, 2.0]), n(0)])), useless("tensor `mask` is missing"));
    let more = file(&[w([1.0, 2.0]), n(0), mask(1), tensor!("x", F32, [1f32])]);
    assert_eq!(error(&more), useless("tensor `x` is not expected"));
    let short = file(&[tensor!("w", F32, [1f32]), n(0), mask(1)]);
    assert_eq!(error(&short), useless("tensor `w` has shape [1], expected [2]"));
    let wide = file(&[tensor!("w", F64, [1f64, 2.0]), n(0), mask(1)]);
    assert_eq!(error(&wide), useless("tensor `w` holds F64, expected F32"));
    assert_eq!(error(&file(&[w([1.0, f32::NAN]), n(0), mask(1)])), useless("tensor `w` holds NaN at 1"));
    assert_eq!(error(&file(&[w([f32::NEG_INFINITY, 1.0]), n(0), mask(1)])), useless("tensor `w` holds -inf at 0"));
    let flipped = useless("tensor `mask` differs from the base at 2, and BOOL cannot be trained");
    assert_eq!(error(&file(&[w([1.0, 2.0]), n(0), mask(0)])), flipped);
    let far = useless("tensor `n` changed by 1.8446744073709552e19 at 0, too much for U64");
    assert_eq!(error(&file(&[w([1.0, 2.0]), n(u64::MAX), mask(1)])), far);
    let mut truncated = file(&[w([1.0, 2.0]), n(0), mask(1)]);
    let size = truncated.len();
    truncated.pop();
    assert_eq!(error(&truncated), useless(&format!("the tensors end at byte {size}, the file at {}", size - 1)));
    assert_eq!(error(b""), useless("0 bytes are too few for a safetensors file"));
}

#[test]
fn changes_that_no_delta_can_say_are_refused() {
    let floats = |values: [f32; 2]| file(&[tensor!("w", F32, values)]);
    let error = |base: &[u8], trained: &[u8]| delta_between(&base, &trained).unwrap_err().to_string();
    let far = error(&floats([0.0, f32::MAX]), &floats([1.0, f32::MIN]));
    let text = "tensor `w` changed by -6.805646932770577e38 at 1, too much for F32";
    assert_eq!(far, format!("the trained parameters cannot be used: {text}"));
    let nothing = error(&floats([f32::NAN, 0.0]), &floats([1.0, 1.0]));
    assert_eq!(nothing, "the base cannot be used: tensor `w` holds NaN at 0");
    let integer = |value: i64| file(&[tensor!("n", I64, [value])]);
    assert!(delta_between(&integer(0), &integer(-(1 << 53))).is_ok());
    assert!(delta_between(&integer(-1), &integer(1 << 53)).is_err());
}

/// Across blocks, and where an element that cannot be trained has many bytes.
#[test]
fn places_are_counted_in_elements() {
    let mut values = vec![0f32; BLOCK_COORDINATES + 3];
    let base = file(&[tensor!("w", F32, values.clone())]);
    values[BLOCK_COORDINATES + 1] = f32::INFINITY;
    let error = delta_between(&base, &file(&[tensor!("w", F32, values)])).unwrap_err().to_string();
    let place = BLOCK_COORDINATES + 1;
    assert_eq!(error, format!("the trained parameters cannot be used: tensor `w` holds inf at {place}"));
    let complex = |byte: u8| file(&[("c", Dtype::C64, vec![2], [&[0; 9][..], &[byte; 7]].concat())]);
    let error = delta_between(&complex(0), &complex(1)).unwrap_err();
    assert!(matches!(error, DeltaError::Changed { position: 1, dtype: Dtype::C64, .. }), "{error}");
}

#[test]
fn storage_that_fails_is_told_apart() {
    struct Gone;
    impl ReadAt for Gone {
        fn size_bytes(&self) -> io::Result<u64> {
            Ok(1000)
        }
        fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let good = file(&any_model(0));
    assert_eq!(delta_between(&Gone, &good).unwrap_err().to_string(), "cannot read the base: the disk is gone");
    let error = delta_between(&good, &Gone).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the trained parameters: the disk is gone");
}
